/* login.c - `fairlead login`, `profiles`, `whoami`: profiles made, listed, tried. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include "cli/command.h"
#include "cli/table.h"
#include "cli/term.h"
#include "common/aws/credfile.h"
#include "common/aws/crypto.h"
#include "common/aws/endpoint.h"
#include "common/base/file.h"
#include "common/codec/xml.h"

#define FILE_MAX_BYTES   (1 << 20)
#define ANSWER_BYTES     1024
#define SECRET_MAX_BYTES 1024
#define ENTRIES_MAX      6

/* ---- who am I ---- */

struct identity {
    char *arn, *account, *user;
    const char *endpoint, *profile;
};
static const struct fl_field identity_fields[] = {
    FL_FIELD(struct identity, arn, "Arn", 0),
    FL_FIELD(struct identity, account, "Account", 0),
    FL_FIELD(struct identity, user, "UserId", 0),
};
static const struct fl_shape identity_shape =
    FL_SHAPE(struct identity, "GetCallerIdentity", identity_fields);

static char *xml_member(const char *xml, const char *name, struct fl_arena *arena)
{
    fl_autobuf struct fl_buf text = FL_BUF(4096);

    if (fl_xml_find_text(xml, strlen(xml), name, &text) < 0)
        return NULL;
    return fl_arena_strdup(arena, text.data ? text.data : "");
}

static int get_identity(struct fl_cli *cli, struct fl_arena *arena, struct identity *ret,
                        struct fl_err *err)
{
    fl_autofree char *xml = NULL;
    int r = fl_api_sts(cli, &cli->keys, "Action=GetCallerIdentity&Version=2011-06-15", &xml, err);

    if (r < 0)
        return r;
    *ret = (struct identity){ .arn = xml_member(xml, "Arn", arena),
                              .account = xml_member(xml, "Account", arena),
                              .user = xml_member(xml, "UserId", arena) };
    if (!ret->arn)
        return fl_err_set(err, -EBADMSG, NULL,
                          "%s: this is no control plane: its answer to "
                          "GetCallerIdentity has no Arn",
                          cli->sts_endpoint);
    return 0;
}

