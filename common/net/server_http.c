/* server_http.c - see server.h: one connection, from its first byte to the last answer or upgrade.
 *
 * A connection reads one request at a time. While one is being answered, what the peer sends ahead
 * is kept up to a limit, then left in the kernel; so a peer that leaves is noticed meanwhile. The
 * same holds for the body of a request that was taken over, while its taker has no room.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "common/net/chunked.h"
#include "common/net/head.h"
#include "common/net/server_lws.h"
#include "common/net/server_private.h"
#include "common/net/ws_private.h"

/* One read of the transport at most; what is read must fit behind a head that is almost whole. */
#define READ_MAX_BYTES (17 * 1024)

/* The head's text is kept apart; this holds the table of fields and joined values. */
#define REQ_ARENA_EXTRA_BYTES (16 * 1024)

#define UPGRADE_BODY_BYTES 1024

/* What one turn takes out of a chunked body that is passed on; no less than is read at a time. */
#define PIECE_MAX_BYTES (128 * 1024)

struct fl_server_req {
    struct fl_conn *conn;
    struct fl_arena arena;
    struct fl_head head;
    struct fl_buf body;
    void *tag;
    const struct fl_server_taker *taker; /* NULL: the caller gets the request when it is whole */
    void *taker_arg;
    uint64_t unsent; /* of an answer's body, what its maker has not given yet */
    bool keep_alive;
};

struct fl_conn {
    struct fl_server *server;
    struct fl_stream *stream;
    struct fl_guest guest;
    char *peer_text;
    enum {
        HEAD,      /* reading a request's head */
        BODY,      /* of known length */
        CHUNKS,    /* a chunked body */
        PASSING,   /* a body that was taken over, and is asked for */
        ANSWERING, /* the caller has the request */
        POURING,   /* an answer that its maker gives piece by piece */
        SENDING,   /* the answer is in the queue */
        UPGRADED,  /* a WebSocket; the stream is no longer ours */
        LEAVING,   /* the last answer is in the queue */
    } state;
    struct fl_buf in;    /* bytes not used yet */
    size_t searched;     /* of them, seen without the end of a head */
    size_t body_left;    /* not read yet; SIZE_MAX: until the chunks end */
    uint64_t moved;      /* bytes of the body that have come, or of the answer that were queued */
    uint64_t moved_then; /* the same, less what was in the queue, when the pace was last judged */
    struct fl_chunked chunked;
    struct fl_server_req *req;
    bool served_before, keep_alive, paused;
};

/* ---- answers ---- */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 202, "Accepted" },
    { 204, "No Content" },
    { 206, "Partial Content" },
    { 301, "Moved Permanently" },
    { 302, "Found" },
    { 304, "Not Modified" },
    { 307, "Temporary Redirect" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 411, "Length Required" },
    { 412, "Precondition Failed" },
    { 413, "Content Too Large" },
    { 416, "Range Not Satisfiable" },
    { 417, "Expectation Failed" },
    { 426, "Upgrade Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 501, "Not Implemented" },
    { 503, "Service Unavailable" },
    { 507, "Insufficient Storage" },
    { 505, "HTTP Version Not Supported" },
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Unknown";
}

/* Line breaks in a header would let its value write the rest of the answer. */
static bool is_one_line(const char *s)
{
    return s[strcspn(s, "\r\n")] == '\0';
}

static void put_date(struct fl_buf *out)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    fl_buf_printf(out, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n", days + 3 * tm.tm_wday,
                  tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                  tm.tm_sec);
}

struct answer {
    int status;
    const char *content_type; /* NULL: none */
    const struct fl_http_header *headers;
    size_t n_headers;
    const void *body;
    uint64_t body_len;
    bool head_only, keep_alive;
};

