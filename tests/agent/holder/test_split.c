/* Command lines into words, as the official agent's shlex has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "agent/holder/split.h"

static void words(void **state)
{
    static const struct {
        const char *line, *joined; /* with | behind each word; NULL: refused */
    } cases[] = {
        { "a", "a|" },
        { "  a  b\tc\n", "a|b|c|" },
        { "a 'b c' \"d e\"", "a|b c|d e|" },
        { "a'b'\"c\"d", "abcd|" },
        { "'' \"\" x", "||x|" },
        { "'a\\b' \"a\\\"b\" a\\ b \\\\", "a\\b|a\"b|a b|\\|" },
        { "a # b\nc", "a|c|" },
        { "a#b", "a#b|" },
        { "$HOME `x` *", "$HOME|`x`|*|" },
        { "", NULL },
        { " \t\n", NULL },
        { "# only", NULL },
        { "'open", NULL },
        { "\"open", NULL },
        { "end\\", NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_err err = { 0 };
        char joined[256] = "";
        char **got;
        int r = fl_split(cases[i].line, &arena, &got, &err);

        assert_int_equal(r, cases[i].joined ? 0 : -EINVAL);
        for (; r == 0 && *got; got++) {
            strcat(joined, *got);
            strcat(joined, "|");
        }
        if (r == 0)
            assert_string_equal(joined, cases[i].joined);
    }
}

static void there_is_a_limit(void **state)
{
    static char line[2 * FL_SPLIT_MAX_WORDS + 3];
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    char **got;

    for (size_t i = 0; i < FL_SPLIT_MAX_WORDS; i++)
        memcpy(line + 2 * i, "x ", 3);
    assert_int_equal(fl_split(line, &arena, &got, NULL), 0);
    assert_null(got[FL_SPLIT_MAX_WORDS]);
    strcat(line, "y");
    assert_int_equal(fl_split(line, &arena, &got, NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(words),
                                        cmocka_unit_test(there_is_a_limit) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
