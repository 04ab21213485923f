/* register.c - `fairlead-agent -register`: makes this machine a managed node (protocol 1 §1.2,
 * §1.3).
 *
 * The key process makes the key and the fingerprint, a fetch process carries the call, and only
 * after the service has said yes are configuration and identity written: a failed registration
 * leaves an older one as it was.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "agent/cli/cli.h"
#include "agent/cli/configedit.h"
#include "agent/cli/regcall.h"
#include "agent/lib/config.h"
#include "agent/lib/fetcher.h"
#include "agent/lib/keyproc.h"
#include "agent/lib/role.h"
#include "agent/lib/text.h"
#include "agent/lib/vault.h"
#include "common/aws/credfile.h"
#include "common/aws/endpoint.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/rand.h"

#define MIN_ID_CHARS    36
#define MIN_CODE_CHARS  20
#define KEY_TIMEOUT_MS  60000 /* a fingerprint takes up to three looks, 5 s apart */
#define CALL_TIMEOUT_MS 60000
#define SDK_RETRIES     3 /* protocol 1 §4.4 */
#define QUICK_TRIES     6
#define SKEW_WARN_MS    (5 * 60000)
#define MAX_BODY_BYTES  65536

enum step { BEGIN, SIGN, CALL, COMMIT };

struct reg {
    const struct fl_cli *cli;
    const struct fl_paths *paths;
    struct fl_arena arena;
    struct fl_agent_config config;
    struct fl_loop *loop;
    struct fl_keyproc *key;
    struct fl_fetcher *fetcher;
    struct fl_fetch_conf fetch_conf;
    struct fl_timer *retry;
    enum step step;
    unsigned tries;
    int status; /* exit status */
    char *code;
    char *url;
    char *body;
    char *ca_file;
    char *node_id;
    struct fl_fetch_header headers[8];
    size_t n_headers;
    struct fl_key_request creds; /* with -role */
};

static void stop(struct reg *g, int status)
{
    g->status = status;
    fl_loop_stop(g->loop);
}

static void complain(struct reg *g, const char *text)
{
    fprintf(stderr, "fairlead-agent: registration failed: %s\n", text);
    stop(g, 1);
}

static void ask_key(struct reg *g, enum step step, const struct fl_key_request *req)
{
    struct fl_err err = { 0 };

    g->step = step;
    if (fl_keyproc_ask(g->key, req, KEY_TIMEOUT_MS, &err) < 0)
        complain(g, fl_err_text(&err));
}

/* ---- the configuration ---- */

/* What moved with the plane's other services still does; a store chosen by hand stays. */
static const char *moves_along(const struct reg *g, const char *endpoint)
{
    const char *before = g->config.ssm_endpoint ? g->config.ssm_endpoint : "";

    return !endpoint || !*endpoint || strcmp(endpoint, before) == 0 ? g->cli->endpoint : NULL;
}

/* Before the call it is only tried out, since a call that succeeds uses up the activation. After
 * it, it goes before the identity, which could not find its control plane without it. */
static int write_config(struct reg *g, bool only_try, struct fl_err *err)
{
    const char *to = g->paths->config;
    const struct fl_config_edit edits[] = {
        { "Ssm", "Endpoint", g->cli->endpoint },
        { "Mgs", "Endpoint", g->cli->endpoint },
        { "S3", "Endpoint", moves_along(g, g->config.s3_endpoint) },
        { "Kms", "Endpoint", moves_along(g, g->config.kms_endpoint) },
        { "Fairlead", "LogsEndpoint", moves_along(g, g->config.logs_endpoint) },
        { "Fairlead", "CaFile", g->ca_file },
    };

    /* The official agent's file is read where ours is missing, but it is not ours to write. */
    if (strncmp(to, "/etc/amazon/", strlen("/etc/amazon/")) == 0)
        to = "/etc/fairlead/agent.json";
    return fl_config_edit(g->paths->config, to, edits, FL_ARRAY_LEN(edits), only_try, err);
}

/* ---- after the call ---- */

static void on_registered(struct reg *g, const char *node_id)
{
    struct fl_err err = { 0 };

    g->node_id = fl_arena_strdup(&g->arena, node_id);
    if (write_config(g, false, &err) < 0) {
        complain(g, fl_err_text(&err));
        return;
    }
    ask_key(g, COMMIT,
            &(struct fl_key_request){ .op = fl_text(FL_KEY_REGISTER_COMMIT),
                                      .node_id = g->node_id,
                                      .region = fl_text(g->cli->region) });
}

