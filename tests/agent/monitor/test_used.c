/* Used signatures: one command each, across restarts, until their time is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "agent/monitor/used.h"
#include "tests/agent/lib/tempdir.h"

#define A   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B   "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DAY 86400

static int use(const char *nonce, int64_t not_after_s, const char *command, int64_t now_s,
               struct fl_err *err)
{
    return fl_signature_use(tempdir, nonce, not_after_s, command, now_s * 1000, err);
}

static void a_signature_is_one_commands(void **state)
{
    struct fl_err err = { 0 };

    assert_int_equal(use(A, 1000, "one", 500, &err), 0);
    assert_int_equal(use(A, 1000, "one", 500, &err), 0); /* the same, asked again after a crash */
    assert_int_equal(use(A, 1000, "two", 500, &err), -EEXIST);
    assert_string_equal(fl_err_text(&err), "command one has used it already");
    assert_int_equal(use(B, 1000, "two", 500, &err), 0);
    assert_int_equal(use(A, 2000, "two", 500, &err), 0); /* another time is another signature */
}

static bool there(const char *below)
{
    return access(tempdir_path(below), F_OK) == 0;
}

static void it_is_forgotten_a_day_after_its_time(void **state)
{
    struct fl_err err = { 0 };

    assert_int_equal(use(A, 1000, "one", 500, &err), 0);
    assert_int_equal(use(B, 900000, "two", 1000 + DAY, &err), 0);
    assert_true(there("signatures/1000-" A));
    assert_int_equal(use(B, 900001, "three", 1001 + DAY, &err), 0);
    assert_false(there("signatures/1000-" A));
    assert_true(there("signatures/900000-" B));
}

/* What cannot be kept is not used. */
static void a_folder_that_cannot_be_written_is_an_error(void **state)
{
    struct fl_err err = { 0 };

    assert_int_equal(fl_file_replace(tempdir_path("signatures"), 0600, "", 0, &err), 0);
    assert_true(use(A, 1000, "one", 500, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_signature_is_one_commands, tempdir_make, tempdir_remove),
        cmocka_unit_test_setup_teardown(it_is_forgotten_a_day_after_its_time, tempdir_make,
                                        tempdir_remove),
        cmocka_unit_test_setup_teardown(a_folder_that_cannot_be_written_is_an_error, tempdir_make,
                                        tempdir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
