/* The timeout input of the plugins that run scripts; what they run is tested by the worker's tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "plugins/run_powershell/run_powershell.h"
#include "plugins/run_shell/run_shell.h"
#include "plugins/script/script.h"

static const struct {
    const char *json;
    int64_t want;
} cases[] = {
    { NULL, 3600 },     { "\"60\"", 60 },    { "60", 60 },         { "60.9", 60 },
    { "\"5\"", 5 },     { "\"4\"", 3600 },   { "4.99", 3600 },     { "172800", 172800 },
    { "172801", 3600 }, { "\"abc\"", 3600 }, { "\"\"", 3600 },     { "\"60s\"", 3600 },
    { "-1", 3600 },     { "true", 3600 },    { "[60]", 3600 },     { "null", 3600 },
    { "1e300", 3600 },  { "\"inf\"", 3600 }, { "\"nan\"", 3600 },  { "\"{{ t }}\"", 3600 },
    { "\"+6e1\"", 60 }, { "\" 60\"", 3600 }, { "\"0x3c\"", 3600 }, { "\"60 \"", 3600 },
};

static void timeouts(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_script_timeout(cases[i].json), cases[i].want);
}

static void they_are_registered(void **state)
{
    assert_ptr_equal(fl_plugin_find("aws:runShellScript"), &fl_plugin_run_shell);
    assert_ptr_equal(fl_plugin_find("aws:runPowerShellScript"), &fl_plugin_run_powershell);
    assert_null(fl_plugin_find("aws:runshellscript"));
    assert_null(fl_plugin_find("aws:bogus"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts),
        cmocka_unit_test(they_are_registered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
