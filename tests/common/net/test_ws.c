/* WebSocket client and server, against each other and against hand-made frames. */
#include "common/base/clock.h"
#include "tests/common/net/net_fixture.h"
#include "tests/common/net/net_fixture.inc"
#include "common/net/post.h"
#include "common/net/ws.h"

static struct fl_loop *loop;
static struct test_server plain, tls;

/* A connection and all that happened to it. */
struct peer {
    struct fl_ws *ws;
    bool opened, closed;
    int messages, pongs, drains;
    enum fl_ws_kind kind;
    char *last;
    size_t last_len;
    size_t total;
    int code, http_status;
    char why[FL_ERR_TEXT_BYTES];
};

static void on_open(void *arg, struct fl_ws *ws)
{
    struct peer *p = arg;

    assert_ptr_equal(p->ws, ws);
    p->opened = true;
    fl_loop_stop(loop);
}

static void on_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    struct peer *p = arg;

    free(p->last);
    p->last = malloc(len + 1);
    memcpy(p->last, data, len);
    p->last[len] = '\0';
    p->last_len = len;
    p->total += len;
    p->kind = kind;
    p->messages++;
    fl_loop_stop(loop);
}

static void on_pong(void *arg, struct fl_ws *ws)
{
    struct peer *p = arg;

    p->pongs++;
    fl_loop_stop(loop);
}

static void on_drain(void *arg, struct fl_ws *ws)
{
    struct peer *p = arg;

    assert_int_equal(fl_ws_queued(ws), 0);
    p->drains++;
    fl_loop_stop(loop);
}

static void on_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    struct peer *p = arg;

    assert_false(p->closed);
    p->closed = true;
    p->ws = NULL;
    p->code = code;
    p->http_status = http_status;
    snprintf(p->why, sizeof(p->why), "%s", why);
    fl_loop_stop(loop);
}

static const struct fl_ws_events events = {
    .on_open = on_open,
    .on_message = on_message,
    .on_pong = on_pong,
    .on_drain = on_drain,
    .on_close = on_close,
};

static const struct fl_ws_limits limits = { .max_message_bytes = 2 * 1024 * 1024,
                                            .max_queue_bytes = 4 * 1024 * 1024 };

#define WAIT_FOR(condition)    \
    do {                       \
        while (!(condition))   \
            fl_loop_run(loop); \
    } while (0)

static struct fl_ws_client *new_client(const char *ca_file, const struct fl_proxy_conf *proxy)
{
    const struct fl_ws_client_conf conf = { .ca_file = ca_file, .proxy = proxy };
    struct fl_ws_client *client;
    struct fl_err err = { 0 };

    if (fl_ws_client_new(loop, &conf, &client, &err) < 0)
        fail_msg("%s", err.text);
    return client;
}

static void dial(struct fl_ws_client *client, const char *scheme, const char *host, uint16_t port,
                 const char *path, struct peer *p)
{
    const struct fl_http_header headers[] = { { "Authorization", "AWS4-HMAC-SHA256 …" },
                                              { "X-Amz-Date", "20260102T030405Z" } };
    struct fl_err err = { 0 };
    char url[200];

    *p = (struct peer){ 0 };
    snprintf(url, sizeof(url), "%s://%s:%u%s", scheme, host, port, path);
    if (fl_ws_connect(client, url, headers, 2, 5000, &limits, &events, p, &p->ws, &err) < 0)
        fail_msg("%s", err.text);
    assert_false(p->opened || p->closed);
}

static void dial_open(struct fl_ws_client *client, bool secure, struct peer *p)
{
    dial(client, secure ? "wss" : "ws", secure ? "localhost" : "127.0.0.1",
         secure ? tls.port : plain.port, "/ws?role=subscribe&stream=input", p);
    WAIT_FOR(p->opened || p->closed);
    if (!p->opened)
        fail_msg("%s", p->why);
}

static void hang_up(struct peer *p)
{
    fl_ws_close(p->ws, 1000, false);
    WAIT_FOR(p->closed);
    assert_int_equal(p->code, 1000);
    free(p->last);
}

static int set_up(void **state)
{
    const struct test_certs *certs = test_certs();

    assert_int_equal(fl_loop_new(&loop), 0);
    test_server_start(&plain);
    tls.conf.cert_file = certs->cert;
    tls.conf.key_file = certs->key;
    test_server_start(&tls);
    return 0;
}

