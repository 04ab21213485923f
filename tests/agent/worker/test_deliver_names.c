/* What outputs are called in a bucket and a log group. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/worker/deliver_names.h"

#define AT "c-1/mi-1/awsrunShellScript"

static void prefixes(void **state)
{
    static const struct {
        const char *prefix, *want;
    } cases[] = {
        { NULL, AT },
        { "", AT },
        { "a", "a/" AT },
        { "/a//b/", "a/b/" AT },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);

        assert_string_equal(
            fl_name_s3_prefix(cases[i].prefix, "c-1", "mi-1", "aws:runShellScript", &arena),
            cases[i].want);
    }
}

static void keys(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);

    assert_string_equal(fl_name_s3_key("p", "step", "stdout", &arena), "p/step/stdout");
    assert_string_equal(fl_name_s3_key("p", "", "stdout", &arena), "p/stdout");
    assert_string_equal(fl_name_s3_key("p", NULL, "stderr", &arena), "p/stderr");
    assert_string_equal(fl_name_without_colons("0.aws:run:x", &arena), "0.awsrunx");
    assert_null(fl_name_without_colons(NULL, &arena));
}

static void streams(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);

    assert_string_equal(fl_name_log_stream("c-1", "mi-1", "aws:runShellScript", "stdout", &arena),
                        "c-1/mi-1/aws-runShellScript/stdout");
    assert_string_equal(fl_name_log_stream("c-1", "mi-1", "a*b:c", "stderr", &arena),
                        "c-1/mi-1/a-b-c/stderr");
}

static void ids_of_properties(void **state)
{
    static const struct {
        const char *inputs, *want;
    } cases[] = {
        { "[{\"id\":\"0.aws:x\"},{\"id\":\"1\"}]", "0.aws:x" },
        { "{\"id\":\"one\"}", "one" },
        { "{\"id\":7}", NULL },
        { "[]", NULL },
        { "[1]", NULL },
        { "null", NULL },
        { "\"id\"", NULL },
        { "{\"id\":\"../x\"}", NULL },
        { "{\"id\":\"~/x\"}", NULL },
        { "not json", NULL },
        { NULL, NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        const char *id = fl_name_property_id(cases[i].inputs, &arena);

        if (cases[i].want)
            assert_string_equal(id, cases[i].want);
        else
            assert_null(id);
    }
}

static void memory_that_ends(void **state)
{
    for (size_t max = 0; max < 64; max += 8) {
        fl_autoarena struct fl_arena arena = FL_ARENA(max);

        fl_name_s3_prefix("a/b", "c-1", "mi-1", "aws:runShellScript", &arena);
        fl_name_log_stream("c-1", "mi-1", "s", "stdout", &arena);
        fl_name_property_id("{\"id\":\"a rather long name of a step\"}", &arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes),         cmocka_unit_test(keys),
        cmocka_unit_test(streams),          cmocka_unit_test(ids_of_properties),
        cmocka_unit_test(memory_that_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
