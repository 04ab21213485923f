/* A connection of the plane, from its first byte through requests and answers into a WebSocket: in
 * reads of any size the same requests, answers and messages must come out. The first byte says how
 * the caller behaves ('0': answers at once; bit 0: later; bit 1: the server is about to stop). */
#include "common/net/server_lws.h"
#include "common/net/server_private.h"
#include "tests/fuzz/fakestream.h"

#define MAX_HEADER_BYTES  1024
#define MAX_BODY_BYTES    2048
#define MAX_MESSAGE_BYTES 2048
#define READ_BYTES        16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fakestream stream;
static bool answers_later;
static struct fl_server_req *waiting;

static struct {
    uint64_t hash; /* of all that came out */
    unsigned requests, messages, closed;
} seen;

static void add(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        seen.hash = (seen.hash ^ p[i]) * 1099511628211u;
    seen.hash = (seen.hash ^ len) * 1099511628211u;
}

static void add_text(const char *s)
{
    if (s[strcspn(s, "\r\n")])
        abort();
    add(s, strlen(s));
}

static void answer(struct fl_server_req *req)
{
    static const struct fl_http_header headers[] = { { "X-Amzn-RequestId", "1" } };
    size_t len;

    fl_server_req_body(req, &len);
    /* ends a line, for add_sent to see where the next answer begins */
    fl_server_reply(req, len % 2 ? 400 : 200, "application/json", headers, 1, "{}\n", 3);
}

static void on_request(void *arg, struct fl_server_req *req)
{
    static const char *const names[] = { "Authorization", "Host", "X-Amz-Target" };
    const char *body;
    size_t len;

    if (waiting)
        abort(); /* one at a time */
    seen.requests++;
    add_text(fl_server_req_method(req));
    add_text(fl_server_req_path(req));
    add_text(fl_server_req_query(req));
    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++)
        if (fl_server_req_header(req, names[i]))
            add_text(fl_server_req_header(req, names[i]));
    body = fl_server_req_body(req, &len);
    if (len > MAX_BODY_BYTES)
        abort();
    add(body, len);
    if (answers_later)
        waiting = req;
    else
        answer(req);
}

static void on_abort(void *arg, struct fl_server_req *req)
{
    if (req != waiting)
        abort();
    waiting = NULL;
}

static void on_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    if (len > MAX_MESSAGE_BYTES)
        abort();
    seen.messages++;
    add(data, len);
    fl_ws_send(ws, kind, data, len);
}

static void on_ws_close(void *arg, struct fl_ws *ws, int code, int status, const char *why)
{
    seen.closed++;
    add(&code, sizeof(code));
}

static int on_upgrade(void *arg, struct fl_server_req *req, struct fl_ws_events *ret_events,
                      void **ret_arg, struct fl_ws_limits *ret_limits, char *ret_body,
                      const char **ret_type)
{
    *ret_events = (struct fl_ws_events){ .on_message = on_message, .on_close = on_ws_close };
    *ret_limits = (struct fl_ws_limits){ .max_message_bytes = MAX_MESSAGE_BYTES };
    add_text(fl_server_req_path(req));
    return strcmp(fl_server_req_path(req), "/403") == 0 ? 403 : 0;
}

/* In the place of libwebsockets and of the listening half. */
int fl_lws_adopt(struct fl_lws *lws, int fd, const struct fl_stream_ops *ops, void *arg,
                 struct fl_stream **ret_stream)
{
    fakestream_init(&stream);
    fl_stream_set_ops(&stream.s, ops, arg);
    *ret_stream = &stream.s;
    return 0;
}

void fl_server_limit(struct fl_server *server, enum fl_server_limit what, int error)
{
}

void fl_guest_leave(struct fl_server *server, struct fl_guest *guest)
{
}

bool fl_guest_holds(struct fl_server *server, struct fl_guest *guest, size_t bytes)
{
    return true;
}

static bool begins(const char *text, const char *end, const char *with)
{
    size_t len = strlen(with);

    return (size_t)(end - text) >= len && memcmp(text, with, len) == 0;
}

/* Adds what was sent, without what depends on the time, on chance or on how reads were cut: the
 * date, a refusal's id, and the leave to send a body, which is not given where it is here. */
static void add_sent(const char *text, size_t len)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const char *end = text + len;

    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        const char *next = nl ? nl + 1 : end;

        if (begins(text, end, go_on))
            next = text + strlen(go_on);
        else if (!begins(text, next, "Date: ") && !begins(text, next, "x-amzn-RequestId: "))
            add(text, (size_t)(next - text));
        text = next;
    }
}

static void turn(void)
{
    fakestream_turn(&stream);
    while (waiting) {
        answer(FL_TAKE(waiting));
        fakestream_turn(&stream);
    }
}

static void serve(uint8_t how, const uint8_t *data, size_t size, size_t step)
{
    struct fl_server server = {
        .events = { .on_request = on_request, .on_upgrade = on_upgrade, .on_abort = on_abort },
        .max_body_bytes = MAX_BODY_BYTES,
        .max_header_bytes = MAX_HEADER_BYTES,
        .header_ms = 1,
        .idle_ms = 1,
        .pace_ms = 1,
        .draining = how & 2,
    };
    struct fl_guest *guest;
    size_t at = 0, n;

    server.connections = &server.own_connections;
    answers_later = how & 1;
    if (fl_conn_new(&server, -1, "192.0.2.1", &guest) < 0)
        abort();
    while (at < size && (n = fakestream_feed(&stream, data + at, size - at, step)) > 0) {
        at += n;
        turn();
    }
    if (at < size && !stream.gone)
        abort(); /* it stopped reading, with nothing left to answer */
    add_sent(stream.sent.data ? stream.sent.data : "", stream.sent.len);
    fakestream_close(&stream);
    if (server.stats.connections != 0 || waiting || server.stats.websockets != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = { READ_BYTES, 1, 7 };
    __typeof__(seen) first;

    if (size == 0)
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(steps); i++) {
        seen = (__typeof__(seen)){ 0 };
        serve(data[0], data + 1, size - 1, steps[i]);
        if (i == 0)
            first = seen;
        else if (memcmp(&first, &seen, sizeof(seen)) != 0)
            abort();
    }
    return 0;
}