static int put_head(struct fl_buf *out, const struct answer *a)
{
    int r = fl_buf_printf(out, "HTTP/1.1 %d %s\r\n", a->status, reason_of(a->status));

    put_date(out);
    if (a->content_type && is_one_line(a->content_type))
        fl_buf_printf(out, "Content-Type: %s\r\n", a->content_type);
    for (size_t i = 0; i < a->n_headers && r == 0; i++)
        if (is_one_line(a->headers[i].name) && is_one_line(a->headers[i].value))
            r = fl_buf_printf(out, "%s: %s\r\n", a->headers[i].name, a->headers[i].value);
    if (a->status >= 200 && a->status != 204 && a->status != 304)
        fl_buf_printf(out, "Content-Length: %" PRIu64 "\r\n", a->body_len);
    if (!a->keep_alive)
        fl_buf_puts(out, "Connection: close\r\n");
    return r < 0 ? r : fl_buf_puts(out, "\r\n");
}

/* Queues the answer; without memory for it the connection ends. */
static void send_answer(struct fl_conn *c, const struct answer *a)
{
    fl_autobuf struct fl_buf out = { .max_bytes = SIZE_MAX / 2 };

    if (put_head(&out, a) < 0 || fl_stream_send(c->stream, out.data, out.len) < 0 ||
        (!a->head_only && a->body && fl_stream_send(c->stream, a->body, a->body_len) < 0)) {
        fl_stream_abort(c->stream);
        return;
    }
    c->keep_alive = a->keep_alive;
    c->state = SENDING;
    c->moved = fl_stream_queued(c->stream);
    c->moved_then = 0;
    fl_stream_timer(c->stream, c->server->pace_ms);
}

static void leave(struct fl_conn *c)
{
    c->state = LEAVING;
    fl_buf_done(&c->in);
    fl_stream_finish(c->stream);
}

static void req_free(struct fl_server_req *req)
{
    if (!req)
        return;
    fl_buf_done(&req->body);
    fl_arena_done(&req->arena);
    free(req);
}

static void drop_req(struct fl_conn *c)
{
    req_free(c->req);
    c->req = NULL;
    c->guest.busy = false;
    fl_guest_holds(c->server, &c->guest, 0);
}

/* Faults of a request that the caller never sees. The names are those of AWS where it has them. */
static const struct fault {
    int status;
    const char *type;
    const char *message;
} fault_malformed = { 400, "SerializationException", "the request is not well-formed HTTP" },
  fault_length = { 400, "SerializationException", "the length of the body is ambiguous" },
  fault_timeout = { 408, "RequestTimeoutException", "the request took too long to arrive" },
  fault_body = { 413, "RequestEntityTooLargeException", "the request body is over the limit" },
  fault_expect = { 417, "ValidationException", "the expectation is not supported" },
  fault_head = { 431, "RequestHeaderSectionTooLargeException",
                 "the request headers are over the limit" },
  fault_memory = { 503, "ServiceUnavailable", "out of memory" },
  fault_guests = { 503, "ServiceUnavailable", "too many large requests at once" },
  fault_coding = { 501, "ValidationException", "only the chunked transfer coding is supported" },
  fault_version = { 505, "ValidationException", "only HTTP/1.x is spoken here" };

/* Answers with a fault and closes. */
static void refuse(struct fl_conn *c, const struct fault *fault)
{
    char body[256];
    int n = snprintf(body, sizeof(body), "{\"__type\":\"%s\",\"message\":\"%s\"}", fault->type,
                     fault->message);
    struct answer a = {
        .status = fault->status,
        .content_type = "application/x-amz-json-1.1",
        .body = body,
        .body_len = (size_t)n,
        .head_only = c->req && c->req->head.method && !strcmp(c->req->head.method, "HEAD"),
    };

    fl_server_limit(c->server, fault == &fault_timeout ? FL_LIMIT_DROPPED : FL_LIMIT_REFUSED, 0);
    drop_req(c);
    send_answer(c, &a);
    leave(c);
}

/* ---- WebSocket ---- */

