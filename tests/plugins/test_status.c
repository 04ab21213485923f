/* The aggregation table of protocol 4 §2.4 and the order of §2.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include "plugins/status.h"

#define OK   FL_STATUS_SUCCESS
#define SKIP FL_STATUS_SKIPPED
#define BAD  FL_STATUS_FAILED
#define BOOT FL_STATUS_SUCCESS_AND_REBOOT
#define STOP FL_STATUS_CANCELLED
#define LATE FL_STATUS_TIMED_OUT
#define GOES FL_STATUS_IN_PROGRESS

static const struct {
    enum fl_status of[3], want;
} cases[] = {
    { { OK, OK, OK }, OK },
    { { SKIP, SKIP, SKIP }, OK },
    { { OK, SKIP, OK }, OK },
    { { OK, BAD, OK }, BAD },
    { { LATE, BAD, STOP }, BAD },
    { { BOOT, BAD, LATE }, BOOT },
    { { LATE, STOP, OK }, LATE },
    { { OK, STOP, SKIP }, STOP },
    { { OK, GOES, OK }, GOES },
    { { GOES, BAD, OK }, BAD },
    { { OK, FL_STATUS_NOT_STARTED, OK }, GOES },
};

static void aggregate(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        uint32_t counts[FL_STATUS__N] = { 0 };

        for (int k = 0; k < 3; k++)
            counts[cases[i].of[k]]++;
        assert_int_equal(fl_status_aggregate(counts), cases[i].want);
    }
}

static void the_worse_one(void **state)
{
    static const enum fl_status order[] = { SKIP, OK,  BOOT, FL_STATUS_NOT_STARTED,
                                            GOES, BAD, STOP, LATE };

    for (size_t a = 0; a < FL_ARRAY_LEN(order); a++)
        for (size_t b = 0; b < FL_ARRAY_LEN(order); b++)
            assert_int_equal(fl_status_worse(order[a], order[b]), order[FL_MAX(a, b)]);
}

static void names_go_both_ways(void **state)
{
    enum fl_status s;

    for (int i = 0; i < FL_STATUS__N; i++) {
        assert_int_equal(fl_status_parse(fl_status_name((enum fl_status)i), &s), 0);
        assert_int_equal(s, i);
    }
    assert_int_equal(fl_status_parse("success", &s), -EINVAL);
    assert_int_equal(fl_status_parse(NULL, &s), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aggregate),
        cmocka_unit_test(the_worse_one),
        cmocka_unit_test(names_go_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
