/* Globs and address ranges. */
#include "server/auth/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/util.h"

static const struct {
    const char *pattern, *text;
    bool want;
} globs[] = {
    { "*", "", true },
    { "", "", true },
    { "", "a", false },
    { "a*", "a", true },
    { "a*c", "abbbc", true },
    { "a*c", "abbb", false },
    { "*b*b", "abab", true },
    { "?", "", false },
    { "a?c", "abc", true },
    { "**", "xyz", true },
    { "a*a*a*b", "aaaaaaaaaa", false },
};

static void globbing(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(globs); i++)
        assert_int_equal(fl_glob(globs[i].pattern, globs[i].text, false), globs[i].want);
    assert_true(fl_glob("SSM:a*", "ssm:Abc", true));
}

static const struct {
    const char *cidr, *address;
    bool want;
} ranges[] = {
    { "192.0.2.0/24", "192.0.2.255", true },
    { "192.0.2.0/24", "192.0.3.0", false },
    { "192.0.2.128/25", "192.0.2.127", false },
    { "0.0.0.0/0", "203.0.113.9", true },
    { "192.0.2.7", "192.0.2.7", true },
    { "192.0.2.7", "192.0.2.8", false },
    { "192.0.2.0/24", "::ffff:192.0.2.9", true },
    { "2001:db8::/32", "2001:db8:1::1", true },
    { "2001:db8::/32", "2001:db9::1", false },
    { "::1/128", "127.0.0.1", false },
    { "::/0", "2001:db8::1", true },
    { "192.0.2.0/24", "nonsense", false },
};

static void address_ranges(void **state)
{
    static const char *const invalid[] = {
        "", "/8", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "::/129", "192.0.2.0/8x", "host"
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(ranges); i++)
        if (fl_cidr_match(ranges[i].cidr, ranges[i].address) != ranges[i].want)
            fail_msg("%s %s", ranges[i].cidr, ranges[i].address);
    for (size_t i = 0; i < FL_ARRAY_LEN(invalid); i++)
        if (fl_cidr_valid(invalid[i]))
            fail_msg("valid: %s", invalid[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globbing),
        cmocka_unit_test(address_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
