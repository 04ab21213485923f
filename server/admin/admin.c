/* admin.c - `fairlead-server admin …`: users, keys, roles and policies, also while the plane runs.
 */
#include "server/admin/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/nearest.h"
#include "server/admin/iam.h"
#include "server/admin/rows.h"
#include "server/auth/policy.h"
#include "server/conf.h"

#define ARENA_BYTES (64 * 1024 * 1024)
#define ARGS_MAX    2

static const char usage[] =
    "Usage: fairlead-server admin COMMAND [arguments] [options]\n"
    "\n"
    "  user add NAME [--policy NAME]      user list              user delete NAME\n"
    "  key create USER                    key list [USER]\n"
    "  key disable ID                     key enable ID          key delete ID\n"
    "  role add NAME [--trust FILE]       role list              role delete NAME\n"
    "  policy put NAME FILE               policy list            policy delete NAME\n"
    "  policy attach NAME --user NAME | --role NAME\n"
    "  policy detach NAME --user NAME | --role NAME\n"
    "  clone list                         nodes whose identity two machines hold\n"
    "  clone forget NODE                  after it was put right\n"
    "  ca [--pem]                         path (or text) of the CA certificate\n"
    "\n"
    "  --data DIR    the control plane's data directory\n"
    "  --json        machine-readable output of the list commands and of key create\n"
    "\n"
    "FILE may be \"-\" for standard input. A role's trust policy defaults to this account and to\n"
    "ssm.amazonaws.com. Changes take effect at once; the control plane may be running.\n";

struct admin {
    struct fl_arena arena;
    const char *dir;
    bool json, pem;
    const char *policy, *user, *role, *trust_file;
    const char *args[ARGS_MAX];
    size_t n_args;
    struct fl_conf conf;
    char *document; /* read from a file before the job */
    uint8_t seal_key[FL_SEAL_KEY_BYTES];
    /* results */
    char key_id[FL_KEY_ID_BYTES];
    char secret[FL_SECRET_KEY_BYTES];
    struct fl_rows rows;
    struct fl_err *err;
};

struct command {
    const char *noun, *verb;
    size_t min_args, max_args;
    int (*job)(struct admin *a, const struct fl_iam *iam);
    int (*before)(struct admin *a); /* reads files, checks options; may be NULL */
    int (*print)(struct admin *a);  /* returns the exit code; NULL: prints nothing */
};

/* ---- jobs ---- */

static int user_add(struct admin *a, const struct fl_iam *iam)
{
    int r = fl_iam_user_add(iam, a->args[0], a->err);

    if (r >= 0 && a->policy)
        r = fl_iam_attach(iam, a->policy, "user", a->args[0], a->err);
    return r;
}

static int user_delete(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_user_delete(iam, a->args[0], a->err);
}

static int key_create(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_key_create(iam, a->seal_key, a->args[0], a->key_id, a->secret, a->err);
}

static int key_disable(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_key_enable(iam, a->args[0], false, a->err);
}

static int key_enable(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_key_enable(iam, a->args[0], true, a->err);
}

static int key_delete(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_key_delete(iam, a->args[0], a->err);
}

static int role_add(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_role_add(iam, a->args[0], a->document, a->err);
}

static int role_delete(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_role_delete(iam, a->args[0], a->err);
}

static int policy_put(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_policy_put(iam, a->args[0], a->document, a->err);
}

static int policy_delete(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_policy_delete(iam, a->args[0], a->err);
}

static int policy_attach(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_attach(iam, a->args[0], a->user ? "user" : "role", a->user ? a->user : a->role,
                         a->err);
}

static int policy_detach(struct admin *a, const struct fl_iam *iam)
{
    return fl_iam_detach(iam, a->args[0], a->user ? "user" : "role", a->user ? a->user : a->role,
                         a->err);
}

static int user_list(struct admin *a, const struct fl_iam *iam)
{
    return fl_rows_read(&a->rows, iam, FL_ROWS_USERS, NULL, &a->arena, a->err);
}

static int key_list(struct admin *a, const struct fl_iam *iam)
{
    return fl_rows_read(&a->rows, iam, FL_ROWS_KEYS, a->n_args ? a->args[0] : "", &a->arena,
                        a->err);
}

static int role_list(struct admin *a, const struct fl_iam *iam)
{
    return fl_rows_read(&a->rows, iam, FL_ROWS_ROLES, NULL, &a->arena, a->err);
}

static int policy_list(struct admin *a, const struct fl_iam *iam)
{
    return fl_rows_read(&a->rows, iam, FL_ROWS_POLICIES, NULL, &a->arena, a->err);
}

static int clone_list(struct admin *a, const struct fl_iam *iam)
{
    return fl_rows_read(&a->rows, iam, FL_ROWS_CLONES, NULL, &a->arena, a->err);
}

static int clone_forget(struct admin *a, const struct fl_iam *iam)
{
    int r = fl_sql_exec(iam->tx, FL_SQL_clone_forget, a->err, FL_T(iam->account), FL_T(a->args[0]));

    if (r == 0)
        return fl_err_set(a->err, -ENOENT, NULL, "no clone of %.64s was seen", a->args[0]);
    return r < 0 ? r : 0;
}

