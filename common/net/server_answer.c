/* server_answer.c - what a request says, and its answer: see server.h. */
#include "common/net/server_http_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/base/rand.h"

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

static int put_head(struct fl_buf *out, const struct fl_answer *a)
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

void fl_conn_answer(struct fl_conn *c, const struct fl_answer *a)
{
    fl_autobuf struct fl_buf out = { .max_bytes = SIZE_MAX / 2 };

    if (put_head(&out, a) < 0 || fl_stream_send(c->stream, out.data, out.len) < 0 ||
        (!a->head_only && a->body && fl_stream_send(c->stream, a->body, a->body_len) < 0)) {
        fl_stream_abort(c->stream);
        return;
    }
    c->keep_alive = a->keep_alive;
    c->state = CONN_SENDING;
    c->moved = fl_stream_queued(c->stream);
    c->moved_then = 0;
    fl_stream_timer(c->stream, c->server->pace_ms);
}

void fl_conn_leave(struct fl_conn *c)
{
    c->state = CONN_LEAVING;
    fl_buf_done(&c->in);
    fl_stream_finish(c->stream);
}

void fl_req_free(struct fl_server_req *req)
{
    if (!req)
        return;
    fl_buf_done(&req->body);
    fl_arena_done(&req->arena);
    free(req);
}

void fl_conn_drop_req(struct fl_conn *c)
{
    fl_req_free(c->req);
    c->req = NULL;
    c->guest.busy = false;
    fl_guest_holds(c->server, &c->guest, 0);
}

/* The names are those of AWS where it has them. */
const struct fl_fault fl_faults[] = {
    [FL_FAULT_MALFORMED] = { 400, "SerializationException", "the request is not well-formed HTTP" },
    [FL_FAULT_LENGTH] = { 400, "SerializationException", "the length of the body is ambiguous" },
    [FL_FAULT_TIMEOUT] = { 408, "RequestTimeoutException", "the request took too long to arrive" },
    [FL_FAULT_BODY] = { 413, "RequestEntityTooLargeException",
                        "the request body is over the limit" },
    [FL_FAULT_EXPECT] = { 417, "ValidationException", "the expectation is not supported" },
    [FL_FAULT_HEAD] = { 431, "RequestHeaderSectionTooLargeException",
                        "the request headers are over the limit" },
    [FL_FAULT_MEMORY] = { 503, "ServiceUnavailable", "out of memory" },
    [FL_FAULT_GUESTS] = { 503, "ServiceUnavailable", "too many large requests at once" },
    [FL_FAULT_CODING] = { 501, "ValidationException",
                          "only the chunked transfer coding is supported" },
    [FL_FAULT_VERSION] = { 505, "ValidationException", "only HTTP/1.x is spoken here" },
};

void fl_conn_refuse(struct fl_conn *c, const struct fl_fault *fault)
{
    char body[256], id[FL_UUID_BYTES];
    int n =
        snprintf(body, sizeof(body), "{\"__type\":\"%s\",\"message\":\"%s\",\"Message\":\"%s\"}",
                 fault->type, fault->message, fault->message);
    const struct fl_http_header headers[] = { { "x-amzn-RequestId", id },
                                              { "x-amzn-ErrorType", fault->type } };
    struct fl_answer a = {
        .status = fault->status,
        .content_type = "application/x-amz-json-1.1",
        .headers = headers,
        .n_headers = FL_ARRAY_LEN(headers),
        .body = body,
        .body_len = (size_t)n,
        .head_only = c->req && c->req->head.method && !strcmp(c->req->head.method, "HEAD"),
    };

    fl_uuid4(id);
    fl_server_limit(c->server,
                    fault == &fl_faults[FL_FAULT_TIMEOUT] ? FL_LIMIT_DROPPED : FL_LIMIT_REFUSED, 0);
    fl_conn_drop_req(c);
    fl_conn_answer(c, &a);
    fl_conn_leave(c);
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

static struct fl_answer answer_of(const struct fl_server_req *req, int status,
                                  const char *content_type, const struct fl_http_header *headers,
                                  size_t n_headers)
{
    return (struct fl_answer){ .status = status,
                               .content_type = content_type,
                               .headers = headers,
                               .n_headers = n_headers,
                               .keep_alive = fl_conn_stays(req->conn) };
}

void fl_server_reply(struct fl_server_req *req, int status, const char *content_type,
                     const struct fl_http_header *headers, size_t n_headers, const void *body,
                     size_t body_len)
{
    struct fl_answer a = answer_of(req, status, content_type, headers, n_headers);

    a.body = body;
    a.body_len = body_len;
    a.head_only = !strcmp(req->head.method, "HEAD");
    fl_conn_answer(req->conn, &a);
    fl_conn_drop_req(req->conn);
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
        fl_conn_expect(c);
    c->state = CONN_PASSING;
    c->moved_then = c->moved;
    fl_stream_timer(c->stream, c->server->pace_ms);
    fl_conn_read(c);
}

void fl_server_reply_begin(struct fl_server_req *req, int status, const char *content_type,
                           const struct fl_http_header *headers, size_t n_headers,
                           uint64_t body_len)
{
    struct fl_answer a = answer_of(req, status, content_type, headers, n_headers);
    struct fl_conn *c = req->conn;

    a.body_len = body_len;
    fl_conn_answer(c, &a);
    if (c->state != CONN_SENDING)
        return;
    c->state = CONN_POURING;
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
    c->state = CONN_SENDING;
    fl_conn_drop_req(c);
}

void fl_server_reply_abort(struct fl_server_req *req)
{
    struct fl_conn *c = req->conn;

    req->taker = NULL;
    fl_stream_abort(c->stream);
}
