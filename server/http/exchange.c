/* exchange.c - the pipeline of a request. */
#include "server/http/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/auth/guard.h"
#include "server/http/exchange_priv.h"
#include "server/http/health.h"

#define AUDIT_RESOURCES 16
#define DEADLINE_MS     500 /* how often the oldest waiting call is looked at */

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---- the end: answer, count, record ---- */

static const char *action_name(const struct fl_exchange *x, char *out, size_t size)
{
    if (x->route)
        return x->route->post_action;
    if (!x->op)
        return NULL;
    snprintf(out, size, "%s:%s", x->service, x->op->name);
    return out;
}

static void record(struct fl_exchange *x, int status, const char *error)
{
    const char *arns[AUDIT_RESOURCES];
    char action[128];
    struct fl_served s = {
        .request_id = x->request_id,
        .operation = action_name(x, action, sizeof(action)),
        .name = x->op      ? x->op->name
                : x->route ? "ControlChannel"
                           : "unknown",
        .resources = arns,
        .status = status,
        .error = error,
        .took_us = now_us() - x->start_us,
    };

    for (size_t i = 0; i < x->resources.n && i < AUDIT_RESOURCES; i++)
        arns[s.n_resources++] = x->resources.v[i].arn;
    fl_served_record(x->plane, &x->auth, x->known ? &x->caller : NULL, &s);
}

static void answer(struct fl_exchange *x, int status, const char *type, const char *error)
{
    struct fl_http_header headers[2] = { { "x-amzn-RequestId", x->request_id } };
    size_t n = 1;

    if (error)
        headers[n++] = (struct fl_http_header){ "x-amzn-ErrorType", error };
    record(x, status, error);
    if (x->known && !error)
        fl_served_note_user(x->ctx, &x->auth, &x->caller, x->req);
    if (x->req && x->known && (!error || x->caller.id.kind != FL_ID_ANONYMOUS))
        fl_server_req_trust(x->req);
    if (x->req)
        fl_server_reply(FL_TAKE(x->req), status, type, headers, n, x->reply.data, x->reply.len);
}

static void drop_body(struct fl_exchange *x)
{
    x->ctx->body_bytes -= x->body_len;
    fl_free_secret(x->body, x->body_len);
    x->body_len = 0;
    x->body = NULL;
}

static void release_now(void *arg)
{
    struct fl_exchange *x = arg;

    x->ctx->open--;
    if (x->call.guessed)
        fl_guard_answered(x->plane->guard, x->auth.source_ip, x->call.guessed);
    drop_body(x);
    fl_buf_done(&x->reply);
    fl_buf_done(&x->route_out.body);
    fl_arena_done(&x->arena);
    free(x);
}

/* On a pool thread. */
static void end_work(void *arg)
{
    struct fl_exchange *x = arg;

    x->call.work.end(x->call.work.arg, x->stored);
}

static void release(struct fl_exchange *x)
{
    if (!x->call.work.end) {
        release_now(x);
    } else if (fl_loop_work(x->ctx->loop, end_work, release_now, x) < 0) {
        end_work(x);
        release_now(x);
    }
}

static void answer_error(struct fl_exchange *x, int r)
{
    struct fl_error e;
    char action[128];

    fl_error_of(x->dialect, r, &x->err, &e);
    if (e.status >= 500 && e.status != 503) /* the store logs its trouble, once */
        fl_log_error("request failed", FL_S("operation", action_name(x, action, sizeof(action))),
                     FL_S("request", x->request_id), FL_I("errno", -r),
                     FL_S("error", fl_err_text(&x->err)));
    fl_buf_reset(&x->reply);
    if (fl_error_body(x->dialect, &e, x->request_id, &x->reply) < 0)
        fl_buf_reset(&x->reply);
    answer(x, e.status, fl_dialect_type(x->dialect), e.name);
}

static void fail(struct fl_exchange *x, int r, const char *name, const char *text)
{
    fl_err_set(&x->err, r, name, "%s", text);
    answer_error(x, r);
    release(x);
}

/* ---- on the store's threads ---- */

