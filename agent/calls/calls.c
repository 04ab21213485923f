/* calls.c - see calls.h. */
#include "agent/calls/calls.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include "agent/lib/fetcher.h"
#include "agent/lib/ipc_worker.h"
#include "agent/lib/service.h"
#include "agent/lib/text.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/rand.h"

#define DEFAULT_TIMEOUT_MS 60000
#define MAX_HEADERS        32
#define ASK_PAUSE_MS       1000 /* between two requests for a fetch process */
#define OPERATION_TRIES    4
#define OPERATION_BASE_MS  1000
#define OPERATION_CAP_MS   8000
#define MAX_JSON_BYTES     (2u << 20)
#define REPLY_MAX_BYTES    (16u << 20) /* memory an answer decodes into */

struct call {
    LIST_ENTRY(call) entry;
    struct fl_calls *calls;
    uint32_t id, fetch_id; /* fetch_id 0: waits for its next try */
    void *arg;
    fl_step_answer_fn done; /* of a plain call */
    /* of an operation */
    fl_step_reply_fn replied;
    const struct fl_calls_service *service;
    char *target, *body;
    const struct fl_shape *out_shape;
    struct fl_backoff backoff;
    int64_t deadline_ms; /* monotonic */
    struct fl_timer *again;
};

struct fl_calls {
    struct fl_loop *loop;
    fl_calls_need_fn need;
    void *arg;
    struct fl_fetcher *fetcher;
    struct fl_timer *ask;
    bool wanted; /* a fetch process */
    int64_t next_ask_ms;
    uint32_t last_id;
    LIST_HEAD(, call) list;
};

/* What a service that is busy says; 5xx is as good. */
static const char *const throttled[] = {
    "Throttling",           "ThrottlingException",       "ThrottledException",
    "RequestThrottled",     "RequestThrottledException", "TooManyRequestsException",
    "RequestLimitExceeded", "OperationAbortedException", /* two nodes make one log group */
    "RequestTimeout",       "RequestTimeoutException",   "ProvisionedThroughputExceededException",
};

/* Of http.h: the call got no answer, and another might. */
static const int broken_off[] = { -ECONNREFUSED, -EHOSTUNREACH, -EIO, -EPROTO, -ETIMEDOUT };

/* ---- the fetch process ---- */

static void ask(struct fl_calls *c)
{
    int64_t now_ms = fl_mono_ms();

    if (!c->wanted)
        return;
    if (now_ms < c->next_ask_ms) {
        fl_timer_start(c->ask, (uint64_t)(c->next_ask_ms - now_ms));
        return;
    }
    if (c->need(c->arg) == 0)
        c->next_ask_ms = now_ms + ASK_PAUSE_MS;
    else
        fl_fetcher_excuse(c->fetcher, "the agent is not running");
}

static void on_ask(void *arg)
{
    ask(arg);
}

static void on_need(void *arg)
{
    struct fl_calls *c = arg;

    c->wanted = true;
    ask(c);
}

void fl_calls_monitor(struct fl_calls *c)
{
    c->next_ask_ms = 0; /* whatever the one before was asked for went with it */
    ask(c);
}

void fl_calls_take(struct fl_calls *c, const struct fl_ipc_msg *msg)
{
    const struct fl_worker_fetch *in = msg->in;

    if (in->ok && msg->n_fds == 1) {
        c->wanted = false;
        fl_fetcher_attach(c->fetcher, FL_TAKE_FD(msg->fds[0]));
        return;
    }
    fl_fetcher_excuse(c->fetcher, in->error ? in->error : "the agent has no fetch process");
    fl_timer_start(c->ask, ASK_PAUSE_MS);
}

/* ---- calls of both kinds ---- */

static struct call *new_call(struct fl_calls *c, void *arg)
{
    struct call *call = calloc(1, sizeof(*call));

    if (!call)
        return NULL;
    call->calls = c;
    call->arg = arg;
    call->id = ++c->last_id ? c->last_id : ++c->last_id;
    LIST_INSERT_HEAD(&c->list, call, entry);
    return call;
}

static void free_call(struct call *call)
{
    LIST_REMOVE(call, entry);
    fl_timer_free(call->again);
    free(call->target);
    if (call->body)
        explicit_bzero(call->body, strlen(call->body));
    free(call->body);
    free(call);
}

