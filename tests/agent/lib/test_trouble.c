#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/lib/trouble.h"

#define MINUTE 60000LL
#define DAY    (24 * 60 * MINUTE)

static void it_is_told_ever_more_rarely(void **state)
{
    static const struct {
        int64_t at_ms;
        bool due;
    } cases[] = {
        { 1, true },
        { 2, false },
        { MINUTE, false },
        { MINUTE + 1, true },
        { 2 * MINUTE + 1, false },
        { 3 * MINUTE + 1, true },
        { 7 * MINUTE + 1, true },
    };
    struct fl_trouble t = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(fl_trouble_is_due(&t, cases[i].at_ms), cases[i].due);
}

static void a_week_of_it_is_some_lines(void **state)
{
    struct fl_trouble t = { 0 };
    unsigned week = 0, last_day = 0;

    (void)state;
    for (int64_t now = 1; now < 7 * DAY; now += 1000)
        if (fl_trouble_is_due(&t, now)) {
            week++;
            last_day += now >= 6 * DAY;
        }
    assert_in_range(week, 40, 60);
    assert_int_equal(last_day, 6);
}

static void the_next_one_begins_anew(void **state)
{
    struct fl_trouble t = { 0 };

    (void)state;
    for (int64_t now = 1; now < DAY; now += 1000)
        fl_trouble_is_due(&t, now);
    fl_trouble_over(&t);
    assert_true(fl_trouble_is_due(&t, DAY));
    assert_false(fl_trouble_is_due(&t, DAY + 1));
    assert_true(fl_trouble_is_due(&t, DAY + MINUTE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_told_ever_more_rarely),
        cmocka_unit_test(a_week_of_it_is_some_lines),
        cmocka_unit_test(the_next_one_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