static int tear_down(void **state)
{
    test_server_stop(&plain);
    test_server_stop(&tls);
    fl_loop_free(loop);
    return 0;
}

static void echo(void **state)
{
    static const size_t sizes[] = { 0, 1, 125, 126, 65535, 65536, 202553, 1024 * 1024 };
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);

    for (int secure = 0; secure < 2; secure++) {
        struct peer p;

        dial_open(client, secure, &p);
        for (size_t i = 0; i < 2 * FL_ARRAY_LEN(sizes); i++) {
            enum fl_ws_kind kind = i % 2 ? FL_WS_TEXT : FL_WS_BINARY;
            size_t len = sizes[i / 2];
            char *data = malloc(len + 1);

            for (size_t k = 0; k < len; k++)
                data[k] = (char)(k * 7 + i);
            p.messages = 0;
            assert_int_equal(fl_ws_send(p.ws, kind, data, len), 0);
            WAIT_FOR(p.messages);
            assert_int_equal(p.kind, kind);
            assert_int_equal(p.last_len, len);
            assert_memory_equal(p.last, data, len);
            free(data);
        }
        hang_up(&p);
    }
    fl_ws_client_free(client);
}

/* Both directions full at once must neither deadlock nor lose anything. */
/* ---- on the connection of a call ---- */

struct call_before {
    struct fl_ws_client *client;
    struct fl_post *post;
    const char *url;
    struct peer peer;
    int r;
};

static void on_answer(void *arg, const struct fl_post_answer *answer)
{
    struct fl_stream *stream;
    struct call_before *c = arg;

    assert_int_equal(answer->status, 200);
    stream = fl_post_take_stream(c->post);
    assert_non_null(stream);
    assert_null(fl_post_take_stream(c->post));
    c->r = fl_ws_connect_on(c->client, stream, c->url, NULL, 0, 5000, &limits, &events, &c->peer,
                            &c->peer.ws, NULL);
    assert_false(c->peer.opened || c->peer.closed);
}

/* `path` of a server's WebSocket, or no URL of one. */
static void after_a_call(struct call_before *c, const char *path)
{
    char call[200], url[200];

    snprintf(call, sizeof(call), "https://localhost:%u/echo", tls.port);
    snprintf(url, sizeof(url), "wss://localhost:%u%s", tls.port, path);
    *c = (struct call_before){ .client = new_client(test_certs()->cert, NULL),
                               .url = *path ? url : "no URL",
                               .r = 1 };
    assert_int_equal(fl_post_start(fl_ws_client_dialer(c->client), loop, call, NULL, 0, "x", 1,
                                   5000, 4096, on_answer, c, &c->post, NULL),
                     0);
    while (c->r == 1)
        fl_loop_run_once(loop, true);
}

static void on_a_connection_that_is_open(void **state)
{
    struct call_before c;

    after_a_call(&c, "/ws");
    assert_int_equal(c.r, 0);
    WAIT_FOR(c.peer.opened || c.peer.closed);
    assert_true(c.peer.opened);
    assert_int_equal(fl_ws_send(c.peer.ws, FL_WS_TEXT, "hello", 5), 0);
    WAIT_FOR(c.peer.messages);
    assert_string_equal(c.peer.last, "hello");
    hang_up(&c.peer);
    fl_ws_client_free(c.client);
}

static void one_that_cannot_be_used_is_dropped(void **state)
{
    struct call_before c;

    after_a_call(&c, "/deny");
    WAIT_FOR(c.peer.closed);
    assert_int_equal(c.peer.http_status, 403);
    fl_ws_client_free(c.client);
    after_a_call(&c, "");
    assert_int_equal(c.r, -EINVAL);
    for (int i = 0; i < 5; i++) /* it closes */
        fl_loop_run_once(loop, false);
    fl_ws_client_free(c.client);
}

static void bulk(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    size_t len = 128 * 1024, sent = 0, want = 64 * len;
    char *data = calloc(1, len);

    for (int secure = 0; secure < 2; secure++) {
        struct peer p;

        sent = 0;
        dial_open(client, secure, &p);
        while (p.total < want && !p.closed) {
            while (sent < want && fl_ws_send(p.ws, FL_WS_BINARY, data, len) == 0)
                sent += len;
            fl_loop_run(loop);
        }
        assert_int_equal(p.total, want);
        assert_true(p.drains > 0);
        hang_up(&p);
    }
    free(data);
    fl_ws_client_free(client);
}