static int identify(struct fl_exchange *x)
{
    int r;

    if (x->op && x->op->auth == FL_AUTH_NONE) {
        x->caller = (struct fl_caller){ .id = { .kind = FL_ID_ANONYMOUS,
                                                .account = x->plane->conf.account,
                                                .arn = "anonymous",
                                                .source_ip = x->auth.source_ip } };
        x->known = true;
        return 0;
    }
    r = fl_served_identify(&x->call, &x->auth, x->service, x->op && x->op->auth == FL_AUTH_NODE_RSA,
                           &x->caller, &x->err);
    x->known = r >= 0;
    return r;
}

static int check_route(struct fl_exchange *x)
{
    struct fl_resource res = { .arn = fl_arn(&x->call, x->service, x->route->resource,
                                             x->route_in.rest) };
    struct fl_access access = { .action = x->route->post_action, .resources = &x->resources };

    x->resources.v = fl_arena_alloc(&x->arena, sizeof(res));
    if (!res.arn || !x->resources.v)
        return fl_err_nomem(&x->err);
    x->resources.v[0] = res;
    x->resources.n = 1;
    return fl_authorize(&x->call, &x->caller, &access, &x->err);
}

static int check_op(struct fl_exchange *x)
{
    int r = fl_exchange_decode(x);

    if (r >= 0)
        r = fl_call_check(x->op, &x->caller.id, x->in, &x->err);
    if (r >= 0 && x->op->auth != FL_AUTH_NONE)
        r = fl_call_authorize(&x->call, &x->caller, x->service, x->op, x->in, &x->resources,
                              &x->err);
    return r;
}

static enum fl_lane lane_of(const struct fl_exchange *x)
{
    return x->route ? x->route->post_lane : x->op->lane;
}

static int handle(struct fl_exchange *x, struct fl_tx *tx)
{
    int r;

    x->call.tx = tx;
    r = x->route ? x->route->post(&x->call, &x->route_in, &x->route_out, &x->err)
                 : x->op->fn(&x->call, x->in, x->out, &x->err);
    return r < 0 ? r : 0;
}

/* False: the client was told that it took too long. */
static bool begin(struct fl_exchange *x)
{
    int waits = FL_TURN_WAITS;

    return atomic_compare_exchange_strong(&x->turn, &waits, FL_TURN_STORE);
}

static int stage_read(struct fl_tx *tx, void *arg)
{
    struct fl_exchange *x = arg;
    int64_t now_ms = fl_now_ms();
    int r;

    fl_call_init(&x->call, x->plane, &x->arena, &x->caller.id, x->request_id, now_ms);
    x->call.host = fl_auth_header(&x->auth, "host");
    x->call.user_agent = fl_auth_header(&x->auth, "user-agent");
    x->call.tx = tx;
    r = begin(x) ? identify(x) : -ETIME;
    if (r < 0)
        return r;
    r = x->route ? check_route(x) : check_op(x);
    if (r < 0 || lane_of(x) == FL_LANE_WRITE)
        return r;
    r = handle(x, tx);
    return r < 0 ? r : fl_exchange_encode(x);
}

static int stage_write(struct fl_tx *tx, void *arg)
{
    return begin(arg) ? handle(arg, tx) : -ETIME;
}

/* ---- back on the loop ---- */

static void succeed(struct fl_exchange *x)
{
    fl_call_publish_all(&x->call);
    if (x->route) {
        fl_buf_done(&x->reply);
        x->reply = x->route_out.body;
        x->route_out.body = (struct fl_buf){ 0 };
        answer(x, x->route_out.status, x->route_out.type, NULL);
    } else {
        answer(x, 200, fl_dialect_type(x->dialect), NULL);
    }
    release(x);
}

static void conclude(struct fl_exchange *x)
{
    if (x->result < 0) {
        answer_error(x, x->result);
        release(x);
    } else {
        succeed(x);
    }
}

static void on_held(void *arg)
{
    struct fl_exchange *x = arg;

    if (x->held.next)
        x->held.next->prev = x->held.prev;
    *x->held.prev = x->held.next;
    x->held.timer = fl_timer_free(x->held.timer);
    conclude(x);
}

