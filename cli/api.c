/* api.c - signed calls on one loop: started, tried again, waited for. */
#include <errno.h>
#include <string.h>
#include "cli/cli.h"
#include "cli/term.h"
#include "common/aws/endpoint.h"
#include "common/aws/sigv4.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/rand.h"
#include "common/codec/xml.h"
#include "common/net/http.h"
#include "common/net/ws.h"

#define MAX_BODY_BYTES     (2 << 20)
#define MAX_RESPONSE_BYTES (16 << 20)
#define MAX_HEADERS        8
#define SILENT_MS          2000 /* so long a call may take before progress is shown */
#define PROGRESS_MS        1000

/* The retry quota of the SDKs' standard mode: a process that meets nothing but errors soon stops
 * trying things twice. */
#define QUOTA         500
#define QUOTA_RETRY   5
#define QUOTA_TIMEOUT 10

struct fl_wire {
    struct fl_loop *loop;
    struct fl_http *http;
    struct fl_ws_client *ws; /* NULL until it is asked for */
    struct fl_proxy_conf proxy;
    int quota;
};

struct api_error {
    char *type;
    char *code;
    char *message;
};
static const struct fl_field api_error_fields[] = {
    FL_FIELD(struct api_error, type, "__type", 0),
    FL_FIELD(struct api_error, code, "code", 0),
    FL_FIELD(struct api_error, message, "message", 0),
};
static const struct fl_shape api_error_shape =
    FL_SHAPE(struct api_error, "error", api_error_fields);

/* Names that commands ask for; err->name points here. */
static const char *const names[] = {
    "InvocationDoesNotExist", "InvalidDocument",           "InvalidCommandId",
    "ParameterNotFound",      "InvalidPluginName",         "UnrecognizedClientException",
    "ParameterAlreadyExists", "InvalidSignatureException", "DoesNotExistException",
    "ValidationException",
};

/* A name by which services say "later" (standard mode of AWS's SDKs). */
static const char *const throttles[] = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalError",
};

enum service { SSM, STS, OWN, KMS };
#define JSON            "application/x-amz-json-1.1"
#define FORM            "application/x-www-form-urlencoded; charset=utf-8"
#define ENDPOINT(which) offsetof(struct fl_cli, which)
static const struct {
    const char *name, *type;
    size_t endpoint;
    const char *prefix; /* of its operations, dot included; NULL: none is named so */
} services[] = {
    [SSM] = { "ssm", JSON, ENDPOINT(endpoint), NULL },
    [STS] = { "sts", FORM, ENDPOINT(sts_endpoint), NULL },
    [OWN] = { "fairlead", JSON, ENDPOINT(endpoint), "Fairlead." }, /* the plane's own */
    [KMS] = { "kms", JSON, ENDPOINT(kms_endpoint), "TrentService." },
};

struct call {
    struct fl_cli *cli;
    enum service service;
    char target[128]; /* "" for sts */
    const struct fl_keys *keys;
    char *body;
    bool once;
    unsigned attempts;
    int held; /* of the quota, by the last retry */
    struct fl_backoff backoff;
    struct fl_timer *timer;
    fl_api_fn fn;
    void *arg;
};

static void send_call(void *arg);

/* ---- the loop ---- */

static void wire_free(struct fl_wire *w)
{
    if (!w)
        return;
    fl_ws_client_free(w->ws);
    fl_http_free(w->http);
    fl_loop_free(w->loop);
    fl_proxy_conf_done(&w->proxy);
    free(w);
}

static int wire_new(struct fl_cli *cli, struct fl_err *err)
{
    struct fl_http_conf conf = { .ca_file = cli->ca_file, .user_agent = "fairlead/" FL_VERSION };
    struct fl_wire *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    w->quota = QUOTA;
    conf.proxy = &w->proxy;
    r = fl_proxy_from_env(&w->proxy);
    if (r == 0)
        r = fl_loop_new(&w->loop);
    if (r == 0)
        r = fl_http_new(w->loop, &conf, &w->http, err);
    if (r < 0) {
        wire_free(w);
        return r;
    }
    cli->wire = w;
    return 0;
}

struct fl_loop *fl_cli_loop(struct fl_cli *cli, struct fl_err *err)
{
    int r = cli->wire ? 0 : wire_new(cli, err);

    if (r < 0 && err && !err->code)
        fl_err_set(err, r, NULL, "%s", strerror(-r));
    return r < 0 ? NULL : cli->wire->loop;
}

