#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/endpoint.h"

static void regions(void **state)
{
    char longest[102];

    assert_true(fl_region_valid("us-east-1"));
    assert_true(fl_region_valid("local"));
    assert_false(fl_region_valid(""));
    assert_false(fl_region_valid("us_east"));
    assert_false(fl_region_valid("us-east-1.evil.example/"));
    memset(longest, 'a', sizeof(longest));
    longest[101] = '\0';
    assert_false(fl_region_valid(longest));
    longest[100] = '\0';
    assert_true(fl_region_valid(longest));
}

static void urls(void **state)
{
    static const struct {
        const char *service, *region, *domain, *override, *want; /* want NULL: refused */
    } cases[] = {
        { "ssm", "us-east-1", NULL, NULL, "https://ssm.us-east-1.amazonaws.com" },
        { "ssm", "us-gov-west-1", "", "", "https://ssm.us-gov-west-1.amazonaws.com" },
        { "ec2messages", "cn-north-1", NULL, NULL,
          "https://ec2messages.cn-north-1.amazonaws.com.cn" },
        { "ssm", "us-iso-east-1", NULL, NULL, "https://ssm.us-iso-east-1.c2s.ic.gov" },
        { "ssm", "us-isob-east-1", NULL, NULL, "https://ssm.us-isob-east-1.sc2s.sgov.gov" },
        { "ssm", "us-isof-east-1", NULL, NULL, "https://ssm.us-isof-east-1.csp.hci.ic.gov" },
        { "ssm", "eu-isoe-west-1", NULL, NULL, "https://ssm.eu-isoe-west-1.cloud.adc-e.uk" },
        { "ssm", "eusc-de-east-1", NULL, NULL, "https://ssm.eusc-de-east-1.amazonaws.eu" },
        { "ssm", "us-east-1", "example.net", NULL, "https://ssm.us-east-1.example.net" },
        { "ssm", "us-east-1", "evil/x", NULL, NULL },
        { "ssm", "us/east", NULL, NULL, NULL },
        { "ssm", "local", NULL, "plane.example", "https://plane.example" },
        { "ssm", "local", NULL, "plane.example:8443", "https://plane.example:8443" },
        { "ssm", "local", NULL, "192.0.2.1:8443", "https://192.0.2.1:8443" },
        { "ssm", "local", NULL, "[2001:db8::1]:8443", "https://[2001:db8::1]:8443" },
        { "ssm", "local", NULL, "http://plane.example:8080/", "http://plane.example:8080" },
        { "ssm", "local", NULL, "HTTPS://plane.example/a/b?c#d", "https://plane.example" },
        { "ssm", "local", NULL, "https://plane.example:443", "https://plane.example:443" },
        { "ssm", "bad region", NULL, "plane.example", "https://plane.example" },
        { "ssm", "local", NULL, "wss://plane.example", NULL },
        { "ssm", "local", NULL, "ftp://plane.example", NULL },
        { "ssm", "local", NULL, "https://", NULL },
        { "ssm", "local", NULL, "https://user@plane.example", NULL },
        { "ssm", "local", NULL, "plane.example:0", NULL },
        { "ssm", "local", NULL, "plane.example:65536", NULL },
        { "ssm", "local", NULL, "plane.example:", NULL },
        { "ssm", "local", NULL, "plane example", NULL },
        { "ssm", "local", NULL, "[::1", NULL },
        { "ssm", "local", NULL, "[]", NULL },
        { "ssm", "local", NULL, "plane.example\r\nX: y", NULL },
        { "ssmmessages", "local", NULL, "http://plane.example:8080/x",
          "https://plane.example:8080" },
        { "ssmmessages", "local", NULL, "wss://plane.example", "https://plane.example" },
        { "ssmmessages", "local", NULL, "plane.example:8443", "https://plane.example:8443" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autofree char *url = NULL;
        struct fl_err err = { 0 };
        int r = fl_endpoint_url(cases[i].service, cases[i].region, cases[i].domain,
                                cases[i].override, &url, &err);

        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        if (cases[i].want)
            assert_string_equal(url, cases[i].want);
        else
            assert_true(err.text[0] != '\0');
    }
}

static void authorities(void **state)
{
    static const struct {
        const char *url;
        bool keep;
        const char *want;
    } cases[] = {
        { "https://h", false, "h" },
        { "https://h:443/x", false, "h" },
        { "https://h:443/x", true, "h:443" },
        { "https://h:80", false, "h:80" },
        { "http://h:80?x", false, "h" },
        { "wss://h:443", false, "h" },
        { "https://[::1]:443", false, "[::1]" },
        { "https://[::1]:8443", false, "[::1]:8443" },
        { "h", false, NULL },
        { "https:///x", false, NULL },
        { "https://h:x", false, NULL },
        { "https://name-that-is-too-long-here", false, NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char out[20];
        int r = fl_url_authority(cases[i].url, cases[i].keep, out, sizeof(out));

        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        if (cases[i].want)
            assert_string_equal(out, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions),
        cmocka_unit_test(urls),
        cmocka_unit_test(authorities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
