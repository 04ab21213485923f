/* The policy's file: who may have written it, what happens when it comes, changes and goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/monitor/policyfile.h"
#include "common/base/log.h"
#include "tests/agent/lib/tempdir.h"

#define GOOD "{\"version\":1,\"default\":\"deny\",\"rules\":[]}"

static void put(const char *text, mode_t mode)
{
    struct fl_err err = { 0 };

    assert_int_equal(fl_file_replace(tempdir_path("policy.json"), mode, text, strlen(text), &err),
                     0);
}

static int look(struct fl_policyfile *p)
{
    int fd = -1, r = fl_policyfile_open(p, &fd);

    assert_int_equal(r == 1, fd >= 0);
    if (fd >= 0)
        close(fd);
    return r;
}

static void it_comes_changes_and_goes(void **state)
{
    fl_autofree char *path = strdup(tempdir_path("policy.json"));
    struct fl_policyfile p = { .path = path };
    char text[600];

    fl_policyfile_load(&p);
    assert_int_equal(look(&p), 0);
    put(GOOD, 0644);
    assert_int_equal(look(&p), 1);
    fl_policyfile_describe(&p, text, sizeof(text));
    assert_memory_equal(text, "0 rules, default deny (", 23);
    put("{", 0644);
    assert_int_equal(look(&p), -EBADMSG);
    assert_non_null(strstr(p.fault, "line 1: "));
    put(GOOD, 0600);
    assert_int_equal(look(&p), 1);
    unlink(path);
    assert_int_equal(look(&p), -ENOENT); /* was there: is missed */
    assert_int_equal(look(&p), -ENOENT);
    fl_policyfile_load(&p);
    assert_int_equal(look(&p), 0);
}

static void one_that_was_named_must_be_there(void **state)
{
    fl_autofree char *path = strdup(tempdir_path("policy.json"));
    struct fl_policyfile p = { .path = path, .required = true };

    fl_policyfile_load(&p);
    assert_false(p.usable);
    assert_int_equal(look(&p), -ENOENT);
    put(GOOD, 0644);
    assert_int_equal(look(&p), 1);
}

static void others_may_not_write_it(void **state)
{
    static const struct {
        mode_t mode;
        int want;
    } cases[] = { { 0644, 1 }, { 0600, 1 }, { 0664, -EPERM }, { 0646, -EPERM }, { 0666, -EPERM } };
    fl_autofree char *path = strdup(tempdir_path("policy.json"));
    struct fl_policyfile p = { .path = path };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        put(GOOD, cases[i].mode);
        assert_int_equal(look(&p), cases[i].want);
    }
    if (geteuid() == 0) {
        put(GOOD, 0644);
        assert_int_equal(chown(path, 12345, 0), 0);
        assert_int_equal(look(&p), -EPERM);
        assert_non_null(strstr(p.fault, "belongs to user 12345"));
    }
    unlink(path);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(look(&p), -EINVAL);
    rmdir(path);
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_int_equal(look(&p), -EINVAL); /* at once, without a writer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_comes_changes_and_goes, tempdir_make, tempdir_remove),
        cmocka_unit_test_setup_teardown(one_that_was_named_must_be_there, tempdir_make,
                                        tempdir_remove),
        cmocka_unit_test_setup_teardown(others_may_not_write_it, tempdir_make, tempdir_remove),
    };

    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
