/* Descriptors of the client's own, and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/conn.h"
#include "tests/runmode.h"

#define MOST_BYTES (64 << 20)

static int broken_by;

static void on_broken(void *arg, int r)
{
    (void)arg;
    broken_by = r;
}

/* What it could not keep is not left out: nothing follows, and the reader sees no end of file. */
static void without_memory_nothing_follows(void **state)
{
    static const struct fl_conn_events events = { .on_broken = on_broken };
    struct rlimit all, none = { 4096, RLIM_INFINITY };
    static uint32_t words[16384];
    struct fl_loop *loop;
    struct fl_conn *conn;
    int fds[2], r = 0;
    uint32_t next = 0, got = 0;
    size_t at = 0;
    ssize_t n;

    (void)state;
    skip_under_valgrind("has an allocator of its own");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip_because("sanitizers have an allocator of their own");
#endif
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(fl_conn_new(loop, fds[0], &events, NULL, &conn), 0);
    assert_int_equal(getrlimit(RLIMIT_AS, &all), 0);
    none.rlim_max = all.rlim_max;
    setrlimit(RLIMIT_AS, &none);
    for (size_t sent = 0; r == 0 && sent < MOST_BYTES; sent += sizeof(words)) {
        for (size_t i = 0; i < FL_ARRAY_LEN(words); i++)
            words[i] = next++;
        r = fl_conn_write(conn, words, sizeof(words));
    }
    setrlimit(RLIMIT_AS, &all);
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(fl_conn_write(conn, words, sizeof(words)), -EPIPE);
    while (!broken_by)
        fl_loop_run_once(loop, false);
    assert_int_equal(broken_by, -ENOMEM);
    for (next = 0; (n = read(fds[1], (char *)&got + at, sizeof(got) - at)) > 0;) {
        at = (at + (size_t)n) % sizeof(got);
        if (at == 0)
            assert_int_equal(got, next++);
    }
    assert_int_equal(n, -1);
    fl_conn_free(conn);
    close(fds[1]);
    fl_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_nothing_follows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
