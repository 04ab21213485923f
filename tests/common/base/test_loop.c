#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "common/base/child.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/loop.h"

static struct fl_loop *loop;
static int calls;
static int last_status;

static int setup(void **state)
{
    calls = 0;
    last_status = -1;
    return fl_loop_new(&loop);
}

static int teardown(void **state)
{
    loop = fl_loop_free(loop);
    return 0;
}

static void count_and_stop(void *arg)
{
    calls++;
    fl_loop_stop(loop);
}

static void *post_from_thread(void *arg)
{
    for (int i = 0; i < 1000; i++)
        fl_loop_post(loop, (fl_post_fn)arg, (void *)(intptr_t)i);
    return NULL;
}

static void expect_in_order(void *arg)
{
    assert_int_equal((intptr_t)arg, calls);
    if (++calls == 1000)
        fl_loop_stop(loop);
}

static void posts_arrive_in_order(void **state)
{
    pthread_t t;

    pthread_create(&t, NULL, post_from_thread, (void *)expect_in_order);
    fl_loop_run(loop);
    pthread_join(t, NULL);
    assert_int_equal(calls, 1000);
}

static void timer_fires_once_and_may_be_moved(void **state)
{
    struct fl_timer *t = fl_timer_new(loop, count_and_stop, NULL);
    struct fl_timer *stopped = fl_timer_new(loop, count_and_stop, NULL);

    assert_non_null(t);
    assert_non_null(stopped);
    fl_timer_start(stopped, 1);
    fl_timer_stop(stopped);
    assert_false(fl_timer_active(stopped));
    fl_timer_start(t, 100000);
    fl_timer_start(t, 1);
    fl_loop_run(loop);
    assert_int_equal(calls, 1);
    assert_false(fl_timer_active(t));
    fl_timer_free(t);
    fl_timer_free(stopped);
}

static void blocking_work(void *arg)
{
    *(pthread_t *)arg = pthread_self();
}

static void work_runs_elsewhere(void **state)
{
    pthread_t where = pthread_self();

    assert_int_equal(fl_loop_work(loop, blocking_work, count_and_stop, &where), 0);
    fl_loop_run(loop);
    assert_false(pthread_equal(where, pthread_self()));
}

static void on_io(void *arg, unsigned events)
{
    calls++;
    assert_true(events & FL_IO_READ);
    fl_loop_stop(loop);
}

static void descriptor_is_watched(void **state)
{
    int fds[2];
    struct fl_io *io;

    assert_int_equal(pipe(fds), 0);
    io = fl_io_new(loop, fds[0], on_io, NULL);
    assert_non_null(io);
    assert_int_equal(fl_io_set(io, FL_IO_READ), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    fl_loop_run(loop);
    assert_int_equal(calls, 1);
    fl_io_free(io);
    close(fds[0]);
    close(fds[1]);
}

static void on_end(void *arg, int status)
{
    last_status = status;
    fl_loop_stop(loop);
}

static void child_gets_just_its_descriptors(void **state)
{
    fl_autofree char *out = NULL;
    const char *const argv[] = { "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '; pwd; exit 7", NULL };
    struct fl_child *c;
    int fds[2];

    assert_int_equal(pipe(fds), 0); /* inheritable on purpose: must not leak */
    const struct fl_child_fd map[] = { { 1, fds[1] }, { 5, fds[1] } };
    struct fl_child_spec spec = { .path = "/bin/sh",
                                  .argv = (char *const *)argv,
                                  .cwd = "/usr",
                                  .fds = map,
                                  .n_fds = 2,
                                  .new_group = true };
    assert_int_equal(fl_child_spawn(loop, &spec, on_end, NULL, &c, NULL), 0);
    close(fds[1]);
    fl_loop_run(loop);
    assert_true(WIFEXITED(last_status));
    assert_int_equal(WEXITSTATUS(last_status), 7);
    fl_child_free(c);
    assert_int_equal(fl_fd_read_all(fds[0], 1000, &out, NULL), 0);
    assert_string_equal(out, "0 1 2 3 5 /usr\n"); /* 3 is the directory that ls reads */
    close(fds[0]);
}

/* Whoever started the parent may have had signals ignored (a shell does it for what it runs in the
 * background) or blocked, and the parent ignores some itself. */
static void child_begins_with_default_signals(void **state)
{
    static const int signos[] = { SIGINT, SIGQUIT, SIGPIPE, SIGTSTP };
    const char *const argv[] = { "grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status", NULL };
    struct fl_child_fd map[] = { { 1, -1 } };
    struct fl_child_spec spec = {
        .path = "/bin/grep", .argv = (char *const *)argv, .fds = map, .n_fds = 1
    };
    fl_autofree char *out = NULL;
    struct sigaction kept[FL_ARRAY_LEN(signos)];
    unsigned long long blocked_bits, ignored_bits;
    sigset_t blocked, mask;
    struct fl_child *c;
    int fds[2], r;

    assert_int_equal(pipe(fds), 0);
    map[0].parent_fd = fds[1];
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &blocked, &mask);
    for (size_t i = 0; i < FL_ARRAY_LEN(signos); i++)
        sigaction(signos[i], &(struct sigaction){ .sa_handler = SIG_IGN }, &kept[i]);
    r = fl_child_spawn(loop, &spec, on_end, NULL, &c, NULL);
    for (size_t i = 0; i < FL_ARRAY_LEN(signos); i++)
        sigaction(signos[i], &kept[i], NULL);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    assert_int_equal(r, 0);
    close(fds[1]);
    fl_loop_run(loop);
    fl_child_free(c);
    assert_int_equal(fl_fd_read_all(fds[0], 1000, &out, NULL), 0);
    assert_int_equal(sscanf(out, "SigBlk:\t%llx\nSigIgn:\t%llx", &blocked_bits, &ignored_bits), 2);
    assert_int_equal(blocked_bits, 0);
    /* 32 and 33 are the C library's own, which nobody can set. */
    assert_int_equal(ignored_bits & ~(3ULL << 31), 0);
    close(fds[0]);
}

