/* The table of addresses that users come from. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "server/auth/known.h"

static int setup(void **state)
{
    return fl_known_new((struct fl_known **)state);
}

static int teardown(void **state)
{
    fl_known_free(*state);
    return 0;
}

static const struct {
    const char *noted, *asked;
    bool known;
} cases[] = {
    { "192.0.2.1", "192.0.2.1", true },
    { "192.0.2.1", "192.0.2.2", false },
    { "2001:db8::1", "2001:db8::2", true }, /* one host commands a /64 */
    { "2001:db8:0:1::1", "2001:db8::1", false },
    { "32.1.13.184", "2001:db8::", false }, /* the same bytes */
    { "?", "?", false },
    { "", "", false },
};

static void addresses(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fl_known *k;

        assert_int_equal(fl_known_new(&k), 0);
        fl_known_note(k, cases[i].noted, 1);
        if (fl_known_has(k, cases[i].asked, 1) != cases[i].known)
            fail_msg("%s after %s", cases[i].asked, cases[i].noted);
        fl_known_free(k);
    }
}

static void it_ends(void **state)
{
    fl_known_note(*state, "192.0.2.1", 1000);
    assert_true(fl_known_has(*state, "192.0.2.1", 1000 + FL_KNOWN_MS - 1));
    assert_false(fl_known_has(*state, "192.0.2.1", 1000 + FL_KNOWN_MS));
    fl_known_note(*state, "192.0.2.1", 2000);
    assert_true(fl_known_has(*state, "192.0.2.1", 1000 + FL_KNOWN_MS));
}

/* However many come, the newest are there. */
static void it_is_bounded(void **state)
{
    char address[32];

    for (int i = 0; i < 1 << 16; i++) {
        snprintf(address, sizeof(address), "10.1.%d.%d", i >> 8, i & 255);
        fl_known_note(*state, address, 1 + i);
        assert_true(fl_known_has(*state, address, 1 + i));
    }
    assert_false(fl_known_has(*state, "10.1.0.0", 1 << 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test_setup_teardown(it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
