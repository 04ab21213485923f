#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <cmocka.h>
#include "cli/filter.h"

static void lists_of_values(void **state)
{
    static const struct {
        const char *text;
        const char *want[4];
        size_t n;
    } cases[] = {
        { "", { "" }, 1 },
        { "a", { "a" }, 1 },
        { "a,b,c", { "a", "b", "c" }, 3 },
        { ",a,,", { "", "a", "", "" }, 4 },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_strs list = { 0 };

        assert_int_equal(fl_strs_add_each(&list, cases[i].text, &arena), 0);
        assert_int_equal(list.n, cases[i].n);
        for (size_t k = 0; k < list.n; k++)
            assert_string_equal(list.v[k], cases[i].want[k]);
    }
}

static void a_list_grows(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_strs list = { 0 };
    char text[24];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "%zu", i);
        assert_int_equal(fl_strs_add(&list, text, &arena), 0);
    }
    assert_int_equal(list.n, 100);
    for (size_t i = 0; i < list.n; i++) {
        snprintf(text, sizeof(text), "%zu", i);
        assert_string_equal(list.v[i], text);
    }
}

static void a_full_arena_is_told(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(64);
    struct fl_strs list = { 0 };
    int r = 0;

    (void)state;
    for (size_t i = 0; i < 100 && r == 0; i++)
        r = fl_strs_add(&list, "value", &arena);
    assert_int_equal(r, -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_values),
        cmocka_unit_test(a_list_grows),
        cmocka_unit_test(a_full_arena_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
