/* server_http.c - see server.h: one connection, from its first byte to the last answer or upgrade.
 *
 * A connection reads one request at a time. While one is being answered, what the peer sends ahead
 * is kept up to a limit, then left in the kernel; so a peer that leaves is noticed meanwhile. The
 * same holds for the body of a request that was taken over, while its taker has no room.
 */
#include "common/net/server_http_priv.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One read of the transport at most; what is read must fit behind a head that is almost whole. */
#define READ_MAX_BYTES (17 * 1024)

/* The head's text is kept apart; this holds the table of fields and joined values. */
#define REQ_ARENA_EXTRA_BYTES (16 * 1024)

/* What one turn takes out of a chunked body that is passed on; no less than is read at a time. */
#define PIECE_MAX_BYTES (128 * 1024)

/* ---- connections ---- */

void fl_conn_free(struct fl_conn *c)
{
    fl_guest_leave(c->server, &c->guest);
    c->server->stats.connections--;
    atomic_fetch_sub(c->server->connections, 1);
    fl_req_free(c->req);
    fl_buf_done(&c->in);
    free(c->peer_text);
    free(c);
}

/* ---- requests ---- */

/* The request is whole. */
static void deliver(struct fl_conn *c)
{
    c->state = CONN_ANSWERING;
    c->guest.busy = true;
    c->server->stats.requests++;
    fl_stream_timer(c->stream, 0);
    c->server->events.on_request(c->server->arg, c->req);
}

/* Who answers before the body has come ends the connection: nobody would read the rest. */
bool fl_conn_stays(const struct fl_conn *c)
{
    return c->req->keep_alive && !c->server->draining && !c->body_left;
}

/* 0 with *ret_len set (SIZE_MAX: chunked), or the fault. Two statements of the length, or one that
 * is not plain digits, are how requests get smuggled past proxies. */
static const struct fl_fault *body_length(const struct fl_conn *c, size_t *ret_len)
{
    const char *coding = fl_head_get(&c->req->head, "Transfer-Encoding");
    const char *length = fl_head_get(&c->req->head, "Content-Length");
    size_t n = 0;

    *ret_len = 0;
    if (coding) {
        if (length || c->req->head.minor < 1)
            return &fl_faults[FL_FAULT_LENGTH];
        *ret_len = SIZE_MAX;
        return strcasecmp(coding, "chunked") ? &fl_faults[FL_FAULT_CODING] : NULL;
    }
    if (!length)
        return NULL;
    if (!*length || length[strspn(length, "0123456789")])
        return &fl_faults[FL_FAULT_LENGTH];
    for (; *length; length++) {
        if (n > (SIZE_MAX - 10) / 10)
            return &fl_faults[FL_FAULT_BODY];
        n = n * 10 + (size_t)(*length - '0');
    }
    *ret_len = n;
    return NULL;
}

/* The peer may be waiting for leave to send the body: curl and boto3 wait a second without it. */
const struct fl_fault *fl_conn_expect(struct fl_conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const char *expect = fl_head_get(&c->req->head, "Expect");

    if (!expect || c->req->head.minor < 1)
        return NULL;
    if (strcasecmp(expect, "100-continue"))
        return &fl_faults[FL_FAULT_EXPECT];
    if (!c->in.len)
        fl_stream_send(c->stream, go_on, sizeof(go_on) - 1);
    return NULL;
}

/* True if the caller does the rest. It may have answered already. */
static bool hand_over(struct fl_conn *c)
{
    struct fl_server *s = c->server;

    c->state = CONN_ANSWERING;
    c->guest.busy = true;
    fl_stream_timer(c->stream, 0);
    if (s->events.on_head && s->events.on_head(s->arg, c->req)) {
        s->stats.requests++;
        return true;
    }
    c->state = CONN_HEAD;
    c->guest.busy = false;
    fl_stream_timer(c->stream, s->header_ms);
    return false;
}

