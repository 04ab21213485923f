/* init.c - `fairlead-server init`: everything a new control plane needs, once. */
#include "server/admin/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/rand.h"
#include "server/admin/iam.h"
#include "server/conf.h"
#include "server/pattern.h"
#include "server/pki.h"

#define HOSTS_MAX    64
#define ADMIN_POLICY "AdministratorAccess"

static const char usage[] =
    "Usage: fairlead-server init [options]\n"
    "Makes a new control plane: settings, keys, certificates, database, an administrator.\n"
    "\n"
    "  --data DIR         where to keep it (default: /var/lib/fairlead-server for root, else\n"
    "                     ~/.local/state/fairlead-server)\n"
    "  --host NAME        name or address that clients and nodes use; may be repeated.\n"
    "                     localhost, 127.0.0.1, ::1 and this machine's name are always included\n"
    "  --port N           port to listen on; 0 takes any free one (default: 8443)\n"
    "  --bind ADDR        address to listen on (default: 127.0.0.1; 0.0.0.0 if --host is given)\n"
    "  --account DIGITS   12 digits (default: random)\n"
    "  --region NAME      default: local; clients may then sign with any region name\n"
    "  --admin NAME       name of the first administrator (default: admin)\n"
    "  --json             print the result as JSON\n";

static const char admin_document[] =
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\","
    "\"Resource\":\"*\"}]}";

/* Made below the data directory, in this order; settings last: they say that all is there. */
static const char *const made[] = { FL_DATA_KEYS, "pki", "db", FL_DATA_CREDENTIALS, FL_DATA_CONF };

struct init {
    struct fl_arena arena;
    const char *dir;
    const char *admin;
    bool json;
    struct fl_conf conf;
    char *hosts[HOSTS_MAX];
    uint8_t seal_key[FL_SEAL_KEY_BYTES];
    char key_id[FL_KEY_ID_BYTES];
    char secret[FL_SECRET_KEY_BYTES];
    struct fl_err *err;
};

/* ---- options ---- */

static int number(const char *text, int64_t max, int64_t *ret)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (errno || *end || end == text || v < 0 || v > max)
        return -EINVAL;
    *ret = v;
    return 0;
}

static int option(struct init *in, int opt)
{
    switch (opt) {
    case 'd':
        in->dir = optarg;
        return 0;
    case 'h':
        if (in->conf.hosts.n == HOSTS_MAX)
            return fl_cli_usage("init", "at most %d --host", HOSTS_MAX);
        in->hosts[in->conf.hosts.n++] = optarg;
        return 0;
    case 'p':
        in->conf.port.set = true;
        if (number(optarg, 65535, &in->conf.port.v) < 0)
            return fl_cli_usage("init", "--port %s: not a port", optarg);
        return 0;
    case 'b':
        in->conf.bind = optarg;
        if (!fl_conf_is_address(optarg))
            return fl_cli_usage("init", "--bind %s: not an IPv4 or IPv6 address", optarg);
        return 0;
    case 'a':
        in->conf.account = optarg;
        if (!fl_pattern_match(NULL, "[0-9]{12}", optarg))
            return fl_cli_usage("init", "--account %s: must be 12 digits", optarg);
        return 0;
    case 'r':
        in->conf.region = optarg;
        if (!fl_pattern_match(NULL, "[A-Za-z0-9-]{1,100}", optarg))
            return fl_cli_usage("init", "--region %s: letters, digits and - only", optarg);
        return 0;
    case 'u':
        in->admin = optarg;
        return 0;
    case 'j':
        in->json = true;
        return 0;
    default:
        return 2;
    }
}

static const struct option options[] = {
    { "data", required_argument, NULL, 'd' },    { "host", required_argument, NULL, 'h' },
    { "port", required_argument, NULL, 'p' },    { "bind", required_argument, NULL, 'b' },
    { "account", required_argument, NULL, 'a' }, { "region", required_argument, NULL, 'r' },
    { "admin", required_argument, NULL, 'u' },   { "json", no_argument, NULL, 'j' },
    { "help", no_argument, NULL, '?' + 256 },    { 0 },
};

/* ---- making ---- */

static char *random_account(struct fl_arena *arena)
{
    char digits[13];

    digits[0] = (char)('1' + fl_random_between(0, 8));
    for (int i = 1; i < 12; i++)
        digits[i] = (char)('0' + fl_random_between(0, 9));
    digits[12] = '\0';
    return fl_arena_strdup(arena, digits);
}

