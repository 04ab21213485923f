/* The exit code table of protocol 4 §3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include "plugins/exit.h"

#define EXITED(code) ((code) << 8)
#define KILLED(sig)  (sig)
#define NO           FL_STEP_NOT_ENDING
#define CANCEL       FL_STEP_CANCELLING
#define TIMEOUT      FL_STEP_TIMING_OUT

static const struct {
    int wait_status;
    enum fl_step_ending ending;
    enum fl_status status;
    int code;
    const char *text;
} cases[] = {
    { EXITED(0), NO, FL_STATUS_SUCCESS, 0, "" },
    { EXITED(1), NO, FL_STATUS_FAILED, 1, "failed to run commands: exit status 1" },
    { EXITED(255), NO, FL_STATUS_FAILED, 255, "failed to run commands: exit status 255" },
    { EXITED(194), NO, FL_STATUS_SUCCESS_AND_REBOOT, 194, "" },
    { EXITED(137), NO, FL_STATUS_TIMED_OUT, 137, "" },
    { EXITED(137), CANCEL, FL_STATUS_CANCELLED, 137, "" },
    { EXITED(168), NO, FL_STATUS_FAILED, 168, "failed to run commands: exit status 168" },
    { EXITED(169), NO, FL_STATUS_FAILED, 169, "failed to run commands: exit status 169" },
    { EXITED(143), NO, FL_STATUS_FAILED, 143, "failed to run commands: exit status 143" },
    { KILLED(SIGKILL), NO, FL_STATUS_FAILED, -1, "failed to run commands: signal: killed" },
    { KILLED(SIGTERM), NO, FL_STATUS_FAILED, -1, "failed to run commands: signal: terminated" },
    { KILLED(SIGSEGV) | 0x80, NO, FL_STATUS_FAILED, -1,
      "failed to run commands: signal: segmentation fault (core dumped)" },
    { KILLED(SIGKILL), CANCEL, FL_STATUS_CANCELLED, 137, "" },
    { KILLED(SIGKILL), TIMEOUT, FL_STATUS_TIMED_OUT, 137, "" },
    /* It ended by itself a moment before. */
    { EXITED(0), CANCEL, FL_STATUS_SUCCESS, 0, "" },
    { EXITED(3), TIMEOUT, FL_STATUS_FAILED, 3, "failed to run commands: exit status 3" },
};

static void table(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_exit e;

        fl_exit_map(cases[i].wait_status, cases[i].ending, &e);
        assert_int_equal(e.status, cases[i].status);
        assert_int_equal(e.code, cases[i].code);
        assert_string_equal(e.text, cases[i].text);
    }
}

static void spawn_error_in_the_official_words(void **state)
{
    char text[256];

    fl_exit_spawn_error("/usr/bin/sh", ENOENT, text, sizeof(text));
    assert_string_equal(text,
                        "failed to run commands: fork/exec /usr/bin/sh: no such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table),
        cmocka_unit_test(spawn_error_in_the_official_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