/* ---- before ---- */

static int read_document(struct admin *a, const char *file)
{
    fl_autofree char *text = NULL;
    size_t len;
    int r = strcmp(file, "-") == 0 ? fl_fd_read_all(STDIN_FILENO, FL_POLICY_MAX_BYTES, &text, &len)
                                   : fl_file_read(file, FL_POLICY_MAX_BYTES, &text, &len, a->err);

    if (r < 0) {
        if (!a->err->code)
            fl_err_set(a->err, r, NULL, "%s: %s", file, strerror(-r));
        return fl_cli_fail(a->err);
    }
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        len--; /* what an editor leaves behind it; lists show the document inside one line */
    a->document = fl_arena_memdup(&a->arena, text, len);
    return a->document ? 0 : 1;
}

static int before_policy_put(struct admin *a)
{
    return read_document(a, a->args[1]);
}

static int before_role_add(struct admin *a)
{
    return a->trust_file ? read_document(a, a->trust_file) : 0;
}

static int before_attach(struct admin *a)
{
    if (!a->user == !a->role)
        return fl_cli_usage("admin", "give either --user NAME or --role NAME");
    return 0;
}

static int before_key_create(struct admin *a)
{
    return fl_data_key_load(a->dir, FL_DATA_SEAL, a->seal_key, a->err) < 0 ? fl_cli_fail(a->err)
                                                                           : 0;
}

/* ---- print ---- */

struct key_result {
    const char *user, *id, *secret;
};
static const struct fl_field key_result_fields[] = {
    FL_FIELD(struct key_result, user, "UserName", 0),
    FL_FIELD(struct key_result, id, "AccessKeyId", 0),
    FL_FIELD(struct key_result, secret, "SecretAccessKey", 0),
};
static const struct fl_shape key_result_shape =
    FL_SHAPE(struct key_result, "AccessKey", key_result_fields);

static int print_key(struct admin *a)
{
    const struct key_result res = { a->args[0], a->key_id, a->secret };
    fl_autobuf struct fl_buf out = { 0 };

    if (!a->json) {
        printf("access key id      %s\nsecret access key  %s\n", a->key_id, a->secret);
        return 0;
    }
    fl_buf_init(&out, 4096);
    if (fl_json_encode(&key_result_shape, &res, &out) < 0)
        return 1;
    printf("%s\n", out.data);
    fl_wipe(out.data, out.len);
    return 0;
}

static int print_rows(struct admin *a)
{
    return fl_rows_print(&a->rows, a->json, stdout) < 0 ? 1 : 0;
}

static const struct command commands[] = {
    { "user", "add", 1, 1, user_add, NULL, NULL },
    { "user", "list", 0, 0, user_list, NULL, print_rows },
    { "user", "delete", 1, 1, user_delete, NULL, NULL },
    { "key", "create", 1, 1, key_create, before_key_create, print_key },
    { "key", "list", 0, 1, key_list, NULL, print_rows },
    { "key", "disable", 1, 1, key_disable, NULL, NULL },
    { "key", "enable", 1, 1, key_enable, NULL, NULL },
    { "key", "delete", 1, 1, key_delete, NULL, NULL },
    { "role", "add", 1, 1, role_add, before_role_add, NULL },
    { "role", "list", 0, 0, role_list, NULL, print_rows },
    { "role", "delete", 1, 1, role_delete, NULL, NULL },
    { "policy", "put", 2, 2, policy_put, before_policy_put, NULL },
    { "policy", "list", 0, 0, policy_list, NULL, print_rows },
    { "policy", "delete", 1, 1, policy_delete, NULL, NULL },
    { "policy", "attach", 1, 1, policy_attach, before_attach, NULL },
    { "policy", "detach", 1, 1, policy_detach, before_attach, NULL },
    { "clone", "list", 0, 0, clone_list, NULL, print_rows },
    { "clone", "forget", 1, 1, clone_forget, NULL, NULL },
};

/* ---- running one ---- */

struct run {
    struct admin *admin;
    const struct command *command;
};

static int run_job(struct fl_tx *tx, void *arg)
{
    struct run *run = arg;
    const struct fl_iam iam = { .tx = tx,
                                .account = run->admin->conf.account,
                                .now_ms = fl_now_ms() };

    return run->command->job(run->admin, &iam);
}

static int run_command(struct admin *a, const struct command *c)
{
    struct run run = { a, c };
    const struct fl_store_conf sc = { .path = fl_data_path(&a->arena, a->dir, FL_DATA_DB),
                                      .must_exist = true,
                                      .readers = 1 };
    struct fl_store *store = NULL;
    int r = fl_conf_load(a->dir, &a->arena, &a->conf, a->err);
    int code;

    if (r < 0)
        return fl_cli_fail(a->err);
    code = c->before ? c->before(a) : 0;
    if (code)
        return code;
    r = sc.path ? fl_store_open(&sc, false, &store, a->err) : -ENOMEM;
    if (r >= 0)
        r = fl_store_run(store, FL_LANE_WRITE, run_job, &run);
    fl_store_free(store);
    if (r < 0) {
        if (!a->err->code)
            fl_err_set(a->err, r, NULL, "the store cannot be written: %s", strerror(-r));
        return fl_cli_fail(a->err);
    }
    return c->print ? c->print(a) : 0;
}

