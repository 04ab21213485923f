#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "agent/lib/fetcher.h"
#include "agent/lib/text.h"

/* The far end: a fetch process that does as the test says. */
struct far {
    struct fl_ipc *ipc;
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
    unsigned confs, calls;
    unsigned leave_at; /* closes at this call instead of answering; 0 never */
    bool cancels;      /* and says before that the call was cancelled */
};

struct fixture {
    struct fl_loop *loop;
    struct fl_fetcher *fetcher;
    struct fl_fetch_conf conf;
    struct far far;
    unsigned needs;
    bool refuse;
    unsigned done;
    int error;
    char body[64], error_text[128];
};

static void on_far_close(void *arg, int why, const struct fl_err *err)
{
    struct fixture *t = arg;

    t->far.ipc = fl_ipc_free(t->far.ipc);
}

static int on_conf(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fixture *t = arg;
    const struct fl_fetch_conf *in = msg->in;

    assert_string_equal(in->user_agent, "agent/1");
    t->far.confs++;
    return 0;
}

static int on_call(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fixture *t = arg;
    const struct fl_fetch_call *in = msg->in;
    const struct fl_fetch_answer answer = { .status = 200,
                                            .body = in->body,
                                            .body_len = in->body_len };

    t->far.calls++;
    assert_string_equal(in->headers[0].value, "secret");
    if (t->far.calls == t->far.leave_at) {
        if (t->far.cancels)
            fl_ipc_send(t->far.ipc, FL_FETCH_ANSWER, msg->id,
                        &(struct fl_fetch_answer){ .error = -ECANCELED }, NULL, 0);
        t->far.ipc = fl_ipc_free(t->far.ipc);
        return 0;
    }
    assert_int_equal(fl_ipc_send(t->far.ipc, FL_FETCH_ANSWER, msg->id, &answer, NULL, 0), 0);
    return 0;
}

static const struct fl_ipc_binding far_bindings[] = { { FL_FETCH_CONF, on_conf },
                                                      { FL_FETCH_CALL, on_call } };