static void conn_free(struct fl_conn *c)
{
    fl_guest_leave(c->server, &c->guest);
    c->server->stats.connections--;
    atomic_fetch_sub(c->server->connections, 1);
    req_free(c->req);
    fl_buf_done(&c->in);
    free(c->peer_text);
    free(c);
}

static void ws_cancel(void *maker)
{
    /* A server's connection is open from the start. */
}

static void ws_ended(void *maker)
{
    struct fl_conn *c = maker;

    c->server->stats.websockets--;
    conn_free(c);
}

static void ws_trust(void *maker)
{
    struct fl_conn *c = maker;

    fl_guest_leave(c->server, &c->guest);
}

static const struct fl_ws_maker ws_maker = { .cancel = ws_cancel,
                                             .ended = ws_ended,
                                             .trust = ws_trust };

static bool wants_websocket(const struct fl_head *head)
{
    return fl_head_has_token(fl_head_get(head, "Connection"), "upgrade") &&
           fl_head_has_token(fl_head_get(head, "Upgrade"), "websocket");
}

/* 24 characters of base64: the key's 16 bytes (RFC 6455 §4.1) */
static bool is_ws_key(const char *key)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    return key && strlen(key) == 24 && strspn(key, alphabet) == 22 && !strcmp(key + 22, "==");
}

static void refuse_upgrade(struct fl_conn *c, int status, const char *type, const char *body)
{
    const struct fl_http_header version = { "Sec-WebSocket-Version", "13" };
    struct answer a = {
        .status = status,
        .content_type = type,
        .headers = &version,
        .n_headers = status == 426,
        .body = body,
        .body_len = strlen(body),
    };

    drop_req(c);
    send_answer(c, &a);
    leave(c);
}

static void accept_upgrade(struct fl_conn *c, struct fl_ws *ws)
{
    char accept[FL_WS_ACCEPT_BYTES], text[256];
    fl_autobuf struct fl_buf rest = c->in;
    int n;

    fl_ws_accept_key(fl_head_get(&c->req->head, "Sec-WebSocket-Key"), accept);
    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    drop_req(c);
    fl_buf_init(&c->in, 0);
    c->state = UPGRADED;
    c->server->stats.websockets++;
    fl_stream_timer(c->stream, 0);
    if (fl_stream_send(c->stream, text, (size_t)n) < 0)
        fl_stream_abort(c->stream);
    fl_ws_begin(ws, c->stream, (uint8_t *)rest.data, rest.len);
}

static void upgrade(struct fl_conn *c)
{
    const struct fl_server_events *on = &c->server->events;
    const char *version = fl_head_get(&c->req->head, "Sec-WebSocket-Version");
    const char *type = "text/plain";
    char body[UPGRADE_BODY_BYTES] = "";
    struct fl_ws_events events = { 0 };
    struct fl_ws_limits limits = { 0 };
    void *arg = NULL;
    struct fl_ws *ws;
    int status;

    if (!version || strcmp(version, "13")) {
        refuse_upgrade(c, 426, type, "WebSocket version 13 is required\n");
        return;
    }
    if (!is_ws_key(fl_head_get(&c->req->head, "Sec-WebSocket-Key")) || c->req->head.minor < 1 ||
        strcmp(c->req->head.method, "GET")) {
        refuse_upgrade(c, 400, type, "malformed WebSocket upgrade\n");
        return;
    }
    status = on->on_upgrade(c->server->arg, c->req, &events, &arg, &limits, body, &type);
    if (status) {
        refuse_upgrade(c, status, type, body);
        return;
    }
    ws = fl_ws_new(true, &limits, &events, arg, &ws_maker, c);
    if (!ws) {
        refuse(c, &fault_memory);
        return;
    }
    c->server->stats.requests++;
    accept_upgrade(c, ws);
}

/* ---- requests ---- */

/* The request is whole. */
static void deliver(struct fl_conn *c)
{
    c->state = ANSWERING;
    c->guest.busy = true;
    c->server->stats.requests++;
    fl_stream_timer(c->stream, 0);
    c->server->events.on_request(c->server->arg, c->req);
}

