/* store.c - see store.h. */
#include "plugins/configure_package/store.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "common/aws/crypto.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/codec/codec.h"
#include "plugins/configure_package/manifest.h"

#define STATE_MAX_BYTES    65536
#define MANIFEST_MAX_BYTES (1u << 20)

struct state {
    char *name, *version, *last_version;
    int64_t state, time, retries;
    bool rebooting; /* ours */
};
#define F(member, key) FL_FIELD(struct state, member, key, FL_ALWAYS)
static const struct fl_field state_fields[] = {
    F(name, "name"),
    F(version, "version"),
    F(state, "state"),
    F(time, "time"),
    F(last_version, "lastinstalledversion"),
    F(retries, "retrycount"),
    FL_FIELD(struct state, rebooting, "rebooting", FL_OMIT_ZERO),
};
#undef F
static const struct fl_shape state_shape = FL_SHAPE(struct state, "installstate", state_fields);

/* A name that is no file's name (an ARN) becomes "_<what can be kept of it>_<hash>". */
static char *folder_name(const char *name, struct fl_arena *arena)
{
    char hash[FL_SHA256_HEX_BYTES], kept[65];
    char *lower = fl_arena_strdup(arena, name);
    size_t n = 0;

    if (fl_package_name_safe(name) && name[0] != '_')
        return lower;
    for (char *c = lower; c && *c; c++) {
        *c = (char)tolower((unsigned char)*c);
        if (n < sizeof(kept) - 1 && isalnum((unsigned char)*c))
            kept[n++] = *c;
    }
    kept[n] = '\0';
    if (!lower)
        return NULL;
    fl_sha256_hex(lower, strlen(lower), hash);
    return fl_arena_printf(arena, "_%s_%s", kept, hash);
}

static int take_lock(struct fl_package_store *s, struct fl_err *err)
{
    char *path = fl_arena_printf(s->arena, "%s/lock", s->dir);

    s->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (s->lock_fd < 0)
        return fl_err_set(err, path ? -errno : -ENOMEM, NULL, "cannot lock the package: %s",
                          strerror(path ? errno : ENOMEM));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return fl_err_set(err, -EBUSY, NULL,
                          "Package is already in the process of an action, of another command");
    return 0;
}

static int read_state(struct fl_package_store *s, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    struct state in = { 0 };
    size_t len = 0;
    char *path = fl_arena_printf(s->arena, "%s/installstate", s->dir);
    int r = path ? fl_file_read(path, STATE_MAX_BYTES, &text, &len, err) : -ENOMEM;

    s->version = s->last_version = (char *)"";
    s->state = FL_PACKAGE_NONE;
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    s->state = FL_PACKAGE_UNKNOWN;
    if (fl_json_decode(&state_shape, text, len, FL_DECODE_NOCASE, s->arena, &in, NULL) < 0 ||
        in.state < 0 || in.state >= FL_PACKAGE_STATE__N)
        return 0;
    s->state = (enum fl_package_state)in.state;
    s->retries = in.retries;
    s->rebooting = in.rebooting;
    if (in.version && fl_package_name_safe(in.version))
        s->version = in.version;
    if (in.last_version && fl_package_name_safe(in.last_version))
        s->last_version = in.last_version;
    return 0;
}

int fl_package_store_open(const char *data, const char *name, struct fl_arena *arena,
                          struct fl_package_store *ret, struct fl_err *err)
{
    const char *folder = folder_name(name, arena);
    int r;

    *ret = (struct fl_package_store){ .arena = arena, .lock_fd = -1 };
    ret->dir = folder ? fl_arena_printf(arena, "%s/packages/%s", data, folder) : NULL;
    if (!ret->dir)
        return fl_err_nomem(err);
    r = fl_dir_make(ret->dir, 0700, err);
    if (r == 0)
        r = take_lock(ret, err);
    return r == 0 ? read_state(ret, err) : r;
}

void fl_package_store_close(struct fl_package_store *s)
{
    if (s->arena && s->lock_fd >= 0)
        close(s->lock_fd);
    s->lock_fd = -1;
}

int fl_package_store_save(struct fl_package_store *s, const char *name, struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(STATE_MAX_BYTES);
    const struct state out = { .name = (char *)name,
                               .version = s->version,
                               .last_version = s->last_version,
                               .state = s->state,
                               .time = fl_now_ms() / 1000,
                               .retries = s->retries,
                               .rebooting = s->rebooting };
    char *path = fl_arena_printf(s->arena, "%s/installstate", s->dir);
    int r = path ? fl_json_encode(&state_shape, &out, &text) : -ENOMEM;
    return r < 0 ? fl_err_set(err, r, NULL, "the package's state does not fit")
                 : fl_file_replace(path, 0600, text.data, text.len, err);
}

char *fl_package_store_files(struct fl_package_store *s, const char *version)
{
    return fl_arena_printf(s->arena, "%s/versions/%s", s->dir, version);
}

char *fl_package_store_staging(struct fl_package_store *s)
{
    return fl_arena_printf(s->arena, "%s/staging", s->dir);
}

static char *manifest_path(struct fl_package_store *s, const char *version)
{
    return fl_arena_printf(s->arena, "%s/manifests/%s.json", s->dir, version);
}

bool fl_package_store_has(struct fl_package_store *s, const char *version, const char *manifest)
{
    fl_autofree char *text = NULL;
    char *files = fl_package_store_files(s, version), *path = manifest_path(s, version);
    struct stat st;

    return files && path && stat(files, &st) == 0 && S_ISDIR(st.st_mode) &&
           fl_file_read(path, MANIFEST_MAX_BYTES, &text, NULL, NULL) == 0 &&
           strcmp(text, manifest) == 0;
}

int fl_package_store_commit(struct fl_package_store *s, const char *version, const char *manifest,
                            struct fl_err *err)
{
    char *versions = fl_arena_printf(s->arena, "%s/versions", s->dir);
    char *manifests = fl_arena_printf(s->arena, "%s/manifests", s->dir);
    char *from = fl_package_store_staging(s), *to = fl_package_store_files(s, version);
    char *path = manifest_path(s, version);
    int r;

    if (!versions || !manifests || !from || !to || !path)
        return fl_err_nomem(err);
    r = fl_dir_make(versions, 0700, err);
    if (r == 0)
        r = fl_dir_make(manifests, 0700, err);
    if (r == 0)
        r = fl_package_store_remove(s, version, err);
    if (r == 0 && rename(from, to) < 0)
        r = fl_err_set(err, -errno, NULL, "%s: %s", to, strerror(errno));
    if (r == 0)
        r = fl_dir_sync(versions, err);
    /* Last: with it the files are whole. */
    return r == 0 ? fl_file_replace(path, 0600, manifest, strlen(manifest), err) : r;
}

int fl_package_store_remove(struct fl_package_store *s, const char *version, struct fl_err *err)
{
    char *files = fl_package_store_files(s, version), *path = manifest_path(s, version);

    if (!files || !path)
        return fl_err_nomem(err);
    if (unlink(path) < 0 && errno != ENOENT)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    return fl_dir_remove(files, err);
}
