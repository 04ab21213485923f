/* What settings make of prefixes and log groups. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/base/buf.h"
#include "common/wire/output_names.h"

static void prefixes(void **state)
{
    static const struct {
        const char *prefix, *want;
    } cases[] = {
        { NULL, "" },          { "", "" },
        { "/", "" },           { "a", "a/" },
        { "a/b", "a/b/" },     { "/a//b/", "a/b/" },
        { "./a/./b", "a/b/" }, { "a/../b", "b/" },
        { "a/b/..", "a/" },    { "../../a", "a/" },
        { "..", "" },          { "a/b/../../..", "" },
        { "...", ".../" },     { "a b/ü", "a b/ü/" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);

        assert_string_equal(fl_output_prefix(cases[i].prefix, &arena), cases[i].want);
    }
}

static void groups(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);

    assert_string_equal(fl_output_log_group(NULL, "AWS-RunShellScript", &arena),
                        "/aws/ssm/AWS-RunShellScript");
    assert_string_equal(fl_output_log_group("", "arn:aws:ssm:r:1:document/My_D#1 ü", &arena),
                        "/aws/ssm/arn.aws.ssm.r.1.document/My_D#1...");
    assert_string_equal(fl_output_log_group("as it: is", "x", &arena), "as it: is");
}

static void memory_that_ends(void **state)
{
    for (size_t max = 0; max < 64; max += 8) {
        fl_autoarena struct fl_arena arena = FL_ARENA(max);

        fl_output_prefix("a/b/c/d/e/f/g/h", &arena);
        fl_output_log_group("", "document", &arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes),
        cmocka_unit_test(groups),
        cmocka_unit_test(memory_that_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
