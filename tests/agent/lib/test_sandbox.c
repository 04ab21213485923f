#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/lib/sandbox.h"
#include "tests/runmode.h"

/* What is tried inside; 0 if it went as it must. */
typedef int (*try_fn)(void);

static int read_a_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 ? 0 : 1;
}

static int write_a_file(void)
{
    static const int flags[] = { O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_RDONLY | O_TRUNC,
                                 O_WRONLY | O_APPEND };

    for (size_t i = 0; i < FL_ARRAY_LEN(flags); i++)
        if (open("/tmp/fairlead-sandbox-test", flags[i], 0600) >= 0 || errno != EPERM)
            return 1 + (int)i;
    return 0;
}

static int change_files(void)
{
    return mkdir("/tmp/fairlead-sandbox-test", 0700) < 0 && errno == EPERM &&
                   unlink("/etc/passwd") < 0 && errno == EPERM && chmod("/etc/passwd", 0600) < 0 &&
                   errno == EPERM
               ? 0
               : 1;
}

static int use_sockets(void)
{
    static const int families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };

    for (size_t i = 0; i < FL_ARRAY_LEN(families); i++)
        if (socket(families[i], families[i] == AF_NETLINK ? SOCK_RAW : SOCK_STREAM, 0) < 0 &&
            errno == EPERM)
            return 1;
    return socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EPERM ? 0 : 2;
}

static int look_up_a_name(void)
{
    struct addrinfo *ai = NULL;
    int r = getaddrinfo("localhost", "443", NULL, &ai);

    if (r == 0)
        freeaddrinfo(ai);
    return r;
}

static void *nothing(void *arg)
{
    return arg;
}

static int start_a_thread(void)
{
    pthread_t t;

    return pthread_create(&t, NULL, nothing, NULL) == 0 ? pthread_join(t, NULL) : 1;
}

static int be_private(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 1;
}

static int execute(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return 1;
}

static int trace(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    return 1;
}

static const struct {
    const char *what;
    try_fn fn;
    bool deadly;
} cases[] = {
    { "read a file", read_a_file, false },
    { "write a file", write_a_file, false },
    { "change files", change_files, false },
    { "use sockets", use_sockets, false },
    { "look up a name", look_up_a_name, false },
    { "start a thread", start_a_thread, false },
    { "be private", be_private, false },
    { "execute", execute, true },
    { "trace", trace, true },
};

/* Programs built with a sanitizer may be traced (sandbox.c), and their leak check runs in the
 * child. */
extern void __asan_init(void) __attribute__((weak));

static void what_is_possible_inside(void **state)
{
    if (__asan_init)
        skip_because("programs of a sanitizer need more");
    skip_under_valgrind("runs no filters of system calls");
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            if (fl_sandbox_enter(NULL) < 0)
                _exit(99);
            _exit(cases[i].fn());
        }
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        print_message("%s: status %#x\n", cases[i].what, (unsigned)status);
        if (cases[i].deadly) {
            assert_true(WIFSIGNALED(status));
            assert_int_equal(WTERMSIG(status), SIGSYS);
        } else {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
    }
}

static void ids_are_unprivileged_and_stable(void **state)
{
    unsigned uid, gid, again, gid_again;

    assert_int_equal(fl_sandbox_ids("no-such-user-here", &uid, &gid, NULL), 0);
    assert_int_equal(fl_sandbox_ids("no-such-user-here", &again, &gid_again, NULL), 0);
    assert_int_equal(uid, again);
    if (geteuid() != 0) {
        assert_int_equal(uid, getuid());
        return;
    }
    assert_in_range(uid, 61184, 65519);
    assert_int_equal(gid, uid);
    assert_int_equal(fl_sandbox_ids("nobody", &uid, &gid, NULL), 0);
    assert_int_not_equal(uid, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_possible_inside),
        cmocka_unit_test(ids_are_unprivileged_and_stable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