/* The head is parsed: what follows? */
static void begin_request(struct fl_conn *c)
{
    const char *connection = fl_head_get(&c->req->head, "Connection");
    const struct fl_fault *fault;
    size_t len = 0;

    c->req->keep_alive = c->req->head.minor >= 1 ? !fl_head_has_token(connection, "close")
                                                 : fl_head_has_token(connection, "keep-alive");
    fault = body_length(c, &len);
    if (fault) {
        fl_conn_refuse(c, fault);
        return;
    }
    if (c->server->events.on_upgrade && !len && fl_wants_websocket(&c->req->head)) {
        fl_conn_upgrade(c);
        return;
    }
    fl_chunked_init(&c->chunked);
    c->moved = c->moved_then = 0;
    c->body_left = len;
    if (hand_over(c))
        return;
    if (!len) {
        deliver(c);
        return;
    }
    if (len != SIZE_MAX && len > c->server->max_body_bytes)
        fault = &fl_faults[FL_FAULT_BODY];
    else
        fault = fl_conn_expect(c);
    if (fault) {
        fl_conn_refuse(c, fault);
        return;
    }
    fl_stream_timer(c->stream, c->server->pace_ms);
    c->state = len == SIZE_MAX ? CONN_CHUNKS : CONN_BODY;
}

static const struct fl_fault *fault_of(int r)
{
    switch (r) {
    case -ENOMEM:
        return &fl_faults[FL_FAULT_MEMORY];
    case -E2BIG:
        return &fl_faults[FL_FAULT_HEAD];
    case -EPROTONOSUPPORT:
        return &fl_faults[FL_FAULT_VERSION];
    default:
        return &fl_faults[FL_FAULT_MALFORMED];
    }
}

static int parse_head(struct fl_conn *c, size_t len)
{
    struct fl_server_req *req = calloc(1, sizeof(*req));
    char *text;

    if (!req)
        return -ENOMEM;
    c->req = req;
    req->conn = c;
    fl_buf_init(&req->body, c->server->max_body_bytes);
    req->body.secret = true;
    fl_arena_init(&req->arena, 2 * len + REQ_ARENA_EXTRA_BYTES);
    text = fl_arena_memdup(&req->arena, c->in.data, len);
    if (!text)
        return -ENOMEM;
    fl_buf_consume(&c->in, len);
    c->searched = 0;
    return fl_head_parse_request(text, len, &req->arena, &req->head);
}

/* The readers: true when they made progress and there may be more to do. */

static bool read_head(struct fl_conn *c)
{
    size_t blank = 0, len;
    int r;

    /* RFC 9112 §2.2: an empty line before the request is skipped. */
    while (c->in.len - blank >= 2 && !memcmp(c->in.data + blank, "\r\n", 2))
        blank += 2;
    fl_buf_consume(&c->in, blank);
    if (!c->in.len)
        return false;

    /* No method begins like this; a TLS client at a plain port does, and would wait for us. */
    if ((unsigned char)c->in.data[0] <= ' ' && c->in.data[0] != '\r') {
        fl_conn_refuse(c, &fl_faults[FL_FAULT_MALFORMED]);
        return false;
    }
    len = fl_head_length(c->in.data, c->in.len, c->searched);
    if (len > c->server->max_header_bytes || (!len && c->in.len >= c->server->max_header_bytes)) {
        fl_conn_refuse(c, &fl_faults[FL_FAULT_HEAD]);
        return false;
    }
    if (!len) {
        /* The time for a request begins with its first byte. */
        if (!c->searched && c->served_before)
            fl_stream_timer(c->stream, c->server->header_ms);
        c->searched = c->in.len;
        return false;
    }
    if (c->served_before)
        fl_stream_timer(c->stream, c->server->header_ms);
    r = parse_head(c, len);
    if (r < 0) {
        fl_conn_refuse(c, fault_of(r));
        return false;
    }
    begin_request(c);
    return true;
}

