/* exchange.c - see exchange.h. The bytes themselves are moved by transfer.c. */
#include "server/s3/exchange.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "server/auth/guard.h"
#include "server/auth/presigned.h"
#include "server/call.h"
#include "server/http/health.h"
#include "server/http/route.h"
#include "server/http/served.h"
#include "server/s3/error.h"
#include "server/s3/exchange_priv.h"
#include "server/s3/target.h"

#define ARENA_BYTES    (16 * 1024 * 1024)
#define META_MAX_BYTES (8 * 1024)
#define HEADERS_MAX    64
#define XML_TYPE       "application/xml"

/* Of a request's headers these are kept for the handler, and x-amz-meta-… */
static const char *const wanted[] = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-mode",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-copy-source",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
};

/* ---- the end ---- */

static void record(struct fl_s3_exchange *x, int status, const char *error)
{
    const char *arn = x->arn;
    const struct fl_served s = {
        .request_id = x->request_id,
        .operation = x->c.op ? fl_arena_printf(&x->arena, "s3:%s", x->c.op->name) : NULL,
        .name = x->c.op ? x->c.op->name : "unknown",
        .resources = &arn,
        .n_resources = arn != NULL,
        .status = status,
        .error = error,
        .took_us = (fl_mono_ms() - x->start_ms) * 1000,
    };

    fl_served_record(x->plane, &x->auth, x->known ? &x->c.caller : NULL, &s);
}

static void release_now(void *arg)
{
    struct fl_s3_exchange *x = arg;

    x->ctx->open--;
    x->ctx->body_bytes -= x->held_bytes;
    fl_timer_free(x->hold);
    if (x->c.call.guessed)
        fl_guard_answered(x->plane->guard, x->auth.source_ip, x->c.call.guessed);
    fl_s3_transfer_done(x);
    fl_buf_done(&x->c.reply);
    fl_buf_done(&x->xml);
    fl_arena_done(&x->arena);
    free(x);
}

/* On a pool thread, as files are removed. */
static void remove_files(void *arg)
{
    struct fl_s3_exchange *x = arg;

    fl_s3_unhold(x);
    fl_blob_drop(&x->c.blob);
    for (size_t i = 0; i < x->c.gone.n; i++)
        fl_blob_remove(x->c.s3->blobs, x->c.gone.v[i].blob_id, x->c.gone.v[i].bytes);
}

void fl_s3_release(struct fl_s3_exchange *x)
{
    if (!x->c.blob.id[0] && !x->c.gone.n && x->down.held == x->down.held_end)
        release_now(x);
    else if (fl_loop_work(x->ctx->loop, remove_files, release_now, x) < 0) {
        remove_files(x);
        release_now(x);
    }
}

static void send_reply(struct fl_s3_exchange *x, int status, const char *error)
{
    struct fl_s3_call *c = &x->c;
    const char *type = c->reply.len ? XML_TYPE : NULL;

    fl_s3_put_header(c, "x-amz-request-id", x->request_id);
    record(x, status, error);
    if (x->req)
        fl_server_reply(FL_TAKE(x->req), status, type, c->out, c->n_out,
                        c->reply.len ? c->reply.data : NULL, c->reply.len);
    fl_s3_release(x);
}

static void answer_error(struct fl_s3_exchange *x, int r)
{
    struct fl_s3_error e;

    fl_s3_error_of(r, &x->err, &e);
    if (e.status == 500)
        fl_log_error("request failed", FL_S("operation", x->c.op ? x->c.op->name : "s3"),
                     FL_S("request", x->request_id), FL_I("errno", -r),
                     FL_S("error", fl_err_text(&x->err)));
    fl_buf_reset(&x->c.reply);
    if (fl_s3_error_body(&e, x->auth.path ? x->auth.path : "", x->request_id, &x->c.reply) < 0)
        fl_buf_reset(&x->c.reply);
    send_reply(x, e.status, e.code);
}

static void on_held(void *arg)
{
    struct fl_s3_exchange *x = arg;

    answer_error(x, x->result);
}

void fl_s3_fail(struct fl_s3_exchange *x, int r)
{
    x->result = r;
    if (!x->req) {
        record(x, 499, "ClientGone");
        fl_s3_release(x);
        return;
    }
    if (x->c.call.hold_ms && !x->ctx->draining &&
        (x->hold = fl_timer_new(x->ctx->loop, on_held, x)))
        fl_timer_start(x->hold, x->c.call.hold_ms);
    else
        answer_error(x, r);
}