static void on_need(void *arg)
{
    struct fixture *t = arg;
    int fds[2];

    t->needs++;
    if (t->refuse) {
        fl_fetcher_refused(t->fetcher, "none today");
        return;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    t->far.ipc = fl_ipc_free(t->far.ipc);
    fl_ipc_bind(fl_fetch_rows, fl_n_fetch_rows, far_bindings, FL_ARRAY_LEN(far_bindings),
                t->far.rows);
    assert_int_equal(
        fl_ipc_new(t->loop, fds[1], t->far.rows, FL_N_FETCH_ROWS, on_far_close, t, &t->far.ipc), 0);
    fl_fetcher_attach(t->fetcher, fds[0]);
}

static void on_done(void *arg, const struct fl_fetch_answer *answer)
{
    struct fixture *t = arg;

    t->done++;
    t->error = answer->error;
    snprintf(t->body, sizeof(t->body), "%s", answer->body ? answer->body : "");
    snprintf(t->error_text, sizeof(t->error_text), "%s",
             answer->error_text ? answer->error_text : "");
}

static int setup(void **state)
{
    struct fixture *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->conf.user_agent = fl_text("agent/1");
    assert_int_equal(fl_loop_new(&t->loop), 0);
    assert_int_equal(fl_fetcher_new(t->loop, &t->conf, on_need, t, &t->fetcher), 0);
    *state = t;
    return 0;
}

static int call(struct fixture *t, const char *body, uint32_t *ret_id)
{
    struct fl_fetch_header header = { fl_text("Authorization"), fl_text("secret") };
    const struct fl_fetch_call c = { .method = fl_text("POST"),
                                     .url = fl_text("https://x/"),
                                     .headers = &header,
                                     .n_headers = 1,
                                     .body = fl_text(body),
                                     .body_len = strlen(body),
                                     .timeout_ms = 60000 };

    return fl_fetcher_call(t->fetcher, &c, NULL, on_done, t, ret_id);
}

static int teardown(void **state)
{
    struct fixture *t = *state;

    unsigned done = t->done;

    assert_int_equal(call(t, "left", NULL), 0);
    fl_fetcher_free(t->fetcher);
    assert_int_equal(t->done, done + 1);
    assert_int_equal(t->error, -ECANCELED);
    fl_ipc_free(t->far.ipc);
    fl_loop_free(t->loop);
    free(t);
    return 0;
}

static void run_until_done(struct fixture *t, unsigned n)
{
    while (t->done < n)
        fl_loop_run_once(t->loop, true);
}

static void a_process_is_asked_for_once_and_used_again(void **state)
{
    struct fixture *t = *state;

    assert_int_equal(call(t, "one", NULL), 0);
    assert_int_equal(call(t, "two", NULL), 0);
    assert_int_equal(t->needs, 0); /* nothing runs inside the call */
    run_until_done(t, 2);
    assert_int_equal(call(t, "three", NULL), 0);
    run_until_done(t, 3);
    assert_string_equal(t->body, "three");
    assert_int_equal(t->error, 0);
    assert_int_equal(t->needs, 1);
    assert_int_equal(t->far.confs, 1);
}

static void a_call_lost_with_its_process_is_repeated_once(void **state)
{
    struct fixture *t = *state;

    t->far.leave_at = 1;
    assert_int_equal(call(t, "again", NULL), 0);
    run_until_done(t, 1);
    assert_string_equal(t->body, "again");
    assert_int_equal(t->needs, 2);
    assert_int_equal(t->far.calls, 2);
}

/* It was idle, and ends just as the call comes. */
static void a_call_cancelled_by_its_process_is_repeated(void **state)
{
    struct fixture *t = *state;

    t->far.leave_at = 1;
    t->far.cancels = true;
    assert_int_equal(call(t, "again", NULL), 0);
    run_until_done(t, 1);
    assert_int_equal(t->error, 0);
    assert_string_equal(t->body, "again");
    assert_int_equal(t->far.calls, 2);
}

static void a_call_that_ends_every_process_fails(void **state)
{
    struct fixture *t = *state;

    t->far.leave_at = 1;
    assert_int_equal(call(t, "x", NULL), 0);
    while (t->far.calls == 0)
        fl_loop_run_once(t->loop, true);
    t->far.leave_at = 2;
    run_until_done(t, 1);
    assert_int_equal(t->error, -EIO);
    assert_int_equal(t->far.calls, 2);
}

static void refusal_fails_what_waits(void **state)
{
    struct fixture *t = *state;

    t->refuse = true;
    assert_int_equal(call(t, "x", NULL), 0);
    assert_int_equal(call(t, "y", NULL), 0);
    run_until_done(t, 2);
    assert_string_equal(t->error_text, "none today");
    t->refuse = false;
    assert_int_equal(call(t, "z", NULL), 0);
    run_until_done(t, 3);
    assert_string_equal(t->body, "z");
}

static void cancelled_calls_say_nothing(void **state)
{
    struct fixture *t = *state;
    uint32_t id = 0;

    assert_int_equal(call(t, "x", &id), 0);
    assert_int_not_equal(id, 0);
    fl_fetcher_cancel(t->fetcher, id);
    fl_fetcher_cancel(t->fetcher, id);
    assert_int_equal(call(t, "y", NULL), 0);
    run_until_done(t, 1);
    assert_string_equal(t->body, "y");
    assert_int_equal(t->far.calls, 1);
}

static void there_is_a_limit(void **state)
{
    struct fixture *t = *state;

    for (unsigned i = 0; i < FL_FETCHER_MAX_CALLS; i++)
        assert_int_equal(call(t, "x", NULL), 0);
    assert_int_equal(call(t, "x", NULL), -EBUSY);
    run_until_done(t, FL_FETCHER_MAX_CALLS);
    assert_int_equal(call(t, "x", NULL), 0);
    run_until_done(t, FL_FETCHER_MAX_CALLS + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_process_is_asked_for_once_and_used_again),
        TEST(a_call_lost_with_its_process_is_repeated_once),
        TEST(a_call_cancelled_by_its_process_is_repeated),
        TEST(a_call_that_ends_every_process_fails),
        TEST(refusal_fails_what_waits),
        TEST(cancelled_calls_say_nothing),
        TEST(there_is_a_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
