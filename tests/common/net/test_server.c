/* The server against a client that sends exactly these bytes. */
#include <openssl/ssl.h>
#include "tests/common/net/net_fixture.h"
#include "tests/common/net/net_fixture.inc"

#define CRLF  "\r\n"
#define CLOSE "Connection: close" CRLF

static struct test_server plain;

static int start_plain(void **state)
{
    plain = (struct test_server){
        .conf = { .max_body_bytes = 1000, .max_header_bytes = 2048, .idle_timeout_s = 30 },
    };
    test_server_start(&plain);
    return 0;
}

static int stop_plain(void **state)
{
    test_server_stop(&plain);
    return 0;
}

static const struct {
    const char *request;
    const char *want[4]; /* must be in the answer */
    const char *reject;  /* must not */
} exchanges[] = {
    { "GET /echo HTTP/1.1" CRLF CLOSE CRLF,
      { "HTTP/1.1 200 OK" CRLF, CRLF "Date: ", CRLF "Content-Length: 15" CRLF, "GET /echo ? [] " },
      "X-Injected" },
    { "GET /echo HTTP/1.1" CRLF CLOSE CRLF, { CRLF "X-Answer: yes" CRLF, CRLF CLOSE }, "X-Split" },
    /* the path and query are as sent */
    { "GET /echo/a//b/../%2e%2F?q=%20+a;b&&c HTTP/1.1" CRLF CLOSE CRLF,
      { "GET /echo/a//b/../%2e%2F ?q=%20+a;b&&c [] " },
      NULL },
    { "GET /echo HTTP/1.1" CRLF "X-Echo: \t a  b " CRLF CLOSE "x-echo:c" CRLF CRLF,
      { "[a  b,c]" },
      NULL },
    { "POST /echo HTTP/1.1" CRLF CLOSE "Content-Length: 5" CRLF CRLF "hello",
      { "POST /echo ? [] hello" },
      NULL },
    { "PUT /late HTTP/1.1" CRLF CLOSE "Content-Length: 5" CRLF CRLF "hello",
      { "PUT /late ? [] hello" },
      NULL },
    { "DELETE /echo HTTP/1.1" CRLF CLOSE CRLF, { "DELETE /echo" }, NULL },
    { "POST /echo HTTP/1.1" CRLF CLOSE "Content-Length: 0" CRLF CRLF,
      { "POST /echo ? [] " },
      NULL },
    { "POST /echo HTTP/1.1" CRLF CLOSE "Transfer-Encoding: chunked" CRLF CRLF "3" CRLF "hel" CRLF
      "2;x=y" CRLF "lo" CRLF "0" CRLF "T: v" CRLF CRLF,
      { "POST /echo ? [] hello" },
      NULL },
    { "HEAD /echo HTTP/1.1" CRLF CLOSE CRLF,
      { "200 OK", CRLF "Content-Length: 16" CRLF },
      "HEAD /echo" },
    { "GET /echo HTTP/1.0" CRLF CRLF, { "200 OK", CLOSE }, NULL },
    { CRLF CRLF "GET /echo HTTP/1.1" CRLF CLOSE CRLF, { "200 OK" }, NULL },
    /* several requests at once come out in order */
    { "GET /late?1 HTTP/1.1" CRLF CRLF "POST /echo?2 HTTP/1.1" CRLF "Content-Length: 2" CRLF CRLF
      "hi"
      "POST /late?3 HTTP/1.1" CRLF "Transfer-Encoding: chunked" CRLF CRLF "0" CRLF CRLF
      "GET /echo?4 HTTP/1.1" CRLF CLOSE CRLF,
      { "GET /late ?1", "POST /echo ?2 [] hi", "POST /late ?3", "GET /echo ?4" },
      NULL },
    /* an unknown upgrade is ignored, as the standard allows */
    { "GET /echo HTTP/1.1" CRLF "Upgrade: h2c" CRLF "Connection: Upgrade, close" CRLF CRLF,
      { "200 OK" },
      NULL },
    /* what is refused */
    { "POST /echo HTTP/1.1" CRLF "Content-Length: 1001" CRLF CRLF,
      { "HTTP/1.1 413 ", CRLF "Content-Type: application/x-amz-json-1.1" CRLF, CLOSE,
        "{\"__type\":\"RequestEntityTooLargeException\",\"message\":\"" },
      NULL },
    { "POST /echo HTTP/1.1" CRLF "Expect: 100-continue" CRLF "Content-Length: 1001" CRLF CRLF,
      { "HTTP/1.1 413 " },
      "100 Continue" },
    { "POST /echo HTTP/1.1" CRLF "Content-Length: 99999999999999999999999" CRLF CRLF,
      { "HTTP/1.1 413 " },
      NULL },
    { "POST /echo HTTP/1.1" CRLF "Transfer-Encoding: chunked" CRLF CRLF "3e9" CRLF,
      { NULL },
      "200" },
    { "POST /echo HTTP/1.1" CRLF "Transfer-Encoding: chunked" CRLF CRLF "xyz" CRLF,
      { "HTTP/1.1 400 " },
      NULL },
    { "POST /echo HTTP/1.1" CRLF "Transfer-Encoding: chunked" CRLF "Content-Length: 3" CRLF CRLF,
      { "HTTP/1.1 400 " },
      NULL },
    { "POST /echo HTTP/1.1" CRLF "Content-Length: 3" CRLF "Content-Length: 4" CRLF CRLF,
      { "HTTP/1.1 400 " },
      NULL },
    { "POST /echo HTTP/1.1" CRLF "Content-Length: +3" CRLF CRLF, { "HTTP/1.1 400 " }, NULL },
    { "POST /echo HTTP/1.1" CRLF "Transfer-Encoding: gzip, chunked" CRLF CRLF,
      { "HTTP/1.1 501 " },
      NULL },
    { "POST /echo HTTP/1.0" CRLF "Transfer-Encoding: chunked" CRLF CRLF,
      { "HTTP/1.1 400 " },
      NULL },
    { "POST /echo HTTP/1.1" CRLF "Expect: wonders" CRLF "Content-Length: 1" CRLF CRLF,
      { "HTTP/1.1 417 " },
      NULL },
    { "PRI * HTTP/2.0" CRLF CRLF "SM" CRLF CRLF, { "HTTP/1.1 505 " }, NULL },
    { "nonsense" CRLF CRLF, { "HTTP/1.1 400 " }, NULL },
    { "\x16\x03\x01" CRLF CRLF, { "HTTP/1.1 400 " }, NULL },
    /* upgrades that are none */
    { "GET /ws HTTP/1.1" CRLF "Upgrade: websocket" CRLF "Connection: Upgrade" CRLF
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==" CRLF "Sec-WebSocket-Version: 8" CRLF CRLF,
      { "HTTP/1.1 426 ", CRLF "Sec-WebSocket-Version: 13" CRLF },
      NULL },
    { "GET /ws HTTP/1.1" CRLF "Upgrade: websocket" CRLF "Connection: Upgrade" CRLF
      "Sec-WebSocket-Key: short" CRLF "Sec-WebSocket-Version: 13" CRLF CRLF,
      { "HTTP/1.1 400 " },
      NULL },
    { "GET /deny HTTP/1.1" CRLF "Upgrade: websocket" CRLF "Connection: Upgrade" CRLF
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==" CRLF "Sec-WebSocket-Version: 13" CRLF CRLF,
      { "HTTP/1.1 403 ", CRLF "Content-Type: application/json" CRLF, CLOSE,
        "{\"message\":\"not you\"}" },
      NULL },
};