/* The caller is known: its connection is no guest's. */
static void trust(struct fl_s3_exchange *x)
{
    if (!x->req)
        return;
    fl_server_req_trust(x->req);
    fl_served_note_user(x->ctx, &x->auth, &x->c.caller, x->req);
}

static void succeed(struct fl_s3_exchange *x)
{
    struct fl_s3_call *c = &x->c;
    int status = c->status ? c->status : 200;

    if (!c->has_data) {
        send_reply(x, status, NULL);
        return;
    }
    fl_s3_put_header(c, "x-amz-request-id", x->request_id);
    record(x, status, NULL);
    if (!x->req) {
        fl_s3_release(x);
    } else if (strcmp(x->auth.method, "HEAD") == 0 || c->len == 0) {
        fl_server_reply(FL_TAKE(x->req), status, NULL, c->out, c->n_out, NULL, c->len);
        fl_s3_release(x);
    } else {
        fl_s3_send(x, status);
    }
}

/* ---- on the store's threads ---- */

static bool in_time(struct fl_s3_exchange *x)
{
    if (fl_mono_ms() - x->queued_ms <= FL_EXCHANGE_WAIT_MS)
        return true;
    fl_err_set(&x->err, -ETIME, "ServiceUnavailable",
               "The control plane is too slow right now; nothing was done.");
    return false;
}

/* Before a body is read: will there be a place for it? */
static int check_place(struct fl_s3_exchange *x)
{
    struct fl_s3_call *c = &x->c;
    int r = fl_s3_need_bucket(c, &x->err);

    if (r < 0)
        return r;
    if (fl_s3_header(c, "x-amz-copy-source"))
        return fl_err_set(&x->err, -ENOSYS, "NotImplemented", "Objects cannot be copied here.");
    if (x->length != UINT64_MAX &&
        x->length > c->s3->max_object_bytes + c->s3->max_object_bytes / 64)
        return fl_err_set(&x->err, -EFBIG, "EntityTooLarge",
                          "Your proposed upload exceeds the maximum allowed size");
    return fl_blobs_fits(c->s3->blobs, x->length == UINT64_MAX ? 0 : x->length, &x->err);
}

static int admit(struct fl_s3_exchange *x, struct fl_tx *tx)
{
    struct fl_s3_call *c = &x->c;
    int64_t now_ms = fl_now_ms();
    int r;

    fl_call_init(&c->call, x->plane, &x->arena, &c->caller.id, x->request_id, now_ms);
    if (!in_time(x))
        return -ETIME;
    c->call.tx = tx;
    r = fl_served_identify(&c->call, &x->auth, "s3", false, &c->caller, &x->err);
    x->known = r >= 0;
    if (r >= 0 && !c->op->asks)
        r = fl_s3_allowed(c, c->op->action, c->key, &x->err);
    if (r >= 0 && c->op->input == FL_S3_DATA)
        r = check_place(x);
    if (r < 0 || c->op->input != FL_S3_NOTHING || c->op->lane == FL_LANE_WRITE)
        return r;
    r = c->op->fn(c, &x->err);
    return r < 0 ? r : fl_s3_open_first(x);
}

static int stage_admit(struct fl_tx *tx, void *arg)
{
    struct fl_s3_exchange *x = arg;
    int r;

    fl_blobs_look(x->c.s3->blobs);
    r = admit(x, tx);
    fl_blobs_looked(x->c.s3->blobs);
    return r;
}

static int stage_handle(struct fl_tx *tx, void *arg)
{
    struct fl_s3_exchange *x = arg;
    struct fl_s3_call *c = &x->c;
    int r = 0;

    if (!in_time(x))
        return -ETIME;
    c->call.tx = tx;
    c->call.now_ms = fl_now_ms();
    /* A body takes as long as its sender likes, and what a node puts it may put once. */
    if (c->caller.id.kind == FL_ID_NODE && !c->op->asks)
        r = fl_s3_allowed(c, c->op->action, c->key, &x->err);
    if (r >= 0)
        r = c->op->fn(c, &x->err);
    return r < 0 ? r : 0;
}

/* ---- back on the loop ---- */

static void handled(void *arg, int r)
{
    struct fl_s3_exchange *x = arg;

    if (r >= 0) {
        x->c.blob.id[0] = '\0'; /* the store names it */
        succeed(x);
        return;
    }
    x->c.gone.n = 0;
    /* A commit that failed may be on disk all the same: the file stays until the next start, which
     * looks whether the store names it. */
    if (fl_store_trouble(r) && !x->err.code)
        x->c.blob.id[0] = '\0';
    fl_s3_fail(x, r);
}