/* True if the answer waits now. */
static bool hold(struct fl_exchange *x)
{
    struct fl_exchange_ctx *ctx = x->ctx;

    if (!x->call.hold_ms || ctx->draining || !x->req)
        return false;
    x->held.timer = fl_timer_new(ctx->loop, on_held, x);
    if (!x->held.timer)
        return false;
    x->held.next = ctx->held;
    x->held.prev = &ctx->held;
    if (x->held.next)
        x->held.next->prev = &x->held.next;
    ctx->held = &x->held;
    drop_body(x);
    fl_timer_start(x->held.timer, x->call.hold_ms);
    return true;
}

void fl_exchange_drain(struct fl_exchange_ctx *ctx)
{
    ctx->draining = true;
    while (ctx->held)
        on_held(FL_CONTAINER_OF(ctx->held, struct fl_exchange, held));
}

/* ---- waiting for the store ---- */

static void wait_begin(struct fl_exchange *x)
{
    struct fl_exchange_ctx *ctx = x->ctx;
    struct fl_exchange_wait *w = &x->wait;

    atomic_store(&x->turn, FL_TURN_WAITS);
    *w = (struct fl_exchange_wait){ .prev = ctx->waiting_tail, .since_ms = fl_mono_ms() };
    *ctx->waiting_tail = w;
    ctx->waiting_tail = &w->next;
    if (!fl_timer_active(ctx->deadline))
        fl_timer_start(ctx->deadline, DEADLINE_MS);
}

/* Nothing is done where it has ended before. */
static void wait_end(struct fl_exchange *x)
{
    struct fl_exchange_wait *w = &x->wait;

    if (!w->prev)
        return;
    *w->prev = w->next;
    *(w->next ? &w->next->prev : &x->ctx->waiting_tail) = w->prev;
    w->prev = NULL;
}

static void on_deadline(void *arg)
{
    struct fl_exchange_ctx *ctx = arg;
    int64_t limit_ms = fl_mono_ms() - FL_EXCHANGE_WAIT_MS;

    for (struct fl_exchange_wait *w = ctx->waiting, *next; w && w->since_ms < limit_ms; w = next) {
        struct fl_exchange *x = FL_CONTAINER_OF(w, struct fl_exchange, wait);
        int waits = FL_TURN_WAITS;

        next = w->next;
        if (!atomic_compare_exchange_strong(&x->turn, &waits, FL_TURN_GIVEN_UP))
            continue;
        wait_end(x);
        fl_err_set(&x->err, -ETIME, "ServiceUnavailable",
                   "The control plane is too slow right now; nothing was done.");
        answer_error(x, -ETIME);
    }
    if (ctx->waiting)
        fl_timer_start(ctx->deadline, DEADLINE_MS);
}

int fl_exchange_ctx_init(struct fl_exchange_ctx *ctx, struct fl_plane *plane, struct fl_loop *loop,
                         bool people)
{
    *ctx = (struct fl_exchange_ctx){ .plane = plane, .loop = loop, .people = people };
    ctx->waiting_tail = &ctx->waiting;
    ctx->deadline = fl_timer_new(loop, on_deadline, ctx);
    return ctx->deadline ? 0 : -ENOMEM;
}

void fl_exchange_ctx_done(struct fl_exchange_ctx *ctx)
{
    ctx->deadline = fl_timer_free(ctx->deadline);
}

/* True if the client has its answer already. */
static bool given_up(struct fl_exchange *x)
{
    wait_end(x);
    if (atomic_load(&x->turn) != FL_TURN_GIVEN_UP)
        return false;
    release(x);
    return true;
}

static void finish(void *arg, int r)
{
    struct fl_exchange *x = arg;

    if (given_up(x))
        return;
    x->stored = r >= 0;
    if (fl_store_trouble(r) && !x->err.code) /* a commit that failed may be on disk all the same */
        x->call.work.end = NULL;
    if (r >= 0 && lane_of(x) == FL_LANE_WRITE)
        r = fl_exchange_encode(x);
    x->result = r;
    if (!hold(x))
        conclude(x);
}