/* Who answers before the body has come ends the connection: nobody would read the rest. */
static bool stays(const struct fl_conn *c)
{
    return c->req->keep_alive && !c->server->draining && !c->body_left;
}

/* 0 with *ret_len set (SIZE_MAX: chunked), or the fault. Two statements of the length, or one that
 * is not plain digits, are how requests get smuggled past proxies. */
static const struct fault *body_length(const struct fl_conn *c, size_t *ret_len)
{
    const char *coding = fl_head_get(&c->req->head, "Transfer-Encoding");
    const char *length = fl_head_get(&c->req->head, "Content-Length");
    size_t n = 0;

    *ret_len = 0;
    if (coding) {
        if (length || c->req->head.minor < 1)
            return &fault_length;
        *ret_len = SIZE_MAX;
        return strcasecmp(coding, "chunked") ? &fault_coding : NULL;
    }
    if (!length)
        return NULL;
    if (!*length || length[strspn(length, "0123456789")])
        return &fault_length;
    for (; *length; length++) {
        if (n > (SIZE_MAX - 10) / 10)
            return &fault_body;
        n = n * 10 + (size_t)(*length - '0');
    }
    *ret_len = n;
    return NULL;
}

/* The peer may be waiting for leave to send the body: curl and boto3 wait a second without it. */
static const struct fault *answer_expect(struct fl_conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const char *expect = fl_head_get(&c->req->head, "Expect");

    if (!expect || c->req->head.minor < 1)
        return NULL;
    if (strcasecmp(expect, "100-continue"))
        return &fault_expect;
    if (!c->in.len)
        fl_stream_send(c->stream, go_on, sizeof(go_on) - 1);
    return NULL;
}

/* True if the caller does the rest. It may have answered already. */
static bool hand_over(struct fl_conn *c)
{
    struct fl_server *s = c->server;

    c->state = ANSWERING;
    c->guest.busy = true;
    fl_stream_timer(c->stream, 0);
    if (s->events.on_head && s->events.on_head(s->arg, c->req)) {
        s->stats.requests++;
        return true;
    }
    c->state = HEAD;
    c->guest.busy = false;
    fl_stream_timer(c->stream, s->header_ms);
    return false;
}

/* The head is parsed: what follows? */
static void begin_request(struct fl_conn *c)
{
    const char *connection = fl_head_get(&c->req->head, "Connection");
    const struct fault *fault;
    size_t len = 0;

    c->req->keep_alive = c->req->head.minor >= 1 ? !fl_head_has_token(connection, "close")
                                                 : fl_head_has_token(connection, "keep-alive");
    fault = body_length(c, &len);
    if (fault) {
        refuse(c, fault);
        return;
    }
    if (c->server->events.on_upgrade && !len && wants_websocket(&c->req->head)) {
        upgrade(c);
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
        fault = &fault_body;
    else
        fault = answer_expect(c);
    if (fault) {
        refuse(c, fault);
        return;
    }
    fl_stream_timer(c->stream, c->server->pace_ms);
    c->state = len == SIZE_MAX ? CHUNKS : BODY;
}

static const struct fault *fault_of(int r)
{
    switch (r) {
    case -ENOMEM:
        return &fault_memory;
    case -E2BIG:
        return &fault_head;
    case -EPROTONOSUPPORT:
        return &fault_version;
    default:
        return &fault_malformed;
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
        refuse(c, &fault_malformed);
        return false;
    }
    len = fl_head_length(c->in.data, c->in.len, c->searched);
    if (len > c->server->max_header_bytes || (!len && c->in.len >= c->server->max_header_bytes)) {
        refuse(c, &fault_head);
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
        refuse(c, fault_of(r));
        return false;
    }
    begin_request(c);
    return true;
}

static bool read_body(struct fl_conn *c)
{
    size_t n = FL_MIN(c->in.len, c->body_left);

    if (!fl_guest_holds(c->server, &c->guest, c->req->body.len + n)) {
        refuse(c, &fault_guests);
        return false;
    }
    if (fl_buf_append(&c->req->body, c->in.data, n) < 0) {
        refuse(c, &fault_memory);
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
        refuse(c, r == -EMSGSIZE ? &fault_body : fault_of(r));
        return false;
    }
    fl_buf_consume(&c->in, used);
    if (!fl_guest_holds(c->server, &c->guest, c->req->body.len)) {
        refuse(c, &fault_guests);
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
        c->state = ANSWERING;
        fl_stream_timer(c->stream, 0);
    }
    go_on = req->taker->on_body(req->taker_arg, data, len, end);
    if (go_on || c->state != PASSING)
        return c->state == PASSING;
    c->state = ANSWERING;
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
    case HEAD:
        return read_head(c);
    case BODY:
        return c->in.len && read_body(c);
    case CHUNKS:
        return c->in.len && read_chunks(c);
    case PASSING:
        return c->in.len && pass_on(c);
    default:
        return false;
    }
}