static void submit(struct fl_s3_exchange *x, enum fl_lane lane, fl_store_job_fn job,
                   fl_store_done_fn done)
{
    int r;

    x->queued_ms = fl_mono_ms();
    r = fl_store_submit(x->plane->store, lane, job, done, x, x->ctx->loop);
    if (r < 0)
        fl_s3_fail(x, r == -EAGAIN
                          ? fl_err_set(&x->err, r, "SlowDown", "Please reduce your request rate.")
                          : r);
}

void fl_s3_handle(struct fl_s3_exchange *x)
{
    x->c.body = x->xml.data ? x->xml.data : "";
    x->c.body_len = x->xml.len;
    submit(x, FL_LANE_WRITE, stage_handle, handled);
}

/* The caller may do it. */
static void admitted(void *arg, int r)
{
    struct fl_s3_exchange *x = arg;

    if (r < 0 || !x->req) {
        fl_s3_fail(x, r);
        return;
    }
    trust(x);
    if (x->c.op->input != FL_S3_NOTHING)
        fl_s3_receive(x);
    else if (x->c.op->lane == FL_LANE_WRITE)
        fl_s3_handle(x);
    else
        succeed(x);
}

/* ---- the beginning ---- */

static bool is_wanted(const char *name)
{
    if (strncmp(name, "x-amz-meta-", strlen("x-amz-meta-")) == 0)
        return true;
    for (size_t i = 0; i < FL_ARRAY_LEN(wanted); i++)
        if (strcmp(name, wanted[i]) == 0)
            return true;
    return false;
}

/* A header that is not signed could be anybody's. Those that change what is stored must be. */
static bool must_be_signed(const char *name)
{
    return strncmp(name, "x-amz-", strlen("x-amz-")) == 0;
}

/* What would be stored otherwise than the caller was told: names by their beginning, with the
 * values that mean nothing here. */
static const struct {
    const char *name;
    const char *harmless[3];
} refused[] = {
    { "x-amz-acl", { "private", "bucket-owner-full-control", "bucket-owner-read" } },
    { "x-amz-grant-", { NULL } },
    { "x-amz-object-lock-", { NULL } },
    { "x-amz-server-side-encryption", { NULL } },
    { "x-amz-storage-class", { "STANDARD" } },
    { "x-amz-tagging", { NULL } },
    { "x-amz-website-redirect-location", { NULL } },
};

static bool is_refused(const char *name, const char *value)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(refused); i++) {
        if (strncmp(name, refused[i].name, strlen(refused[i].name)) != 0)
            continue;
        for (size_t k = 0; k < FL_ARRAY_LEN(refused[i].harmless); k++)
            if (refused[i].harmless[k] && strcmp(value, refused[i].harmless[k]) == 0)
                return false;
        return true;
    }
    return false;
}

static int refuse_header(struct fl_s3_exchange *x, const char *name, const char *value)
{
    return fl_err_set(&x->err, -ENOSYS, "NotImplemented",
                      "A header you provided implies functionality that is not implemented: %s: %s",
                      name, value);
}

static int take_header(struct fl_s3_exchange *x, const struct fl_http_header *h, size_t *meta_bytes)
{
    struct fl_strmap *map = &x->c.headers;
    char *name = fl_arena_strdup(&x->arena, h->name);
    char *value = fl_arena_strdup(&x->arena, h->value);

    if (!name || !value)
        return fl_s3_nomem(&x->err);
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (is_refused(name, value))
        return refuse_header(x, name, value);
    if (!is_wanted(name))
        return 0;
    if (must_be_signed(name) && x->auth.parsed && !fl_auth_is_signed(&x->auth, name))
        return fl_err_set(&x->err, -EACCES, "AccessDeniedException",
                          "There were headers present in the request which were not signed");
    *meta_bytes += strlen(name) + strlen(value);
    if (map->n == HEADERS_MAX || *meta_bytes > META_MAX_BYTES)
        return fl_err_set(&x->err, -EINVAL, "MetadataTooLarge",
                          "Your metadata headers exceed the maximum allowed metadata size.");
    map->v[map->n++] = (struct fl_strmap_entry){ name, value };
    return 0;
}

