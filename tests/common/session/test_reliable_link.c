/* Megabytes in both directions over links that do everything wrong that a link can do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/common/session/link.h"

#define ALL_OF_IT                                                                       \
    {                                                                                   \
        .lose = 100, .twice = 100, .shuffle = 200, .unready = 50, .stall = 1, .cut = 5, \
        .slow_ms = 10                                                                   \
    }

static const struct {
    const char *name;
    struct link_faults faults;
    size_t max_payload, bytes[2];
    int64_t limit_s; /* of the link's time, many times what it takes */
} rows[] = {
    { "nothing wrong", { .slow_ms = 1 }, 1024, { 3000000, 2000000 }, 60 },
    { "nothing wrong, long messages", { .slow_ms = 1 }, 65536, { 9000000, 9000000 }, 60 },
    { "one direction", { .slow_ms = 20 }, 1024, { 2000000, 0 }, 60 },
    { "far away", { .slow_ms = 300 }, 65536, { 5000000, 5000000 }, 60 },
    { "1 % lost", { .lose = 10, .slow_ms = 5 }, 1024, { 1000000, 1000000 }, 120 },
    { "30 % lost", { .lose = 300, .slow_ms = 5 }, 1024, { 1000000, 1000000 }, 600 },
    { "30 % lost of long messages",
      { .lose = 300, .slow_ms = 5 },
      65536,
      { 3000000, 3000000 },
      600 },
    { "doubled", { .twice = 300, .slow_ms = 2 }, 1024, { 1000000, 1000000 }, 60 },
    { "reordered", { .shuffle = 300, .slow_ms = 2 }, 1024, { 1000000, 1000000 }, 60 },
    { "stalls", { .stall = 2, .slow_ms = 2 }, 1024, { 1000000, 1000000 }, 2000 },
    { "slow receivers", { .unready = 300, .slow_ms = 2 }, 1024, { 1000000, 1000000 }, 600 },
    { "cut often", { .cut = 20, .slow_ms = 2 }, 1024, { 1000000, 1000000 }, 600 },
    { "sealed, 10 % lost",
      { .lose = 100, .unready = 100, .slow_ms = 2, .sealed = true },
      1024,
      { 500000, 500000 },
      600 },
    { "all of it", ALL_OF_IT, 1024, { 600000, 600000 }, 3000 },
    { "all of it, long messages", ALL_OF_IT, 65536, { 6000000, 6000000 }, 3000 },
};

static struct link l;

static void every_byte_arrives_once_and_in_order(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(rows); i++)
        for (uint64_t seed = 1; seed <= 3; seed++) {
            bool ok;

            link_init(&l, seed, &rows[i].faults, rows[i].max_payload, rows[i].bytes);
            ok = link_run(&l, rows[i].limit_s * 1000);
            print_message("  %s, seed %d: %lld ms, %llu messages, %llu resent, %llu early\n",
                          rows[i].name, (int)seed, (long long)l.now_ms,
                          (unsigned long long)fl_reliable_counters(l.ends[0].reliable)->sent,
                          (unsigned long long)fl_reliable_counters(l.ends[0].reliable)->resent,
                          (unsigned long long)fl_reliable_counters(l.ends[1].reliable)->early);
            assert_true(ok);
            for (size_t e = 0; e < 2; e++)
                assert_int_equal(fl_reliable_held(l.ends[e].reliable), 0);
            link_done(&l);
        }
}

/* What a good link carries is sent once. */
static void nothing_is_sent_twice_without_need(void **state)
{
    for (size_t i = 0; i < 4; i++) {
        link_init(&l, 1, &rows[i].faults, rows[i].max_payload, rows[i].bytes);
        /* the first answer may take longer than a resend is waited for at first */
        assert_true(link_run(&l, rows[i].limit_s * 1000));
        for (size_t e = 0; e < 2; e++) {
            assert_true(fl_reliable_counters(l.ends[e].reliable)->resent <=
                        (rows[i].faults.slow_ms > 100 ? 4 : 0));
            assert_int_equal(fl_reliable_counters(l.ends[e].reliable)->early, 0);
            assert_int_equal(fl_reliable_counters(l.ends[e].reliable)->bad, 0);
        }
        link_done(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_arrives_once_and_in_order),
        cmocka_unit_test(nothing_is_sent_twice_without_need),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
