/* transfer.c - an object's bytes between socket and disk: the loop thread has the socket, a pool
 * thread the disk and the checks, and one waits for the other.
 */
#include "server/s3/exchange_priv.h"

#include <errno.h>
#include <string.h>
#include "common/base/file.h"
#include "common/base/log.h"

#define PIECE_BYTES   (256 * 1024)               /* handed to a pool thread at a time */
#define ROOM_BYTES    (PIECE_BYTES + 128 * 1024) /* with the one that passes the mark */
#define XML_MAX_BYTES (2 * 1024 * 1024)          /* 10,000 parts; AWS's own limit */

/* ---- in ---- */

static int to_file(void *arg, const void *data, size_t len)
{
    struct fl_s3_exchange *x = arg;

    if (x->c.blob.bytes + len > x->c.s3->max_object_bytes)
        return fl_err_set(&x->err, -EFBIG, "EntityTooLarge",
                          "Your proposed upload exceeds the maximum allowed size");
    return fl_blob_write(&x->c.blob, data, len, &x->err);
}

static int to_memory(void *arg, const void *data, size_t len)
{
    struct fl_s3_exchange *x = arg;
    int r = fl_buf_append(&x->xml, data, len);

    return r < 0 ? fl_err_set(&x->err, -EINVAL, "MalformedXML", "The XML is too large.") : 0;
}

static int begin_body(struct fl_s3_exchange *x)
{
    const struct fl_s3_call *c = &x->c;
    const struct fl_sigv4_auth *a = &x->auth.auth;
    bool data = c->op->input == FL_S3_DATA;
    struct fl_s3_body_conf conf = {
        .payload = x->auth.payload,
        .md5 = fl_s3_header(c, "content-md5"),
        .trailer = fl_s3_header(c, "x-amz-trailer"),
        .length = fl_s3_header(c, "x-amz-decoded-content-length"),
        .chunk_key = c->caller.chunk_key,
        .date = c->caller.chunk_date,
        .scope =
            fl_arena_printf(&x->arena, "%s/%s/%s/aws4_request", a->date, a->region, a->service),
        .signature = a->signature,
    };
    int r;

    for (int i = 0; i < FL_S3_SUM__N; i++) {
        const char *name = fl_arena_printf(&x->arena, "x-amz-checksum-%s", fl_s3_sum_names[i]);

        conf.sums[i] = name ? fl_s3_header(c, name) : NULL;
    }
    r = fl_s3_body_new(&conf, data ? to_file : to_memory, x, &x->up.body, &x->err);
    return r >= 0 && data ? fl_blob_begin(c->s3->blobs, &x->c.blob, &x->err) : r;
}

static int end_body(struct fl_s3_exchange *x)
{
    struct fl_s3_call *c = &x->c;
    enum fl_s3_sum kind;
    const char *sum;
    int r = fl_s3_body_end(x->up.body, &x->err);

    if (r < 0)
        return r;
    fl_s3_body_md5(x->up.body, c->md5);
    sum = fl_s3_body_sum(x->up.body, &kind);
    if (sum) {
        c->sum_name = fl_arena_printf(&x->arena, "x-amz-checksum-%s", fl_s3_sum_names[kind]);
        c->sum = fl_arena_strdup(&x->arena, sum);
        if (!c->sum_name || !c->sum)
            return fl_s3_nomem(&x->err);
    }
    return c->op->input == FL_S3_DATA ? fl_blob_keep(&c->blob, &x->err) : 0;
}

/* On a pool thread. */
static void write_piece(void *arg)
{
    struct fl_s3_exchange *x = arg;
    int r = x->up.body ? 0 : begin_body(x);

    if (r >= 0)
        r = fl_s3_body_feed(x->up.body, x->up.data.data ? x->up.data.data : "", x->up.data.len,
                            &x->err);
    if (r >= 0 && x->up.end)
        r = end_body(x);
    x->up.r = r;
}

static void piece_written(void *arg)
{
    struct fl_s3_exchange *x = arg;

    fl_buf_reset(&x->up.data);
    if (x->up.r < 0) {
        fl_s3_fail(x, x->up.r);
    } else if (x->up.end) {
        fl_s3_handle(x);
    } else if (!x->req) {
        fl_s3_fail(x, -ECANCELED);
    } else {
        x->idle = true;
        fl_server_req_more(x->req);
    }
}

bool fl_s3_on_body(void *arg, const void *data, size_t len, bool end)
{
    struct fl_s3_exchange *x = arg;
    int r = fl_buf_append(&x->up.data, data, len);

    x->up.end = end;
    if (r >= 0 && x->up.data.len < PIECE_BYTES && !end)
        return true;
    x->idle = false;
    if (r >= 0)
        r = fl_loop_work(x->ctx->loop, write_piece, piece_written, x);
    if (r < 0)
        fl_s3_fail(x, r);
    return false;
}

/* What all transfers of a loop keep in memory has a limit. */
static bool hold_memory(struct fl_s3_exchange *x)
{
    if (x->ctx->body_bytes + ROOM_BYTES > FL_EXCHANGE_MAX_BYTES) {
        fl_s3_fail(x, fl_err_set(&x->err, -EAGAIN, "SlowDown", "Please reduce your request rate."));
        return false;
    }
    x->held_bytes = ROOM_BYTES;
    x->ctx->body_bytes += x->held_bytes;
    return true;
}

void fl_s3_receive(struct fl_s3_exchange *x)
{
    if (!hold_memory(x))
        return;
    fl_buf_init(&x->up.data, ROOM_BYTES);
    fl_buf_init(&x->xml, XML_MAX_BYTES);
    x->idle = true;
    fl_server_req_more(x->req);
}

