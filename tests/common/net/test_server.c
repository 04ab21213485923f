/* The server against a client that sends exactly these bytes. */
#include <sys/resource.h>
#include "common/base/clock.h"
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
    const char *want[5]; /* must be in the answer */
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
      { "HTTP/1.1 413 ", CRLF "Content-Type: application/x-amz-json-1.1" CRLF "x-amzn-RequestId: ",
        CRLF "x-amzn-ErrorType: RequestEntityTooLargeException" CRLF, CLOSE,
        "{\"__type\":\"RequestEntityTooLargeException\",\"message\":\"the request body is over the "
        "limit\",\"Message\":\"the request body is over the limit\"}" },
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
    text[n + len] = '\0';
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

/* Spins until it is so; a generous end. */
#define UNTIL(cond)                                                        \
    do {                                                                   \
        int64_t end_ = fl_mono_ms() + patience_ms(20000);                  \
        while (!(cond)) {                                                  \
            assert_true(fl_mono_ms() < end_);                              \
            nanosleep(&(struct timespec){ .tv_nsec = 1000 * 1000 }, NULL); \
        }                                                                  \
    } while (0)

static void leaving_aborts_the_request(void **state)
{
    int before = plain.aborts, handled = plain.handled;
    int fd = test_connect(plain.port);

    test_send(fd, "GET /never HTTP/1.1" CRLF CRLF);
    UNTIL(plain.handled > handled);
    close(fd);
    UNTIL(plain.aborts == before + 1);
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
}

static int get(struct test_server *s, const char *path)
{
    int fd = test_connect(s->port);

    test_send(fd, "GET ");
    test_send(fd, path);
    test_send(fd, " HTTP/1.1" CRLF CRLF);
    return fd;
}

/* Places are few for those nobody has vouched for, and a place that is given up is taken at once.
 */
static void guests_wait_for_a_place(void **state)
{
    struct test_server s = { .conf = { .max_guests_per_address = 2, .guest_ms = 60000 } };
    int fds[5];

    test_server_start(&s);
    for (size_t i = 0; i < FL_ARRAY_LEN(fds); i++)
        fds[i] = get(&s, i < 2 ? "/echo" : "/trust");
    for (size_t i = 0; i < 2; i++)
        assert_non_null(strstr(test_read(fds[i], "[] "), "200 OK"));
    UNTIL(stats_of(&s).waiting == 3);
    assert_int_equal(stats_of(&s).guests, 2);
    assert_int_equal(stats_of(&s).connections, 2);
    /* One place serves all that are vouched for, one after the other. */
    close(fds[0]);
    for (size_t i = 2; i < FL_ARRAY_LEN(fds); i++)
        assert_non_null(strstr(test_read(fds[i], "[] "), "200 OK"));
    UNTIL(stats_of(&s).waiting == 0 && stats_of(&s).guests == 1);
    assert_int_equal(stats_of(&s).connections, 4);
    assert_int_equal(s.limits[FL_LIMIT_REFUSED] + s.limits[FL_LIMIT_DROPPED], 0);
    for (size_t i = 1; i < FL_ARRAY_LEN(fds); i++)
        close(fds[i]);
    test_server_stop(&s);
}

/* A guest that has had its time gives way, but not while its request is with the caller. */
static void old_guests_give_way(void **state)
{
    struct test_server s = { .conf = {
                                 .max_guests = 2, .max_guests_per_address = 2, .guest_ms = 1 } };
    int asked, silent, late;

    test_server_start(&s);
    asked = get(&s, "/never");
    silent = test_connect(s.port);
    UNTIL(stats_of(&s).guests == 2 && stats_of(&s).requests == 1);
    late = get(&s, "/echo");
    assert_non_null(strstr(test_read(late, "[] "), "200 OK"));
    assert_string_equal(test_read(silent, NULL), "");
    assert_int_equal(s.aborts, 0);
    assert_int_equal(s.limits[FL_LIMIT_DROPPED], 1);
    close(asked);
    close(silent);
    close(late);
    test_server_stop(&s);
}

/* Who waits is not served after all once the time for a handshake is over, and is told nothing. */
static void waiting_ends(void **state)
{
    struct test_server s = { .conf = {
                                 .max_guests = 1, .header_timeout_s = 1, .guest_ms = 60000 } };
    int asked, waits;

    test_server_start(&s);
    asked = get(&s, "/never");
    UNTIL(stats_of(&s).requests == 1);
    waits = get(&s, "/echo");
    assert_string_equal(test_read(waits, NULL), "");
    assert_int_equal(s.limits[FL_LIMIT_REFUSED], 1);
    assert_int_equal(s.handled, 1);
    close(asked);
    close(waits);
    test_server_stop(&s);
}