static void on_committed(struct reg *g)
{
    printf("Successfully registered the instance with AWS SSM using Managed instance-id: %s\n",
           g->node_id);
    stop(g, 0);
}

/* ---- the call ---- */

static void on_answer(void *arg, const struct fl_fetch_answer *answer);

static void send_call(void *arg)
{
    struct reg *g = arg;
    const struct fl_fetch_call call = {
        .method = fl_text("POST"),
        .url = g->url,
        .headers = g->headers,
        .n_headers = g->n_headers,
        .body = g->body,
        .body_len = strlen(g->body),
        .timeout_ms = CALL_TIMEOUT_MS,
        .max_response_bytes = MAX_BODY_BYTES,
    };

    g->step = CALL;
    g->tries++;
    if (fl_fetcher_call(g->fetcher, &call, NULL, on_answer, g, NULL) < 0)
        complain(g, "out of memory");
}

static void warn_of_skew(int64_t skew_ms)
{
    if (skew_ms < SKEW_WARN_MS && skew_ms > -SKEW_WARN_MS)
        return;
    fprintf(stderr,
            "fairlead-agent: this machine's clock is %lld minutes %s the control plane's; "
            "set it right\n",
            (long long)(((skew_ms < 0 ? -skew_ms : skew_ms) + 30000) / 60000),
            skew_ms > 0 ? "behind" : "ahead of");
}

/* Delay before the next try, or 0 to give up (protocol 1 §4.4). */
static uint32_t retry_delay(const struct reg *g, const struct fl_reg_verdict *v)
{
    uint32_t base;

    if (v->retry_quick && g->tries < QUICK_TRIES) {
        base = 100u << (g->tries - 1);
        return fl_random_between(base * 8 / 10, base * 12 / 10);
    }
    if (v->retry && g->tries <= SDK_RETRIES)
        return fl_random_between(1000, 1499) << (g->tries - 1);
    return 0;
}

static void on_answer(void *arg, const struct fl_fetch_answer *answer)
{
    struct reg *g = arg;
    struct fl_reg_verdict v;
    uint32_t delay;

    if (answer->error == -ECANCELED)
        return;
    fl_reg_judge(answer, g->cli->id, g->url, &g->arena, &v);
    warn_of_skew(v.skew_ms);
    if (v.node_id) {
        on_registered(g, v.node_id);
        return;
    }
    delay = retry_delay(g, &v);
    if (!delay) {
        complain(g, fl_err_text(&v.why));
        return;
    }
    fprintf(stderr, "fairlead-agent: %s; trying again\n", fl_err_text(&v.why));
    fl_timer_start(g->retry, delay);
}

static void on_need_fetch(void *arg)
{
    struct reg *g = arg;
    struct fl_err err = { 0 };
    struct fl_child *child;
    int fd;

    if (fl_role_spawn_fetch(g->loop, g->paths, g->config.net_user, g->fetch_conf.ca_file, NULL,
                            NULL, &child, &fd, &err) < 0) {
        fl_fetcher_refused(g->fetcher, fl_err_text(&err));
        return;
    }
    fl_child_free(child); /* reaps itself */
    fl_fetcher_attach(g->fetcher, fd);
}

/* ---- before the call ---- */

static void add_header(struct reg *g, const char *name, const char *value)
{
    g->headers[g->n_headers++] =
        (struct fl_fetch_header){ fl_text(name), fl_arena_strdup(&g->arena, value) };
}

static int make_body(struct reg *g, const struct fl_key_answer *a, struct fl_err *err)
{
    fl_autobuf struct fl_buf b = FL_BUF(MAX_BODY_BYTES);
    const struct fl_cli *cli = g->cli;
    char rsa[] = "Rsa";
    struct fl_reg_body body = { .fingerprint = a->fingerprint,
                                .public_key = a->public_key,
                                .public_key_type = rsa };
    int r = 0;

    if (cli->role) {
        body.iam_role = fl_text(cli->role);
        if (cli->tags)
            r = fl_reg_tags(cli->tags, &g->arena, &body.tags, &body.n_tags, err);
    } else {
        body.id = fl_text(cli->id);
        body.code = g->code;
    }
    if (r == 0)
        r = fl_json_encode(&fl_shape_reg_body, &body, &b);
    if (r < 0)
        return r;
    g->body = fl_arena_strdup(&g->arena, b.data);
    return g->body ? 0 : fl_err_nomem(err);
}