static int start(struct fl_calls *c, const struct fl_step_request *q, fl_fetcher_done_fn done,
                 struct call *call, struct fl_err *err)
{
    const struct fl_step_upload *up = q->upload;
    const struct fl_step_download *down = q->download;
    const struct fl_fetcher_files files = { .body_fd = up ? up->fd : -1,
                                            .to_fd = down ? down->fd : -1 };
    struct fl_fetch_header headers[MAX_HEADERS];
    struct fl_fetch_call out = {
        .method = fl_text(q->method),
        .url = fl_text(q->url),
        .path_query = fl_text(q->path),
        .bucket = fl_text(q->bucket),
        .service = fl_text(q->service),
        .region = fl_text(q->region),
        .headers = headers,
        .n_headers = q->n_headers,
        .body = up ? NULL : fl_text(q->body),
        .body_len = up ? 0 : q->body_len,
        .body_offset = up ? (int64_t)up->offset : 0,
        .body_bytes = up ? (int64_t)up->len : 0,
        .body_sha256 = up ? fl_text(up->sha256) : NULL,
        .to_max_bytes = down ? (int64_t)FL_MIN(down->max_bytes, (uint64_t)INT64_MAX) : 0,
        .auth = (int32_t)q->auth,
        .user = fl_text(q->user),
        .password = fl_text(q->password),
        .max_redirects = q->max_redirects,
        .insecure_redirects = q->insecure_redirects,
        .timeout_ms = q->timeout_ms ? q->timeout_ms : DEFAULT_TIMEOUT_MS,
        .max_response_bytes = (int64_t)q->max_body_bytes,
    };
    int r;

    if (q->n_headers > MAX_HEADERS || !q->method || (!q->url && !q->service))
        return fl_err_set(err, -EINVAL, NULL, "a call without a place to go, or of %zu headers",
                          q->n_headers);
    for (size_t i = 0; i < q->n_headers; i++)
        headers[i] =
            (struct fl_fetch_header){ fl_text(q->headers[i].name), fl_text(q->headers[i].value) };
    r = fl_fetcher_call(c->fetcher, &out, &files, done, call, &call->fetch_id);
    return r < 0 ? fl_err_set(err, r, NULL, "the call cannot be made: %s", strerror(-r)) : 0;
}

void fl_calls_cancel(struct fl_calls *c, uint32_t id)
{
    struct call *call;

    LIST_FOREACH (call, &c->list, entry)
        if (call->id == id) {
            fl_fetcher_cancel(c->fetcher, call->fetch_id);
            free_call(call);
            return;
        }
}

/* ---- plain calls ---- */

static void on_answer(void *arg, const struct fl_fetch_answer *in)
{
    struct call *call = arg;
    fl_step_answer_fn done = call->done;
    void *done_arg = call->arg;
    struct fl_step_header headers[MAX_HEADERS];
    struct fl_step_answer a = {
        .error = in->error,
        .error_text = in->error_text ? in->error_text : strerror(in->error ? -in->error : 0),
        .status = in->status,
        .body = in->body ? in->body : "",
        .body_len = in->body_len,
        .headers = headers,
        .n_headers = FL_MIN(in->n_headers, (size_t)MAX_HEADERS),
        .written = (uint64_t)FL_MAX(in->written, (int64_t)0),
    };

    for (size_t i = 0; i < a.n_headers; i++)
        headers[i] = (struct fl_step_header){ in->headers[i].name, in->headers[i].value };
    snprintf(a.sha256, sizeof(a.sha256), "%s", in->sha256 ? in->sha256 : "");
    free_call(call);
    done(done_arg, &a);
}

int fl_calls_start(struct fl_calls *c, const struct fl_step_request *request,
                   fl_step_answer_fn done, void *arg, uint32_t *ret_id, struct fl_err *err)
{
    struct call *call = new_call(c, arg);
    int r;

    if (!call)
        return fl_err_nomem(err);
    call->done = done;
    r = start(c, request, on_answer, call, err);
    if (r < 0)
        free_call(call);
    else if (ret_id)
        *ret_id = call->id;
    return r;
}

/* ---- operations of JSON services ---- */

static void finish(struct call *call, const struct fl_step_reply *reply)
{
    fl_step_reply_fn replied = call->replied;
    void *arg = call->arg;

    free_call(call);
    replied(arg, reply);
}

static void on_operation_answer(void *arg, const struct fl_fetch_answer *in);

static int try_operation(struct call *call, struct fl_err *err)
{
    const struct fl_step_header headers[] = {
        { "Content-Type", "application/x-amz-json-1.1" },
        { "X-Amz-Target", call->target },
    };
    int64_t left_ms = call->deadline_ms - fl_mono_ms();

    return start(call->calls,
                 &(struct fl_step_request){ .service = call->service->name,
                                            .method = "POST",
                                            .headers = headers,
                                            .n_headers = FL_ARRAY_LEN(headers),
                                            .body = call->body,
                                            .body_len = strlen(call->body),
                                            .max_body_bytes = MAX_JSON_BYTES,
                                            .timeout_ms = (uint32_t)FL_MAX(left_ms, 1) },
                 on_operation_answer, call, err);
}

static void on_again(void *arg)
{
    struct call *call = arg;
    struct fl_err err = { 0 };
    int r = try_operation(call, &err);

    if (r < 0)
        finish(call, &(struct fl_step_reply){ .error = r, .name = "", .text = err.text });
}

static bool is_busy(int status, const char *name)
{
    bool busy = status >= 500 || status == 429;

    for (size_t i = 0; i < FL_ARRAY_LEN(throttled); i++)
        busy |= strcmp(name, throttled[i]) == 0;
    return busy;
}

