/* Counting wrong guesses: windows, blocks, and a table that cannot grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "server/api/guess.h"

#define LIMIT 3

static struct fl_guesses guesses = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int fresh(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_GUESS_SETS; i++)
        for (size_t j = 0; j < FL_GUESS_WAYS; j++)
            guesses.v[i][j] = (struct fl_guess){ 0 };
    return 0;
}

static void the_limit_blocks_for_a_minute(void **state)
{
    (void)state;
    assert_false(fl_guess_blocked(&guesses, "a", 1000));
    assert_false(fl_guess_wrong(&guesses, "a", LIMIT, 1000));
    assert_false(fl_guess_wrong(&guesses, "a", LIMIT, 2000));
    assert_false(fl_guess_blocked(&guesses, "a", 2000));
    assert_true(fl_guess_wrong(&guesses, "a", LIMIT, 3000));
    assert_true(fl_guess_blocked(&guesses, "a", 3000));
    assert_false(fl_guess_blocked(&guesses, "b", 3000));
    assert_true(fl_guess_blocked(&guesses, "a", 3000 + FL_GUESS_BLOCK_MS - 1));
    assert_false(fl_guess_blocked(&guesses, "a", 3000 + FL_GUESS_BLOCK_MS));
}

static void slow_guesses_are_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_false(fl_guess_wrong(&guesses, "a", LIMIT, i * (FL_GUESS_WINDOW_MS / 2 + 1)));
}

static void a_clock_set_back_starts_over(void **state)
{
    (void)state;
    fl_guess_wrong(&guesses, "a", LIMIT, 1000000);
    fl_guess_wrong(&guesses, "a", LIMIT, 1000000);
    assert_false(fl_guess_wrong(&guesses, "a", LIMIT, 10));
}

static void many_keys_push_out_the_quiet_ones(void **state)
{
    char key[32];

    (void)state;
    for (int i = 0; i < 4 * FL_GUESS_SETS * FL_GUESS_WAYS; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        fl_guess_wrong(&guesses, key, 1, i); /* each is blocked at once */
    }
    assert_true(fl_guess_blocked(&guesses, key, 4 * FL_GUESS_SETS * FL_GUESS_WAYS));
    assert_false(fl_guess_blocked(&guesses, "key 0", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_limit_blocks_for_a_minute, fresh),
        cmocka_unit_test_setup(slow_guesses_are_forgotten, fresh),
        cmocka_unit_test_setup(a_clock_set_back_starts_over, fresh),
        cmocka_unit_test_setup(many_keys_push_out_the_quiet_ones, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