static int run_whoami(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    fl_autobuf struct fl_buf out = FL_BUF(65536);
    struct fl_err err = { 0 };
    struct identity id;

    (void)options;
    (void)args;
    if (get_identity(cli, &arena, &id, &err) < 0)
        return fl_cli_fail(&err);
    if (cli->json) {
        if (fl_json_encode(&identity_shape, &id, &out) < 0)
            return FL_EXIT_SERVICE;
        fl_put_json(out.data);
        return FL_EXIT_OK;
    }
    fl_put_text(stdout, id.arn);
    printf("\n");
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_whoami = {
    .name = "whoami",
    .args = "",
    .summary = "Tell who calls, as the service sees it",
    .run = run_whoami,
};

/* ---- login ---- */

struct login_options {
    const char *key_id, *keys_file;
};
static const struct fl_opt login_options[] = {
    FL_OPT(struct login_options, key_id, 'i', "access-key-id", "ID", "the access key's id"),
    FL_OPT(
        struct login_options, keys_file, 'f', "keys-file", "FILE",
        "take the keys from a file in the AWS CLI's format, such as the plane's admin-credentials",
        FL_COMPLETE_FILE),
};

extern const struct fl_command fl_cmd_login;

static int ask_for(struct fl_cli *cli, const char *prompt, const char *option, char **ret,
                   struct fl_err *err)
{
    char answer[ANSWER_BYTES];
    int r = fl_ask(cli, true, prompt, answer, sizeof(answer));

    if (r == -ENOTTY)
        return fl_err_set(err, -EINVAL, NULL, "%s is missing", option);
    if (r < 0 || !answer[0])
        return fl_err_set(err, r < 0 ? r : -ENODATA, NULL, "nothing was given");
    *ret = strdup(answer);
    return *ret ? 0 : -ENOMEM;
}

/* Relative names would mean another file from another folder. */
static int set_ca_file(struct fl_cli *cli, struct fl_err *err)
{
    if (!cli->given.ca_file)
        return 0;
    cli->ca_file = realpath(cli->given.ca_file, NULL);
    if (!cli->ca_file)
        return fl_err_set(err, -errno, NULL, "%s: %s", cli->given.ca_file, strerror(errno));
    return 0;
}

static int keys_from_file(struct fl_cli *cli, const char *path, struct fl_err *err)
{
    const struct {
        const char *key;
        char **to;
    } entries[] = { { "aws_access_key_id", &cli->keys.access_key_id },
                    { "aws_secret_access_key", &cli->keys.secret_access_key },
                    { "aws_session_token", &cli->keys.session_token } };
    char *text = NULL;
    size_t len = 0;
    int r = fl_file_read(path, FILE_MAX_BYTES, &text, &len, err);

    for (size_t i = 0; i < FL_ARRAY_LEN(entries) && r == 0; i++)
        if (fl_credfile_get(text, cli->profile, entries[i].key, entries[i].to) < 0)
            fl_credfile_get(text, "default", entries[i].key, entries[i].to);
    fl_free_secret(text, len);
    if (r == 0 && (!cli->keys.access_key_id || !cli->keys.secret_access_key))
        r = fl_err_set(err, -ENOKEY, NULL, "%s: no keys under [%s] or [default]", path,
                       cli->profile);
    return r;
}

static int set_keys(struct fl_cli *cli, const struct login_options *o, struct fl_err *err)
{
    int r = 0;

    if (o->keys_file)
        return keys_from_file(cli, o->keys_file, err);
    if (o->key_id)
        cli->keys.access_key_id = strdup(o->key_id);
    else
        r = ask_for(cli, "Access key id: ", "--access-key-id", &cli->keys.access_key_id, err);
    if (r == 0)
        r = fl_read_secret(cli, "Secret access key: ", false, SECRET_MAX_BYTES,
                           &cli->keys.secret_access_key, err);
    return r;
}

static int set_place(struct fl_cli *cli, struct fl_err *err)
{
    fl_autofree char *endpoint = cli->given.endpoint ? strdup(cli->given.endpoint) : NULL;
    const char *region = cli->given.region;
    int r = set_ca_file(cli, err);

    if (r == 0 && !endpoint && !region)
        r = ask_for(cli, "Control plane's address: ", "--endpoint (or --region for AWS itself)",
                    &endpoint, err);
    if (r < 0)
        return r;
    cli->region = strdup(region ? region : "local");
    if (!cli->region)
        return -ENOMEM;
    r = fl_endpoint_url("ssm", cli->region, NULL, endpoint, &cli->endpoint, err);
    if (r == 0)
        r = fl_endpoint_url("sts", cli->region, NULL, endpoint, &cli->sts_endpoint, err);
    return r;
}

/* The profile takes the place of one with this name; all else in the file stays. */
static int store_profile(const struct fl_cli *cli, const char *path, struct fl_err *err)
{
    const struct fl_credfile_entry all[] = {
        { "endpoint_url", strcmp(cli->endpoint, cli->sts_endpoint) == 0 ? cli->endpoint : NULL },
        { "region", cli->region },
        { "ca_bundle", cli->ca_file },
        { "aws_access_key_id", cli->keys.access_key_id },
        { "aws_secret_access_key", cli->keys.secret_access_key },
        { "aws_session_token", cli->keys.session_token },
    };
    struct fl_credfile_entry entries[ENTRIES_MAX];
    fl_autofree char *folder = strdup(path);
    char *before = NULL, *after = NULL;
    size_t n = 0, len = 0;
    int r;

    if (!folder)
        return -ENOMEM;
    for (size_t i = 0; i < FL_ARRAY_LEN(all); i++)
        if (all[i].value)
            entries[n++] = all[i];
    if (strrchr(folder, '/'))
        *strrchr(folder, '/') = '\0';
    r = fl_dir_make(folder, 0700, err);
    if (r == 0)
        r = fl_file_read(path, FILE_MAX_BYTES, &before, &len, err);
    if (r == -ENOENT) {
        *err = (struct fl_err){ 0 };
        r = 0;
    }
    if (r == 0)
        r = fl_credfile_set(before, cli->profile, entries, n, &after);
    if (r == -EINVAL)
        fl_err_set(err, r, NULL, "a name or value cannot stand in a file of profiles");
    if (r == 0)
        r = fl_file_replace(path, 0600, after, strlen(after), err);
    fl_free_secret(before, len);
    fl_free_secret(after, after ? strlen(after) : 0);
    return r;
}

static int run_login(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    fl_autofree char *path = fl_cli_config_path();
    struct fl_err err = { 0 };
    struct identity id = { 0 };
    const char *name = args->n ? args->v[0] : cli->given.profile ? cli->given.profile : "default";
    int r;

    if (!path)
        return fl_usage(&fl_cmd_login, "neither HOME nor FAIRLEAD_CONFIG is set");
    cli->profile = strdup(name);
    cli->max_attempts = FL_CLI_MAX_ATTEMPTS;
    cli->timeout_ms = FL_CLI_TIMEOUT_MS;
    r = cli->profile ? set_place(cli, &err) : -ENOMEM;
    if (r == 0)
        r = set_keys(cli, options, &err);
    if (r == -EINVAL)
        return fl_usage(&fl_cmd_login, "%s", fl_err_text(&err));
    if (r == 0)
        r = get_identity(cli, &arena, &id, &err);
    if (r == 0)
        r = store_profile(cli, path, &err);
    if (r < 0) {
        fl_cli_failed(r, &err);
        return r == -EINTR ? FL_EXIT_INTERRUPTED : FL_EXIT_SERVICE;
    }
    fl_put_text(stdout, id.arn);
    printf(" at %s\nProfile \"%s\" is in %s\n", cli->endpoint, cli->profile, path);
    return FL_EXIT_OK;
}

const struct fl_command fl_cmd_login = {
    .name = "login",
    .args = "[PROFILE]",
    .summary = "Make a profile: where the control plane is, and the keys to call it with",
    .text =
        "Asks for what no option gives: the address, the access key id, and the secret access key, "
        "which is not shown. Where standard input is no terminal, its first line is the secret.\n\n"
        "The keys are tried (GetCallerIdentity) and stored only if they are good, in "
        "~/.config/fairlead/config, readable by you alone. The profile \"default\" is used where "
        "none is named.",
    FL_OPTIONS(struct login_options, login_options),
    .max_args = 1,
    .flags = FL_COMMAND_OFFLINE,
    .complete = FL_COMPLETE_PROFILE,
    .run = run_login,
};

/* ---- profiles ---- */

struct profile {
    const char *name, *endpoint, *region, *keys, *file;
    bool active;
};
#define F(member, key, flags) FL_FIELD(struct profile, member, key, flags)
static const struct fl_field profile_fields[] = {
    F(name, "Profile", 0), F(endpoint, "Endpoint", 0), F(region, "Region", 0),
    F(keys, "Keys", 0),    F(file, "File", 0),         F(active, "Active", FL_ALWAYS),
};
#undef F
static const struct fl_shape profile_shape = FL_SHAPE(struct profile, "profile", profile_fields);

#define C(title, member) FL_COLUMN(title, struct profile, member)
static const struct fl_column profile_columns[] = {
    C("PROFILE", name),  C("ACTIVE", active), C("ENDPOINT", endpoint),
    C("REGION", region), C("KEYS", keys),     FL_COLUMN_CUT("FILE", struct profile, file),
};
#undef C

struct listing {
    const struct fl_cli *cli;
    const struct fl_profiles *profiles;
    struct fl_table *table;
    const char *active;
    int r;
};

/* Where the keys of a profile come from, in the order in which creds.c looks. */
static const char *kind_of_keys(const struct fl_profiles *p, const char *profile)
{
    static const struct {
        const char *key, *kind;
    } kinds[] = { { "role_arn", "role" },
                  { "aws_access_key_id", "keys" },
                  { "credential_process", "program" } };

    for (size_t i = 0; i < FL_ARRAY_LEN(kinds); i++) {
        fl_autofree char *value = fl_profiles_get(p, profile, kinds[i].key);

        if (value)
            return kinds[i].kind;
    }
    return NULL;
}

static void on_profile(void *arg, const char *name, const char *file)
{
    struct listing *l = arg;
    fl_autofree char *endpoint = fl_profiles_get(l->profiles, name, "endpoint_url");
    fl_autofree char *region = fl_profiles_get(l->profiles, name, "region");
    fl_autobuf struct fl_buf line = FL_BUF(65536);
    const struct profile p = { name,   endpoint,
                               region, kind_of_keys(l->profiles, name),
                               file,   strcmp(name, l->active) == 0 };

    if (l->r < 0)
        return;
    if (!l->cli->json) {
        l->r = fl_table_add(l->table, &p);
        return;
    }
    l->r = fl_json_encode(&profile_shape, &p, &line);
    if (l->r == 0)
        fl_put_json(line.data);
}

static int run_profiles(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    fl_autofree char *active = fl_cli_profile_name(cli);
    struct fl_profiles *profiles = NULL;
    struct fl_err err = { 0 };
    struct listing l = { .cli = cli, .active = active };
    int r = active ? fl_profiles_read(&profiles, &err) : -ENOMEM;

    (void)options;
    (void)args;
    if (r == 0)
        r = fl_table_new(cli, profile_columns, FL_ARRAY_LEN(profile_columns), &l.table);
    if (r == 0) {
        l.profiles = profiles;
        fl_profiles_each(profiles, on_profile, &l);
        r = l.r;
    }
    if (r == 0 && !cli->json)
        r = fl_table_print(l.table);
    fl_table_free(l.table);
    fl_profiles_free(profiles);
    return r < 0 ? fl_cli_failed(r, &err) : FL_EXIT_OK;
}

const struct fl_command fl_cmd_profiles = {
    .name = "profiles",
    .args = "",
    .summary = "List the profiles there are, the AWS CLI's too",
    .flags = FL_COMMAND_OFFLINE,
    .run = run_profiles,
};
