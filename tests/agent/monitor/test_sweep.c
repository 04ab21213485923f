/* Old job folders: too old, too many files, too many bytes; the oldest go first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/monitor/sweep.h"
#include "common/base/file.h"
#include "tests/agent/tmpdir.h"

#define HOUR_MS (3600LL * 1000)
#define NOW_S   1700000000LL
#define PLENTY  (1LL << 40)

static char dir[TMPDIR_BYTES];

/* Folder i ended i hours ago and holds three files and a folder. */
static void make_folder(int i)
{
    char path[TMPDIR_BYTES + 64];
    struct timespec times[2] = { { .tv_sec = NOW_S - i * 3600 }, { .tv_sec = NOW_S - i * 3600 } };

    snprintf(path, sizeof(path), "%s/c%d/steps/0", dir, i);
    assert_int_equal(fl_dir_make(path, 0700, NULL), 0);
    snprintf(path, sizeof(path), "%s/c%d/steps/0/stdout", dir, i);
    assert_int_equal(fl_file_replace(path, 0600, "output", 6, NULL), 0);
    snprintf(path, sizeof(path), "%s/c%d/journal", dir, i);
    assert_int_equal(fl_file_replace(path, 0600, "x", 1, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int setup(void **state)
{
    make_tmpdir(dir);
    for (int i = 0; i < 5; i++)
        make_folder(i);
    return 0;
}

static int teardown(void **state)
{
    return fl_dir_remove(dir, NULL);
}

/* How many are left; they must be the youngest. */
static int left(void)
{
    char path[TMPDIR_BYTES + 16];
    int n = 0;

    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof(path), "%s/c%d", dir, i);
        if (access(path, F_OK) < 0)
            continue;
        assert_int_equal(n, i);
        n++;
    }
    return n;
}

static const struct {
    int64_t bytes, files, age_ms;
    int want;
} cases[] = {
    { PLENTY, PLENTY, 100 * HOUR_MS, 5 },
    { PLENTY, PLENTY, 4 * HOUR_MS, 5 },
    { PLENTY, PLENTY, 4 * HOUR_MS - 1, 4 },
    { PLENTY, PLENTY, HOUR_MS / 2, 1 },
    { PLENTY, 25, 100 * HOUR_MS, 5 }, /* 5 entries each: the folder, journal, steps, 0, stdout */
    { PLENTY, 24, 100 * HOUR_MS, 4 },
    { PLENTY, 9, 100 * HOUR_MS, 1 },
    { PLENTY, 0, 100 * HOUR_MS, 0 },
    { 0, PLENTY, 100 * HOUR_MS, 0 },
    { PLENTY, PLENTY, -1, 0 },
};

static void limits(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const struct fl_sweep_limits l = { cases[i].bytes, cases[i].files, cases[i].age_ms };

        assert_int_equal(fl_sweep(dir, &l, NOW_S * 1000, NULL), 0);
        assert_int_equal(left(), cases[i].want);
        for (int k = 0; k < 5; k++)
            make_folder(k);
    }
}

static void links_are_not_followed(void **state)
{
    const struct fl_sweep_limits nothing = { 0, 0, -1 };
    char outside[TMPDIR_BYTES], link_path[TMPDIR_BYTES + 16], kept[TMPDIR_BYTES + 16];

    make_tmpdir(outside);
    snprintf(kept, sizeof(kept), "%s/kept", outside);
    assert_int_equal(fl_file_replace(kept, 0600, "x", 1, NULL), 0);
    snprintf(link_path, sizeof(link_path), "%s/c1/link", dir);
    assert_int_equal(symlink(outside, link_path), 0);
    snprintf(link_path, sizeof(link_path), "%s/link", dir);
    assert_int_equal(symlink(outside, link_path), 0);
    assert_int_equal(fl_sweep(dir, &nothing, NOW_S * 1000, NULL), 0);
    assert_int_equal(left(), 0);
    assert_int_equal(access(link_path, F_OK), -1);
    assert_int_equal(access(kept, F_OK), 0);
    fl_dir_remove(outside, NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = { T(limits), T(links_are_not_followed) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