static void pings(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    struct peer p;

    dial_open(client, true, &p);
    assert_int_equal(fl_ws_ping(p.ws, "keepalive", 9), 0);
    WAIT_FOR(p.pongs);
    assert_int_equal(fl_ws_ping(p.ws, NULL, 0), 0);
    WAIT_FOR(p.pongs == 2);
    /* the server pings, we answer, and it says so */
    assert_int_equal(fl_ws_send(p.ws, FL_WS_TEXT, "ping", 4), 0);
    WAIT_FOR(p.messages);
    assert_string_equal(p.last, "pong");
    assert_int_equal(fl_ws_ping(p.ws, p.last, 126), -EINVAL);
    hang_up(&p);
    fl_ws_client_free(client);
}

static void endings(void **state)
{
    static const struct {
        const char *say;
        int code;
    } cases[] = {
        { "close", 4001 },
        { "abort", 1006 },
    };
    struct fl_ws_client *client = new_client(NULL, NULL);
    struct peer p;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        dial_open(client, false, &p);
        fl_ws_send(p.ws, FL_WS_TEXT, cases[i].say, 5);
        WAIT_FOR(p.closed);
        assert_int_equal(p.code, cases[i].code);
        assert_int_equal(p.http_status, 0);
    }
    /* our own abort; and nothing can be sent after a close */
    dial_open(client, false, &p);
    fl_ws_close(p.ws, 0, true);
    assert_false(p.closed);
    assert_int_equal(fl_ws_send(p.ws, FL_WS_TEXT, "x", 1), -EPIPE);
    WAIT_FOR(p.closed);
    assert_int_equal(p.code, 1006);
    dial_open(client, false, &p);
    fl_ws_close(p.ws, 1001, false);
    assert_int_equal(fl_ws_send(p.ws, FL_WS_TEXT, "x", 1), -EPIPE);
    assert_int_equal(fl_ws_ping(p.ws, "x", 1), -EPIPE);
    WAIT_FOR(p.closed);
    assert_int_equal(p.code, 1001);
    /* one that is still connecting */
    dial(client, "ws", "127.0.0.1", plain.port, "/ws", &p);
    fl_ws_close(p.ws, 1000, false);
    assert_false(p.closed);
    WAIT_FOR(p.closed);
    assert_false(p.opened);
    fl_ws_client_free(client);
}

static void limits_hold(void **state)
{
    struct fl_ws_client *client = new_client(NULL, NULL);
    size_t len = 2 * 1024 * 1024 + 1;
    char *data = calloc(1, len);
    struct peer p;

    dial_open(client, false, &p);
    assert_int_equal(fl_ws_send(p.ws, FL_WS_BINARY, data, len), 0);
    assert_int_equal(fl_ws_send(p.ws, FL_WS_BINARY, data, len), -ENOBUFS);
    assert_true(fl_ws_queued(p.ws) >= len);
    WAIT_FOR(p.closed); /* over the server's limit */
    assert_int_equal(p.code, 1009);
    free(data);
    fl_ws_client_free(client);
}

static void refusals(void **state)
{
    const struct {
        const char *scheme, *host;
        uint16_t port;
        const char *path;
        int http_status;
        const char *why;
    } cases[] = {
        { "ws", "127.0.0.1", plain.port, "/deny", 403, "403" },
        { "wss", "localhost", tls.port, "/deny", 403, "403" },
        { "ws", "127.0.0.1", 1, "/ws", 0, "127.0.0.1:1" },
        { "wss", "no-such-name.invalid", 443, "/ws", 0, "no-such-name.invalid" },
        { "wss", "127.0.0.1", plain.port, "/ws", 0, "127.0.0.1" },
    };
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct peer p;

        dial(client, cases[i].scheme, cases[i].host, cases[i].port, cases[i].path, &p);
        WAIT_FOR(p.closed);
        assert_false(p.opened);
        assert_int_equal(p.code, 1006);
        assert_int_equal(p.http_status, cases[i].http_status);
        if (!strstr(p.why, cases[i].why))
            fail_msg("case %zu: %s", i, p.why);
    }
    fl_ws_client_free(client);
}

