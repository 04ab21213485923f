/* The HTTP client against our server, over TLS, through proxies, and against bad peers. */
#include "tests/common/net/net_fixture.h"
#include "tests/common/net/net_fixture.inc"
#include "common/net/http.h"

static struct fl_loop *loop;
static struct test_server plain, tls;

struct result {
    bool done;
    int r, status;
    char body[512];
    size_t body_len;
    bool has_date;
    struct fl_err err;
};

static void on_result(void *arg, int r, const struct fl_http_response *resp,
                      const struct fl_err *err)
{
    struct result *res = arg;

    assert_false(res->done);
    res->done = true;
    res->r = r;
    res->status = resp->status;
    res->body_len = resp->body_len;
    res->has_date = resp->date != NULL;
    snprintf(res->body, sizeof(res->body), "%s", resp->body);
    res->err = *err;
    fl_loop_stop(loop);
}

static struct fl_http *new_http(const char *ca_file, const struct fl_proxy_conf *proxy)
{
    const struct fl_http_conf conf = { .ca_file = ca_file, .proxy = proxy, .user_agent = "test/1" };
    struct fl_http *http;
    struct fl_err err = { 0 };

    if (fl_http_new(loop, &conf, &http, &err) < 0)
        fail_msg("%s", err.text);
    return http;
}

static struct result call(struct fl_http *http, struct fl_http_request req)
{
    struct result res = { 0 };
    struct fl_err err = { 0 };