static void on_begun(struct reg *g, const struct fl_key_answer *a)
{
    struct fl_err err = { 0 };

    if (make_body(g, a, &err) < 0) {
        complain(g, fl_err_text(&err));
        return;
    }
    add_header(g, "Content-Type", "application/x-amz-json-1.1");
    add_header(g, "X-Amz-Target", "AmazonSSM.RegisterManagedInstance");
    if (!g->cli->role) {
        send_call(g);
        return;
    }
    g->creds.op = fl_text(FL_KEY_REGISTER_SIGN);
    g->creds.url = g->url;
    g->creds.region = fl_text(g->cli->region);
    g->creds.body = g->body;
    g->creds.time_ms = fl_now_ms();
    ask_key(g, SIGN, &g->creds);
}

static void on_signed(struct reg *g, const struct fl_key_answer *a)
{
    add_header(g, "Host", a->host);
    add_header(g, "X-Amz-Date", a->amz_date);
    add_header(g, "Authorization", a->authorization);
    if (g->creds.session_token)
        add_header(g, "X-Amz-Security-Token", g->creds.session_token);
    send_call(g);
}

static void on_key_answer(void *arg, const struct fl_key_answer *answer, const char *why)
{
    struct reg *g = arg;

    if (!answer || answer->error) {
        complain(g, answer ? answer->error : why);
        return;
    }
    switch (g->step) {
    case BEGIN:
        on_begun(g, answer);
        break;
    case SIGN:
        on_signed(g, answer);
        break;
    case COMMIT:
        on_committed(g);
        break;
    case CALL:
        complain(g, "fairlead-agent-key spoke without being asked");
        break;
    }
}

/* ---- input ---- */

static char *first_line(struct fl_arena *arena, const char *text)
{
    text += strspn(text, " \t");
    return fl_arena_memdup(arena, text, strcspn(text, " \t\r\n"));
}

static int read_code(struct reg *g, struct fl_err *err)
{
    const struct fl_cli *cli = g->cli;
    char line[512];

    if (cli->code_file) {
        fl_autofree char *text = NULL;
        int r = fl_file_read(cli->code_file, 4096, &text, NULL, err);

        if (r < 0)
            return r;
        g->code = first_line(&g->arena, text);
    } else if (strcmp(cli->code, "-") == 0) {
        if (!fgets(line, sizeof(line), stdin))
            return fl_err_set(err, -EINVAL, NULL, "-code -: no code on standard input");
        g->code = first_line(&g->arena, line);
        explicit_bzero(line, sizeof(line));
    } else {
        g->code = fl_arena_strdup(&g->arena, cli->code);
        /* Out of the process list, as far as that is still possible. */
        explicit_bzero(fl_text(cli->code), strlen(cli->code));
    }
    if (!g->code)
        return fl_err_nomem(err);
    if (strlen(g->code) < MIN_CODE_CHARS)
        return fl_err_set(err, -EINVAL, NULL, "an activation code has at least %d characters",
                          MIN_CODE_CHARS);
    if (strlen(cli->id) < MIN_ID_CHARS)
        return fl_err_set(err, -EINVAL, NULL, "\"%s\": an activation id has %d characters", cli->id,
                          MIN_ID_CHARS);
    return 0;
}

/* Credentials of the machine's own for -role: the environment, else the shared file. */
static int read_credentials(struct reg *g, struct fl_err *err)
{
    const char *profile = getenv("AWS_PROFILE");
    const char *path = getenv("AWS_SHARED_CREDENTIALS_FILE");
    const char *home = getenv("HOME");
    fl_autofree char *text = NULL;
    fl_autofree char *found = NULL;
    const struct {
        const char *variable, *key;
        char **member;
    } parts[] = {
        { "AWS_ACCESS_KEY_ID", "aws_access_key_id", &g->creds.access_key_id },
        { "AWS_SECRET_ACCESS_KEY", "aws_secret_access_key", &g->creds.secret_access_key },
        { "AWS_SESSION_TOKEN", "aws_session_token", &g->creds.session_token },
    };
    bool from_env = getenv("AWS_ACCESS_KEY_ID") && getenv("AWS_SECRET_ACCESS_KEY");

    if (!path)
        path = fl_arena_printf(&g->arena, "%s/.aws/credentials", home ? home : "");
    if (!from_env && path)
        fl_file_read(path, 1 << 20, &text, NULL, NULL);
    for (size_t i = 0; i < FL_ARRAY_LEN(parts); i++) {
        if (from_env) {
            *parts[i].member = fl_arena_strdup(&g->arena, getenv(parts[i].variable));
        } else if (text && fl_credfile_get(text, profile ? profile : "default", parts[i].key,
                                           &found) == 0) {
            *parts[i].member = fl_arena_strdup(&g->arena, found);
            free(FL_TAKE(found));
        }
    }
    if (g->creds.access_key_id && g->creds.secret_access_key)
        return 0;
    return fl_err_set(
        err, -ENOENT, NULL,
        "-role needs AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "profile %s in %s",
        profile ? profile : "default", path ? path : "~/.aws/credentials");
}

