/* identity_files.c - see identity_files.h. */
#include "agent/monitor/identity_files.h"
#include "agent/lib/text.h"
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/aws/credfile.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/codec.h"

#define MAX_FILE_BYTES (1u << 20)
#define MARK_KEY       "fairlead_node"

struct identity_config {
    char *schema_version, *node_id, *type, *share_file, *share_profile, *expires, *retrieved,
        *source;
};

#define F(member, key) FL_FIELD(struct identity_config, member, key, FL_ALWAYS)
static const struct fl_field identity_config_fields[] = {
    F(schema_version, "SchemaVersion"),
    F(node_id, "InstanceId"),
    F(type, "IdentityType"),
    F(share_file, "ShareFile"),
    F(share_profile, "ShareProfile"),
    F(expires, "CredentialsExpiresAt"),
    F(retrieved, "CredentialsRetrievedAt"),
    F(source, "CredentialSource"),
};
#undef F
static const struct fl_shape identity_config_shape =
    FL_SHAPE(struct identity_config, "identity_config", identity_config_fields);

/* ---- the shared file ---- */

static char *share_path(const char *configured)
{
    const char *env = getenv("AWS_SHARED_CREDENTIALS_FILE");
    const char *home = getenv("HOME");
    const struct passwd *pw;
    char *path = NULL;

    if (*configured)
        return strdup(configured);
    if (env && *env == '/')
        return strdup(env);
    if (!home || *home != '/') {
        pw = getpwuid(getuid());
        home = pw ? pw->pw_dir : NULL;
    }
    return home && asprintf(&path, "%s/.aws/credentials", home) >= 0 ? path : NULL;
}

static bool has_section(const char *text, const char *profile)
{
    size_t len = strlen(profile);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        line += strspn(line, " \t");
        if (*line != '[')
            continue;
        line += 1 + strspn(line + 1, " \t");
        if (strncmp(line, profile, len) == 0 && strchr(" \t]", line[len]) && line[len])
            return true;
    }
    return false;
}

/* True if the profile may be written: absent, or marked by us. */
static bool free_or_ours(const char *text, const char *profile)
{
    fl_autofree char *mark = NULL;

    if (!has_section(text, profile))
        return true;
    return fl_credfile_get(text, profile, MARK_KEY, &mark) == 0;
}

static int make_parent(const char *path, struct fl_err *err)
{
    fl_autofree char *dir = strdup(path);
    char *slash = dir ? strrchr(dir, '/') : NULL;

    if (!slash || slash == dir)
        return 0;
    *slash = '\0';
    return fl_dir_make(dir, 0700, err);
}

/* A link that its own user made (dotfiles kept elsewhere) is followed; anybody else's is refused by
 * fl_file_replace_kept. */
static char *follow_own_link(char *path)
{
    char resolved[PATH_MAX];
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode) || st.st_uid != geteuid() ||
        !realpath(path, resolved))
        return path;
    free(path);
    return strdup(resolved);
}

static int share(const struct fl_identity_files *f, const char *path,
                 enum fl_share_outcome *ret_outcome, struct fl_err *err)
{
    const char *profile = *f->share_profile ? f->share_profile : "default";
    const struct fl_credfile_entry entries[] = {
        { "aws_access_key_id", f->creds.access_key_id },
        { "aws_secret_access_key", f->creds.secret_access_key },
        { "aws_session_token", f->creds.session_token },
        { MARK_KEY, f->creds.node_id },
    };
    fl_autofree char *old = NULL;
    fl_autofree char *text = NULL;
    int r;

    *ret_outcome = FL_SHARE_WRITTEN;
    r = fl_file_read(path, MAX_FILE_BYTES, &old, NULL, err);
    if (r < 0 && r != -ENOENT)
        return r;
    if (old && !free_or_ours(old, profile)) {
        profile = FL_SHARE_FALLBACK_PROFILE;
        *ret_outcome = FL_SHARE_FALLBACK;
        if (!free_or_ours(old, profile)) {
            *ret_outcome = FL_SHARE_TAKEN;
            return 0;
        }
    }
    r = fl_credfile_set(old, profile, entries, FL_ARRAY_LEN(entries), &text);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: cannot set profile %s", path, profile);
    r = make_parent(path, err);
    return r < 0 ? r : fl_file_replace_kept(path, 0600, text, strlen(text), err);
}

/* ---- our own files ---- */

static int write_identity_config(const struct fl_identity_files *f, const char *path,
                                 enum fl_share_outcome outcome, struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(65536);
    fl_autofree char *file = fl_path_join(f->state_dir, "runtimeconfig/identity_config.json");
    char expires[FL_ISO_BYTES], retrieved[FL_ISO_BYTES];
    bool shared = outcome == FL_SHARE_WRITTEN || outcome == FL_SHARE_FALLBACK;
    const struct identity_config c = {
        .schema_version = fl_text("1.1"),
        .node_id = f->creds.node_id,
        .type = fl_text("OnPrem"),
        .share_file = shared ? fl_text(path) : fl_text(""),
        .share_profile = outcome == FL_SHARE_FALLBACK ? fl_text(FL_SHARE_FALLBACK_PROFILE)
                                                      : fl_text(f->share_profile),
        .expires = expires,
        .retrieved = retrieved,
        .source = fl_text("SSM"),
    };

    fl_time_iso_seconds(f->creds.expires_ms, expires);
    fl_time_iso_seconds(f->creds.retrieved_ms, retrieved);
    if (!file || fl_json_encode(&identity_config_shape, &c, &text) < 0)
        return fl_err_nomem(err);
    return fl_file_replace(file, 0600, text.data, text.len, err);
}

int fl_identity_files_write(const struct fl_identity_files *f, enum fl_share_outcome *ret_share,
                            struct fl_err *ret_share_err, struct fl_err *err)
{
    fl_autofree char *path = NULL;
    int r = fl_credcache_store(f->state_dir, &f->creds, err);

    *ret_share = FL_SHARE_OFF;
    if (r == 0 && f->share) {
        path = share_path(f->share_file);
        if (path)
            path = follow_own_link(path);
        if (!path) {
            fl_err_set(ret_share_err, -ENOENT, NULL, "no home directory for the credentials file");
            *ret_share = FL_SHARE_FAILED;
        } else if (share(f, path, ret_share, ret_share_err) < 0) {
            *ret_share = FL_SHARE_FAILED;
        }
    }
    return r < 0 ? r : write_identity_config(f, path, *ret_share, err);
}