/* Nodes call by the thousand, and can wait. */
static bool is_of_nodes(const struct fl_exchange *x)
{
    return x->route || x->op->auth != FL_AUTH_SIGV4;
}

static void submit(struct fl_exchange *x, enum fl_lane lane, fl_store_job_fn job,
                   fl_store_done_fn done)
{
    int r;

    wait_begin(x);
    r = (is_of_nodes(x) ? fl_store_submit : fl_store_submit_first)(x->plane->store, lane, job, done,
                                                                   x, x->ctx->loop);
    if (r == 0)
        return;
    wait_end(x);
    fail(x, r, r == -EAGAIN ? "ThrottlingException" : NULL, "Rate exceeded");
}

static void submit_write(struct fl_exchange *x)
{
    submit(x, FL_LANE_WRITE, stage_write, finish);
}

/* ---- work before the handler ---- */
static void work(void *arg)
{
    struct fl_exchange *x = arg;

    x->result = x->call.work.turn(x->call.work.arg, &x->err);
}

static void worked(void *arg)
{
    struct fl_exchange *x = arg;
    int r = x->result;

    if (r >= 0 && !x->req) /* nobody waits for it */
        r = -ECANCELED;
    if (r > 0)
        r = fl_loop_work(x->ctx->loop, work, worked, x);
    else if (r == 0)
        submit_write(x);
    if (r < 0)
        finish(x, r);
}

static void after_read(void *arg, int r)
{
    struct fl_exchange *x = arg;

    if (r < 0 || lane_of(x) == FL_LANE_READ) {
        finish(x, r);
        return;
    }
    wait_end(x);
    if (!x->call.work.turn)
        submit_write(x);
    else if ((r = fl_loop_work(x->ctx->loop, work, worked, x)) < 0)
        finish(x, r);
}

static int take(struct fl_exchange *x)
{
    int r = fl_auth_request_read(x->req, false, &x->arena, &x->auth, &x->err);
    size_t len;

    if (r < 0)
        return r;
    fl_server_req_body(x->req, &len);
    if (x->ctx->body_bytes + len > FL_EXCHANGE_MAX_BYTES)
        return fl_err_set(&x->err, -EAGAIN, "ThrottlingException", "Rate exceeded");
    x->body = fl_server_req_take_body(x->req);
    if (!x->body)
        return fl_err_nomem(&x->err);
    x->body_len = len;
    x->ctx->body_bytes += len;
    x->auth.body = x->body;
    x->auth.body_len = len;
    return 0;
}

void fl_exchange_start(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    struct fl_exchange *x;
    int r;

    if (fl_health_answer(ctx, req))
        return;
    x = calloc(1, sizeof(*x));
    if (!x) {
        fl_server_reply(req, 503, "application/x-amz-json-1.1", NULL, 0,
                        "{\"__type\":\"ServiceUnavailable\"}", 31);
        return;
    }
    x->ctx = ctx;
    x->plane = ctx->plane;
    x->req = req;
    x->start_us = now_us();
    fl_uuid4(x->request_id);
    fl_arena_init(&x->arena, FL_CALL_ARENA_BYTES);
    fl_buf_init(&x->reply, FL_EXCHANGE_REPLY_BYTES);
    fl_server_req_set_tag(req, &x->req);
    ctx->open++;

    r = take(x);
    if (r == 0)
        r = fl_exchange_route(x);
    if (r < 0) {
        answer_error(x, r);
        release(x);
        return;
    }
    submit(x, FL_LANE_READ, stage_read, after_read);
}

void fl_exchange_abort(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    struct fl_server_req **slot = fl_server_req_tag(req);

    if (!slot)
        return;
    *slot = NULL;
    /* Nobody waits for an answer that is kept back. */
    for (struct fl_exchange_held *h = ctx->held; h; h = h->next) {
        struct fl_exchange *x = FL_CONTAINER_OF(h, struct fl_exchange, held);

        if (&x->req == slot) {
            on_held(x);
            return;
        }
    }
}
