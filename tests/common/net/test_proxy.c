#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/net/proxy.h"

static const struct {
    const char *no_proxy, *url;
    bool proxied;
} exempt[] = {
    { NULL, "https://plane.example/", true },
    { "", "https://plane.example/", true },
    { "*", "https://plane.example/", false },
    { "plane.example", "https://plane.example/x?y", false },
    { "plane.example", "wss://PLANE.Example:8443/", false },
    { "plane.example", "https://a.plane.example/", false },
    { "plane.example", "https://aplane.example/", true },
    { "plane.example", "https://plane.example./", false },
    { ".plane.example", "https://a.plane.example/", false },
    { ".plane.example", "https://plane.example/", true }, /* Go's rule */
    { "*.plane.example", "https://a.b.plane.example/", false },
    { "plane.example:443", "https://plane.example/", false },
    { "plane.example:8443", "https://plane.example/", true },
    { "plane.example:80", "ws://plane.example/", false },
    { "other, plane.example", "https://plane.example/", false },
    { "other plane.example", "https://plane.example/", false },
    { ",,other,,", "https://plane.example/", true },
    { "192.0.2.7", "https://192.0.2.7/", false },
    { "192.0.2.7:443", "https://192.0.2.7/", false },
    { "192.0.2.7:444", "https://192.0.2.7/", true },
    { "192.0.2.0/24", "https://192.0.2.7:9/", false },
    { "192.0.2.0/24", "https://192.0.3.7/", true },
    { "192.0.2.0/30", "https://192.0.2.3/", false },
    { "192.0.2.0/30", "https://192.0.2.4/", true },
    { "192.0.2.7/32", "https://192.0.2.7/", false },
    { "0.0.0.0/0", "https://192.0.2.7/", false },
    { "0.0.0.0/0", "https://[2001:db8::1]/", true },
    { "192.0.2.0/33", "https://192.0.2.7/", true }, /* not a block */
    { "192.0.2.0/x", "https://192.0.2.7/", true },
    { "192.0.2.0/24", "https://[::ffff:192.0.2.9]/", false },
    { "2001:db8::/32", "https://[2001:db8::1]/", false },
    { "2001:db8::/32", "https://[2001:db9::1]/", true },
    { "[2001:db8::1]:443", "https://[2001:db8::1]/", false },
    { "2001:db8::1", "wss://[2001:db8::1]:444/", false },
    { "169.254.169.254", "http://169.254.169.254/metadata", false },
    { "10.0.0.0/8", "https://10.example/", true }, /* a name, no address */
    /* never, whatever the list says */
    { NULL, "https://localhost:8443/", false },
    { NULL, "https://LOCALHOST/", false },
    { NULL, "https://127.0.0.1/", false },
    { NULL, "ws://127.9.9.9/", false },
    { NULL, "https://[::1]:1/", false },
    { NULL, "https://user@localhost/", false },
    { NULL, "https://localhost.example/", true },
};

static void no_proxy(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(exempt); i++) {
        struct fl_proxy_conf conf = { .http = (char *)"http://p:3128",
                                      .https = (char *)"http://p:3128",
                                      .no_proxy = (char *)exempt[i].no_proxy };
        struct fl_proxy proxy;
        int r = fl_proxy_pick(&conf, exempt[i].url, &proxy, NULL);

        if (r != exempt[i].proxied)
            fail_msg("no_proxy=%s url=%s gave %d", exempt[i].no_proxy, exempt[i].url, r);
    }
}