static bool is_broken_off(const struct call *call, int error)
{
    bool broken = false;

    for (size_t i = 0; i < FL_ARRAY_LEN(broken_off); i++)
        broken |= error == broken_off[i];
    return broken && call->service->repeats;
}

/* May the service be asked once more? It is then, after a while. */
static bool ask_again(struct call *call)
{
    uint32_t wait_ms = fl_backoff_next_ms(&call->backoff, fl_random_u32());

    if (call->backoff.tries >= OPERATION_TRIES || fl_mono_ms() + wait_ms >= call->deadline_ms)
        return false;
    fl_timer_start(call->again, wait_ms);
    return true;
}

static void on_operation_answer(void *arg, const struct fl_fetch_answer *in)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(REPLY_MAX_BYTES);
    struct call *call = arg;
    struct fl_step_reply reply = { .error = in->error, .name = "", .text = "", .body = "" };
    char *name = NULL, *text = NULL;
    struct fl_err err = { 0 };

    call->fetch_id = 0;
    if (in->error) {
        if (is_broken_off(call, in->error) && ask_again(call))
            return;
        reply.text = in->error_text ? in->error_text : strerror(-in->error);
    } else if (in->status != 200) {
        fl_service_error(fl_fetch_text(in), &arena, &name, &text);
        name = name && *name ? name : fl_arena_printf(&arena, "HTTP %d", in->status);
        reply.error = -EREMOTEIO;
        reply.name = name ? name : "";
        reply.text = text ? text : "";
        reply.body = fl_fetch_text(in);
        reply.busy = is_busy(in->status, reply.name);
        if (reply.busy && ask_again(call))
            return;
    } else {
        void *out = fl_arena_alloc(&arena, call->out_shape->size);
        int r = out ? fl_json_decode(call->out_shape, in->body, in->body_len, 0, &arena, out, &err)
                    : -ENOMEM;

        reply.error = r;
        reply.text = r < 0 ? fl_err_text(&err) : "";
        reply.out = r < 0 ? NULL : out;
    }
    finish(call, &reply);
}

static int fill_operation(struct call *call, const struct fl_calls_service *service,
                          const char *operation, const struct fl_shape *in_shape, const void *in)
{
    fl_autobuf struct fl_buf body = FL_BUF(MAX_JSON_BYTES);
    int r = fl_json_encode(in_shape, in, &body);

    if (r < 0)
        return r;
    call->body = fl_buf_take(&body, NULL);
    if (asprintf(&call->target, "%s%s", service->target_prefix, operation) < 0)
        call->target = NULL;
    call->service = service;
    call->backoff = (struct fl_backoff){ .base_ms = OPERATION_BASE_MS, .cap_ms = OPERATION_CAP_MS };
    call->again = fl_timer_new(call->calls->loop, on_again, call);
    return call->body && call->target && call->again ? 0 : -ENOMEM;
}

const struct fl_calls_service fl_calls_service_ssm = { "ssm", "AmazonSSM.", true };
const struct fl_calls_service fl_calls_service_logs = { "logs", "Logs_20140328.", false };

int fl_calls_operation(struct fl_calls *c, const struct fl_calls_service *service,
                       const char *operation, const struct fl_shape *in_shape, const void *in,
                       const struct fl_shape *out_shape, fl_step_reply_fn done, void *arg,
                       uint32_t *ret_id, struct fl_err *err)
{
    struct call *call = new_call(c, arg);
    int r;

    if (!call)
        return fl_err_nomem(err);
    call->replied = done;
    call->out_shape = out_shape;
    call->deadline_ms = fl_mono_ms() + DEFAULT_TIMEOUT_MS;
    r = fill_operation(call, service, operation, in_shape, in);
    if (r < 0)
        fl_err_set(err, r, NULL, "%s: %s", operation, strerror(-r));
    if (r == 0)
        r = try_operation(call, err);
    if (r < 0)
        free_call(call);
    else if (ret_id)
        *ret_id = call->id;
    return r;
}

/* ---- all of it ---- */

int fl_calls_new(struct fl_loop *loop, fl_calls_need_fn need, void *arg,
                 struct fl_calls **ret_calls)
{
    struct fl_calls *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->loop = loop;
    c->need = need;
    c->arg = arg;
    LIST_INIT(&c->list);
    c->ask = fl_timer_new(loop, on_ask, c);
    r = c->ask ? fl_fetcher_new(loop, NULL, on_need, c, &c->fetcher) : -ENOMEM;
    if (r < 0)
        fl_calls_free(c);
    else
        *ret_calls = c;
    return r;
}

struct fl_calls *fl_calls_free(struct fl_calls *c)
{
    if (!c)
        return NULL;
    while (!LIST_EMPTY(&c->list))
        fl_calls_cancel(c, LIST_FIRST(&c->list)->id);
    fl_fetcher_free(c->fetcher);
    fl_timer_free(c->ask);
    free(c);
    return NULL;
}