static void read_all(struct fl_conn *c)
{
    bool full;

    while (read_more(c))
        ;
    if (c->state == UPGRADED || c->state == LEAVING)
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
        leave(c);
        return;
    }
    c->state = HEAD;
    c->served_before = true;
    fl_stream_timer(c->stream, c->server->idle_ms);
    read_all(c);
}

/* ---- stream callbacks ---- */

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct fl_conn *c = arg;

    if (fl_buf_append(&c->in, data, len) < 0) {
        fl_stream_abort(c->stream);
        return;
    }
    read_all(c);
}

static void on_drain(void *arg)
{
    struct fl_conn *c = arg;

    /* An interim "100 Continue" drains too, and is no answer. */
    if (c->state == SENDING)
        answered(c);
    else if (c->state == POURING)
        c->req->taker->on_room(c->req->taker_arg);
}

/* Whether enough has moved since the last look; looks again later. A peer that takes a byte now and
 * then would hold what is kept for it for ever. */
static bool keeps_pace(struct fl_conn *c)
{
    bool out = c->state == SENDING || c->state == POURING;
    size_t queued = out ? fl_stream_queued(c->stream) : 0;
    uint64_t now = c->moved - queued, moved = now - c->moved_then;

    c->moved_then = now;
    /* Who has read all there is waits for us. */
    if (moved < c->server->pace_bytes && !(c->state == POURING && !queued))
        return false;
    fl_stream_timer(c->stream, c->server->pace_ms);
    return true;
}

static void on_timer(void *arg)
{
    struct fl_conn *c = arg;

    switch (c->state) {
    case BODY:
    case CHUNKS:
        if (!keeps_pace(c))
            refuse(c, &fault_timeout);
        break;
    case PASSING:
        if (keeps_pace(c))
            break;
        fl_server_limit(c->server, FL_LIMIT_DROPPED, 0);
        fl_stream_abort(c->stream);
        break;
    case POURING:
    case SENDING:
        if (keeps_pace(c))
            break;
        fl_server_limit(c->server, FL_LIMIT_DROPPED, 0);
        fl_stream_abort(c->stream);
        break;
    default:
        if (c->in.len)
            refuse(c, &fault_timeout);
        else
            fl_stream_abort(c->stream);
    }
}