static int take_headers(struct fl_s3_exchange *x)
{
    struct fl_http_header h;
    size_t meta_bytes = 0;
    int r = 0;

    x->c.headers.v = fl_arena_calloc(&x->arena, HEADERS_MAX, sizeof(*x->c.headers.v));
    if (!x->c.headers.v)
        return fl_s3_nomem(&x->err);
    for (size_t i = 0; r >= 0 && fl_server_req_header_at(x->req, i, &h); i++)
        r = take_header(x, &h, &meta_bytes);
    return r;
}

/* Of an object that is put together from parts none is known, and what came is not its bytes. */
static int check_sums(struct fl_s3_exchange *x)
{
    for (int i = 0; x->c.op->sums_whole && i < FL_S3_SUM__N; i++) {
        const char *name = fl_arena_printf(&x->arena, "x-amz-checksum-%s", fl_s3_sum_names[i]);
        const char *value = name ? fl_s3_header(&x->c, name) : NULL;

        if (!name)
            return fl_s3_nomem(&x->err);
        if (value)
            return refuse_header(x, name, value);
    }
    return 0;
}

static int take(struct fl_s3_exchange *x)
{
    struct fl_s3_call *c = &x->c;
    struct fl_s3_target t = { 0 };
    int r = fl_auth_request_read(x->req, true, &x->arena, &x->auth, &x->err);

    if (r >= 0)
        r = take_headers(x);
    if (r >= 0)
        r = fl_s3_target_read(fl_server_req_header(x->req, "host"), &x->plane->s3->hosts,
                              x->auth.path, &x->arena, &t, &x->err);
    if (r < 0)
        return r;
    if (fl_form_parse(x->auth.query, strlen(x->auth.query), &x->arena, &c->query, NULL) < 0)
        return fl_err_set(&x->err, -EINVAL, "InvalidURI", "Couldn't parse the specified URI.");
    c->bucket = t.bucket;
    c->key = t.key;
    if (t.bucket)
        x->arn = fl_arena_printf(&x->arena, "arn:aws:s3:::%s%s%s", t.bucket, t.key ? "/" : "",
                                 t.key ? t.key : "");
    c->op = fl_s3_op_find(x->auth.method,
                          t.key      ? FL_S3_OBJECT
                          : t.bucket ? FL_S3_BUCKET
                                     : FL_S3_SERVICE,
                          &c->query, &x->err);
    return c->op ? check_sums(x) : -ENOSYS;
}

static bool is_s3(struct fl_server_req *req)
{
    const char *path = fl_server_req_path(req), *query = fl_server_req_query(req);

    if (fl_server_req_header(req, "x-amz-target") || fl_health_has(path) || fl_route_find(path))
        return false;
    /* Query services and what is no call at all. */
    return strcmp(path, "/") != 0 || strcmp(fl_server_req_method(req), "POST") != 0 || *query;
}

static void on_gone(void *arg)
{
    struct fl_s3_exchange *x = arg;

    x->req = NULL;
    if (x->hold && fl_timer_active(x->hold)) {
        fl_timer_stop(x->hold);
        on_held(x);
    } else if (x->idle) {
        fl_s3_fail(x, -ECANCELED);
    }
}

static const struct fl_server_taker taker = {
    .on_body = fl_s3_on_body,
    .on_room = fl_s3_on_room,
    .on_gone = on_gone,
};

bool fl_s3_start(struct fl_exchange_ctx *ctx, struct fl_server_req *req)
{
    struct fl_s3_exchange *x;
    int r;

    if (!ctx->plane->s3 || !is_s3(req))
        return false;
    x = calloc(1, sizeof(*x));
    if (!x) {
        fl_server_reply(req, 503, XML_TYPE, NULL, 0, NULL, 0);
        return true;
    }
    x->ctx = ctx;
    x->plane = ctx->plane;
    x->req = req;
    x->start_ms = fl_mono_ms();
    x->length = fl_server_req_length(req);
    x->c.s3 = ctx->plane->s3;
    x->c.blob.fd = x->down.fd = -1;
    fl_uuid4(x->request_id);
    fl_arena_init(&x->arena, ARENA_BYTES);
    x->arena.secret = true; /* a signing key may be in it */
    fl_buf_init(&x->c.reply, FL_S3_REPLY_MAX_BYTES);
    fl_server_req_take(req, &taker, x);
    ctx->open++;
    r = take(x);
    if (r < 0)
        fl_s3_fail(x, r);
    else
        submit(x, FL_LANE_READ, stage_admit, admitted);
    return true;
}
