/* Who is served next of all that have connected, how many of them in a turn of the loop, and who
 * not at all.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/net/server.h"
#include "tests/runmode.h"

#define HERD 200

struct fixture {
    struct fl_loop *loop;
    struct fl_server *server, *other; /* other: no listener, gets what comes from 127.0.0.9 */
    int requests;                     /* of both */
    int others;                       /* of the other */
    int refused;
    char paths[16]; /* of the first requests: the letter after the slash */
    int late_at;    /* which of them was for /late; 0: none yet */
};

static void on_request(void *arg, struct fl_server_req *req)
{
    struct fixture *f = arg;

    if (f->requests < (int)sizeof(f->paths) - 1)
        f->paths[f->requests] = fl_server_req_path(req)[1];
    f->requests++;
    if (strcmp(fl_server_req_path(req), "/late") == 0)
        f->late_at = f->requests;
    if (strcmp(fl_server_req_path(req), "/last") == 0)
        fl_server_req_last(req);
    fl_server_reply(req, 204, NULL, NULL, 0, NULL, 0);
}

static void on_other_request(void *arg, struct fl_server_req *req)
{
    ((struct fixture *)arg)->others++;
    on_request(arg, req);
}

static void on_limit(void *arg, enum fl_server_limit what, int error)
{
    if (what == FL_LIMIT_REFUSED)
        ((struct fixture *)arg)->refused++;
}

static bool on_accept(void *arg, int fd, const char *peer)
{
    struct fixture *f = arg;

    if (strcmp(peer, "127.0.0.9") != 0)
        return false;
    fl_server_adopt(f->other, fd);
    return true;
}

static struct fixture *begin(const struct fl_server_conf *limits)
{
    static const struct fl_server_events events = { .on_request = on_request,
                                                    .on_accept = on_accept,
                                                    .on_limit = on_limit };
    static const struct fl_server_events other_events = { .on_request = on_other_request };
    static const struct fl_server_conf other_conf = { .no_listener = true };
    struct fl_server_conf conf = *limits;
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    conf.bind = "127.0.0.1";
    assert_int_equal(fl_loop_new(&f->loop), 0);
    assert_int_equal(fl_server_new(f->loop, &conf, &events, f, &f->server, NULL), 0);
    assert_int_equal(fl_server_new(f->loop, &other_conf, &other_events, f, &f->other, NULL), 0);
    return f;
}

static void end(struct fixture *f)
{
    fl_server_free(f->server);
    fl_server_free(f->other);
    for (int i = 0; i < 10; i++)
        fl_loop_run_once(f->loop, false);
    fl_loop_free(f->loop);
    free(f);
}

#define RUN_UNTIL(f, condition)                                              \
    for (int64_t until_ = fl_mono_ms() + patience_ms(5000); !(condition);) { \
        assert_true(fl_mono_ms() < until_);                                  \
        fl_loop_run_once((f)->loop, false);                                  \
    }

/* In the kernel's queue: the loop does not run meanwhile. */
static int connect_from(const struct fixture *f, const char *source)
{
    struct sockaddr_in addr = { .sin_family = AF_INET,
                                .sin_port = htons(fl_server_port(f->server)) };
    struct sockaddr_in from = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

static struct fl_server_stats stats(const struct fixture *f)
{
    struct fl_server_stats stats;

    fl_server_get_stats(f->server, &stats);
    return stats;
}

static void ask(int fd, const char *path)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);

    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

/* A fleet that comes at once is let in over many turns, so that others are heard in between. */
static void herd_comes_over_many_turns(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){ 0 });
    uint64_t before = 0, most = 0;
    int fds[HERD];

    for (int i = 0; i < HERD; i++)
        fds[i] = connect_from(f, "127.0.0.1");
    for (int64_t until = fl_mono_ms() + patience_ms(5000); before < HERD && fl_mono_ms() < until;) {
        fl_loop_run_once(f->loop, false);
        if (before == 0 && stats(f).connections > 0)
            assert_in_range(stats(f).connections, 1, 8);
        most = FL_MAX(most, stats(f).connections - before);
        before = stats(f).connections;
    }
    assert_int_equal(before, HERD);
    assert_in_range(most, 1, 32);
    for (int i = 0; i < HERD; i++)
        close(fds[i]);
    end(f);
}

