/* Seen ids: remembered for seven days, over restarts, torn writes and compaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/monitor/seen.h"
#include "common/base/file.h"
#include "tests/agent/tmpdir.h"

#define DAY_MS (24LL * 3600 * 1000)
#define T0     1700000000000LL

static char dir[TMPDIR_BYTES], path[TMPDIR_BYTES + 8];

static int setup(void **state)
{
    make_tmpdir(dir);
    snprintf(path, sizeof(path), "%s/seen", dir);
    return 0;
}

static int teardown(void **state)
{
    return fl_dir_remove(dir, NULL);
}

static void for_seven_days(void **state)
{
    struct fl_seen s;

    assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
    assert_int_equal(fl_seen_has(&s, "a", T0), 0);
    assert_int_equal(fl_seen_add(&s, "a", T0), 0);
    assert_int_equal(fl_seen_has(&s, "a", T0), 1);
    assert_int_equal(fl_seen_has(&s, "b", T0), 0);
    assert_int_equal(fl_seen_has(&s, "a", T0 + 7 * DAY_MS - 1000), 1);
    assert_int_equal(fl_seen_has(&s, "a", T0 + 7 * DAY_MS), 0);
    assert_int_equal(fl_seen_has(&s, "a", T0 - DAY_MS), 1); /* the clock was set back */
    assert_int_equal(fl_seen_sync(&s), 0);
    fl_seen_close(&s);
}

static void torn_at_every_byte(void **state)
{
    struct fl_seen s;
    struct stat st;

    assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
    fl_seen_add(&s, "a", T0);
    fl_seen_add(&s, "b", T0);
    fl_seen_close(&s);
    assert_int_equal(stat(path, &st), 0);
    for (off_t size = st.st_size; size >= 0; size--) {
        assert_int_equal(truncate(path, size), 0);
        assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
        assert_int_equal(fl_seen_has(&s, "a", T0), size >= st.st_size / 2);
        assert_int_equal(fl_seen_has(&s, "b", T0), size >= st.st_size);
        assert_int_equal(fl_seen_add(&s, "c", T0), 0);
        assert_int_equal(fl_seen_has(&s, "c", T0), 1);
        assert_int_equal(fl_seen_has(&s, "a", T0), size >= st.st_size / 2);
        fl_seen_close(&s);
    }
}

static void old_ones_go_when_there_are_many(void **state)
{
    struct fl_seen s;
    char id[32];

    assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "old-%d", i);
        assert_int_equal(fl_seen_add(&s, id, T0), 0);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "new-%d", i);
        assert_int_equal(fl_seen_add(&s, id, T0 + 8 * DAY_MS), 0);
    }
    assert_true(s.n < 10000);
    fl_seen_close(&s);
    assert_int_equal(fl_seen_open(path, T0 + 8 * DAY_MS, &s, NULL), 0);
    for (int i = 0; i < 5000; i += 100) {
        snprintf(id, sizeof(id), "new-%d", i);
        assert_int_equal(fl_seen_has(&s, id, T0 + 8 * DAY_MS), 1);
    }
    fl_seen_close(&s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(for_seven_days),
        T(torn_at_every_byte),
        T(old_ones_go_when_there_are_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
