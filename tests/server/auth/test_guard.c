/* Slowing down guesses: whom it meets, whom it does not, and a table that cannot grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "server/auth/guard.h"

static struct fl_guard *guard;
static bool tell;

static int setup(void **state)
{
    (void)state;
    return fl_guard_new(&guard);
}

static int teardown(void **state)
{
    (void)state;
    guard = fl_guard_free(guard);
    return 0;
}

/* A wrong guess whose answer is given at once. */
static uint32_t wrong(const char *address, const char *target, int64_t now_ms)
{
    uint32_t ms = fl_guard_wrong(guard, address, target, now_ms, &tell);

    fl_guard_answered(guard, address, target);
    return ms;
}

static void answers_come_later_and_later(void **state)
{
    static const uint32_t want[] = { 0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 8000, 8000 };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(want); i++)
        assert_int_equal(wrong("192.0.2.1", "AKIA1", 1000 + (int64_t)i), want[i]);
    /* neither another target of the same address nor the same from elsewhere (nearly) */
    assert_int_equal(wrong("192.0.2.1", "AKIA2", 2000), 0);
    assert_int_equal(wrong("192.0.2.2", "AKIA1", 2000), 500);
    assert_int_equal(wrong("192.0.2.1", "AKIA1", 2000 + FL_GUARD_FORGET_MS + 1), 0);
}

static void many_targets_of_one_address_add_up(void **state)
{
    uint32_t ms = 0;
    char target[32];

    (void)state;
    for (int i = 0; i <= FL_GUARD_FREE_ADDRESS; i++) {
        assert_int_equal(ms, 0);
        snprintf(target, sizeof(target), "AKIA%d", i);
        ms = wrong("192.0.2.1", i % 2 ? target : NULL, 1000);
    }
    assert_int_equal(ms, FL_GUARD_DELAY_MS);
}

/* An IPv6 host has a /64 of its own. */
static void one_host_is_one_address(void **state)
{
    (void)state;
    for (int i = 0; i < FL_GUARD_FREE_PAIR; i++)
        assert_int_equal(wrong("2001:db8::1", "AKIA1", 1000), 0);
    assert_int_equal(wrong("2001:db8::ffff", "AKIA1", 1000), FL_GUARD_DELAY_MS);
    assert_int_equal(wrong("2001:db8:0:1::1", "AKIA1", 1000), 0);
}

static void few_answers_at_a_time(void **state)
{
    (void)state;
    for (int i = 0; i < FL_GUARD_HELD; i++) {
        assert_false(fl_guard_refuses(guard, "192.0.2.1", "AKIA1", 1000));
        fl_guard_wrong(guard, "192.0.2.1", "AKIA1", 1000, &tell);
    }
    assert_true(fl_guard_refuses(guard, "192.0.2.1", "AKIA1", 1000));
    assert_false(fl_guard_refuses(guard, "192.0.2.2", "AKIA1", 1000)); /* the owner, elsewhere */
    assert_false(fl_guard_refuses(guard, "192.0.2.1", "AKIA2", 1000)); /* the rest of the fleet */
    fl_guard_answered(guard, "192.0.2.1", "AKIA1");
    assert_false(fl_guard_refuses(guard, "192.0.2.1", "AKIA1", 1000));
    fl_guard_wrong(guard, "192.0.2.1", "AKIA1", 1000, &tell);
    assert_true(fl_guard_refuses(guard, "192.0.2.1", "AKIA1", 1000 + FL_GUARD_MAX_MS));
    assert_false(fl_guard_refuses(guard, "192.0.2.1", "AKIA1", 1001 + FL_GUARD_MAX_MS));
}

static void the_log_hears_once_a_minute(void **state)
{
    (void)state;
    wrong("192.0.2.1", "AKIA1", 1000);
    assert_true(tell);
    for (int i = 0; i < 100; i++) {
        wrong("192.0.2.1", i % 2 ? "AKIA1" : NULL, 1000 + FL_GUARD_LOG_MS - 1);
        assert_false(tell);
    }
    wrong("192.0.2.1", NULL, 1000 + FL_GUARD_LOG_MS);
    assert_true(tell);
}

static void many_keys_push_out_the_quiet_ones(void **state)
{
    const int n = 4 * FL_GUARD_SETS * FL_GUARD_WAYS;
    char target[32];

    (void)state;
    for (int i = 0; i < FL_GUARD_FREE_PAIR; i++)
        wrong("192.0.2.1", "AKIA1", 0);
    for (int i = 0; i < n; i++) {
        snprintf(target, sizeof(target), "key %d", i);
        wrong("192.0.2.9", target, 1 + i);
    }
    assert_int_equal(wrong("192.0.2.1", "AKIA1", n + 1), 0); /* forgotten, not delayed */
    assert_int_equal(wrong("192.0.2.9", target, n + 1), FL_GUARD_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_come_later_and_later, setup, teardown),
        cmocka_unit_test_setup_teardown(many_targets_of_one_address_add_up, setup, teardown),
        cmocka_unit_test_setup_teardown(one_host_is_one_address, setup, teardown),
        cmocka_unit_test_setup_teardown(few_answers_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(the_log_hears_once_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(many_keys_push_out_the_quiet_ones, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
