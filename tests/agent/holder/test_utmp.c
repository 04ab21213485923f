/* A session's entries in utmp and wtmp, files of the test's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utmpx.h>
#include <cmocka.h>
#include "agent/holder/utmp.h"
#include "common/base/util.h"

static char utmp[256], wtmp[256];

static void make(char *path, size_t size, const char *name)
{
    int fd;

    snprintf(path, size, "%s/%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* The n-th record of a file. */
static struct utmpx record_of(const char *path, size_t n)
{
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct utmpx e;

    assert_int_equal(pread(fd, &e, sizeof(e), (off_t)(n * sizeof(e))), sizeof(e));
    return e;
}

static size_t count(const char *path)
{
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

    return (size_t)lseek(fd, 0, SEEK_END) / sizeof(struct utmpx);
}

static void begin_and_end(void **state)
{
    struct fl_utmp u = { 0 };
    struct utmpx e;

    make(utmp, sizeof(utmp), "utmp");
    make(wtmp, sizeof(wtmp), "wtmp");
    utmpxname(utmp);
    fl_utmp_begin(&u, "/dev/pts/1234", 77, "ops", "alice-0a1b", wtmp);
    e = record_of(utmp, 0);
    assert_int_equal(e.ut_type, USER_PROCESS);
    assert_int_equal(e.ut_pid, 77);
    assert_string_equal(e.ut_line, "pts/1234");
    assert_memory_equal(e.ut_id, "1234", 4);
    assert_string_equal(e.ut_user, "ops");
    assert_string_equal(e.ut_host, "alice-0a1b");
    assert_true(e.ut_tv.tv_sec > 0);

    fl_utmp_end(&u, wtmp);
    fl_utmp_end(&u, wtmp);
    assert_int_equal(count(utmp), 1);
    assert_int_equal(record_of(utmp, 0).ut_type, DEAD_PROCESS);
    assert_int_equal(count(wtmp), 2);
    assert_int_equal(record_of(wtmp, 0).ut_type, USER_PROCESS);
    e = record_of(wtmp, 1);
    assert_int_equal(e.ut_type, DEAD_PROCESS);
    assert_string_equal(e.ut_line, "pts/1234");
    assert_string_equal(e.ut_user, "");
}

static void neither_is_kept(void **state)
{
    struct fl_utmp u = { 0 };

    make(utmp, sizeof(utmp), "utmp");
    unlink(utmp);
    utmpxname(utmp);
    fl_utmp_begin(&u, "/dev/pts/1", 77, "ops", "a", "/nowhere/wtmp");
    fl_utmp_end(&u, "/nowhere/wtmp");
    assert_int_equal(access(utmp, F_OK), -1);

    u = (struct fl_utmp){ 0 };
    fl_utmp_begin(&u, "/elsewhere/pts/1", 77, "ops", "a", wtmp);
    assert_string_equal(u.line, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begin_and_end),
        cmocka_unit_test(neither_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