/* Large bodies of guests share one allowance; small ones need none. */
static void guests_bodies_are_bounded(void **state)
{
    struct test_server s = { .conf = { .max_guest_bytes = 100 * 1000 } };
    const size_t n = 150 * 1000;
    char *text = malloc(n + 200);
    int first, fd;

    memset(text, 'x', n);
    text[n] = '\0';
    test_server_start(&s);
    first = test_connect(s.port);
    test_send(first, "POST /echo HTTP/1.1" CRLF "Content-Length: 200000" CRLF CRLF);
    test_send(first, text);
    UNTIL(stats_of(&s).guest_bytes == n - FL_SERVER_GUEST_BODY); /* 84 KB of the allowance */
    fd = test_connect(s.port);
    test_send(fd, "POST /echo HTTP/1.1" CRLF CLOSE "Content-Length: 120000" CRLF CRLF);
    send(fd, text, 120 * 1000, MSG_NOSIGNAL);
    assert_non_null(strstr(test_read(fd, NULL), "HTTP/1.1 503 "));
    close(fd);
    fd = test_connect(s.port);
    test_send(fd, "POST /echo HTTP/1.1" CRLF CLOSE "Content-Length: 60000" CRLF CRLF);
    text[60 * 1000] = '\0';
    test_send(fd, text);
    assert_non_null(strstr(test_read(fd, NULL), "200 OK"));
    close(fd);
    close(first);
    free(text);
    test_server_stop(&s);
}

/* A byte now and then keeps neither a request nor an answer alive. */
static void slow_peers_lose_the_pace(void **state)
{
    struct test_server s = { .conf = { .pace_ms = 200, .min_bytes_per_s = 5000 } };
    int size = 4096, body, reader;
    const char *got;

    test_server_start(&s);
    body = test_connect(s.port);
    test_send(body, "POST /echo HTTP/1.1" CRLF "Content-Length: 2000" CRLF CRLF "few bytes");
    reader = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(reader, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    assert_int_equal(connect(reader,
                             (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET,
                                                                       .sin_port = htons(s.port),
                                                                       .sin_addr.s_addr =
                                                                           htonl(INADDR_LOOPBACK) },
                             sizeof(struct sockaddr_in)),
                     0);
    test_send(reader, "GET /big?33554432 HTTP/1.1" CRLF CRLF); /* and reads nothing */
    got = test_read(body, NULL);
    assert_non_null(strstr(got, "HTTP/1.1 408 "));
    UNTIL(s.limits[FL_LIMIT_DROPPED] == 2);
    UNTIL(stats_of(&s).connections == 0);
    close(body);
    close(reader);
    test_server_stop(&s);
}

/* Out of descriptors: no busy loop, and the connection that waited is served afterwards. */
static void out_of_descriptors(void **state)
{
    struct test_server s = { 0 };
    struct rlimit before, none;
    int64_t since_ms;
    int kept, fd, tries;

    skip_under_valgrind("accepts and closes what it has no descriptor for");
    test_server_start(&s);
    kept = get(&s, "/echo");
    assert_non_null(strstr(test_read(kept, "[] "), "200 OK"));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)fd + 1; /* descriptors below are all taken */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    since_ms = fl_mono_ms();
    assert_int_equal(connect(fd,
                             (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET,
                                                                       .sin_port = htons(s.port),
                                                                       .sin_addr.s_addr =
                                                                           htonl(INADDR_LOOPBACK) },
                             sizeof(struct sockaddr_in)),
                     0);
    test_send(fd, "GET /echo?late HTTP/1.1" CRLF CRLF);
    UNTIL(s.limits[FL_LIMIT_ACCEPT] >= 3);
    tries = s.limits[FL_LIMIT_ACCEPT];
    assert_true(tries <= 2 + (fl_mono_ms() - since_ms) / FL_SERVER_ACCEPT_PAUSE_MS);
    /* Those who are here are served meanwhile. */
    test_send(kept, "GET /echo?kept HTTP/1.1" CRLF CRLF);
    assert_non_null(strstr(test_read(kept, "[] "), "?kept"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_non_null(strstr(test_read(fd, "[] "), "?late"));
    close(kept);
    close(fd);
    test_server_stop(&s);
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

/* Sharing is among those who know of each other. */
static void an_exclusive_port_is_not_shared_unnoticed(void **state)
{
    struct test_server first = { .conf = { .exclusive = true } }, again = { 0 };
    struct fl_server *server = NULL;
    struct fl_err err = { 0 };
    struct fl_loop *loop;

    test_server_start(&again); /* finds a free port */
    first.conf.port = again.port;
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_server_new(loop, &first.conf, &test_server_events, NULL, &server, &err),
                     -EADDRINUSE);
    test_server_stop(&again);
    test_server_start(&first);
    assert_int_equal(fl_server_new(loop, &first.conf, &test_server_events, NULL, &server, &err),
                     -EADDRINUSE);
    assert_non_null(strstr(err.text, "in use"));
    again.conf.port = first.port; /* a second loop of the same plane */
    test_server_start(&again);
    test_server_stop(&again);
    test_server_stop(&first);
    fl_loop_free(loop);
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
        cmocka_unit_test(connections_are_limited),
        cmocka_unit_test(guests_wait_for_a_place),
        cmocka_unit_test(old_guests_give_way),
        cmocka_unit_test(waiting_ends),
        cmocka_unit_test(guests_bodies_are_bounded),
        cmocka_unit_test(slow_peers_lose_the_pace),
        cmocka_unit_test(out_of_descriptors),
        cmocka_unit_test(two_instances_share_a_port),
        cmocka_unit_test(an_exclusive_port_is_not_shared_unnoticed),
        cmocka_unit_test(draining_closes_after_the_answer),
        cmocka_unit_test(bad_configuration),
    };

    return cmocka_run_group_tests(tests, start_plain, stop_plain);
}