static void exec_failure_is_reported(void **state)
{
    const char *const argv[] = { "none", NULL };
    struct fl_child_spec spec = { .path = "/nonexistent/none", .argv = (char *const *)argv };
    struct fl_err err = { 0 };
    struct fl_child *c;

    assert_int_equal(fl_child_spawn(loop, &spec, on_end, NULL, &c, &err), -ENOENT);
    assert_string_equal(err.text, "/nonexistent/none: cannot execute: No such file or directory");
    spec.path = "/bin/true";
    spec.cwd = "/nonexistent";
    assert_int_equal(fl_child_spawn(loop, &spec, on_end, NULL, &c, &err), -ENOENT);
    assert_non_null(strstr(err.text, "cannot change to the working directory"));
}

static void group_is_killed(void **state)
{
    const char *const argv[] = { "sh", "-c", "sleep 100 & wait", NULL };
    struct fl_child_spec spec = { .path = "/bin/sh",
                                  .argv = (char *const *)argv,
                                  .new_group = true };
    struct fl_child *c;
    pid_t group;

    assert_int_equal(fl_child_spawn(loop, &spec, on_end, NULL, &c, NULL), 0);
    group = fl_child_pid(c);
    assert_int_equal(fl_child_kill(c, SIGKILL), 0);
    fl_loop_run(loop);
    assert_true(WIFSIGNALED(last_status));
    assert_int_equal(fl_child_kill(c, SIGKILL), -ESRCH);
    fl_child_free(c);
    /* The sleeping grandchild was in the group too; init reaps it in its own time. */
    for (int i = 0; i < 500 && kill(-group, 0) == 0; i++)
        usleep(10000);
    assert_int_equal(kill(-group, 0), -1);
}

struct pause {
    struct fl_io *io;
    int events;
};

static void on_paused_event(void *arg, unsigned events)
{
    struct pause *p = arg;

    if (++p->events == 2)
        fl_loop_stop(loop);
    else
        fl_io_pause(p->io, 30);
}

/* The descriptor stays ready all the time: one event before the pause, one after it, none within.
 */