static int print_ca(struct admin *a)
{
    const char *path = fl_data_path(&a->arena, a->dir, FL_DATA_CA);
    fl_autofree char *text = NULL;

    if (!path || fl_file_read(path, 65536, &text, NULL, a->err) < 0)
        return fl_cli_fail(a->err);
    if (a->pem)
        fputs(text, stdout);
    else
        printf("%s\n", path);
    return 0;
}

static int unknown(const char *noun, const char *verb)
{
    struct fl_nearest nouns = { .word = noun }, verbs = { .word = verb ? verb : "" };

    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++) {
        fl_nearest_add(&nouns, commands[i].noun);
        if (strcmp(commands[i].noun, noun) == 0)
            fl_nearest_add(&verbs, commands[i].verb);
    }
    if (nouns.found && strcmp(nouns.found, noun) != 0)
        return fl_cli_usage("admin", "there is no command \"%s\"; did you mean \"%s\"?", noun,
                            nouns.found);
    if (!nouns.found)
        return fl_cli_usage("admin", "there is no command \"%s\"", noun);
    if (!verb)
        return fl_cli_usage("admin", "\"%s\" needs a command behind it", noun);
    if (verbs.found)
        return fl_cli_usage("admin", "there is no command \"%s %s\"; did you mean \"%s %s\"?", noun,
                            verb, noun, verbs.found);
    return fl_cli_usage("admin", "there is no command \"%s %s\"", noun, verb);
}

static int dispatch(struct admin *a, const char *noun, const char *verb)
{
    for (size_t i = 0; verb && i < FL_ARRAY_LEN(commands); i++) {
        const struct command *c = &commands[i];

        if (strcmp(c->noun, noun) != 0 || strcmp(c->verb, verb) != 0)
            continue;
        if (a->n_args < c->min_args)
            return fl_cli_usage("admin", "%s %s: an argument is missing", noun, verb);
        if (a->n_args > c->max_args)
            return fl_cli_usage("admin", "%s %s: unexpected argument \"%s\"", noun, verb,
                                a->args[c->max_args]);
        return run_command(a, c);
    }
    return unknown(noun, verb);
}

static const struct option options[] = {
    { "data", required_argument, NULL, 'd' },
    { "json", no_argument, NULL, 'j' },
    { "pem", no_argument, NULL, 'e' },
    { "policy", required_argument, NULL, 'p' },
    { "user", required_argument, NULL, 'u' },
    { "role", required_argument, NULL, 'r' },
    { "trust", required_argument, NULL, 't' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

/* -1 to go on, else the exit code. */
static int option(struct admin *a, int opt)
{
    const struct {
        int opt;
        const char **value;
    } texts[] = { { 'd', &a->dir },
                  { 'p', &a->policy },
                  { 'u', &a->user },
                  { 'r', &a->role },
                  { 't', &a->trust_file } };
    const struct {
        int opt;
        bool *value;
    } flags[] = { { 'j', &a->json }, { 'e', &a->pem } };

    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++)
        if (texts[i].opt == opt) {
            *texts[i].value = optarg;
            return -1;
        }
    for (size_t i = 0; i < FL_ARRAY_LEN(flags); i++)
        if (flags[i].opt == opt) {
            *flags[i].value = true;
            return -1;
        }
    if (opt == 'h') {
        fputs(usage, stdout);
        return 0;
    }
    return 2;
}

static int run_admin(struct admin *a, int argc, char **argv)
{
    fl_autofree char *dir = NULL;
    int opt, n;

    while ((opt = fl_cli_option("admin", argc, argv, options)) != -1) {
        int code = option(a, opt);

        if (code >= 0)
            return code;
    }
    if (optind == argc)
        return fl_cli_usage("admin", "a command is missing");
    if (fl_data_dir(a->dir, &dir, a->err) < 0)
        return fl_cli_fail(a->err);
    a->dir = dir;
    n = argc - optind;
    if (n == 1 && strcmp(argv[optind], "ca") == 0)
        return print_ca(a);
    for (int i = 2; i < n; i++) {
        if (a->n_args == ARGS_MAX)
            return fl_cli_usage("admin", "unexpected argument \"%s\"", argv[optind + i]);
        a->args[a->n_args++] = argv[optind + i];
    }
    return dispatch(a, argv[optind], n > 1 ? argv[optind + 1] : NULL);
}

int fl_cmd_admin(int argc, char **argv)
{
    struct fl_err err = { 0 };
    struct admin a = { .err = &err };
    int code;

    fl_arena_init(&a.arena, ARENA_BYTES);
    code = run_admin(&a, argc, argv);
    fl_wipe(a.secret, sizeof(a.secret));
    fl_wipe(a.seal_key, sizeof(a.seal_key));
    fl_arena_done(&a.arena);
    return code;
}