struct fl_ws_client *fl_cli_ws(struct fl_cli *cli, struct fl_err *err)
{
    struct fl_wire *w = fl_cli_loop(cli, err) ? cli->wire : NULL;
    const struct fl_ws_client_conf conf = { cli->ca_file, w ? &w->proxy : NULL };
    int r;

    if (!w || w->ws)
        return w ? w->ws : NULL;
    r = fl_ws_client_new(w->loop, &conf, &w->ws, err);
    if (r < 0 && err && !err->code)
        fl_err_set(err, r, NULL, "%s", strerror(-r));
    return w->ws;
}

static void stop_loop(void *arg)
{
    fl_loop_stop(arg);
}

int fl_cli_wait(struct fl_cli *cli, const bool *done, uint32_t ms)
{
    struct fl_loop *loop = cli->wire->loop;
    int64_t end = fl_mono_ms() + ms;
    struct fl_timer *timer = fl_timer_new(loop, stop_loop, loop);

    if (!timer)
        return -ENOMEM;
    while (!(done && *done)) {
        int64_t left = end - fl_mono_ms();

        if (ms && left <= 0)
            break;
        if (ms)
            fl_timer_start(timer, (uint64_t)left);
        fl_loop_run(loop);
    }
    fl_timer_free(timer);
    return 0;
}

/* ---- what an answer means ---- */

static bool listed(const char *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], name) == 0)
            return true;
    return false;
}

static int set_refusal(const char *name, const char *message, struct fl_err *err)
{
    const char *known = NULL;

    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            known = names[i];
    return fl_err_set(err, -EREMOTEIO, known, "%s: %s", name, message ? message : "(no message)");
}

static int xml_text(const char *xml, const char *element, char **ret_text)
{
    struct fl_buf out = FL_BUF(4096);
    int r = fl_xml_find_text(xml, strlen(xml), element, &out);

    if (r == 0)
        *ret_text = fl_buf_take(&out, NULL);
    fl_buf_done(&out);
    return r;
}

/* The error that an answer other than 200 holds; *ret_throttled if its name asks to come later. */
static int refusal(enum service service, int status, const char *body, bool *ret_throttled,
                   struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    fl_autofree char *code = NULL;
    fl_autofree char *message = NULL;
    struct api_error e = { 0 };
    const char *name;

    if (service == STS) {
        xml_text(body, "Code", &code);
        xml_text(body, "Message", &message);
        e = (struct api_error){ .type = code, .message = message };
    } else {
        fl_json_decode(&api_error_shape, body, strlen(body), FL_DECODE_NOCASE, &arena, &e, NULL);
    }
    name = e.type ? e.type : e.code;
    if (!name || !*name)
        return fl_err_set(err, -EREMOTEIO, NULL, "the endpoint answered HTTP %d", status);
    if (strrchr(name, '#'))
        name = strrchr(name, '#') + 1;
    *ret_throttled = listed(throttles, FL_ARRAY_LEN(throttles), name);
    return set_refusal(name, e.message, err);
}

bool fl_api_refused(int r, const struct fl_err *err, const char *name)
{
    return r == -EREMOTEIO && err->name && strcmp(err->name, name) == 0;
}

/* ---- trying again ---- */

static void finish(struct call *c, int r, const char *text, const struct fl_err *err)
{
    fl_timer_free(c->timer);
    c->fn(c->arg, r, text, err);
    fl_free_secret(c->body, strlen(c->body));
    free(c);
}

/* It was sent, and nobody knows what became of it. */
static bool is_unclear(int r, const struct fl_err *err)
{
    return r == -ETIMEDOUT || r == -EIO ||
           (r == -EPROTO && err->name && strcmp(err->name, FL_HTTP_CLOSED) == 0);
}

/* May it be tried again, and what does that cost of the quota? 0: no. */
static int retry_cost(const struct call *c, int r, const struct fl_err *err, int status,
                      bool throttled)
{
    static const int later[] = { 500, 502, 503, 504, 429 };

    if (r == -ECONNREFUSED || r == -EHOSTUNREACH)
        return QUOTA_RETRY; /* it never arrived */
    if (is_unclear(r, err))
        return c->once ? 0 : QUOTA_TIMEOUT;
    if (r != -EREMOTEIO)
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(later); i++)
        throttled |= later[i] == status;
    return throttled ? QUOTA_RETRY : 0;
}

static bool try_again(struct call *c, int cost)
{
    struct fl_wire *w = c->cli->wire;

    if (!cost || c->attempts >= c->cli->max_attempts || w->quota < cost)
        return false;
    w->quota -= cost;
    c->held = cost;
    fl_timer_start(c->timer, fl_backoff_next_ms(&c->backoff, fl_random_u32()));
    return true;
}

