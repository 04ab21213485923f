/* Many refusals of nobody become few lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "server/audit_flood.h"

static struct fl_flood flood;

static int fresh(void **state)
{
    (void)state;
    flood = (struct fl_flood){ 0 };
    return 0;
}

static bool admit(const char *source, const char *error, int64_t now_ms)
{
    struct fl_flood_row row = { .status = 400 };

    snprintf(row.source, sizeof(row.source), "%s", source);
    snprintf(row.error, sizeof(row.error), "%s", error);
    return fl_flood_admit(&flood, &row, now_ms);
}

static void a_few_are_written_the_rest_counted(void **state)
{
    struct fl_flood_row row;

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(admit("192.0.2.1", "A", 1000 + i), i < FL_FLOOD_KEEP);
    assert_true(admit("192.0.2.1", "B", 1000)); /* another error, another source */
    assert_true(admit("192.0.2.2", "A", 1000));
    assert_false(fl_flood_next(&flood, 1000 + FL_FLOOD_WINDOW_MS - 1, false, &row));
    assert_true(fl_flood_next(&flood, 1000 + FL_FLOOD_WINDOW_MS, false, &row));
    assert_string_equal(row.source, "192.0.2.1");
    assert_string_equal(row.error, "A");
    assert_int_equal(row.seen, 1000 - FL_FLOOD_KEEP);
    assert_false(fl_flood_next(&flood, 1000 + FL_FLOOD_WINDOW_MS, false, &row));
    assert_int_equal(flood.n, 0);
    assert_true(admit("192.0.2.1", "A", 100000)); /* a new minute */
}

static void at_the_end_all_is_said(void **state)
{
    struct fl_flood_row row;

    (void)state;
    for (int i = 0; i < FL_FLOOD_KEEP + 3; i++)
        admit("192.0.2.1", "A", 1000);
    assert_true(fl_flood_next(&flood, 1000, true, &row));
    assert_int_equal(row.seen, 3);
}

/* However many addresses an attacker has, the lines of a minute are bounded and nothing is lost. */
static void many_sources_share_a_row(void **state)
{
    const unsigned n = 20 * FL_FLOOD_ROWS;
    struct fl_flood_row row;
    uint64_t written = 0, counted = 0;
    char source[46];

    (void)state;
    for (unsigned i = 0; i < n; i++) {
        snprintf(source, sizeof(source), "2001:db8::%x", i);
        written += admit(source, "A", 1000);
    }
    assert_int_equal(written, FL_FLOOD_ROWS - 1 + FL_FLOOD_KEEP);
    while (fl_flood_next(&flood, 1000 + FL_FLOOD_WINDOW_MS, false, &row)) {
        assert_string_equal(row.source, "");
        counted += row.seen;
    }
    assert_int_equal(written + counted, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_few_are_written_the_rest_counted, fresh),
        cmocka_unit_test_setup(at_the_end_all_is_said, fresh),
        cmocka_unit_test_setup(many_sources_share_a_row, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