static int fill_conf(struct init *in)
{
    struct fl_conf *c = &in->conf;

    c->hosts.v = in->hosts;
    if (!c->account)
        c->account = random_account(&in->arena);
    if (!c->region)
        c->region = fl_arena_strdup(&in->arena, "local");
    if (!c->bind)
        c->bind = fl_arena_strdup(&in->arena, c->hosts.n ? "0.0.0.0" : "127.0.0.1");
    c->public_host = c->hosts.n ? c->hosts.v[0] : fl_arena_strdup(&in->arena, "127.0.0.1");
    if (!c->port.set)
        c->port = (struct fl_opt_int){ .set = true, .v = 8443 };
    return c->account && c->region && c->bind && c->public_host ? 0 : fl_err_nomem(in->err);
}

static int check_fresh(struct init *in)
{
    for (size_t i = FL_ARRAY_LEN(made); i-- > 0;) {
        const char *path = fl_data_path(&in->arena, in->dir, made[i]);
        struct stat st;

        if (!path)
            return fl_err_nomem(in->err);
        if (lstat(path, &st) == 0)
            return fl_err_set(
                in->err, -EEXIST, NULL,
                strcmp(made[i], FL_DATA_CONF) == 0
                    ? "%s holds a control plane already; nothing was changed"
                    : "%s holds what an interrupted \"init\" left: remove that folder, "
                      "then run \"init\" again",
                in->dir);
    }
    return 0;
}

static int make_keys(struct init *in)
{
    uint8_t parameter_key[FL_SEAL_KEY_BYTES];
    int r = fl_data_key_make(in->dir, FL_DATA_SEAL, in->seal_key, in->err);

    if (r == 0)
        r = fl_data_key_make(in->dir, FL_DATA_PARAMETER_KEY, parameter_key, in->err);
    fl_wipe(parameter_key, sizeof(parameter_key));
    return r;
}

static int make_pki(struct init *in)
{
    const char *dir = fl_data_path(&in->arena, in->dir, FL_DATA_PKI);
    char id[9];
    const char *name;

    fl_random_hex(id, 8);
    name = fl_arena_printf(&in->arena, "fairlead CA %s-%s", in->conf.account, id);
    if (!dir || !name)
        return fl_err_nomem(in->err);
    return fl_pki_create(dir, name, &in->conf.hosts, in->err);
}

static int admin_job(struct fl_tx *tx, void *arg)
{
    struct init *in = arg;
    const struct fl_iam iam = { .tx = tx, .account = in->conf.account, .now_ms = fl_now_ms() };
    int r = fl_iam_user_add(&iam, in->admin, in->err);

    if (r >= 0)
        r = fl_iam_policy_put(&iam, ADMIN_POLICY, admin_document, in->err);
    if (r >= 0)
        r = fl_iam_attach(&iam, ADMIN_POLICY, "user", in->admin, in->err);
    if (r >= 0)
        r = fl_iam_key_create(&iam, in->seal_key, in->admin, in->key_id, in->secret, in->err);
    return r;
}

static int make_store(struct init *in)
{
    const char *dir = fl_data_path(&in->arena, in->dir, "db");
    const struct fl_store_conf conf = { .path = fl_data_path(&in->arena, in->dir, FL_DATA_DB),
                                        .readers = 1 };
    struct fl_store *store = NULL;
    int r = dir && conf.path ? fl_dir_make(dir, 0700, in->err) : fl_err_nomem(in->err);

    if (r >= 0)
        r = fl_store_open(&conf, true, &store, in->err);
    if (r >= 0)
        r = fl_store_run(store, FL_LANE_WRITE, admin_job, in);
    fl_store_free(store);
    return r;
}

static int make_credentials(struct init *in)
{
    const char *path = fl_data_path(&in->arena, in->dir, FL_DATA_CREDENTIALS);
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "# access key of %s on account %s; region: %s\n"
                     "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n",
                     in->admin, in->conf.account, in->conf.region, in->key_id, in->secret);
    int r = path && n < (int)sizeof(text) ? fl_file_replace(path, 0600, text, (size_t)n, in->err)
                                          : fl_err_nomem(in->err);

    fl_wipe(text, sizeof(text));
    return r;
}

static int make_conf(struct init *in)
{
    const char *path = fl_data_path(&in->arena, in->dir, FL_DATA_CONF);
    fl_autobuf struct fl_buf text = { 0 };
    struct fl_conf check;
    int r;

    fl_buf_init(&text, FL_CONF_MAX_BYTES);
    r = path ? fl_json_encode(&fl_conf_shape, &in->conf, &text) : -ENOMEM;
    if (r >= 0)
        r = fl_buf_puts(&text, "\n");
    if (r < 0)
        return fl_err_set(in->err, r, NULL, "cannot write the settings");
    r = fl_conf_parse(text.data, text.len, &in->arena, &check, in->err);
    return r < 0 ? r : fl_file_replace(path, 0600, text.data, text.len, in->err);
}