static const struct {
    const char *url;
    int want;
    const char *host;
    uint16_t port;
    const char *user, *password;
} urls[] = {
    { "http://p.example:3128", 1, "p.example", 3128, "", "" },
    { "http://p.example:3128/", 1, "p.example", 3128, "", "" },
    { "HTTP://p.example", 1, "p.example", 80, "", "" },
    { "p.example:8080", 1, "p.example", 8080, "", "" },
    { "http://[2001:db8::1]:3128", 1, "2001:db8::1", 3128, "", "" },
    { "http://joe:secret@p.example:1", 1, "p.example", 1, "joe", "secret" },
    { "http://joe@p.example:1", 1, "p.example", 1, "joe", "" },
    { "http://d%5Cjoe:p%40ss%3A%25w@p.example:1", 1, "p.example", 1, "d\\joe", "p@ss:%w" },
    { "http://joe:a:b@p.example:1", 1, "p.example", 1, "joe", "a:b" },
    { "https://joe:secret@p.example:1", -EINVAL, NULL, 0, NULL, NULL },
    { "socks5://joe:secret@p.example:1", -EINVAL, NULL, 0, NULL, NULL },
    { "http://joe:secret@", -EINVAL, NULL, 0, NULL, NULL },
    { "http://joe:secret@p.example:0", -EINVAL, NULL, 0, NULL, NULL },
    { "http://joe:secret@p.example:65536", -EINVAL, NULL, 0, NULL, NULL },
    { "http://joe:secret@p.example:x", -EINVAL, NULL, 0, NULL, NULL },
    { "http://joe:secret%2@p.example:1", -EINVAL, NULL, 0, NULL, NULL },
    { "http://joe:secret%00@p.example:1", -EINVAL, NULL, 0, NULL, NULL },
    { "http://[2001:db8::1:3128", -EINVAL, NULL, 0, NULL, NULL },
};

static void proxy_urls(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(urls); i++) {
        struct fl_proxy_conf conf = { .https = (char *)urls[i].url };
        struct fl_proxy proxy;
        struct fl_err err = { 0 };

        assert_int_equal(fl_proxy_pick(&conf, "wss://plane.example/", &proxy, &err), urls[i].want);
        assert_null(strstr(err.text, "secret"));
        if (urls[i].want < 0)
            continue;
        assert_string_equal(proxy.host, urls[i].host);
        assert_int_equal(proxy.port, urls[i].port);
        assert_string_equal(proxy.user, urls[i].user);
        assert_string_equal(proxy.password, urls[i].password);
        assert_string_equal(proxy.url, urls[i].url);
        /* The other scheme has no proxy. */
        assert_int_equal(fl_proxy_pick(&conf, "ws://plane.example/", &proxy, &err), 0);
    }
}

static void bad_targets(void **state)
{
    static const char *const bad[] = {
        "",         "plane.example", "ftp://plane.example/",
        "https://", "https://:443/", "https://plane.example:99999/"
    };
    struct fl_proxy_conf conf = { .https = (char *)"http://p:1" };
    struct fl_proxy proxy;

    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_int_equal(fl_proxy_pick(&conf, bad[i], &proxy, NULL), -EINVAL);
}

static void environment(void **state)
{
    static const char *const names[] = { "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                         "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY" };
    struct fl_proxy_conf conf = { .no_proxy = strdup("configured") };

    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    setenv("HTTP_PROXY", "http://upper:1", 1);
    setenv("http_proxy", "http://lower:1", 1);
    setenv("ALL_PROXY", "http://all:1", 1);
    setenv("no_proxy", "from.env", 1);
    assert_int_equal(fl_proxy_from_env(&conf), 0);
    assert_string_equal(conf.http, "http://lower:1");
    assert_string_equal(conf.https, "http://all:1");
    assert_string_equal(conf.no_proxy, "configured");
    fl_proxy_conf_done(&conf);
    assert_null(conf.http);
}

static void refusals(void **state)
{
    static const struct {
        int status, r;
        bool asks;
    } cases[] = {
        { 407, -EACCES, true },
        { 403, -EACCES, false },
        { 502, -EHOSTUNREACH, false },
        { 301, -EHOSTUNREACH, false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_err err = { 0 };

        assert_int_equal(fl_proxy_refused("p:1", "h:2", cases[i].status, &err), cases[i].r);
        assert_non_null(strstr(err.text, "h:2: proxy p:1 refused ("));
        assert_int_equal(strstr(err.text, "password") != NULL, cases[i].asks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_proxy),    cmocka_unit_test(proxy_urls), cmocka_unit_test(bad_targets),
        cmocka_unit_test(environment), cmocka_unit_test(refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
