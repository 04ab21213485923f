/* The small hash, against a plain array. */
#include "server/counts.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define KEYS   200
#define ROUNDS 20000

static void against_an_array(void **state)
{
    struct fl_counts m = { 0 };
    int64_t want[KEYS];
    bool has[KEYS] = { false };
    uint32_t rnd = 1;
    size_t n = 0;

    for (int round = 0; round < ROUNDS; round++) {
        char key[16];
        size_t i;
        int64_t *v;

        rnd = rnd * 1664525 + 1013904223;
        i = (rnd >> 8) % KEYS;
        snprintf(key, sizeof(key), "key-%zu", i);
        v = fl_counts_get(&m, key);
        assert_int_equal(v != NULL, has[i]);
        if (v)
            assert_int_equal(*v, want[i]);
        if (rnd >> 31) {
            assert_int_equal(fl_counts_remove(&m, key), has[i]);
            n -= has[i];
            has[i] = false;
        } else {
            v = fl_counts_put(&m, key);
            assert_int_equal(*v, has[i] ? want[i] : 0);
            n += !has[i];
            has[i] = true;
            *v = want[i] = round;
        }
        assert_int_equal(m.n, n);
    }
    fl_counts_done(&m);
}

static void empty(void **state)
{
    struct fl_counts m = { 0 };

    assert_null(fl_counts_get(&m, "x"));
    assert_false(fl_counts_remove(&m, "x"));
    fl_counts_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(against_an_array),
                                        cmocka_unit_test(empty) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