static void undo(struct init *in)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(made); i++) {
        const char *path = fl_data_path(&in->arena, in->dir, made[i]);

        if (path && unlink(path) < 0 && (errno == EISDIR || errno == EPERM))
            fl_dir_remove(path, NULL);
    }
}

static int make_all(struct init *in)
{
    static int (*const steps[])(struct init * in) = {
        make_keys, make_pki, make_store, make_credentials, make_conf,
    };
    int r = fill_conf(in);

    if (r >= 0)
        r = check_fresh(in);
    if (r >= 0)
        r = fl_dir_make(in->dir, 0700, in->err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < FL_ARRAY_LEN(steps); i++) {
        r = steps[i](in);
        if (r < 0) {
            undo(in);
            return r;
        }
    }
    return 0;
}

/* ---- the result ---- */

struct result {
    const char *data_dir, *account, *region, *host, *ca, *credentials, *user, *key_id, *secret;
    int32_t port;
};
#define F(member, key) FL_FIELD(struct result, member, key, FL_ALWAYS)
static const struct fl_field result_fields[] = {
    F(data_dir, "DataDir"),
    F(account, "Account"),
    F(region, "Region"),
    F(host, "Host"),
    F(port, "Port"),
    F(ca, "CaFile"),
    F(credentials, "CredentialsFile"),
    F(user, "UserName"),
    F(key_id, "AccessKeyId"),
    F(secret, "SecretAccessKey"),
};
#undef F
static const struct fl_shape result_shape = FL_SHAPE(struct result, "Init", result_fields);

static int print_json(struct init *in)
{
    const struct result res = {
        .data_dir = in->dir,
        .account = in->conf.account,
        .region = in->conf.region,
        .host = in->conf.public_host,
        .port = (int32_t)in->conf.port.v,
        .ca = fl_data_path(&in->arena, in->dir, FL_DATA_CA),
        .credentials = fl_data_path(&in->arena, in->dir, FL_DATA_CREDENTIALS),
        .user = in->admin,
        .key_id = in->key_id,
        .secret = in->secret,
    };
    fl_autobuf struct fl_buf out = { 0 };

    fl_buf_init(&out, 16384);
    if (fl_json_encode(&result_shape, &res, &out) < 0)
        return 1;
    printf("%s\n", out.data);
    fl_wipe(out.data, out.len);
    return 0;
}

static int print_text(struct init *in)
{
    printf("A new control plane is ready in %s\n\n"
           "  account            %s\n"
           "  region             %s\n"
           "  listens on         %s port %d\n"
           "  CA certificate     %s/" FL_DATA_CA "\n"
           "  administrator      %s\n"
           "  access key id      %s\n"
           "  secret access key  %s\n\n"
           "The key also stands in %s/" FL_DATA_CREDENTIALS " and is not shown again.\n"
           "Start it: fairlead-server run --data %s\n",
           in->dir, in->conf.account, in->conf.region, in->conf.bind, (int)in->conf.port.v, in->dir,
           in->admin, in->key_id, in->secret, in->dir, in->dir);
    return 0;
}

static int run_init(struct init *in)
{
    struct fl_err err = { 0 };
    fl_autofree char *dir = NULL;

    in->err = &err;
    if (fl_data_dir(in->dir, &dir, &err) < 0)
        return fl_cli_fail(&err);
    in->dir = dir;
    if (make_all(in) < 0)
        return fl_cli_fail(&err);
    return in->json ? print_json(in) : print_text(in);
}

int fl_cmd_init(int argc, char **argv)
{
    struct init in = { .admin = "admin" };
    int opt, code = 0;

    fl_arena_init(&in.arena, 1024 * 1024);
    while (code == 0 && (opt = fl_cli_option("init", argc, argv, options)) != -1) {
        if (opt == '?' + 256) {
            fputs(usage, stdout);
            fl_arena_done(&in.arena);
            return 0;
        }
        code = option(&in, opt);
    }
    if (code == 0 && optind < argc)
        code = fl_cli_usage("init", "unexpected argument \"%s\"", argv[optind]);
    if (code == 0)
        code = run_init(&in);
    fl_wipe(in.secret, sizeof(in.secret));
    fl_wipe(in.seal_key, sizeof(in.seal_key));
    fl_arena_done(&in.arena);
    return code;
}