static void trust(void **state)
{
    const struct test_certs *certs = test_certs();
    const char *const pools[] = { certs->other, NULL };

    for (size_t i = 0; i < FL_ARRAY_LEN(pools); i++) {
        struct fl_ws_client *client = new_client(pools[i], NULL);
        struct peer p;

        dial(client, "wss", "localhost", tls.port, "/ws", &p);
        WAIT_FOR(p.closed);
        assert_false(p.opened);
        assert_non_null(strstr(p.why, "localhost"));
        assert_non_null(strstr(p.why, "certificate"));
        assert_non_null(strstr(p.why, pools[i] ? pools[i] : "the system's"));
        fl_ws_client_free(client);
    }
}

static void bad_urls(void **state)
{
    static const char *const bad[] = { "http://127.0.0.1/", "ws://",           "ws://a b/",
                                       "ws://u:p@h/",       "ws://h/\r\nX: y", "" };
    const struct fl_http_header split = { "X-A", "b\r\nX-C: d" };
    struct fl_ws_client *client = new_client(NULL, NULL);
    struct fl_ws *ws;

    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_int_equal(
            fl_ws_connect(client, bad[i], NULL, 0, 1000, &limits, &events, NULL, &ws, NULL),
            -EINVAL);
    assert_int_equal(fl_ws_connect(client, "ws://127.0.0.1/", &split, 1, 1000, &limits, &events,
                                   NULL, &ws, NULL),
                     -EINVAL);
    fl_ws_client_free(client);
}

static void through_a_proxy(void **state)
{
    struct test_proxy proxy = { .want_auth = "Basic am9lOnNlc2FtZQ==" };
    char good[100], open[100];
    const struct {
        const char *url;
        bool secure;
        int status;          /* forced answer of the proxy */
        const char *refused; /* NULL: it opens */
    } cases[] = {
        { good, true, 0, NULL },
        { good, false, 0, NULL },
        { open, true, 0, "refused (407): it wants a user and password" },
        { good, true, 403, "refused (403)" },
        { good, false, 502, "refused (502)" },
    };

    test_proxy_start(&proxy);
    snprintf(good, sizeof(good), "http://joe:sesame@127.0.0.1:%u", proxy.port);
    snprintf(open, sizeof(open), "http://127.0.0.1:%u", proxy.port);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const struct fl_proxy_conf conf = { .http = (char *)cases[i].url,
                                            .https = (char *)cases[i].url };
        struct fl_ws_client *client = new_client(test_certs()->cert, &conf);
        struct peer p;

        proxy.status = cases[i].status;
        proxy.target = cases[i].secure ? tls.port : plain.port;
        dial(client, cases[i].secure ? "wss" : "ws", "plane.test", 4433, "/ws", &p);
        WAIT_FOR(p.opened || p.closed);
        if (p.opened == (cases[i].refused != NULL))
            fail_msg("case %zu: %s", i, p.why);
        assert_non_null(strstr(proxy.last_head, "CONNECT plane.test:4433 HTTP/1.1\r\n"));
        if (p.opened) {
            fl_ws_send(p.ws, FL_WS_TEXT, "hello", 5);
            WAIT_FOR(p.messages);
            assert_string_equal(p.last, "hello");
            hang_up(&p);
        } else {
            assert_non_null(strstr(p.why, cases[i].refused));
            assert_non_null(strstr(p.why, "plane.test:4433"));
            assert_null(strstr(p.why, "sesame"));
        }
        fl_ws_client_free(client);
    }
    test_proxy_stop(&proxy);
}

static void connecting_has_a_deadline(void **state)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(sa);
    char url[100];

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 4), 0); /* accepts and says nothing */
    getsockname(fd, (struct sockaddr *)&sa, &len);
    for (int secure = 0; secure < 2; secure++) {
        struct peer p = { 0 };

        snprintf(url, sizeof(url), "%s://127.0.0.1:%u/", secure ? "wss" : "ws", ntohs(sa.sin_port));
        assert_int_equal(
            fl_ws_connect(client, url, NULL, 0, 200, &limits, &events, &p, &p.ws, NULL), 0);
        WAIT_FOR(p.closed);
        assert_false(p.opened);
        assert_non_null(strstr(p.why, "in time"));
    }
    close(fd);
    fl_ws_client_free(client);
}

