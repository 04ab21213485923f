#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "cli/listen.h"

static void forwards_are_taken_apart(void **state)
{
    static const struct {
        const char *text, *want; /* "bind|path|host|local|remote"; NULL: refused */
    } cases[] = {
        { "80", "|||80|80" },
        { "8080:80", "|||8080|80" },
        { "0:80", "|||0|80" },
        { "8080:db:80", "||db|8080|80" },
        { "127.0.0.2:8080:80", "127.0.0.2|||8080|80" },
        { "*:8080:80", "*|||8080|80" },
        { "localhost:1:2", "localhost|||1|2" },
        { "[::1]:8080:80", "::1|||8080|80" },
        { "[::1]:8080:[fd00::5]:80", "::1||fd00::5|8080|80" },
        { "8080:[fd00::5]:80", "||fd00::5|8080|80" },
        { "a:8080:10.0.0.1:80", "a||10.0.0.1|8080|80" },
        { "/run/x.sock:80", "|/run/x.sock||0|80" },
        { "./x:db:80", "|./x|db|0|80" },
        { "", NULL },
        { ":", NULL },
        { "80:", NULL },
        { ":80", NULL },
        { "80:0", NULL },
        { "0", NULL },
        { "65536:1", NULL },
        { "1:65536", NULL },
        { "1:2:3:4:5", NULL },
        { "x:80", NULL },
        { "-1:80", NULL },
        { "80 :80", NULL },
        { "[::1:8080:80", NULL },
        { "[::1]8080:80", NULL },
        { "a:/x:h:80", NULL }, /* a socket has no address */
        { "99999999999:80", NULL },
        { "::80", NULL },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_forward_spec s = { 0 };
        struct fl_err err = { 0 };
        char got[1024] = "";
        int r = fl_forward_spec_parse(cases[i].text, &s, &err);

        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        snprintf(got, sizeof(got), "%s|%s|%s|%u|%u", s.bind, s.path, s.host, s.local, s.remote);
        assert_string_equal(got, cases[i].want ? cases[i].want : "|||0|0");
    }
}

static void a_port_is_chosen_once_for_both_families(void **state)
{
    struct fl_forward_spec s = { .remote = 1 }, same;
    struct fl_listen l, other;
    struct fl_err err = { 0 };

    (void)state;
    assert_int_equal(fl_listen_open(&s, &l, &err), 0);
    assert_true(l.n >= 1 && l.port > 0);
    same = s;
    same.local = l.port;
    assert_int_equal(fl_listen_open(&same, &other, &err), -EADDRINUSE);
    assert_int_equal(other.n, 0);
    fl_listen_done(&l);
    assert_int_equal(fl_listen_open(&same, &other, &err), 0);
    fl_listen_done(&other);
}

/* More than it has room for want to be heard by who listens there: a second comer is told at once.
 */
static void a_busy_listener_is_one(void **state)
{
    struct fl_forward_spec s = { .remote = 1 };
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    struct fl_listen l, other;
    struct fl_err err = { 0 };
    int callers[256], n = 0, r = 0;

    (void)state;
    snprintf(s.path, sizeof(s.path), "%.80s/b", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", s.path);
    assert_int_equal(fl_listen_open(&s, &l, &err), 0);
    while (r == 0 && n < 256) {
        callers[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(callers[n] >= 0);
        r = connect(callers[n++], (struct sockaddr *)&a, sizeof(a));
    }
    assert_int_equal(r, -1); /* no room left */
    assert_int_equal(fl_listen_open(&s, &other, &err), -EADDRINUSE);
    while (n > 0)
        close(callers[--n]);
    fl_listen_done(&l);
}

static void a_socket_is_private_and_goes(void **state)
{
    struct fl_forward_spec s = { .remote = 1 };
    struct fl_listen l, other;
    struct fl_err err = { 0 };
    struct stat st;

    (void)state;
    snprintf(s.path, sizeof(s.path), "%.80s/s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_int_equal(fl_listen_open(&s, &l, &err), 0);
    assert_int_equal(stat(s.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fl_listen_open(&s, &other, &err), -EADDRINUSE); /* somebody listens */
    for (size_t i = 0; i < l.n; i++)
        close(l.fds[i]);
    l.n = 0;
    assert_int_equal(fl_listen_open(&s, &l, &err), 0); /* nobody does: what is left is replaced */
    fl_listen_done(&l);
    assert_int_equal(stat(s.path, &st), -1);
}

/* Connecting to a file that is no socket is refused like connecting to a socket nobody listens on.
 */
static void a_file_is_no_socket_that_is_left(void **state)
{
    static const char text[] = "precious";
    struct fl_forward_spec s = { .remote = 1 };
    char target[120], got[sizeof(text)] = "";
    struct fl_err err = { 0 };
    struct fl_listen l;
    FILE *f;

    (void)state;
    snprintf(s.path, sizeof(s.path), "%.80s/f", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    f = fopen(s.path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(fl_listen_open(&s, &l, &err), -EADDRINUSE);
    snprintf(target, sizeof(target), "%s", s.path);
    strcat(s.path, "2"); /* nor is a link to it */
    assert_int_equal(symlink(target, s.path), 0);
    assert_int_equal(fl_listen_open(&s, &l, &err), -EADDRINUSE);
    f = fopen(s.path, "r");
    assert_non_null(f);
    assert_non_null(fgets(got, sizeof(got), f));
    fclose(f);
    assert_string_equal(got, text);
    unlink(s.path);
    unlink(target);
}

static void what_a_node_says_is_taken_as_it_stands(void **state)
{
    static const struct {
        const char *port, *path;
        const char *want; /* "path|local"; NULL: refused */
    } cases[] = {
        { "8080", NULL, "|8080" }, { "0", NULL, "|0" },           { "", NULL, "|0" },
        { NULL, NULL, "|0" },      { "8", "/run/x", "/run/x|0" }, { NULL, "x", "x|0" },
        { "*:8080", NULL, NULL },  { "0.0.0.0:1", NULL, NULL },   { "/run/x", NULL, NULL },
        { "65536", NULL, NULL },   { "-1", NULL, NULL },          { " 1", NULL, NULL },
        { "1:host", NULL, NULL },  { "[::]:1", NULL, NULL },      { NULL, "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_forward_spec s = { 0 };
        struct fl_err err = { 0 };
        char got[256];
        int r = fl_forward_spec_said(cases[i].port, cases[i].path, &s, &err);

        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        snprintf(got, sizeof(got), "%s|%u", s.path, s.local);
        if (cases[i].want)
            assert_string_equal(got, cases[i].want);
        assert_string_equal(s.bind, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_are_taken_apart),
        cmocka_unit_test(a_port_is_chosen_once_for_both_families),
        cmocka_unit_test(a_busy_listener_is_one),
        cmocka_unit_test(a_socket_is_private_and_goes),
        cmocka_unit_test(a_file_is_no_socket_that_is_left),
        cmocka_unit_test(what_a_node_says_is_taken_as_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