    if (!req.method)
        req.method = "GET";
    if (fl_http_start(http, &req, on_result, &res, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_false(res.done);
    while (!res.done)
        fl_loop_run(loop);
    return res;
}

static const char *url(const char *scheme, const char *host, uint16_t port, const char *path)
{
    static char text[200];

    snprintf(text, sizeof(text), "%s://%s:%u%s", scheme, host, port, path);
    return text;
}

static int set_up(void **state)
{
    const struct test_certs *certs = test_certs();

    /* One of the cases trusts what the system does. */
    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
    assert_int_equal(fl_loop_new(&loop), 0);
    test_server_start(&plain);
    tls.conf.bind = "0.0.0.0"; /* 127.0.0.2 leads there too */
    tls.conf.cert_file = certs->cert;
    tls.conf.key_file = certs->key;
    tls.conf.max_body_bytes = 4 * 1024 * 1024;
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

static const struct {
    const char *method, *path, *body;
    int status;
    const char *want;
} calls[] = {
    { "GET", "/echo", NULL, 200, "GET /echo ? [h1] " },
    { "GET", "/late/a//b/../%2e?x=%20+", NULL, 200, "GET /late/a//b/../%2e ?x=%20+ [h1] " },
    { "POST", "/echo", "hello", 200, "POST /echo ? [h1] hello" },
    { "POST", "/echo", NULL, 200, "POST /echo ? [h1] " },
    { "PUT", "/echo", "hello", 200, "PUT /echo ? [h1] hello" },
    { "DELETE", "/echo", NULL, 200, "DELETE /echo ? [h1] " },
    { "HEAD", "/echo", NULL, 200, "" },
};

static void methods(void **state)
{
    const struct fl_http_header headers[] = { { "X-Echo", "h1" }, { "X-Empty", "" } };
    struct fl_http *http = new_http(test_certs()->cert, NULL);

    for (size_t i = 0; i < 2 * FL_ARRAY_LEN(calls); i++) {
        size_t k = i / 2;
        struct result res =
            call(http, (struct fl_http_request){
                           .method = calls[k].method,
                           .url = i % 2 ? url("https", "localhost", tls.port, calls[k].path)
                                        : url("http", "127.0.0.1", plain.port, calls[k].path),
                           .headers = headers,
                           .n_headers = 2,
                           .body = calls[k].body,
                           .body_len = calls[k].body ? strlen(calls[k].body) : 0,
                       });

        assert_int_equal(res.r, 0);
        assert_int_equal(res.status, calls[k].status);
        assert_string_equal(res.body, calls[k].want);
        assert_true(res.has_date);
    }
    fl_http_free(http);
}

static void large_bodies(void **state)
{
    struct fl_http *http = new_http(test_certs()->cert, NULL);
    size_t len = 3 * 1024 * 1024;
    char *body = malloc(len);
    struct result res;

    memset(body, 'x', len);
    res = call(http, (struct fl_http_request){ .method = "POST",
                                               .url = url("https", "localhost", tls.port, "/echo"),
                                               .body = body,
                                               .body_len = len,
                                               .max_response_bytes = 2 * len });
    assert_int_equal(res.r, 0);
    assert_int_equal(res.body_len, len + strlen("POST /echo ? [] "));

    /* over the server's limit of 2 MiB, while still sending: the answer arrives */
    res = call(http, (struct fl_http_request){ .method = "POST",
                                               .url = url("http", "127.0.0.1", plain.port, "/echo"),
                                               .body = body,
                                               .body_len = len });
    assert_int_equal(res.r, 0);
    assert_int_equal(res.status, 413);
    assert_non_null(strstr(res.body, "RequestEntityTooLargeException"));

    /* and over ours */
    res = call(http,
               (struct fl_http_request){ .url = url("http", "127.0.0.1", plain.port, "/big?100001"),
                                         .max_response_bytes = 100000 });
    assert_int_equal(res.r, -EMSGSIZE);
    res = call(http,
               (struct fl_http_request){ .url = url("http", "127.0.0.1", plain.port, "/big?100000"),
                                         .max_response_bytes = 100000 });
    assert_int_equal(res.r, 0);
    assert_int_equal(res.body_len, 100000);
    free(body);
    fl_http_free(http);
}

static void trust(void **state)
{
    const struct test_certs *certs = test_certs();
    const struct {
        const char *ca, *host;
        int r;
        const char *text;
    } cases[] = {
        { certs->cert, "localhost", 0, NULL },
        { certs->cert, "127.0.0.1", 0, NULL },
        { certs->cert, "127.0.0.2", -EPROTO, "127.0.0.2" }, /* not in the certificate */
        { certs->other, "localhost", -EPROTO, certs->other },
        { NULL, "localhost", -EPROTO, "the system's" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_http *http = new_http(cases[i].ca, NULL);
        struct result res =
            call(http,
                 (struct fl_http_request){ .url = url("https", cases[i].host, tls.port, "/echo") });

        assert_int_equal(res.r, cases[i].r);
        if (cases[i].text)
            assert_non_null(strstr(res.err.text, cases[i].text));
        if (cases[i].r)
            assert_non_null(strstr(res.err.text, cases[i].host));
        fl_http_free(http);
    }
}

static void missing_ca_file(void **state)
{
    const struct fl_http_conf conf = { .ca_file = "/absent/ca.pem" };
    struct fl_http *http;
    struct fl_err err = { 0 };

    assert_int_equal(fl_http_new(loop, &conf, &http, &err), -ENOENT);
    assert_non_null(strstr(err.text, "/absent/ca.pem"));
}

static void bad_peers(void **state)
{
    struct fl_http *http = new_http(test_certs()->cert, NULL);
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct result res;

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    res = call(
        http, (struct fl_http_request){ .url = url("http", "127.0.0.1", ntohs(sa.sin_port), "/") });
    assert_int_equal(res.r, -ECONNREFUSED);
    assert_int_equal(listen(fd, 4), 0); /* accepts and says nothing */
    res = call(http,
               (struct fl_http_request){ .url = url("https", "127.0.0.1", ntohs(sa.sin_port), "/"),
                                         .timeout_ms = 300 });
    assert_int_equal(res.r, -ETIMEDOUT);
    res = call(http, (struct fl_http_request){ .url = "http://no-such-name.invalid/" });
    assert_int_equal(res.r, -EHOSTUNREACH);
    assert_non_null(strstr(res.err.text, "no-such-name.invalid"));
    /* plain HTTP to a TLS port and the other way round */
    res = call(http,
               (struct fl_http_request){ .url = url("https", "127.0.0.1", plain.port, "/echo") });
    assert_int_equal(res.r, -EPROTO);
    res = call(http, (struct fl_http_request){ .url = url("http", "127.0.0.1", tls.port, "/") });
    assert_true(res.r < 0);
    close(fd);
    fl_http_free(http);
}

static void bad_requests(void **state)
{
    static const char *const bad[] = { "", "ftp://x/", "http://", "wss://x/", "/etc/passwd" };
    struct fl_http *http = new_http(NULL, NULL);
    const struct fl_http_header split = { "X-A", "b\r\nX-C: d" };
    struct fl_http_request req = { .method = "GET", .url = "http://127.0.0.1:1/" };

    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct fl_http_request q = { .method = "GET", .url = bad[i] };

        assert_int_equal(fl_http_start(http, &q, on_result, NULL, NULL, NULL), -EINVAL);
    }
    req.headers = &split;
    req.n_headers = 1;
    assert_int_equal(fl_http_start(http, &req, on_result, NULL, NULL, NULL), -EINVAL);
    fl_http_free(http);
}

static void freeing_ends_calls(void **state)
{
    struct fl_http *http = new_http(NULL, NULL);
    struct fl_http_request req = { .method = "GET",
                                   .url = url("http", "127.0.0.1", plain.port, "/never") };
    struct result a = { 0 }, b = { 0 };
    struct fl_http_call *call_b;

    assert_int_equal(fl_http_start(http, &req, on_result, &a, NULL, NULL), 0);
    assert_int_equal(fl_http_start(http, &req, on_result, &b, &call_b, NULL), 0);
    for (int i = 0; i < 20; i++)
        fl_loop_run_once(loop, false);
    fl_http_cancel(call_b);
    fl_http_free(http);
    assert_true(a.done);
    assert_int_equal(a.r, -ECANCELED);
    assert_false(b.done);
}

struct two_calls {
    struct fl_http *http;
    int ended;
};

static void free_in_callback(void *arg, int r, const struct fl_http_response *resp,
                             const struct fl_err *err)
{
    struct two_calls *two = arg;

    if (++two->ended == 1)
        fl_http_free(two->http); /* ends the second call through this same callback */
    fl_loop_stop(loop);
}

static void freeing_inside_a_callback(void **state)
{
    struct two_calls two = { .http = new_http(NULL, NULL) };
    struct fl_http_request req = { .method = "GET",
                                   .url = url("http", "127.0.0.1", plain.port, "/echo") };

    assert_int_equal(fl_http_start(two.http, &req, free_in_callback, &two, NULL, NULL), 0);
    assert_int_equal(fl_http_start(two.http, &req, free_in_callback, &two, NULL, NULL), 0);
    while (two.ended < 2)
        fl_loop_run(loop);
    assert_int_equal(two.ended, 2);
}

static void through_a_proxy(void **state)
{
    struct test_proxy proxy = { .target = tls.port, .want_auth = "Basic am9lOnA6QHNz" };
    char good[100], bad[100], open[100];
    const struct {
        char *url;
        int status; /* forced answer */
        int r;
        const char *text;
    } cases[] = {
        { good, 0, 0, NULL },
        { open, 0, -EACCES, "refused (407)" },
        { bad, 0, -EACCES, "refused (407)" },
        { good, 403, -EACCES, "refused (403)" },
        { good, 502, -EHOSTUNREACH, "refused (502)" },
    };

    test_proxy_start(&proxy);
    snprintf(good, sizeof(good), "http://joe:p%%3A%%40ss@127.0.0.1:%u", proxy.port);
    snprintf(bad, sizeof(bad), "http://joe:sesame@127.0.0.1:%u", proxy.port);
    snprintf(open, sizeof(open), "http://127.0.0.1:%u", proxy.port);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const struct fl_proxy_conf conf = { .https = cases[i].url };
        struct fl_http *http = new_http(test_certs()->cert, &conf);
        char where[64];
        struct result res;

        proxy.status = cases[i].status;
        res = call(http, (struct fl_http_request){ .url = "https://plane.test:4433/echo" });
        assert_int_equal(res.r, cases[i].r);
        assert_non_null(strstr(proxy.last_head, "CONNECT plane.test:4433 HTTP/1.1\r\n"));
        if (cases[i].text) {
            snprintf(where, sizeof(where), "127.0.0.1:%u", proxy.port);
            assert_non_null(strstr(res.err.text, cases[i].text));
            assert_non_null(strstr(res.err.text, where));
            assert_non_null(strstr(res.err.text, "plane.test"));
            assert_null(strstr(res.err.text, "sesame"));
        } else {
            assert_string_equal(res.body, "GET /echo ? [] ");
        }
        fl_http_free(http);
    }
    test_proxy_stop(&proxy);
}

/* Nothing but fl_proxy_pick decides, whatever the environment says. */
static void environment_is_ignored(void **state)
{
    struct test_proxy proxy = { .target = tls.port };
    char open[100];
    struct fl_proxy_conf conf = { .https = open };
    struct fl_http *http;
    struct result res;

    test_proxy_start(&proxy);
    snprintf(open, sizeof(open), "http://127.0.0.1:%u", proxy.port);
    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "*", 1);
    http = new_http(test_certs()->cert, NULL);
    res =
        call(http, (struct fl_http_request){ .url = url("https", "localhost", tls.port, "/echo") });
    assert_int_equal(res.r, 0);
    fl_http_free(http);

    http = new_http(test_certs()->cert, &conf);
    res = call(http, (struct fl_http_request){ .url = "https://plane.test/echo" });
    assert_int_equal(res.r, 0);
    assert_int_equal(proxy.connects, 1);
    fl_http_free(http);
    unsetenv("https_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("no_proxy");
    test_proxy_stop(&proxy);
}

static void plain_http_through_a_proxy(void **state)
{
    struct test_proxy proxy = { .want_auth = "Basic never" };
    char open[100];
    struct fl_proxy_conf conf = { .http = open };
    struct fl_http *http;
    struct result res;

    test_proxy_start(&proxy);
    snprintf(open, sizeof(open), "http://127.0.0.1:%u", proxy.port);
    http = new_http(NULL, &conf);
    res = call(http, (struct fl_http_request){ .url = "http://plane.test/echo" });
    assert_int_equal(res.r, -EACCES);
    assert_non_null(strstr(res.err.text, "refused (407)"));
    assert_non_null(strstr(proxy.last_head, "GET http://plane.test/echo HTTP/1.1\r\n"));
    fl_http_free(http);
    test_proxy_stop(&proxy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods),
        cmocka_unit_test(large_bodies),
        cmocka_unit_test(trust),
        cmocka_unit_test(missing_ca_file),
        cmocka_unit_test(bad_peers),
        cmocka_unit_test(bad_requests),
        cmocka_unit_test(freeing_ends_calls),
        cmocka_unit_test(freeing_inside_a_callback),
        cmocka_unit_test(through_a_proxy),
        cmocka_unit_test(environment_is_ignored),
        cmocka_unit_test(plain_http_through_a_proxy),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
