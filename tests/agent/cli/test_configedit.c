#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include <jansson.h>
#include "agent/cli/configedit.h"
#include "tests/agent/lib/tempdir.h"

static void keys_are_set_and_others_kept(void **state)
{
    static const struct {
        const char *before, *after;
    } cases[] = {
        { NULL, "{\"Ssm\":{\"Endpoint\":\"E\"}}" },
        { "{}", "{\"Ssm\":{\"Endpoint\":\"E\"}}" },
        { "{\"Ssm\":{\"Endpoint\":\"old\",\"X\":1},\"Y\":[2]}",
          "{\"Ssm\":{\"Endpoint\":\"E\",\"X\":1},\"Y\":[2]}" },
        { "{\"ssm\":{\"ENDPOINT\":\"old\"}}", "{\"ssm\":{\"ENDPOINT\":\"E\"}}" },
        { "{\"Ssm\":null}", "{\"Ssm\":{\"Endpoint\":\"E\"}}" },
    };
    const struct fl_config_edit edits[] = { { "Ssm", "Endpoint", "E" },
                                            { "Fairlead", "CaFile", NULL } };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const char *path = tempdir_path("d/agent.json");
        json_t *want = json_loads(cases[i].after, 0, NULL), *got;

        assert_int_equal(fl_dir_make(tempdir_path("d"), 0700, NULL), 0);
        path = tempdir_path("d/agent.json");
        unlink(path);
        if (cases[i].before)
            assert_int_equal(
                fl_file_replace(path, 0640, cases[i].before, strlen(cases[i].before), NULL), 0);
        assert_int_equal(fl_config_edit(path, path, edits, FL_ARRAY_LEN(edits), false, NULL), 0);
        got = json_load_file(path, 0, NULL);
        assert_true(json_equal(want, got));
        json_decref(want);
        json_decref(got);
    }
}

static void trying_and_nothing_to_do_write_nothing(void **state)
{
    const char *path = tempdir_path("d/other.json");
    const struct fl_config_edit edit = { "A", "B", "c" }, none = { "A", "B", NULL };

    assert_int_equal(fl_config_edit(path, path, &edit, 1, true, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(fl_config_edit(path, path, &none, 1, false, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
}

static void failures_leave_the_file(void **state)
{
    const char *path = tempdir_path("d/bad.json");
    const struct fl_config_edit edit = { "A", "B", "c" };
    fl_autofree char *text = NULL;
    struct fl_err err;

    assert_int_equal(fl_file_replace(path, 0600, "{oops", 5, NULL), 0);
    assert_int_equal(fl_config_edit(path, path, &edit, 1, false, &err), -EBADMSG);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(fl_file_read(path, 100, &text, NULL, NULL), 0);
    assert_string_equal(text, "{oops");
    assert_true(fl_config_edit("/proc/x", "/proc/nowhere/x.json", &edit, 1, true, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_set_and_others_kept),
        cmocka_unit_test(trying_and_nothing_to_do_write_nothing),
        cmocka_unit_test(failures_leave_the_file),
    };

    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