static void on_answer(void *arg, int r, const struct fl_http_response *resp,
                      const struct fl_err *http_err)
{
    struct call *c = arg;
    struct fl_err err = { 0 };
    bool throttled = false;
    int status = resp->status;

    if (r < 0)
        err = *http_err;
    else if (status != 200)
        r = refusal(c->service, status, resp->body, &throttled, &err);
    else if (memchr(resp->body, '\0', resp->body_len))
        r = fl_err_set(&err, -EBADMSG, NULL, "the answer holds a NUL");
    if (r == 0) {
        c->cli->wire->quota = FL_MIN(QUOTA, c->cli->wire->quota + FL_MAX(c->held, 1));
        finish(c, 0, resp->body, NULL);
        return;
    }
    if (!try_again(c, retry_cost(c, r, &err, status, throttled))) {
        if (c->once && is_unclear(r, &err))
            fl_err_set(&err, r, NULL, "%s: whether it was taken is not known",
                       fl_err_text(http_err));
        finish(c, r, NULL, &err);
    }
}

/* ---- one attempt ---- */

static const char *endpoint_of(const struct call *c)
{
    return *(char *const *)((const char *)c->cli + services[c->service].endpoint);
}

static int begin(struct call *c, struct fl_err *err)
{
    const char *endpoint = endpoint_of(c);
    const struct fl_aws_creds creds = { c->keys->access_key_id, c->keys->secret_access_key,
                                        c->keys->session_token };
    char host[300], date[FL_COMPACT_BYTES], hash[FL_SHA256_HEX_BYTES];
    struct fl_http_header headers[MAX_HEADERS];
    fl_autofree char *authorization = NULL;
    fl_autofree char *url = NULL;
    size_t n = 0;
    int r;

    r = fl_url_authority(endpoint, false, host, sizeof(host));
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: not an endpoint URL", endpoint);
    fl_time_compact(fl_now_ms(), date);
    fl_sha256_hex(c->body, strlen(c->body), hash);
    headers[n++] = (struct fl_http_header){ "host", host };
    headers[n++] = (struct fl_http_header){ "content-type", services[c->service].type };
    headers[n++] = (struct fl_http_header){ "x-amz-date", date };
    if (c->target[0])
        headers[n++] = (struct fl_http_header){ "x-amz-target", c->target };
    if (creds.session_token)
        headers[n++] = (struct fl_http_header){ "x-amz-security-token", creds.session_token };

    struct fl_sigv4_request sign = { .method = "POST",
                                     .path = "/",
                                     .query = "",
                                     .headers = headers,
                                     .n_headers = n,
                                     .body_sha256 = hash,
                                     .service = services[c->service].name };
    r = fl_sigv4_sign(&sign, &creds, c->cli->region, date, &authorization, err);
    if (r < 0)
        return r;
    headers[n++] = (struct fl_http_header){ "authorization", authorization };

    url = fl_path_join(endpoint, "");
    if (!url)
        return -ENOMEM;
    struct fl_http_request req = { .method = "POST",
                                   .url = url,
                                   .headers = headers,
                                   .n_headers = n,
                                   .body = c->body,
                                   .body_len = strlen(c->body),
                                   .timeout_ms = c->cli->timeout_ms,
                                   .max_response_bytes = MAX_RESPONSE_BYTES,
                                   .once = c->once };
    return fl_http_start(c->cli->wire->http, &req, on_answer, c, NULL, err);
}

static void send_call(void *arg)
{
    struct call *c = arg;
    struct fl_err err = { 0 };
    int r;

    c->attempts++;
    r = begin(c, &err);
    if (r < 0) {
        if (!err.code)
            fl_err_set(&err, r, NULL, "%s", strerror(-r));
        finish(c, r, NULL, &err);
    }
}

static int start(struct fl_cli *cli, enum service service, const struct fl_keys *keys,
                 const char *operation, bool once, const char *body, fl_api_fn fn, void *arg,
                 struct fl_err *err)
{
    struct call *c;

    if (!fl_cli_loop(cli, err))
        return err ? err->code : -ENOMEM;
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (struct call){ .cli = cli,
                        .service = service,
                        .keys = keys,
                        .once = once,
                        .backoff = { .base_ms = 1000, .cap_ms = 20000 },
                        .fn = fn,
                        .arg = arg };
    for (size_t i = 0; operation && i < FL_ARRAY_LEN(services); i++)
        if (services[i].prefix &&
            strncmp(operation, services[i].prefix, strlen(services[i].prefix)) == 0)
            c->service = (enum service)i;
    if (operation)
        snprintf(c->target, sizeof(c->target), "%s%s", c->service == SSM ? "AmazonSSM." : "",
                 operation);
    c->body = strdup(body);
    c->timer = fl_timer_new(cli->wire->loop, send_call, c);
    if (!c->body || !c->timer) {
        fl_timer_free(c->timer);
        free(c->body);
        free(c);
        return fl_err_nomem(err);
    }
    fl_timer_start(c->timer, 0); /* so that no callback runs before this returns */
    return 0;
}