/* One who comes from elsewhere does not wait for a herd of another address. */
static void a_new_address_goes_first(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){ 0 });
    int fds[HERD], late;

    for (int i = 0; i < HERD; i++) {
        fds[i] = connect_from(f, "127.0.0.2");
        ask(fds[i], "/herd");
    }
    RUN_UNTIL(f, f->requests > 0);
    late = connect_from(f, "127.0.0.3");
    ask(late, "/late");
    RUN_UNTIL(f, f->late_at);
    assert_in_range(f->late_at, 2, HERD / 2);
    for (int i = 0; i < HERD; i++)
        close(fds[i]);
    close(late);
    end(f);
}

/* Once clients have waited so long that they may give up, the last goes first. */
static void of_the_impatient_the_last_goes_first(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){
        .max_guests = 1, .max_guests_per_address = 1, .guest_ms = 60000, .patience_ms = 1 });
    int fds[4];
    int64_t then;

    for (int i = 0; i < 4; i++) {
        char path[] = { '/', (char)('a' + i), '\0' };

        fds[i] = connect_from(f, "127.0.0.1");
        ask(fds[i], path);
        if (i == 0)
            RUN_UNTIL(f, f->requests == 1);
    }
    RUN_UNTIL(f, stats(f).waiting == 3);
    for (then = fl_mono_ms(); fl_mono_ms() < then + 2;)
        ;
    close(fds[0]);
    RUN_UNTIL(f, f->requests == 2);
    close(fds[3]);
    RUN_UNTIL(f, f->requests == 3);
    assert_string_equal(f->paths, "adc");
    for (int i = 1; i < 3; i++)
        close(fds[i]);
    end(f);
}

static void who_has_left_is_not_served(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){ 0 });
    int gone = connect_from(f, "127.0.0.1"), here;

    ask(gone, "/gone");
    close(gone);
    here = connect_from(f, "127.0.0.1");
    ask(here, "/here");
    RUN_UNTIL(f, f->requests > 0);
    assert_string_equal(f->paths, "h");
    assert_int_equal(stats(f).connections, 1);
    close(here);
    end(f);
}

/* Nor does he take a place from one who comes. */
static void who_has_left_makes_room(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){
        .max_guests = 1, .max_guests_per_address = 1, .max_connections = 2, .guest_ms = 60000 });
    int served = connect_from(f, "127.0.0.1"), gone, here;

    ask(served, "/a");
    RUN_UNTIL(f, f->requests == 1);
    gone = connect_from(f, "127.0.0.1");
    RUN_UNTIL(f, stats(f).waiting == 1);
    close(gone);
    here = connect_from(f, "127.0.0.1");
    ask(here, "/b");
    close(served);
    RUN_UNTIL(f, f->requests == 2);
    assert_int_equal(f->refused, 0);
    close(here);
    end(f);
}

static void another_server_may_take_it(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){ 0 });
    int theirs = connect_from(f, "127.0.0.9"), ours = connect_from(f, "127.0.0.1");

    ask(theirs, "/theirs");
    ask(ours, "/ours");
    RUN_UNTIL(f, f->requests == 2);
    assert_int_equal(f->others, 1);
    assert_int_equal(stats(f).connections, 1);
    close(theirs);
    close(ours);
    end(f);
}

/* What has come so far, with what came now; true when the head of the answer is complete. */
static bool head_came(int fd, char *text, size_t size)
{
    size_t len = strlen(text);
    ssize_t n = recv(fd, text + len, size - 1 - len, MSG_DONTWAIT);

    if (n > 0)
        text[len + (size_t)n] = '\0';
    return strstr(text, "\r\n\r\n") != NULL;
}

static void the_last_answer_says_so(void **state)
{
    struct fixture *f = begin(&(struct fl_server_conf){ 0 });
    int fd = connect_from(f, "127.0.0.1");
    char text[512] = "";

    ask(fd, "/last");
    RUN_UNTIL(f, f->requests == 1);
    RUN_UNTIL(f, head_came(fd, text, sizeof(text)));
    assert_non_null(strstr(text, "Connection: close\r\n"));
    close(fd);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(herd_comes_over_many_turns),
        cmocka_unit_test(a_new_address_goes_first),
        cmocka_unit_test(of_the_impatient_the_last_goes_first),
        cmocka_unit_test(who_has_left_is_not_served),
        cmocka_unit_test(who_has_left_makes_room),
        cmocka_unit_test(another_server_may_take_it),
        cmocka_unit_test(the_last_answer_says_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
