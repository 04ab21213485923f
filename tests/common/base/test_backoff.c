#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/base/backoff.h"
#include "common/base/util.h"

static const struct {
    uint32_t tries, rnd, want_ms;
} cases[] = {
    { 0, 0, 500 },             /* lower edge of the first delay */
    { 0, UINT32_MAX, 1000 },   /* upper edge */
    { 1, 0, 1000 },            /* doubled */
    { 4, UINT32_MAX, 16000 },  /* last step under the cap */
    { 5, UINT32_MAX, 30000 },  /* capped */
    { 40, UINT32_MAX, 30000 }, /* and no shift past 31 */
    { UINT32_MAX, 0, 15000 },  /* the count does not wrap */
};

static void next_delay(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_backoff b = { .base_ms = 1000, .cap_ms = 30000, .tries = cases[i].tries };

        assert_int_equal(fl_backoff_next_ms(&b, cases[i].rnd), cases[i].want_ms);
        assert_int_equal(b.tries, cases[i].tries == UINT32_MAX ? UINT32_MAX : cases[i].tries + 1);
    }
}

static void reset_starts_over(void **state)
{
    struct fl_backoff b = { .base_ms = 1000, .cap_ms = 30000, .tries = 7 };

    fl_backoff_reset(&b);
    assert_int_equal(fl_backoff_next_ms(&b, UINT32_MAX), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(next_delay),
                                        cmocka_unit_test(reset_starts_over) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