static void on_close(void *arg, const char *why)
{
    struct fl_conn *c = arg;

    if (c->req && c->req->taker)
        c->req->taker->on_gone(c->req->taker_arg);
    else if (c->req && c->state == ANSWERING && c->server->events.on_abort)
        c->server->events.on_abort(c->server->arg, c->req);
    conn_free(c);
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

/* ---- what a request says, and its answer ---- */

const char *fl_server_req_method(const struct fl_server_req *req)
{
    return req->head.method;
}

const char *fl_server_req_path(const struct fl_server_req *req)
{
    return req->head.path;
}

const char *fl_server_req_query(const struct fl_server_req *req)
{
    return req->head.query;
}

bool fl_server_req_header_at(const struct fl_server_req *req, size_t i,
                             struct fl_http_header *ret_header)
{
    if (i >= req->head.n_fields)
        return false;
    *ret_header = (struct fl_http_header){ req->head.fields[i].name, req->head.fields[i].value };
    return true;
}

const char *fl_server_req_header(const struct fl_server_req *req, const char *name)
{
    return fl_head_get(&req->head, name);
}

const char *fl_server_req_body(const struct fl_server_req *req, size_t *ret_len)
{
    if (ret_len)
        *ret_len = req->body.len;
    return req->body.data ? req->body.data : "";
}

const char *fl_server_req_peer(const struct fl_server_req *req)
{
    return req->conn->peer_text;
}

void *fl_server_req_tag(const struct fl_server_req *req)
{
    return req->tag;
}

void fl_server_req_set_tag(struct fl_server_req *req, void *tag)
{
    req->tag = tag;
}

void fl_server_req_trust(struct fl_server_req *req)
{
    fl_guest_leave(req->conn->server, &req->conn->guest);
}

void fl_server_req_last(struct fl_server_req *req)
{
    req->keep_alive = false;
}

char *fl_server_req_take_body(struct fl_server_req *req)
{
    fl_guest_holds(req->conn->server, &req->conn->guest, 0);
    return fl_buf_take(&req->body, NULL);
}

void fl_server_reply(struct fl_server_req *req, int status, const char *content_type,
                     const struct fl_http_header *headers, size_t n_headers, const void *body,
                     size_t body_len)
{
    struct fl_conn *c = req->conn;
    struct answer a = {
        .status = status,
        .content_type = content_type,
        .headers = headers,
        .n_headers = n_headers,
        .body = body,
        .body_len = body_len,
        .head_only = !strcmp(req->head.method, "HEAD"),
        .keep_alive = stays(c),
    };

    send_answer(c, &a);
    drop_req(c);
}

/* ---- requests that were taken over ---- */

void fl_server_req_take(struct fl_server_req *req, const struct fl_server_taker *taker, void *arg)
{
    req->taker = taker;
    req->taker_arg = arg;
}

uint64_t fl_server_req_length(const struct fl_server_req *req)
{
    return req->conn->body_left == SIZE_MAX ? UINT64_MAX : req->conn->body_left;
}

void fl_server_req_more(struct fl_server_req *req)
{
    struct fl_conn *c = req->conn;

    if (!c->body_left) {
        req->taker->on_body(req->taker_arg, "", 0, true);
        return;
    }
    if (!c->moved)
        answer_expect(c);
    c->state = PASSING;
    c->moved_then = c->moved;
    fl_stream_timer(c->stream, c->server->pace_ms);
    read_all(c);
}

void fl_server_reply_begin(struct fl_server_req *req, int status, const char *content_type,
                           const struct fl_http_header *headers, size_t n_headers,
                           uint64_t body_len)
{
    struct fl_conn *c = req->conn;
    struct answer a = {
        .status = status,
        .content_type = content_type,
        .headers = headers,
        .n_headers = n_headers,
        .body_len = body_len,
        .keep_alive = stays(c),
    };

    send_answer(c, &a);
    if (c->state != SENDING)
        return;
    c->state = POURING;
    req->unsent = body_len;
}

void fl_server_reply_data(struct fl_server_req *req, const void *data, size_t len)
{
    struct fl_conn *c = req->conn;

    if (fl_stream_send(c->stream, data, len) < 0) {
        fl_stream_abort(c->stream);
        return;
    }
    c->moved += len;
    req->unsent -= len;
    if (req->unsent)
        return;
    c->state = SENDING;
    drop_req(c);
}

void fl_server_reply_abort(struct fl_server_req *req)
{
    struct fl_conn *c = req->conn;

    req->taker = NULL;
    fl_stream_abort(c->stream);
}