/* 0: go on. The official agent's question and its rules for answers. */
static int confirm(struct reg *g, struct fl_err *err)
{
    struct fl_registration old;
    char line[64];
    int r = fl_vault_load(g->paths->state, false, &g->arena, &old, err);

    if (g->cli->yes || (r == 0 && !old.node_id))
        return 0; /* -y also replaces a record that cannot be read */
    if (r < 0)
        return r;
    if (g->cli->code && strcmp(g->cli->code, "-") == 0)
        return fl_err_set(err, -EEXIST, NULL,
                          "this machine is registered as %s: add -y to register it again",
                          old.node_id);
    printf("This machine is registered as %s. Registering again gives it a new id.\n"
           "Go on? [Yes/No]: ",
           old.node_id);
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y'))
        return 0;
    return fl_err_set(err, -ECANCELED, NULL, "cancelled; %s stays", old.node_id);
}

static int prepare(struct reg *g, struct fl_err *err)
{
    const struct fl_cli *cli = g->cli;
    char resolved[PATH_MAX];
    int r;

    if (!fl_region_valid(cli->region))
        return fl_err_set(err, -EINVAL, NULL, "\"%.100s\" is not a region", cli->region);
    r = fl_agent_config_load(g->paths->config, &g->arena, &g->config, err);
    if (r < 0)
        return r;
    if (cli->ca_file) {
        if (!realpath(cli->ca_file, resolved))
            return fl_err_set(err, -errno, NULL, "%s: %s", cli->ca_file, strerror(errno));
        g->ca_file = fl_arena_strdup(&g->arena, resolved);
    }
    g->fetch_conf = (struct fl_fetch_conf){
        .ca_file = g->ca_file ? g->ca_file : g->config.ca_file,
        .proxy_http = g->config.proxy_http,
        .proxy_https = g->config.proxy_https,
        .no_proxy = g->config.no_proxy,
        .user_agent = fl_arena_printf(&g->arena, "%s/%s", g->config.agent_name, FL_VERSION),
        .idle_ms = 10000,
    };
    r = fl_endpoint_url("ssm", cli->region, g->config.service_domain,
                        cli->endpoint ? cli->endpoint : g->config.ssm_endpoint, &g->url, err);
    if (r == 0)
        r = write_config(g, true, err);
    if (r == 0)
        r = confirm(g, err);
    if (r == 0)
        r = cli->role ? read_credentials(g, err) : read_code(g, err);
    return r;
}

static int start(struct reg *g, struct fl_err *err)
{
    int r = fl_loop_new(&g->loop);

    if (r == 0)
        r = fl_fetcher_new(g->loop, &g->fetch_conf, on_need_fetch, g, &g->fetcher);
    if (r == 0) {
        g->retry = fl_timer_new(g->loop, send_call, g);
        r = g->retry ? fl_keyproc_new(g->loop, g->paths, on_key_answer, g, &g->key, err) : -ENOMEM;
    }
    return r < 0 && err->code == 0 ? fl_err_set(err, r, NULL, "%s", strerror(-r)) : r;
}

int fl_cli_register(const struct fl_cli *cli, const struct fl_paths *paths)
{
    struct reg g = { .cli = cli, .paths = paths, .status = 1 };
    struct fl_err err = { 0 };
    int r;

    fl_arena_init(&g.arena, 4 << 20);
    r = prepare(&g, &err);
    if (r == 0)
        r = start(&g, &err);
    if (r == 0) {
        ask_key(&g, BEGIN,
                &(struct fl_key_request){ .op = fl_text(FL_KEY_REGISTER_BEGIN),
                                          .disable_similarity = cli->disable_similarity });
        fl_loop_run(g.loop);
    } else {
        fprintf(stderr, "fairlead-agent: %s\n", fl_err_text(&err));
    }
    fl_keyproc_free(g.key);
    fl_fetcher_free(g.fetcher);
    fl_timer_free(g.retry);
    fl_loop_free(g.loop);
    free(g.url);
    if (g.code)
        explicit_bzero(g.code, strlen(g.code));
    fl_arena_done(&g.arena);
    return g.status;
}