static void answers(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(exchanges); i++) {
        int fd = test_connect(plain.port);
        const char *got, *at;

        test_send(fd, exchanges[i].request);
        if (!exchanges[i].want[0]) /* incomplete: no answer is due yet */
            shutdown(fd, SHUT_WR);
        got = at = test_read(fd, NULL);
        for (size_t k = 0; k < FL_ARRAY_LEN(exchanges[i].want) && exchanges[i].want[k]; k++) {
            at = strstr(at, exchanges[i].want[k]);
            if (!at)
                fail_msg("case %zu: no '%s' in order in: %s", i, exchanges[i].want[k], got);
        }
        if (exchanges[i].reject && strstr(got, exchanges[i].reject))
            fail_msg("case %zu: '%s' in: %s", i, exchanges[i].reject, got);
        close(fd);
    }
}

static void keep_alive(void **state)
{
    int fd = test_connect(plain.port);

    for (int i = 0; i < 3; i++) {
        const char *got;

        test_send(fd, "GET /echo HTTP/1.1" CRLF CRLF);
        got = test_read(fd, "[] ");
        assert_non_null(strstr(got, "200 OK"));
        assert_null(strstr(got, "Connection: close"));
    }
    close(fd);
}

static void expect_is_answered_before_the_body(void **state)
{
    int fd = test_connect(plain.port);
    const char *got;

    test_send(fd, "POST /echo HTTP/1.1" CRLF "Expect: 100-continue" CRLF CLOSE
                  "Content-Length: 5" CRLF CRLF);
    assert_string_equal(test_read(fd, CRLF CRLF), "HTTP/1.1 100 Continue" CRLF CRLF);
    test_send(fd, "hello");
    got = test_read(fd, NULL);
    assert_non_null(strstr(got, "POST /echo ? [] hello"));
    close(fd);
}

