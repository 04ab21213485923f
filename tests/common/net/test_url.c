#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/base/util.h"
#include "common/net/url.h"

static const struct {
    const char *url, *host; /* host NULL: refused */
    uint16_t port;
    bool tls;
} urls[] = {
    { "http://plane.example", "plane.example", 80, false },
    { "HTTPS://plane.example/x:1", "plane.example", 443, true },
    { "ws://plane.example:8080?q=:2", "plane.example", 8080, false },
    { "wss://plane.example.:1#f", "plane.example.", 1, true },
    { "https://joe:a@b@plane.example:65535/", "plane.example", 65535, true },
    { "https://192.0.2.7:8443/", "192.0.2.7", 8443, true },
    { "https://[2001:db8::1]/", "2001:db8::1", 443, true },
    { "https://[2001:db8::1]:8443/", "2001:db8::1", 8443, true },
    { "https://2001:db8::1/", NULL, 0, false }, /* where would its port begin? */
    { "https://[2001:db8::1/", NULL, 0, false },
    { "https://[2001:db8::1]8443/", NULL, 0, false },
    { "https://[]/", NULL, 0, false },
    { "https://", NULL, 0, false },
    { "https:///x", NULL, 0, false },
    { "https://joe@/", NULL, 0, false },
    { "https://:8443/", NULL, 0, false },
    { "https://plane.example:/", NULL, 0, false },
    { "https://plane.example:0/", NULL, 0, false },
    { "https://plane.example:65536/", NULL, 0, false },
    { "https://plane.example:000443/", NULL, 0, false },
    { "https://plane.example:+1/", NULL, 0, false },
    { "ftp://plane.example/", NULL, 0, false },
    { "plane.example", NULL, 0, false },
    { "", NULL, 0, false },
};

static void parts(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(urls); i++) {
        struct fl_url u = { .port = 7 };
        int r = fl_url_parse(urls[i].url, &u);

        if (r != (urls[i].host ? 0 : -EINVAL))
            fail_msg("%s gave %d", urls[i].url, r);
        if (r < 0) {
            assert_int_equal(u.port, 7); /* untouched */
            continue;
        }
        assert_string_equal(u.host, urls[i].host);
        assert_int_equal(u.port, urls[i].port);
        assert_int_equal(u.tls, urls[i].tls);
    }
}

static void long_hosts(void **state)
{
    char url[sizeof("ws://") + FL_HOST_BYTES];
    struct fl_url u;

    strcpy(url, "ws://");
    memset(url + 5, 'a', FL_HOST_BYTES);
    url[5 + FL_HOST_BYTES] = '\0';
    assert_int_equal(fl_url_parse(url, &u), -EINVAL);
    url[5 + FL_HOST_BYTES - 1] = '\0';
    assert_int_equal(fl_url_parse(url, &u), 0);
    assert_int_equal(strlen(u.host), FL_HOST_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(long_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