static void silence_is_no_timeout(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    struct test_server s = { .conf = { .header_timeout_s = 1, .idle_timeout_s = 1 } };
    struct peer p;

    test_server_start(&s);
    dial(client, "ws", "127.0.0.1", s.port, "/ws", &p);
    WAIT_FOR(p.opened);
    nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 500 * 1000 * 1000 }, NULL);
    fl_ws_send(p.ws, FL_WS_TEXT, "still there", 11);
    WAIT_FOR(p.messages || p.closed);
    assert_string_equal(p.last, "still there");
    hang_up(&p);
    test_server_stop(&s);
    fl_ws_client_free(client);
}

/* A peer that says too much is read more slowly; all of it is read. */
static void too_many_messages_wait(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    const int allowed = 100 * FL_WS_BURST_S, extra = 100;
    struct peer p;
    int64_t since;

    dial(client, "wss", "localhost", tls.port, "/ws-100", &p);
    WAIT_FOR(p.opened);
    since = fl_mono_ms();
    for (int i = 0; i < allowed + extra; i++)
        fl_ws_send(p.ws, FL_WS_TEXT, "x", 1);
    WAIT_FOR(p.messages == allowed + extra); /* what was read at once is answered */
    fl_ws_send(p.ws, FL_WS_TEXT, "last", 4);
    WAIT_FOR(p.messages > allowed + extra);
    assert_string_equal(p.last, "last");
    assert_true(fl_mono_ms() - since >= 1000 * extra / 100);
    hang_up(&p);
    fl_ws_client_free(client);
}

/* What comes while nobody reads waits, and comes later. */
static void paused(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    struct peer p, other;

    dial_open(client, true, &p);
    dial_open(client, true, &other);
    fl_ws_pause(p.ws, true);
    fl_ws_send(p.ws, FL_WS_TEXT, "later", 5);
    WAIT_FOR(fl_ws_queued(p.ws) == 0);
    for (int i = 0; i < 20; i++) { /* the server has long answered */
        fl_ws_send(other.ws, FL_WS_TEXT, "now", 3);
        WAIT_FOR(other.messages > i);
    }
    assert_int_equal(p.messages, 0);
    fl_ws_pause(p.ws, false);
    WAIT_FOR(p.messages);
    assert_string_equal(p.last, "later");
    /* the answer to a close is read all the same */
    fl_ws_pause(p.ws, true);
    hang_up(&p);
    hang_up(&other);
    fl_ws_client_free(client);
}

static void pongs_unasked(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    struct peer p;

    dial_open(client, true, &p);
    assert_int_equal(fl_ws_pong(p.ws), 0);
    WAIT_FOR(p.messages);
    assert_string_equal(p.last, "pong"); /* the server says that it had one */
    hang_up(&p);
    fl_ws_client_free(client);
}

/* One place for guests: the second connection has it when the first is no guest any more. */
static void trusted_after_the_upgrade(void **state)
{
    struct test_server s = { .conf = { .max_guests_per_address = 1, .guest_ms = 60000 } };
    struct fl_ws_client *client = new_client(NULL, NULL);
    struct peer a, b;

    test_server_start(&s);
    dial(client, "ws", "127.0.0.1", s.port, "/ws", &a);
    WAIT_FOR(a.opened || a.closed);
    fl_ws_send(a.ws, FL_WS_TEXT, "trust", 5);
    WAIT_FOR(a.messages);
    dial(client, "ws", "127.0.0.1", s.port, "/ws", &b);
    WAIT_FOR(b.opened || b.closed);
    assert_true(b.opened);
    hang_up(&a);
    hang_up(&b);
    test_server_stop(&s);
    fl_ws_client_free(client);
}

static void freeing_ends_connections(void **state)
{
    struct fl_ws_client *client = new_client(test_certs()->cert, NULL);
    struct peer open, connecting;

    dial_open(client, true, &open);
    dial(client, "wss", "localhost", tls.port, "/ws", &connecting);
    fl_ws_client_free(client);
    assert_true(open.closed);
    assert_true(connecting.closed);
    assert_int_equal(open.code, 1006);
}

/* ---- the server against hand-made frames ---- */

#define UPGRADE                                                                                \
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"             \
    "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n\r\n"

/* Masked with zeroes, which leaves the payload readable. */
#define FRAME(op, len, payload) op len "\0\0\0\0" payload