int fl_api_start(struct fl_cli *cli, const struct fl_op *op, const void *in, fl_api_fn fn,
                 void *arg, struct fl_err *err)
{
    struct fl_buf body = FL_BUF(MAX_BODY_BYTES);
    int r = fl_json_encode(op->in, in, &body);

    if (r < 0)
        fl_err_set(err, r, NULL, "%s: %s", op->name, strerror(-r));
    else
        r = start(cli, SSM, &cli->keys, op->name, op->once, body.data, fn, arg, err);
    if (body.data)
        fl_wipe(body.data, body.len);
    fl_buf_done(&body);
    return r;
}

/* ---- waiting ---- */

struct wait {
    struct fl_loop *loop;
    bool done;
    int r;
    char *text;
    struct fl_err *err;
};

static void on_end(void *arg, int r, const char *text, const struct fl_err *err)
{
    struct wait *w = arg;

    w->done = true;
    w->r = r;
    if (r < 0 && w->err)
        *w->err = *err;
    if (r == 0) {
        w->text = strdup(text);
        if (!w->text)
            w->r = fl_err_nomem(w->err);
    }
    fl_loop_stop(w->loop);
}

/* What lasts is told on a terminal, and what was told is taken away. */
static void wait_for(struct fl_cli *cli, struct wait *w)
{
    int64_t begin_ms = fl_mono_ms();
    char host[300] = "";

    fl_cli_wait(cli, &w->done, fl_progress_on() ? SILENT_MS : 0);
    if (w->done)
        return;
    fl_url_authority(cli->endpoint, false, host, sizeof(host));
    while (!w->done) {
        fl_progress("waiting for %s, %lld s", host, (long long)(fl_mono_ms() - begin_ms) / 1000);
        fl_cli_wait(cli, &w->done, PROGRESS_MS);
    }
    fl_progress("%s", "");
}

static int call_and_wait(struct fl_cli *cli, enum service service, const struct fl_keys *keys,
                         const char *operation, bool once, const char *body, char **ret_text,
                         struct fl_err *err)
{
    struct wait w = { .err = err };
    int r = start(cli, service, keys, operation, once, body, on_end, &w, err);

    if (r < 0)
        return r;
    w.loop = cli->wire->loop;
    wait_for(cli, &w);
    if (w.r == 0)
        *ret_text = w.text;
    return w.r;
}

int fl_api_text(struct fl_cli *cli, const char *operation, bool once, const char *body,
                char **ret_body, struct fl_err *err)
{
    return call_and_wait(cli, SSM, &cli->keys, operation, once, body, ret_body, err);
}

int fl_api_sts(struct fl_cli *cli, const struct fl_keys *keys, const char *form, char **ret_xml,
               struct fl_err *err)
{
    return call_and_wait(cli, STS, keys, NULL, false, form, ret_xml, err);
}

int fl_api_call(struct fl_cli *cli, const struct fl_op *op, const void *in, struct fl_arena *arena,
                void *out, struct fl_err *err)
{
    struct fl_buf body = FL_BUF(MAX_BODY_BYTES);
    char *answer = NULL;
    int r = fl_json_encode(op->in, in, &body);

    if (r < 0)
        fl_err_set(err, r, NULL, "%s: %s", op->name, strerror(-r));
    else
        r = fl_api_text(cli, op->name, op->once, body.data, &answer, err);
    if (r == 0 && op->out)
        r = fl_json_decode(op->out, answer, strlen(answer), FL_DECODE_LAX, arena, out, err);
    if (body.data)
        fl_wipe(body.data, body.len);
    fl_buf_done(&body);
    if (answer)
        fl_free_secret(answer, strlen(answer));
    return r;
}

void fl_cli_done(struct fl_cli *cli)
{
    wire_free(cli->wire);
    free(cli->profile);
    free(cli->endpoint);
    free(cli->sts_endpoint);
    free(cli->kms_endpoint);
    free(cli->region);
    free(cli->ca_file);
    fl_keys_done(&cli->keys);
    *cli = (struct fl_cli){ 0 };
}