/* ---- out ---- */

/* The piece in which byte `at` of the object is. */
static void seek(struct fl_s3_exchange *x, uint64_t at)
{
    const struct fl_s3_pieces *p = &x->c.pieces;

    while (x->down.piece < p->n && at >= p->v[x->down.piece].bytes)
        at -= p->v[x->down.piece++].bytes;
    x->down.at = at;
}

static int open_piece(struct fl_s3_exchange *x)
{
    if (x->down.piece >= x->c.pieces.n)
        return fl_err_set(&x->err, -EIO, NULL, "an object is shorter than it should be");
    x->down.fd = fl_blob_open(x->c.s3->blobs, x->c.pieces.v[x->down.piece].blob_id);
    if (x->down.fd == -ENOENT) /* lost, or taken away by hand: its operator may bring it back */
        return fl_err_set(&x->err, -ENOENT, "SlowDown", "The object changes; please try again.");
    return x->down.fd < 0 ? fl_err_set(&x->err, x->down.fd, NULL, "an object's file: %s",
                                       strerror(-x->down.fd))
                          : 0;
}

/* They are opened one after the other, perhaps long after the object was replaced. */
static int hold_rest(struct fl_s3_exchange *x)
{
    const struct fl_s3_pieces *p = &x->c.pieces;
    uint64_t have = p->v[x->down.piece].bytes - x->down.at;
    int r = 0;

    x->down.held = x->down.held_end = x->down.piece + 1;
    while (r >= 0 && have < x->down.left && x->down.held_end < p->n) {
        have += p->v[x->down.held_end].bytes;
        r = fl_blob_hold(x->c.s3->blobs, p->v[x->down.held_end].blob_id);
        if (r >= 0)
            x->down.held_end++;
    }
    return r < 0 ? fl_s3_nomem(&x->err) : 0;
}

int fl_s3_open_first(struct fl_s3_exchange *x)
{
    int r;

    if (!x->c.has_data || x->c.len == 0)
        return 0;
    x->down.left = x->c.len;
    seek(x, x->c.first);
    r = open_piece(x);
    return r < 0 ? r : hold_rest(x);
}

void fl_s3_unhold(struct fl_s3_exchange *x)
{
    for (size_t i = x->down.held; i < x->down.held_end; i++)
        fl_blob_unhold(x->c.s3->blobs, x->c.pieces.v[i].blob_id);
    x->down.held_end = x->down.held;
}

/* On a pool thread: up to PIECE_BYTES, all of one file. */
static int read_more(struct fl_s3_exchange *x)
{
    const struct fl_s3_piece *p = &x->c.pieces.v[x->down.piece];
    uint64_t n = FL_MIN(FL_MIN(p->bytes - x->down.at, x->down.left), (uint64_t)PIECE_BYTES);
    ssize_t got;
    int r;

    if (n == 0) {
        close(FL_TAKE_FD(x->down.fd));
        x->down.at = 0;
        do
            x->down.piece++;
        while (x->down.piece < x->c.pieces.n && x->c.pieces.v[x->down.piece].bytes == 0);
        r = open_piece(x);
        return r < 0 ? r : read_more(x);
    }
    r = fl_buf_reserve(&x->down.data, n);
    if (r < 0)
        return r;
    got = fl_fd_pread_upto(x->down.fd, x->down.data.data, n, x->down.at);
    if (got < (ssize_t)n)
        return got < 0 ? (int)got : -EIO;
    x->down.data.len = n;
    x->down.at += n;
    x->down.left -= n;
    return 0;
}

static void read_piece(void *arg)
{
    struct fl_s3_exchange *x = arg;

    fl_buf_reset(&x->down.data);
    x->down.r = read_more(x);
}

static void piece_read(void *arg)
{
    struct fl_s3_exchange *x = arg;
    bool last = x->down.left == 0;

    if (!x->req) {
        fl_s3_release(x);
    } else if (x->down.r < 0) {
        fl_log_error("an object cannot be read", FL_S("request", x->request_id),
                     FL_S("error", strerror(-x->down.r)));
        fl_server_reply_abort(FL_TAKE(x->req));
        fl_s3_release(x);
    } else {
        x->idle = true;
        fl_server_reply_data(last ? FL_TAKE(x->req) : x->req, x->down.data.data, x->down.data.len);
        if (last)
            fl_s3_release(x);
    }
}

void fl_s3_on_room(void *arg)
{
    struct fl_s3_exchange *x = arg;

    x->idle = false;
    if (fl_loop_work(x->ctx->loop, read_piece, piece_read, x) == 0)
        return;
    fl_server_reply_abort(FL_TAKE(x->req));
    fl_s3_release(x);
}

void fl_s3_send(struct fl_s3_exchange *x, int status)
{
    fl_buf_init(&x->down.data, PIECE_BYTES);
    if (x->ctx->body_bytes + PIECE_BYTES <= FL_EXCHANGE_MAX_BYTES) {
        x->held_bytes += PIECE_BYTES;
        x->ctx->body_bytes += PIECE_BYTES;
    }
    x->idle = true;
    fl_server_reply_begin(x->req, status, NULL, x->c.out, x->c.n_out, x->c.len);
}

void fl_s3_transfer_done(struct fl_s3_exchange *x)
{
    fl_s3_body_free(x->up.body);
    fl_buf_done(&x->up.data);
    if (x->down.fd >= 0)
        close(x->down.fd);
    fl_buf_done(&x->down.data);
}