static const struct {
    const char *frames;
    size_t len;
    const char *want; /* what the server sends, then closes unless `open` */
    size_t want_len;
    bool open;
} raw[] = {
#define B(bytes) bytes, sizeof(bytes) - 1
    { B(FRAME("\x81", "\x82", "hi")), B("\x81\x02hi"), true },
    { B(FRAME("\x02", "\x81", "a") FRAME("\x89", "\x81", "!") FRAME("\x80", "\x81", "b")),
      B("\x8a\x01!\x82\x02"
        "ab"),
      true },
    { B(FRAME("\x88", "\x82", "\x03\xe8")), B("\x88\x02\x03\xe8"), false },
    { B(FRAME("\x88", "\x80", "")), B("\x88\x00"), false },
    { B(FRAME("\x88", "\x81", "x")), B("\x88\x02\x03\xea"), false },
    { B("\x81\x02hi"), B("\x88\x02\x03\xea"), false },                /* not masked */
    { B(FRAME("\xc1", "\x82", "hi")), B("\x88\x02\x03\xea"), false }, /* compressed */
    { B("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"), B("\x88\x02\x03\xf1"), false },
    { B(FRAME("\x88", "\x82", "\x03\xe8") FRAME("\x81", "\x82", "hi")), B("\x88\x02\x03\xe8"),
      false }, /* nothing counts after a close */
#undef B
};

static void raw_frames(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(raw); i++) {
        int fd = test_connect(plain.port);
        char got[64];
        size_t n = 0;
        ssize_t k;
        const char *head;

        /* the first frames may come with the upgrade, in one packet */
        if (i % 2) {
            char both[1024];

            memcpy(both, UPGRADE, sizeof(UPGRADE) - 1);
            memcpy(both + sizeof(UPGRADE) - 1, raw[i].frames, raw[i].len);
            send(fd, both, sizeof(UPGRADE) - 1 + raw[i].len, MSG_NOSIGNAL);
        } else {
            test_send(fd, UPGRADE);
        }
        for (n = 0; n < 2000 && !(n > 3 && !memcmp(got, "\r\n\r\n", 4)); n++) {
            /* byte by byte, so that no frame is taken with the head */
            static char text[2000];

            if (recv(fd, text + n, 1, 0) != 1)
                break;
            memcpy(got, n > 2 ? text + n - 3 : "    ", 4);
            head = text;
            text[n + 1] = '\0';
        }
        assert_non_null(strstr(head, "HTTP/1.1 101 "));
        assert_non_null(strstr(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert_null(strstr(head, "Sec-WebSocket-Extensions"));
        assert_null(strstr(head, "Sec-WebSocket-Protocol"));
        if (!(i % 2))
            send(fd, raw[i].frames, raw[i].len, MSG_NOSIGNAL);
        for (n = 0; n < raw[i].want_len && (k = recv(fd, got + n, sizeof(got) - n, 0)) > 0;)
            n += (size_t)k;
        assert_int_equal(n, raw[i].want_len);
        assert_memory_equal(got, raw[i].want, n);
        if (!raw[i].open)
            assert_int_equal(recv(fd, got, sizeof(got), 0), 0);
        close(fd);
    }
}

/* A peer that says nothing to our close is dropped. */
static void deaf_peer_is_dropped(void **state)
{
    int fd = test_connect(plain.port);
    char data[64];
    time_t start;

    test_send(fd, UPGRADE);
    test_read(fd, "\r\n\r\n");
    send(fd, FRAME("\x81", "\x85", "close"), 11, MSG_NOSIGNAL);
    assert_int_equal(recv(fd, data, 4, MSG_WAITALL), 4);
    start = time(NULL);
    assert_true(recv(fd, data, sizeof(data), 0) <= 0);
    assert_true(time(NULL) - start <= 7);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo),
        cmocka_unit_test(on_a_connection_that_is_open),
        cmocka_unit_test(one_that_cannot_be_used_is_dropped),
        cmocka_unit_test(bulk),
        cmocka_unit_test(pings),
        cmocka_unit_test(endings),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(refusals),
        cmocka_unit_test(trust),
        cmocka_unit_test(bad_urls),
        cmocka_unit_test(through_a_proxy),
        cmocka_unit_test(connecting_has_a_deadline),
        cmocka_unit_test(silence_is_no_timeout),
        cmocka_unit_test(too_many_messages_wait),
        cmocka_unit_test(paused),
        cmocka_unit_test(pongs_unasked),
        cmocka_unit_test(trusted_after_the_upgrade),
        cmocka_unit_test(freeing_ends_connections),
        cmocka_unit_test(raw_frames),
        cmocka_unit_test(deaf_peer_is_dropped),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