static void byte_by_byte(void **state)
{
    static const char text[] =
        "POST /echo?x HTTP/1.1" CRLF "X-Echo: slow" CRLF CLOSE
        "Transfer-Encoding: chunked" CRLF CRLF "2" CRLF "hi" CRLF "0" CRLF CRLF;
    int fd = test_connect(plain.port);

    for (size_t i = 0; i < sizeof(text) - 1; i++)
        assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
    assert_non_null(strstr(test_read(fd, NULL), "POST /echo ?x [slow] hi"));
    close(fd);
}

/* The client sends all of its body before it reads, as Python's do: it must still see the answer.
 */
static void too_large_answer_survives_the_body(void **state)
{
    size_t len = 3 * 1024 * 1024;
    char *text = malloc(len + 200);
    size_t n =
        (size_t)sprintf(text, "POST /echo HTTP/1.1" CRLF "Content-Length: %zu" CRLF CRLF, len);
    const char *got;

    memset(text + n, 'x', len);
    text[n + len] = '\0';
    got = test_exchange(plain.port, text);
    assert_non_null(strstr(got, "HTTP/1.1 413 "));
    n = (size_t)sprintf(
        text, "POST /echo HTTP/1.1" CRLF "Transfer-Encoding: chunked" CRLF CRLF "%zx" CRLF, len);
    memset(text + n, 'x', len);
    got = test_exchange(plain.port, text);
    assert_non_null(strstr(got, "HTTP/1.1 413 "));
    free(text);
}

static void large_head_is_refused(void **state)
{
    char text[8192] = "GET /echo HTTP/1.1" CRLF "A: ";
    size_t n = strlen(text);

    memset(text + n, 'a', 4000);
    assert_non_null(strstr(test_exchange(plain.port, text), "HTTP/1.1 431 "));
    strcpy(text + n + 4000, CRLF CRLF);
    assert_non_null(strstr(test_exchange(plain.port, text), "HTTP/1.1 431 "));
}

static void large_answer_to_a_slow_reader(void **state)
{
    size_t want = 8 * 1024 * 1024, got = 0;
    int fd = test_connect(plain.port), size = 64 * 1024;
    char data[4096];
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    test_send(fd, "GET /big?8388608 HTTP/1.1" CRLF CLOSE CRLF);
    while ((n = recv(fd, data, sizeof(data), 0)) > 0)
        got += (size_t)n;
    assert_true(got > want);
    assert_true(got < want + 500);
    close(fd);
}

