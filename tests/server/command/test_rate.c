/* Rate control: the ramp 1, 2, 4, … and MaxConcurrency, as sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "server/command/rate.h"

/* Batches of a fleet whose nodes acknowledge at once and run for ever (ends = false), or end at
 * once. */
static const struct {
    int64_t limit, queued;
    bool ends;
    int64_t want[12]; /* sizes, then 0 */
} sequences[] = {
    { 1, 3, false, { 1 } }, /* one at a time: waits for its end */
    { 1, 3, true, { 1, 1, 1 } },
    { 2, 9, false, { 1, 1 } }, /* second batch of 2 cut by the limit */
    { 4, 20, true, { 1, 2, 4, 4, 4, 4, 1 } },
    { 50, 100, false, { 1, 2, 4, 8, 16, 19 } }, /* 50 run */
    { 50, 200, true, { 1, 2, 4, 8, 16, 32, 50, 50, 37 } },
    { 100, 3, false, { 1, 2 } }, /* fleet smaller than the limit */
};

static void ramp(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(sequences); i++) {
        struct fl_rate r = { .limit = sequences[i].limit, .ramp = 1 };
        int64_t queued = sequences[i].queued;
        size_t n = 0;

        for (;;) {
            int64_t batch = fl_rate_next(&r);

            batch = FL_MIN(batch, queued);
            if (batch == 0)
                break;
            if (batch != sequences[i].want[n++])
                fail_msg("sequence %zu, batch %zu: %d", i, n, (int)batch);
            queued -= batch;
            r.running += batch;
            r.unacked += batch;
            assert_true(r.running <= r.limit);
            r.unacked = 0;
            if (sequences[i].ends)
                r.running = 0;
            if (queued == 0)
                break;
        }
        assert_int_equal(sequences[i].want[n], 0);
    }
}

static void nothing_more_before_the_ack(void **state)
{
    struct fl_rate r = { .limit = 10, .ramp = 1 };

    (void)state;
    assert_int_equal(fl_rate_next(&r), 1);
    r.running = r.unacked = 1;
    assert_int_equal(fl_rate_next(&r), 0);
    r.unacked = 0;
    assert_int_equal(fl_rate_next(&r), 2);
    r.running = 3;
    r.unacked = 1; /* one of two */
    assert_int_equal(fl_rate_next(&r), 0);
}

static void numbers(void **state)
{
    static const struct {
        const char *text;
        int64_t targets, at_least, want;
    } cases[] = {
        { "50", 3, 1, 50 },  { "50%", 3, 1, 1 },  { "10%", 50, 0, 5 }, { "1%", 50, 1, 1 },
        { "1%", 50, 0, 0 },  { "100%", 7, 1, 7 }, { "0", 7, 0, 0 },    { "0%", 7, 0, 0 },
        { "33%", 10, 1, 3 }, { "50%", 0, 1, 1 },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_rate_number(cases[i].text, cases[i].targets, cases[i].at_least),
                         cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ramp),
        cmocka_unit_test(nothing_more_before_the_ack),
        cmocka_unit_test(numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
