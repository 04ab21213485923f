/* Seen ids: remembered over restarts, torn writes, compaction and clocks that jump. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
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

static void what_was_added_is_remembered(void **state)
{
    struct fl_seen s;

    assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
    assert_int_equal(fl_seen_has(&s, "a"), 0);
    assert_int_equal(fl_seen_add(&s, "a", T0), 0);
    assert_int_equal(fl_seen_has(&s, "a"), 1);
    assert_int_equal(fl_seen_has(&s, "b"), 0);
    assert_int_equal(fl_seen_sync(&s), 0);
    fl_seen_close(&s);
}

static void add_many(struct fl_seen *s, const char *prefix, int n, int64_t now_ms)
{
    char id[32];

    for (int i = 0; i < n; i++) {
        snprintf(id, sizeof(id), "%s-%d", prefix, i);
        assert_int_equal(fl_seen_add(s, id, now_ms), 0);
    }
}

static int count_known(struct fl_seen *s, const char *prefix, int n)
{
    char id[32];
    int known = 0;

    for (int i = 0; i < n; i += 50) {
        snprintf(id, sizeof(id), "%s-%d", prefix, i);
        known += fl_seen_has(s, id) == 1;
    }
    return known;
}

/* A machine that thinks it is 1970 until somebody tells it the time, and one that is set back. */
static void clocks_that_jump_make_nothing_forgotten(void **state)
{
    static const int64_t times[] = { 60000, T0, T0 + 400 * DAY_MS, T0 - DAY_MS };
    struct fl_seen s;
    char prefix[2] = "a";

    assert_int_equal(fl_seen_open(path, 60000, &s, NULL), 0);
    add_many(&s, "first", 3000, 60000); /* it is compacted once on the way */
    for (size_t i = 0; i < FL_ARRAY_LEN(times); i++, prefix[0]++)
        add_many(&s, prefix, 500, times[i]);
    fl_seen_close(&s);
    assert_int_equal(fl_seen_open(path, T0 + 400 * DAY_MS, &s, NULL), 0);
    assert_true(s.n < 5000);
    for (prefix[0] = 'a'; prefix[0] < 'e'; prefix[0]++)
        assert_int_equal(count_known(&s, prefix, 500), 10);
    fl_seen_close(&s);
}

/* No descriptor is left when the file is due for compaction: what cannot be told is an error, not
 * "seen", and once there are descriptors it can be told again. */
static void without_descriptors_nothing_is_called_seen(void **state)
{
    struct rlimit before, none;
    struct fl_seen s;
    int spare[64], n = 0;

    assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
    add_many(&s, "old", 4096, T0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    while (n < 64 && (spare[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    fl_seen_add(&s, "x", T0);
    assert_int_equal(fl_seen_has(&s, "old-5"), 1);
    assert_int_equal(fl_seen_has(&s, "new"), 0);
    while (n > 0)
        close(spare[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(fl_seen_has(&s, "x"), 1);
    assert_int_equal(fl_seen_has(&s, "new"), 0);
    fl_seen_close(&s);
}

/* The state folder is not there (yet): errors until it is. */
static void a_file_that_cannot_be_opened_is_tried_again(void **state)
{
    char elsewhere[TMPDIR_BYTES + 16], dir_of_it[TMPDIR_BYTES + 8];
    struct fl_seen s;

    snprintf(dir_of_it, sizeof(dir_of_it), "%s/sub", dir);
    snprintf(elsewhere, sizeof(elsewhere), "%s/seen", dir_of_it);
    assert_int_equal(fl_seen_open(elsewhere, T0, &s, NULL), 0);
    assert_true(fl_seen_has(&s, "a") < 0);
    assert_true(fl_seen_add(&s, "a", T0) < 0);
    assert_int_equal(mkdir(dir_of_it, 0700), 0);
    assert_int_equal(fl_seen_has(&s, "a"), 0);
    assert_int_equal(fl_seen_add(&s, "a", T0), 0);
    assert_int_equal(fl_seen_has(&s, "a"), 1);
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
        assert_int_equal(fl_seen_has(&s, "a"), size >= st.st_size / 2);
        assert_int_equal(fl_seen_has(&s, "b"), size >= st.st_size);
        assert_int_equal(fl_seen_add(&s, "c", T0), 0);
        assert_int_equal(fl_seen_has(&s, "c"), 1);
        assert_int_equal(fl_seen_has(&s, "a"), size >= st.st_size / 2);
        fl_seen_close(&s);
    }
}

static void old_ones_go_when_there_are_many(void **state)
{
    struct fl_seen s;

    assert_int_equal(fl_seen_open(path, T0, &s, NULL), 0);
    add_many(&s, "old", 5000, T0);
    add_many(&s, "new", 5000, T0 + 8 * DAY_MS);
    assert_true(s.n < 10000);
    fl_seen_close(&s);
    assert_int_equal(fl_seen_open(path, T0 + 8 * DAY_MS, &s, NULL), 0);
    assert_int_equal(count_known(&s, "new", 5000), 100);
    fl_seen_close(&s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_added_is_remembered),
        T(clocks_that_jump_make_nothing_forgotten),
        T(without_descriptors_nothing_is_called_seen),
        T(a_file_that_cannot_be_opened_is_tried_again),
        T(torn_at_every_byte),
        T(old_ones_go_when_there_are_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