static bool read_body(struct fl_conn *c)
{
    size_t n = FL_MIN(c->in.len, c->body_left);

    if (!fl_guest_holds(c->server, &c->guest, c->req->body.len + n)) {
        fl_conn_refuse(c, &fl_faults[FL_FAULT_GUESTS]);
        return false;
    }
    if (fl_buf_append(&c->req->body, c->in.data, n) < 0) {
        fl_conn_refuse(c, &fl_faults[FL_FAULT_MEMORY]);
        return false;
    }
    fl_buf_consume(&c->in, n);
    c->body_left -= n;
    c->moved += n;
    if (c->body_left)
        return false;
    deliver(c);
    return true;
}

static bool read_chunks(struct fl_conn *c)
{
    size_t used = 0;
    int r = fl_chunked_feed(&c->chunked, c->in.data, c->in.len, &c->req->body, &used);

    if (r < 0) {
        fl_conn_refuse(c, r == -EMSGSIZE ? &fl_faults[FL_FAULT_BODY] : fault_of(r));
        return false;
    }
    fl_buf_consume(&c->in, used);
    if (!fl_guest_holds(c->server, &c->guest, c->req->body.len)) {
        fl_conn_refuse(c, &fl_faults[FL_FAULT_GUESTS]);
        return false;
    }
    c->moved = c->req->body.len;
    if (!r)
        return false;
    c->body_left = 0;
    deliver(c);
    return true;
}

/* Passes on a piece; true if there may be another at once. */
static bool pass(struct fl_conn *c, const void *data, size_t len, bool end)
{
    struct fl_server_req *req = c->req;
    bool go_on;

    c->moved += len;
    if (end) {
        c->body_left = 0;
        c->state = CONN_ANSWERING;
        fl_stream_timer(c->stream, 0);
    }
    go_on = req->taker->on_body(req->taker_arg, data, len, end);
    if (go_on || c->state != CONN_PASSING)
        return c->state == CONN_PASSING;
    c->state = CONN_ANSWERING;
    fl_stream_timer(c->stream, 0);
    return false;
}

static bool pass_body(struct fl_conn *c)
{
    size_t n = FL_MIN(c->in.len, c->body_left);
    /* The taker may answer, which drops the buffer. */
    fl_autobuf struct fl_buf piece = c->in;

    fl_buf_init(&c->in, piece.max_bytes);
    c->in.secret = true;
    if (fl_buf_append(&c->in, piece.data + n, piece.len - n) < 0) {
        fl_stream_abort(c->stream);
        return false;
    }
    c->body_left -= n;
    return pass(c, piece.data, n, !c->body_left);
}

static bool pass_chunks(struct fl_conn *c)
{
    fl_autobuf struct fl_buf piece = FL_BUF(PIECE_MAX_BYTES);
    size_t used = 0;
    int r = fl_chunked_feed(&c->chunked, c->in.data, c->in.len, &piece, &used);

    if (r < 0) {
        fl_stream_abort(c->stream);
        return false;
    }
    fl_buf_consume(&c->in, used);
    return (piece.len || r) && pass(c, piece.data, piece.len, r == 1);
}

static bool pass_on(struct fl_conn *c)
{
    return c->body_left == SIZE_MAX ? pass_chunks(c) : pass_body(c);
}

static bool read_more(struct fl_conn *c)
{
    if (c->stream->aborted)
        return false;
    switch (c->state) {
    case CONN_HEAD:
        return read_head(c);
    case CONN_BODY:
        return c->in.len && read_body(c);
    case CONN_CHUNKS:
        return c->in.len && read_chunks(c);
    case CONN_PASSING:
        return c->in.len && pass_on(c);
    default:
        return false;
    }
}

void fl_conn_read(struct fl_conn *c)
{
    bool full;

    while (read_more(c))
        ;
    if (c->state == CONN_UPGRADED || c->state == CONN_LEAVING)
        return;
    /* An idle connection holds no buffer; one that sends far ahead has to wait. */
    if (!c->in.len)
        fl_buf_done(&c->in);
    full = c->in.len > c->server->max_header_bytes;
    if (full != c->paused) {
        c->paused = full;
        fl_stream_pause(c->stream, full);
    }
}

