/* A log that nobody reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "common/base/log.h"

#define LINES 4000 /* far more than a pipe holds */

static int pipe_fds[2], real_stderr;

static int setup(void **state)
{
    real_stderr = dup(STDERR_FILENO);
    return pipe(pipe_fds) < 0 || fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK) < 0 ||
           dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return 0;
}

/* What is in the pipe; whole lines. */
static size_t drain(char *last, size_t size)
{
    static char text[1 << 20];
    size_t len = 0, lines = 0;
    ssize_t n;

    while ((n = read(pipe_fds[0], text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    snprintf(last, size, "%.300s", len > 300 ? text + len - 300 : text);
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    return lines;
}

static void a_full_pipe_costs_lines_not_time(void **state)
{
    char last[512], want[64];
    size_t kept;

    fl_log_setup(FL_LOG_INFO, FL_LOG_TEXT, "test");
    for (int i = 0; i < LINES; i++)
        fl_log_info("a line of some length that is written again and again", FL_I("i", i));
    kept = drain(last, sizeof(last));
    assert_true(kept > 100 && kept < LINES);

    fl_log_info("back");
    assert_int_equal(drain(last, sizeof(last)), 2);
    snprintf(want, sizeof(want), "lines=%zu\n", LINES - kept);
    assert_non_null(strstr(last, "log lines were lost"));
    assert_non_null(strstr(last, want));
    assert_non_null(strstr(last, "info back"));
}

/* In place of libc's: takes a few bytes of what is logged, or no more than a number of them. */
static size_t at_once = SIZE_MAX, room = SIZE_MAX;

ssize_t write(int fd, const void *data, size_t len)
{
    if (fd == STDERR_FILENO) {
        len = len < at_once ? len : at_once;
        len = len < room ? len : room;
        if (len == 0) {
            errno = EIO;
            return -1;
        }
        room -= room == SIZE_MAX ? 0 : len;
    }
    return syscall(SYS_write, fd, data, len);
}

static void a_line_taken_in_pieces_is_whole(void **state)
{
    char last[512];

    fl_log_setup(FL_LOG_INFO, FL_LOG_TEXT, "test");
    at_once = 7;
    fl_log_info("a line in pieces", FL_I("i", 1));
    at_once = SIZE_MAX;
    assert_int_equal(drain(last, sizeof(last)), 1);
    assert_non_null(strstr(last, "info a line in pieces role=test i=1\n"));
}

static void a_line_cut_off_costs_no_other(void **state)
{
    char last[512];

    fl_log_setup(FL_LOG_INFO, FL_LOG_TEXT, "test");
    room = 40;
    fl_log_info("a line that is cut off", FL_I("i", 1));
    room = SIZE_MAX;
    fl_log_info("another");
    assert_int_equal(drain(last, sizeof(last)), 3);
    assert_non_null(strstr(last, " info a line tha\n"));
    assert_non_null(strstr(last, "lines=1\n"));
    assert_non_null(strstr(last, " info another role=test\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_pipe_costs_lines_not_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_taken_in_pieces_is_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_cut_off_costs_no_other, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