static void leaving_aborts_the_request(void **state)
{
    int before = plain.aborts, handled = plain.handled;
    int fd = test_connect(plain.port);

    test_send(fd, "GET /never HTTP/1.1" CRLF CRLF);
    while (plain.handled == handled)
        sched_yield();
    close(fd);
    for (int i = 0; i < 500 && plain.aborts == before; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
    assert_int_equal(plain.aborts, before + 1);
}

static void slow_head_times_out(void **state)
{
    struct test_server s = { .conf = { .header_timeout_s = 1, .idle_timeout_s = 1 } };
    const char *got;
    int fd;

    test_server_start(&s);
    fd = test_connect(s.port);
    test_send(fd, "GET /echo HTTP/1.1" CRLF "A: ");
    got = test_read(fd, NULL);
    assert_non_null(strstr(got, "HTTP/1.1 408 "));
    close(fd);

    fd = test_connect(s.port); /* says nothing at all */
    assert_string_equal(test_read(fd, NULL), "");
    close(fd);

    fd = test_connect(s.port); /* nothing more after the first */
    test_send(fd, "GET /echo HTTP/1.1" CRLF CRLF);
    got = test_read(fd, NULL);
    assert_non_null(strstr(got, "200 OK"));
    close(fd);
    test_server_stop(&s);
}

/* A TLS handshake that does not go on is no way around the time limit. */
static void slow_handshake_times_out(void **state)
{
    static const char half_a_hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    const struct test_certs *certs = test_certs();
    struct test_server s = {
        .conf = { .header_timeout_s = 1, .cert_file = certs->cert, .key_file = certs->key },
    };
    int silent, half;

    test_server_start(&s);
    silent = test_connect(s.port);
    half = test_connect(s.port);
    send(half, half_a_hello, sizeof(half_a_hello) - 1, MSG_NOSIGNAL);
    assert_string_equal(test_read(silent, NULL), "");
    assert_string_equal(test_read(half, NULL), "");
    close(silent);
    close(half);
    test_server_stop(&s);
}

/* 1 if a handshake of at most `version` succeeds; `alpn` is the wire form of what is offered. */
static int shake_hands(uint16_t port, int version, const char *alpn, char chosen[32])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl;
    const unsigned char *name = NULL;
    unsigned len = 0;
    int fd = test_connect(port), r;

    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, fd);
    r = SSL_connect(ssl);
    SSL_get0_alpn_selected(ssl, &name, &len);
    snprintf(chosen, 32, "%.*s", (int)len, (const char *)name);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    close(fd);
    return r == 1;
}

static void tls_versions_and_alpn(void **state)
{
    const struct test_certs *certs = test_certs();
    struct test_server s = { .conf = { .cert_file = certs->cert, .key_file = certs->key } };
    char chosen[32];

    test_server_start(&s);
    assert_int_equal(shake_hands(s.port, TLS1_1_VERSION, "\x08http/1.1", chosen), 0);
    assert_int_equal(shake_hands(s.port, TLS1_2_VERSION, "\x08http/1.1", chosen), 1);
    assert_string_equal(chosen, "http/1.1");
    assert_int_equal(shake_hands(s.port, TLS1_3_VERSION, "\x02h2\x08http/1.1", chosen), 1);
    assert_string_equal(chosen, "http/1.1");
    assert_int_equal(shake_hands(s.port, TLS1_3_VERSION, "", chosen), 1);
    test_server_stop(&s);
}

/* What belongs to the loop is asked for on its thread. */
struct asked_stats {
    struct test_server *s;
    struct fl_server_stats stats;
    _Atomic bool done;
};

static void read_stats(void *arg)
{
    struct asked_stats *asked = arg;

    fl_server_get_stats(asked->s->server, &asked->stats);
    asked->done = true;
}

static struct fl_server_stats stats_of(struct test_server *s)
{
    struct asked_stats asked = { .s = s };

    assert_int_equal(fl_loop_post(s->loop, read_stats, &asked), 0);
    while (!asked.done)
        sched_yield();
    return asked.stats;
}

