/* Taking connections from the kernel's queue: how many in a turn of the loop, and which not at all.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include "common/net/server.h"

#define HERD  200
#define TURNS 10000

struct fixture {
    struct fl_loop *loop;
    struct fl_server *server;
    int requests;
};

static void on_request(void *arg, struct fl_server_req *req)
{
    ((struct fixture *)arg)->requests++;
    fl_server_reply(req, 204, NULL, NULL, 0, NULL, 0);
}

static int setup(void **state)
{
    static const struct fl_server_events events = { .on_request = on_request };
    static const struct fl_server_conf conf = { .bind = "127.0.0.1" };
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(fl_server_new(f->loop, &conf, &events, f, &f->server, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fl_server_free(f->server);
    for (int i = 0; i < 10; i++)
        fl_loop_run_once(f->loop, false);
    fl_loop_free(f->loop);
    free(f);
    return 0;
}

/* In the kernel's queue: the loop does not run meanwhile. */
static int connect_to(const struct fixture *f)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(fl_server_port(f->server)) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static uint64_t connections(const struct fixture *f)
{
    struct fl_server_stats stats;

    fl_server_get_stats(f->server, &stats);
    return stats.connections;
}

static void ask(int fd)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    assert_int_equal(send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL), sizeof(text) - 1);
}

/* A fleet that comes at once is let in over many turns, so that others are heard in between. */
static void herd_comes_over_many_turns(void **state)
{
    struct fixture *f = *state;
    uint64_t before = 0, most = 0;
    int fds[HERD];

    for (int i = 0; i < HERD; i++)
        fds[i] = connect_to(f);
    for (int turn = 0; turn < TURNS && connections(f) < HERD; turn++) {
        fl_loop_run_once(f->loop, true);
        if (before == 0 && connections(f) > 0)
            assert_in_range(connections(f), 1, 8);
        most = FL_MAX(most, connections(f) - before);
        before = connections(f);
    }
    assert_int_equal(connections(f), HERD);
    assert_in_range(most, 1, 64);
    for (int i = 0; i < HERD; i++)
        close(fds[i]);
}

static void who_has_left_is_not_served(void **state)
{
    struct fixture *f = *state;
    int gone = connect_to(f), here;

    ask(gone);
    close(gone);
    here = connect_to(f);
    ask(here);
    for (int turn = 0; turn < TURNS && f->requests == 0; turn++)
        fl_loop_run_once(f->loop, false);
    assert_int_equal(f->requests, 1);
    assert_int_equal(connections(f), 1);
    close(here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(herd_comes_over_many_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_left_is_not_served, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
