/* Addresses of port forwarding: which are forbidden, which is connected to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/config.h"
#include "agent/session/tcp.h"
#include "tests/runmode.h"

struct wait {
    struct fl_loop *loop;
    int fd, r;
    bool done;
};

static void on_found(void *arg)
{
    struct wait *w = arg;

    w->done = true;
    fl_loop_stop(w->loop);
}

static void on_dialled(void *arg, int fd, int r)
{
    struct wait *w = arg;

    w->fd = fd;
    w->r = r;
    on_found(w);
}

static void find(const char *host, struct fl_tcp_target *target)
{
    struct fl_tcp_lookup *lookup;
    struct wait w = { .fd = -1 };

    assert_int_equal(fl_loop_new(&w.loop), 0);
    assert_int_equal(fl_tcp_find(w.loop, host, 80, target, on_found, &w, &lookup), 0);
    fl_loop_run(w.loop);
    assert_true(w.done);
    fl_loop_free(w.loop);
}

static void the_deny_list(void **state)
{
    static char *ours[] = { "10.1.2.3", "not an address" };
    static const struct {
        const char *host;
        bool usual, own;
    } cases[] = {
        { "169.254.169.254", true, false },
        { "169.254.169.253", true, false },
        { "::ffff:169.254.169.254", true, false },
        { "fd00:ec2::254", true, false },
        { "fd00:0ec2:0:0::254", true, false },
        { "169.254.169.252", false, false },
        /* the same in other writings */
        { "2852039166", true, false },
        { "0xa9fea9fe", true, false },
        { "0251.0376.0251.0376", true, false },
        { "169.254.43518", true, false },
        { "::ffff:a9fe:a9fe", true, false },
        { "64:ff9b::169.254.169.254", true, false },
        { "64:ff9b::a9fe:a9fc", false, false },
        /* containers, other clouds */
        { "169.254.170.2", true, false },
        { "169.254.170.23", true, false },
        { "168.63.129.16", true, false },
        { "100.100.100.200", true, false },
        { "fd20:ce::254", true, false },
        { "127.0.0.1", false, false },
        { "10.1.2.3", false, true },
        { "::ffff:a01:203", false, true },
    };

    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_agent_config config;

    assert_int_equal(fl_agent_config_load(NULL, &arena, &config, NULL), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_tcp_target target;
        char out[64];

        find(cases[i].host, &target);
        if (target.n == 0)
            continue; /* no IPv6 here: it could not be connected to either */
        assert_int_equal(fl_tcp_is_denied(&target, &config.denied_remote_ips, out), cases[i].usual);
        assert_int_equal(fl_tcp_is_denied(&target, &(struct fl_strs){ ours, 2 }, out),
                         cases[i].own);
    }
}

static int dial(const struct fl_tcp_target *target, struct wait *w)
{
    struct fl_tcp_dial *dialling;

    *w = (struct wait){ .fd = -1 };
    assert_int_equal(fl_loop_new(&w->loop), 0);
    assert_int_equal(fl_tcp_dial(w->loop, target, on_dialled, w, &dialling), 0);
    assert_false(w->done); /* not before it returns */
    fl_loop_run(w->loop);
    fl_loop_free(w->loop);
    return w->r;
}

/* The first address has nobody; the second answers. */
static void addresses_in_turn(void **state)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof(sa);
    struct fl_tcp_target target = { .n = 2 };
    struct wait w;

    assert_int_equal(bind(server, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&sa, &len), 0);
    memcpy(&target.addresses[0], &sa, sizeof(sa));
    memcpy(&target.addresses[1], &sa, sizeof(sa));
    assert_int_equal(dial(&target, &w), -ECONNREFUSED);

    assert_int_equal(listen(server, 1), 0);
    ((struct sockaddr_in *)(void *)&target.addresses[0])->sin_addr.s_addr = htonl(0x7f000002);
    assert_int_equal(dial(&target, &w), 0);
    assert_true(w.fd >= 0);
    close(w.fd);
    close(server);
    target.n = 0;
    assert_int_equal(dial(&target, &w), -EHOSTUNREACH);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_deny_list),
                                        cmocka_unit_test(addresses_in_turn) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