static void paused_descriptor_is_left_alone(void **state)
{
    static struct pause p; /* after a failed assertion, the loop's last turn still has it */
    int64_t begin = fl_mono_ms();
    int fds[2];

    p = (struct pause){ 0 };
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    p.io = fl_io_new(loop, fds[0], on_paused_event, &p);
    fl_io_set(p.io, FL_IO_READ);
    for (int i = 0; i < 5; i++)
        fl_loop_run_once(loop, false);
    assert_int_equal(p.events, 1);
    fl_io_set(p.io, FL_IO_READ); /* asked for again within the pause: as after it */
    fl_loop_run_once(loop, false);
    assert_int_equal(p.events, 1);
    fl_loop_run(loop);
    assert_true(fl_mono_ms() - begin >= 30);
    fl_io_pause(p.io, 1000000);
    p.io = fl_io_free(p.io); /* in the middle of one */
    close(fds[0]);
    close(fds[1]);
}

static int count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int n = 0;

    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

static void *no_work(void *arg)
{
    return arg;
}

/* libuv starts all threads of its pool with the first work; no child is to see the variable that
 * says how many. */
static void small_pool_is_one_thread(void **state)
{
    pthread_t where = pthread_self(), first;
    int before;

    /* With the first thread ThreadSanitizer starts one of its own. */
    assert_int_equal(pthread_create(&first, NULL, no_work, NULL), 0);
    pthread_join(first, NULL);
    before = count_threads();
    assert_int_equal(fl_loop_work(loop, blocking_work, count_and_stop, &where), 0);
    fl_loop_run(loop);
    assert_int_equal(count_threads() - before, 1);
    assert_null(getenv("UV_THREADPOOL_SIZE"));
}

static void forgotten_child_is_reaped(void **state)
{
    const char *const argv[] = { "true", NULL };
    struct fl_child_spec spec = { .path = "/bin/true", .argv = (char *const *)argv };
    struct fl_child *forgotten, *c;
    pid_t pid;

    assert_int_equal(fl_child_spawn(loop, &spec, on_end, NULL, &forgotten, NULL), 0);
    pid = fl_child_pid(forgotten);
    fl_child_free(forgotten);
    for (int i = 0; i < 20 && kill(pid, 0) == 0; i++) {
        assert_int_equal(fl_child_spawn(loop, &spec, on_end, NULL, &c, NULL), 0);
        fl_loop_run(loop);
        fl_child_free(c);
    }
    assert_int_equal(kill(pid, 0), -1);
}

/* A timer that starts itself with 0 ms, and what comes in meanwhile. */
struct turns {
    struct fl_timer *timer, *other;
    struct fl_io *io;
    int n, n_other, fd;
};

static void on_turn(void *arg)
{
    struct turns *x = arg;

    if (++x->n == 1000) {
        fl_loop_stop(loop);
        return;
    }
    fl_timer_start(x->timer, 0);
    assert_true(fl_timer_active(x->timer));
}

static void on_other(void *arg)
{
    struct turns *x = arg;

    if (++x->n_other < 1000)
        fl_timer_start(x->other, 0);
}

static void on_input(void *arg, unsigned events)
{
    fl_loop_stop(loop);
}

static void turns_of_a_timer_leave_room_for_input(void **state)
{
    struct turns x = { 0 };
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    x.timer = fl_timer_new(loop, on_turn, &x);
    x.other = fl_timer_new(loop, on_other, &x);
    x.io = fl_io_new(loop, fds[0], on_input, &x);
    assert_int_equal(fl_io_set(x.io, FL_IO_READ), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    fl_timer_start(x.timer, 0);
    fl_timer_start(x.other, 0);
    fl_loop_run(loop);
    assert_in_range(x.n, 1, 10);
    assert_in_range(x.n_other, x.n - 1, x.n + 1); /* each has its turn */
    fl_timer_free(x.timer);                       /* while it waits for the next one */
    fl_timer_stop(x.other);
    assert_false(fl_timer_active(x.other));
    x.n_other = 0;
    fl_io_free(x.io);
    fl_loop_run_once(loop, false);
    assert_int_equal(x.n_other, 0);
    fl_timer_free(x.other);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(small_pool_is_one_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(paused_descriptor_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(posts_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(timer_fires_once_and_may_be_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(turns_of_a_timer_leave_room_for_input, setup, teardown),
        cmocka_unit_test_setup_teardown(work_runs_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptor_is_watched, setup, teardown),
        cmocka_unit_test_setup_teardown(child_gets_just_its_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(child_begins_with_default_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(exec_failure_is_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(group_is_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(forgotten_child_is_reaped, setup, teardown),
    };

    fl_loop_pool_size(1); /* before any other work of this process */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