static void connections_are_limited(void **state)
{
    struct test_server s = { .conf = { .max_connections = 2 } };
    struct test_server per_address = { .conf = { .max_per_address = 1 } };
    struct fl_server_stats stats;
    int a, b, c;

    test_server_start(&s);
    a = test_connect(s.port);
    b = test_connect(s.port);
    test_send(a, "GET /echo HTTP/1.1" CRLF CRLF);
    test_send(b, "GET /echo HTTP/1.1" CRLF CRLF);
    assert_non_null(strstr(test_read(a, "[] "), "200 OK"));
    assert_non_null(strstr(test_read(b, "[] "), "200 OK"));
    c = test_connect(s.port);
    assert_string_equal(test_read(c, NULL), "");
    stats = stats_of(&s);
    assert_int_equal(stats.connections, 2);
    assert_int_equal(stats.requests, 2);
    assert_int_equal(stats.refused, 1);
    close(a);
    close(b);
    close(c);
    test_server_stop(&s);

    test_server_start(&per_address);
    a = test_connect(per_address.port);
    test_send(a, "GET /echo HTTP/1.1" CRLF CRLF);
    assert_non_null(strstr(test_read(a, "[] "), "200 OK"));
    b = test_connect(per_address.port);
    assert_string_equal(test_read(b, NULL), "");
    close(a);
    close(b);
    /* Once the first has left there is room again. */
    for (int i = 0; i < 500; i++) {
        const char *got = test_exchange(per_address.port, "GET /echo HTTP/1.1" CRLF CLOSE CRLF);

        if (strstr(got, "200 OK"))
            break;
        assert_true(i < 499);
    }
    test_server_stop(&per_address);
}

static void two_instances_share_a_port(void **state)
{
    struct test_server a = { 0 }, b = { 0 };
    int handled;

    test_server_start(&a);
    b.conf.port = a.port;
    test_server_start(&b);
    assert_int_equal(a.port, b.port);
    for (int i = 0; i < 100; i++)
        assert_non_null(
            strstr(test_exchange(a.port, "GET /echo HTTP/1.1" CRLF CLOSE CRLF), "200 OK"));
    test_server_stop(&a);
    test_server_stop(&b);
    handled = a.handled + b.handled;
    assert_int_equal(handled, 100);
    assert_true(a.handled > 0 && b.handled > 0);
}

static void drain_on_loop(void *arg)
{
    fl_server_drain(arg);
}

static void draining_closes_after_the_answer(void **state)
{
    struct test_server s = { 0 };
    int fd;

    test_server_start(&s);
    fd = test_connect(s.port);
    test_send(fd, "GET /echo HTTP/1.1" CRLF CRLF);
    assert_null(strstr(test_read(fd, "[] "), "Connection: close"));
    fl_loop_post(s.loop, drain_on_loop, s.server);
    test_send(fd, "GET /late HTTP/1.1" CRLF CRLF);
    assert_non_null(strstr(test_read(fd, NULL), CLOSE));
    close(fd);
    test_server_stop(&s);
}

static void bad_configuration(void **state)
{
    const struct test_certs *certs = test_certs();
    const struct {
        struct fl_server_conf conf;
        const char *text;
    } bad[] = {
        { { .bind = "not an address" }, "not an address" },
        { { .bind = "192.0.2.1" }, "192.0.2.1" },
        { { .bind = "127.0.0.1", .cert_file = "/absent", .key_file = certs->key }, "/absent" },
        { { .bind = "127.0.0.1", .cert_file = certs->cert, .key_file = certs->cert }, certs->cert },
    };
    struct fl_loop *loop;

    assert_int_equal(fl_loop_new(&loop), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct fl_server *server = NULL;
        struct fl_err err = { 0 };

        assert_true(fl_server_new(loop, &bad[i].conf, &test_server_events, NULL, &server, &err) <
                    0);
        assert_null(server);
        assert_non_null(strstr(err.text, bad[i].text));
    }
    fl_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(keep_alive),
        cmocka_unit_test(expect_is_answered_before_the_body),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(too_large_answer_survives_the_body),
        cmocka_unit_test(large_head_is_refused),
        cmocka_unit_test(large_answer_to_a_slow_reader),
        cmocka_unit_test(leaving_aborts_the_request),
        cmocka_unit_test(slow_head_times_out),
        cmocka_unit_test(slow_handshake_times_out),
        cmocka_unit_test(tls_versions_and_alpn),
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(two_instances_share_a_port),
        cmocka_unit_test(draining_closes_after_the_answer),
        cmocka_unit_test(bad_configuration),
    };

    return cmocka_run_group_tests(tests, start_plain, stop_plain);
}
