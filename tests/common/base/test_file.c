#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "common/base/file.h"

static char dir[64];

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/fl-file-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    return fl_dir_remove(dir, NULL);
}

static char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int count_entries(void)
{
    DIR *d = opendir(dir);
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void replaces_whole_files(void **state)
{
    fl_autofree char *text = NULL;
    struct stat st;
    size_t len;

    assert_int_equal(fl_file_replace(in_dir("a"), 0640, "one", 3, NULL), 0);
    assert_int_equal(fl_file_replace(in_dir("a"), 0600, "second", 6, NULL), 0);
    assert_int_equal(stat(in_dir("a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(fl_file_read(in_dir("a"), 100, &text, &len, NULL), 0);
    assert_string_equal(text, "second");
    assert_int_equal(len, 6);
    assert_int_equal(count_entries(), 1);
}

static void failed_replace_leaves_nothing(void **state)
{
    struct fl_err err = { 0 };

    assert_int_equal(mkdir(in_dir("d"), 0700), 0);
    assert_true(fl_file_replace(in_dir("d"), 0600, "x", 1, &err) <
                0); /* a directory is in the way */
    assert_non_null(strstr(err.text, "/d: "));
    assert_int_equal(fl_file_replace(in_dir("none/x"), 0600, "x", 1, NULL), -ENOENT);
    assert_int_equal(count_entries(), 1);
}

static void read_has_a_limit(void **state)
{
    fl_autofree char *text = NULL;
    struct fl_err err = { 0 };

    assert_int_equal(fl_file_replace(in_dir("a"), 0600, "12345", 5, NULL), 0);
    assert_int_equal(fl_file_read(in_dir("a"), 4, &text, NULL, &err), -EFBIG);
    assert_int_equal(fl_file_read(in_dir("a"), 5, &text, NULL, NULL), 0);
    free(FL_TAKE(text));
    assert_int_equal(fl_file_replace(in_dir("a"), 0600, "", 0, NULL), 0);
    assert_int_equal(fl_file_read(in_dir("a"), 5, &text, NULL, NULL), 0);
    assert_string_equal(text, "");
    assert_int_equal(fl_file_read(in_dir("b"), 5, &text, NULL, &err), -ENOENT);
    assert_non_null(strstr(err.text, "No such file"));
}

static void makes_and_removes_trees(void **state)
{
    struct stat st;

    assert_int_equal(fl_dir_make(in_dir("x/y/z"), 0700, NULL), 0);
    assert_int_equal(fl_dir_make(in_dir("x/y/z"), 0700, NULL), 0);
    assert_int_equal(fl_file_replace(in_dir("keep"), 0600, "k", 1, NULL), 0);
    assert_int_equal(symlink("../../../keep", in_dir("x/y/z/link")), 0);
    assert_int_equal(symlink(dir, in_dir("x/up")), 0);
    assert_int_equal(fl_dir_remove(in_dir("x"), NULL), 0);
    assert_int_equal(stat(in_dir("keep"), &st), 0); /* links were not followed */
    assert_int_equal(count_entries(), 1);
    assert_int_equal(fl_dir_remove(in_dir("x"), NULL), 0);
    assert_int_equal(fl_dir_make(in_dir("keep/sub"), 0700, NULL), -ENOTDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replaces_whole_files, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(failed_replace_leaves_nothing, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(read_has_a_limit, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(makes_and_removes_trees, make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
