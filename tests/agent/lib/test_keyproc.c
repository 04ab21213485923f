/* A request reaches fairlead-agent-key whole and is answered once, whatever the socket takes at a
 * time, and whatever becomes of the process.
 *
 * fairlead-agent-key is this program under that name; what it is to do stands in a request's op.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "agent/lib/keyproc.h"
#include "agent/lib/text.h"
#include "common/base/file.h"
#include "tests/agent/lib/tempdir.h"
#include "tests/program.h"

#define PATIENCE_MS 60000

/* ---- the socket ---- */

static size_t bytes_at_a_time; /* that it takes, and between them it is full; 0: as it is */
static size_t n_full;

/* In the place of the C library's. */
ssize_t send(int fd, const void *data, size_t len, int flags)
{
    static bool full;

    if (bytes_at_a_time) {
        full = !full;
        if (full) {
            n_full++;
            errno = EAGAIN;
            return -1;
        }
        len = FL_MIN(len, bytes_at_a_time);
    }
    return sendto(fd, data, len, flags, NULL, 0);
}

/* ---- the key process ---- */

static int key_main(void)
{
    static char line[FL_KEY_MAX_LINE_BYTES + 2];

    while (fgets(line, sizeof(line), stdin)) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        fl_autobuf struct fl_buf out = FL_BUF(FL_KEY_MAX_LINE_BYTES);
        struct fl_key_request req;

        if (fl_json_decode(&fl_shape_key_request, line, strlen(line), 0, &arena, &req, NULL) < 0)
            return 2;
        if (strcmp(req.op, "die") == 0)
            return 0;
        if (strcmp(req.op, "babble") == 0) {
            memset(line, 'b', sizeof(line));
            for (;;)
                if (fl_fd_write_all(STDOUT_FILENO, line, sizeof(line)) < 0)
                    return 0;
        }
        if (strcmp(req.op, "nonsense") == 0)
            fl_buf_puts(&out, "{]");
        else if (strcmp(req.op, "echo") == 0)
            fl_json_encode(&fl_shape_key_answer, &(struct fl_key_answer){ .body = req.body }, &out);
        else
            continue; /* silent */
        puts(out.data);
        fflush(stdout);
    }
    return 0;
}

/* ---- the fixture ---- */

struct fixture {
    struct fl_loop *loop;
    struct fl_keyproc *key;
    struct fl_timer *patience;
    unsigned n_answers;
    char body[FL_KEY_MAX_LINE_BYTES];
    char why[256];
};

static void on_answer(void *arg, const struct fl_key_answer *a, const char *why)
{
    struct fixture *f = arg;

    f->n_answers++;
    snprintf(f->body, sizeof(f->body), "%s", a && a->body ? a->body : "");
    snprintf(f->why, sizeof(f->why), "%s", why ? why : "");
    if (!a)
        f->key = fl_keyproc_free(f->key);
    fl_loop_stop(f->loop);
}

static void on_patience(void *arg)
{
    fail_msg("no answer");
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const struct fl_paths paths = { .state = tempdir, .libexec = tempdir };
    struct fl_err err = { 0 };

    bytes_at_a_time = n_full = 0;
    assert_int_equal(fl_loop_new(&f->loop), 0);
    f->patience = fl_timer_new(f->loop, on_patience, f);
    assert_non_null(f->patience);
    if (fl_keyproc_new(f->loop, &paths, on_answer, f, &f->key, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fl_keyproc_free(f->key);
    fl_timer_free(f->patience);
    fl_loop_free(f->loop);
    free(f);
    return 0;
}

static int ask(struct fixture *f, const char *op, const char *body, uint32_t timeout_ms)
{
    const struct fl_key_request req = { .op = fl_text(op), .body = fl_text(body) };

    return fl_keyproc_ask(f->key, &req, timeout_ms, NULL);
}

static void wait_for_answer(struct fixture *f)
{
    fl_timer_start(f->patience, PATIENCE_MS);
    fl_loop_run(f->loop);
    fl_timer_stop(f->patience);
}

/* ---- tests ---- */

static void a_request_goes_through_a_socket_that_is_mostly_full(void **state)
{
    struct fixture *f = *state;
    char body[1000] = { 0 };

    memset(body, 'b', sizeof(body) - 1);
    for (bytes_at_a_time = 1; bytes_at_a_time <= 2048; bytes_at_a_time *= 2) {
        n_full = 0;
        assert_int_equal(ask(f, "echo", body, PATIENCE_MS), 0);
        assert_int_equal(ask(f, "echo", body, PATIENCE_MS), -EBUSY);
        wait_for_answer(f);
        assert_string_equal(f->why, "");
        assert_string_equal(f->body, body);
        assert_true(n_full > 0);
    }
    assert_int_equal(f->n_answers, 12);
}

static void what_is_too_long_is_refused_and_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    fl_autofree char *body = calloc(1, FL_KEY_MAX_LINE_BYTES + 1);

    memset(body, 'b', FL_KEY_MAX_LINE_BYTES);
    assert_true(ask(f, "echo", body, PATIENCE_MS) < 0);
    assert_int_equal(ask(f, "echo", "short", PATIENCE_MS), 0);
    wait_for_answer(f);
    assert_string_equal(f->body, "short");
}

static void whatever_becomes_of_the_process_is_told_once(void **state)
{
    static const struct {
        const char *op, *why;
        uint32_t timeout_ms;
    } cases[] = {
        { "die", "ended before it answered", PATIENCE_MS },
        { "babble", "answered with too much", PATIENCE_MS },
        { "nonsense", "not valid JSON", PATIENCE_MS },
        { "silent", "took too long", 1 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fixture *f;

        setup(state);
        f = *state;
        assert_int_equal(ask(f, cases[i].op, "", cases[i].timeout_ms), 0);
        wait_for_answer(f);
        if (!strstr(f->why, cases[i].why))
            fail_msg("%s: %s", cases[i].op, f->why);
        assert_int_equal(f->n_answers, 1);
        teardown(state);
    }
}

static int group_setup(void **state)
{
    fl_autofree char *program = NULL;

    if (tempdir_make(state) < 0)
        return -1;
    program = fl_path_join(tempdir, "fairlead-agent-key");
    return symlink(this_program(), program);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_goes_through_a_socket_that_is_mostly_full, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_too_long_is_refused_and_leaves_nothing_behind,
                                        setup, teardown),
        cmocka_unit_test(whatever_becomes_of_the_process_is_told_once),
    };

    if (strcmp(argv[0], "fairlead-agent-key") == 0)
        return key_main();
    return cmocka_run_group_tests(tests, group_setup, tempdir_remove);
}
