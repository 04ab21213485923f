/* post.h against a server that says exactly what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/net/post.h"
#include "tests/runmode.h"

#define BIG "0123456789012345678901234567890123456789012345678901234567890123456789"

static struct {
    int fd;
    uint16_t port;
    const char *answer; /* NULL: nothing, the connection stays */
    char got[4096];
} server;

static void *serve(void *arg)
{
    int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);
    size_t n = 0;
    ssize_t r;

    /* The request of these tests ends in "end". */
    while (n < sizeof(server.got) - 1 && !strstr(server.got, "end") &&
           (r = read(fd, server.got + n, sizeof(server.got) - 1 - n)) > 0) {
        n += (size_t)r;
        server.got[n] = '\0';
    }
    if (server.answer)
        r = write(fd, server.answer, strlen(server.answer));
    else
        r = read(fd, &n, 1); /* until the client leaves */
    close(fd);
    return NULL;
}

static int listen_there(void **state)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sa);

    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(server.fd, 4) < 0 ||
        getsockname(server.fd, (struct sockaddr *)&sa, &len) < 0)
        return -1;
    server.port = ntohs(sa.sin_port);
    return 0;
}

static int close_it(void **state)
{
    return close(server.fd);
}

struct result {
    struct fl_loop *loop;
    struct fl_post *post;
    bool stays; /* the connection could be taken */
    unsigned calls;
    int r, status;
    char body[256], date[64];
};

static void on_drop(void *arg, const char *why)
{
}

static void on_done(void *arg, const struct fl_post_answer *answer)
{
    static const struct fl_stream_ops dropped = { .on_close = on_drop };
    struct result *res = arg;
    struct fl_stream *stream = fl_post_take_stream(res->post);

    if (stream) {
        fl_stream_set_ops(stream, &dropped, NULL);
        fl_stream_abort(stream);
    }
    res->stays = stream != NULL;
    res->calls++;
    res->r = answer->r;
    res->status = answer->status;
    snprintf(res->body, sizeof(res->body), "%.*s", (int)answer->len, answer->body);
    snprintf(res->date, sizeof(res->date), "%s", answer->date ? answer->date : "");
    assert_int_equal(answer->r < 0, answer->err->text[0] != '\0');
    fl_loop_stop(res->loop);
}

static struct result call(const char *answer, const char *path, uint32_t timeout_ms)
{
    const struct fl_http_header headers[] = { { "Content-Type", "application/json" },
                                              { "X-Second", "2" } };
    struct result res = { 0 };
    struct fl_dialer *dialer;
    pthread_t thread;
    char url[64];

    server.answer = answer;
    server.got[0] = '\0';
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", server.port, path);
    assert_int_equal(fl_loop_new(&res.loop), 0);
    assert_int_equal(fl_dialer_new(res.loop, NULL, NULL, &dialer, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
    assert_int_equal(fl_post_start(dialer, res.loop, url, headers, 2, "the end", 7, timeout_ms, 64,
                                   on_done, &res, &res.post, NULL),
                     0);
    assert_int_equal(res.calls, 0);
    fl_loop_run(res.loop);
    pthread_join(thread, NULL);
    for (int i = 0; i < 5; i++) /* the connection closes after it */
        fl_loop_run_once(res.loop, false);
    assert_int_equal(res.calls, 1);
    fl_dialer_free(dialer);
    fl_loop_free(res.loop);
    return res;
}

static void answers(void **state)
{
    static const struct {
        const char *answer;
        int r, status;
        const char *body;
        bool stays;
    } cases[] = {
        { "HTTP/1.1 201 Created\r\nContent-Length: 5\r\nDate: today\r\n\r\nhello", 0, 201, "hello",
          true },
        { "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 5\r\n\r\nhello", 0, 200,
          "hello", false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 0, 200, "hello", false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", 0, 200, "hello", false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, 200, "", true },
        { "HTTP/1.1 204 No\r\n\r\n", 0, 204, "", true },
        { "HTTP/1.1 200 OK\r\n\r\nto the end", 0, 200, "to the end", false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
          0, 200, "abcde", true },
        { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 1\r\n\r\nx", 0, 400,
          "x", true },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", -ECONNRESET, 0, "", false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n" BIG, -EMSGSIZE, 0, "", false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nx", -EMSGSIZE, 0, "",
          false },
        { "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx", -EMSGSIZE, 0, "", false },
        { "HTTP/1.1 200 OK\r\n\r\n" BIG, -EMSGSIZE, 0, "", false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", -EPROTO, 0, "", false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EINVAL, 0, "", false },
        { "nonsense\r\n\r\n", -EPROTO, 0, "", false },
        { "", -ECONNRESET, 0, "", false },
        { "HTTP/1.1 200", -ECONNRESET, 0, "", false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct result res = call(cases[i].answer, "/path?q=1", 10000);

        if (res.r != cases[i].r)
            fail_msg("case %zu: %d", i, res.r);
        if (res.r == 0)
            assert_int_equal(res.status, cases[i].status);
        assert_string_equal(res.body, cases[i].body);
        if (res.stays != cases[i].stays)
            fail_msg("case %zu: the connection %s", i, res.stays ? "stays" : "is gone");
        if (i == 0)
            assert_string_equal(res.date, "today");
    }
}

static void what_is_sent(void **state)
{
    char want[512];

    call("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 10000);
    snprintf(want, sizeof(want),
             "POST / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Length: 7\r\n"
             "Content-Type: application/json\r\nX-Second: 2\r\n\r\nthe end",
             server.port);
    assert_string_equal(server.got, want);
}

static void silence_has_an_end(void **state)
{
    assert_int_equal(call(NULL, "/", 50).r, -ETIMEDOUT);
}

static void bad_requests(void **state)
{
    static const struct {
        const char *url, *value;
    } cases[] = { { "ftp://x/", "v" },
                  { "http://", "v" },
                  { "http://127.0.0.1/a\nb", "v" },
                  { "http://127.0.0.1/", "a\r\nInjected: yes" } };
    struct fl_dialer *dialer;
    struct fl_loop *loop;
    struct fl_post *post;

    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_dialer_new(loop, NULL, NULL, &dialer, NULL), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const struct fl_http_header header = { "Name", cases[i].value };

        assert_int_equal(fl_post_start(dialer, loop, cases[i].url, &header, 1, "", 0, 1000, 64,
                                       on_done, NULL, &post, NULL),
                         -EINVAL);
    }
    fl_dialer_free(dialer);
    fl_loop_free(loop);
}

static void on_never(void *arg, const struct fl_post_answer *answer)
{
    fail_msg("called back");
}

static void one_that_is_cancelled(void **state)
{
    char url[64];
    struct fl_dialer *dialer;
    struct fl_loop *loop;
    struct fl_post *post;

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", server.port);
    for (int turns = 0; turns < 2; turns++) {
        assert_int_equal(fl_loop_new(&loop), 0);
        assert_int_equal(fl_dialer_new(loop, NULL, NULL, &dialer, NULL), 0);
        assert_int_equal(fl_post_start(dialer, loop, url, NULL, 0, "", 0, 60000, 64, on_never, NULL,
                                       &post, NULL),
                         0);
        for (int i = 0; i < turns; i++)
            fl_loop_run_once(loop, true);
        assert_null(fl_post_cancel(post));
        for (int i = 0; i < 5; i++)
            fl_loop_run_once(loop, false);
        fl_dialer_free(dialer);
        fl_loop_free(loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(what_is_sent),
        cmocka_unit_test(silence_has_an_end),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(one_that_is_cancelled),
    };

    return cmocka_run_group_tests(tests, listen_there, close_it);
}
