#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "common/base/file.h"
#include "plugins/download_content/place.h"
#include "tests/agent/tmpdir.h"

static char dir[TMPDIR_BYTES], downloads[TMPDIR_BYTES + 16];
static int content;

static int setup(void **state)
{
    make_tmpdir(dir);
    snprintf(downloads, sizeof(downloads), "%s/downloads", dir);
    content = memfd_create("content", MFD_CLOEXEC);
    assert_int_equal(write(content, "bytes", 5), 5);
    return 0;
}

static int teardown(void **state)
{
    close(content);
    return fl_dir_remove(dir, NULL);
}

static const char *at(const char *below)
{
    static char path[2][TMPDIR_BYTES + 100];
    static unsigned i;

    i ^= 1;
    snprintf(path[i], sizeof(path[i]), "%s/%s", dir, below);
    return path[i];
}

static bool holds(const char *below)
{
    fl_autofree char *text = NULL;
    return fl_file_read(at(below), 100, &text, NULL, NULL) == 0 && strcmp(text, "bytes") == 0;
}

static bool is_empty(void)
{
    return rmdir(dir) == 0 && mkdir(dir, 0700) == 0;
}

static int put_one(const char *wanted, const char *name)
{
    struct fl_place *p = NULL;
    int r = fl_place_open(downloads, wanted, name, &p, NULL);

    if (r == 0)
        r = fl_place_put(p, NULL, content, NULL);
    if (r == 0)
        r = fl_place_commit(p, NULL);
    fl_place_free(p);
    return r;
}

static void a_single_file_goes_where_it_is_wanted(void **state)
{
    struct stat st;

    assert_int_equal(put_one(at("a/b"), "name"), 0); /* the destination is the file */
    assert_true(holds("a/b"));
    assert_int_equal(put_one(at("a"), "name"), 0); /* a folder that is there */
    assert_true(holds("a/name"));
    assert_int_equal(put_one(at("c/"), "name"), 0); /* a folder by its slash */
    assert_true(holds("c/name"));
    assert_int_equal(put_one("x/y", "name"), 0); /* below downloads */
    assert_true(holds("downloads/x/y"));
    assert_int_equal(put_one(NULL, "name"), 0);
    assert_true(holds("downloads/name"));
    assert_int_equal(put_one("", "other"), 0);
    assert_true(holds("downloads/other"));
    assert_int_equal(stat(at("a/b"), &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0700);
    assert_int_equal(stat(at("downloads/x"), &st), 0);
    assert_int_equal(st.st_mode, S_IFDIR | 0700);
}

static void what_leads_out_is_refused(void **state)
{
    static const char *const bad[] = { "..", "../x", "a/../../x", "a//b", "./a" };
    static const char *const bad_paths[] = { "..", "/x", "a/../b", "", "a/", "a//b", "." };
    struct fl_place *p;

    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_int_equal(put_one(bad[i], "name"), -EINVAL);
    assert_int_equal(put_one(at("x/"), "../name"), -EINVAL);
    assert_int_equal(fl_place_open(downloads, at("x"), NULL, &p, NULL), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(bad_paths); i++)
        assert_int_equal(fl_place_put(p, bad_paths[i], content, NULL), -EINVAL);
    fl_place_free(p);
    assert_true(is_empty());
}

static void what_is_not_committed_goes(void **state)
{
    struct fl_place *p;

    assert_int_equal(fl_place_open(downloads, "one/two", NULL, &p, NULL), 0);
    assert_int_equal(fl_place_put(p, "a/b/c", content, NULL), 0);
    assert_int_equal(fl_place_put(p, "d", content, NULL), 0);
    fl_place_free(p);
    assert_true(is_empty());
    assert_int_equal(fl_place_open(downloads, at("one/two"), NULL, &p, NULL), 0);
    assert_int_equal(fl_place_put(p, "a/b/c", content, NULL), 0);
    fl_place_free(p);
    assert_true(is_empty());
}

static void links_are_not_walked_through(void **state)
{
    struct fl_place *p;

    assert_int_equal(mkdir(at("victim"), 0700), 0);
    assert_int_equal(mkdir(at("out"), 0700), 0);
    assert_int_equal(symlink(at("victim"), at("out/link")), 0);
    assert_int_equal(symlink("../victim/file", at("out/file")), 0);
    assert_int_equal(fl_place_open(downloads, at("out"), NULL, &p, NULL), 0);
    assert_true(fl_place_put(p, "link/x", content, NULL) < 0);
    assert_int_equal(fl_place_put(p, "file", content, NULL), 0); /* the link is replaced */
    assert_int_equal(fl_place_commit(p, NULL), 0);
    fl_place_free(p);
    assert_true(holds("out/file"));
    assert_int_equal(rmdir(at("victim")), 0);
    /* Nor below the downloads folder, where the destination itself is checked. */
    assert_int_equal(mkdir(at("downloads"), 0700), 0);
    assert_int_equal(symlink(at("out"), at("downloads/link")), 0);
    assert_true(put_one("link/sub/x", "name") < 0);
}

static void a_copy_that_fails_leaves_nothing(void **state)
{
    struct fl_place *p;

    assert_int_equal(fl_place_open(downloads, "one", NULL, &p, NULL), 0);
    assert_int_equal(fl_place_put(p, "a/b", content, NULL), 0);
    assert_true(fl_place_put(p, "a/c", -1, NULL) < 0);
    fl_place_free(p);
    assert_true(is_empty());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_single_file_goes_where_it_is_wanted),
        TEST(what_leads_out_is_refused),
        TEST(what_is_not_committed_goes),
        TEST(links_are_not_walked_through),
        TEST(a_copy_that_fails_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