/* The answer has been handed over: the next request, or the end. */
static void answered(struct fl_conn *c)
{
    if (!c->keep_alive) {
        fl_conn_leave(c);
        return;
    }
    c->state = CONN_HEAD;
    c->served_before = true;
    fl_stream_timer(c->stream, c->server->idle_ms);
    fl_conn_read(c);
}

/* ---- stream callbacks ---- */

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct fl_conn *c = arg;

    if (fl_buf_append(&c->in, data, len) < 0) {
        fl_stream_abort(c->stream);
        return;
    }
    fl_conn_read(c);
}

static void on_drain(void *arg)
{
    struct fl_conn *c = arg;

    /* An interim "100 Continue" drains too, and is no answer. */
    if (c->state == CONN_SENDING)
        answered(c);
    else if (c->state == CONN_POURING)
        c->req->taker->on_room(c->req->taker_arg);
}

/* Whether enough has moved since the last look; looks again later. A peer that takes a byte now and
 * then would hold what is kept for it for ever. */
static bool keeps_pace(struct fl_conn *c)
{
    bool out = c->state == CONN_SENDING || c->state == CONN_POURING;
    size_t queued = out ? fl_stream_queued(c->stream) : 0;
    uint64_t now = c->moved - queued, moved = now - c->moved_then;

    c->moved_then = now;
    /* Who has read all there is waits for us. */
    if (moved < c->server->pace_bytes && !(c->state == CONN_POURING && !queued))
        return false;
    fl_stream_timer(c->stream, c->server->pace_ms);
    return true;
}

static void on_timer(void *arg)
{
    struct fl_conn *c = arg;

    switch (c->state) {
    case CONN_BODY:
    case CONN_CHUNKS:
        if (!keeps_pace(c))
            fl_conn_refuse(c, &fl_faults[FL_FAULT_TIMEOUT]);
        break;
    case CONN_PASSING:
        if (keeps_pace(c))
            break;
        fl_server_limit(c->server, FL_LIMIT_DROPPED, 0);
        fl_stream_abort(c->stream);
        break;
    case CONN_POURING:
    case CONN_SENDING:
        if (keeps_pace(c))
            break;
        fl_server_limit(c->server, FL_LIMIT_DROPPED, 0);
        fl_stream_abort(c->stream);
        break;
    default:
        if (c->in.len)
            fl_conn_refuse(c, &fl_faults[FL_FAULT_TIMEOUT]);
        else
            fl_stream_abort(c->stream);
    }
}

static void on_close(void *arg, const char *why)
{
    struct fl_conn *c = arg;

    if (c->req && c->req->taker)
        c->req->taker->on_gone(c->req->taker_arg);
    else if (c->req && c->state == CONN_ANSWERING && c->server->events.on_abort)
        c->server->events.on_abort(c->server->arg, c->req);
    fl_conn_free(c);
}

static const struct fl_stream_ops stream_ops = {
    .on_data = on_data,
    .on_drain = on_drain,
    .on_timer = on_timer,
    .on_close = on_close,
};

int fl_conn_new(struct fl_server *server, int fd, const char *peer_text,
                struct fl_guest **ret_guest)
{
    struct fl_conn *c = calloc(1, sizeof(*c));
    int r = -ENOMEM;

    if (!c || !(c->peer_text = strdup(peer_text))) {
        free(c);
        close(fd);
        return r;
    }
    c->server = server;
    fl_buf_init(&c->in, server->max_header_bytes + 2 * READ_MAX_BYTES);
    c->in.secret = true;
    r = fl_lws_adopt(server->lws, fd, &stream_ops, c, &c->stream);
    if (r < 0) {
        free(c->peer_text);
        free(c);
        return r;
    }
    fl_stream_timer(c->stream, server->header_ms);
    server->stats.connections++;
    atomic_fetch_add(server->connections, 1);
    *ret_guest = &c->guest;
    return 0;
}

void fl_conn_drop(struct fl_guest *guest)
{
    fl_stream_abort(FL_CONTAINER_OF(guest, struct fl_conn, guest)->stream);
}
