/* The worker's calls, against a monitor and a fetch process that do as the test says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/lib/ipc_net.h"
#include "agent/lib/ipc_worker.h"
#include "agent/lib/text.h"
#include "agent/calls/calls.h"
#include "agent/worker/step_calls.h"

struct fixture {
    struct fl_loop *loop;
    struct fl_calls *calls;
    bool away;      /* no monitor is there */
    unsigned needs; /* that reached the monitor */
    /* the fetch process */
    struct fl_ipc *far;
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
    unsigned calls_seen, cancels;
    bool silent;       /* answers nothing */
    int busy;          /* answers so many with ThrottlingException */
    int without_creds; /* and so many with -EKEYEXPIRED */
    int broken;        /* and so many with `break_error` */
    int break_error;
    const char *refuses; /* error name of a 400 */
    char seen_service[16], seen_target[64], seen_url[64], seen_body[64];
    int64_t seen_timeout_ms;
    /* the newest answer */
    unsigned done;
    int error, status;
    char text[256], name[64];
};

struct greeting {
    char *hello;
};
static const struct fl_field greeting_fields[] = { FL_FIELD(struct greeting, hello, "Hello", 0) };
static const struct fl_shape greeting_shape =
    FL_SHAPE(struct greeting, "greeting", greeting_fields);

static int need(void *arg)
{
    struct fixture *t = arg;

    if (t->away)
        return -ENOTCONN;
    t->needs++;
    return 0;
}

static void on_far_close(void *arg, int why, const struct fl_err *err)
{
    struct fixture *t = arg;

    t->far = fl_ipc_free(t->far);
}

static void far_answer(struct fixture *t, uint32_t id, const struct fl_fetch_answer *a)
{
    assert_int_equal(fl_ipc_send(t->far, FL_FETCH_ANSWER, id, a, NULL, 0), 0);
}

static void far_answer_text(struct fixture *t, uint32_t id, int status, const char *body)
{
    far_answer(t, id,
               &(struct fl_fetch_answer){
                   .status = status, .body = fl_text(body), .body_len = strlen(body) });
}

static void keep(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

static int on_far_call(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_fetch_call *in = msg->in;
    struct fixture *t = arg;
    char text[128];

    t->calls_seen++;
    keep(t->seen_service, sizeof(t->seen_service), in->service);
    keep(t->seen_url, sizeof(t->seen_url), in->url);
    keep(t->seen_body, sizeof(t->seen_body), in->body);
    t->seen_timeout_ms = in->timeout_ms;
    for (size_t i = 0; i < in->n_headers; i++)
        if (strcmp(in->headers[i].name, "X-Amz-Target") == 0)
            keep(t->seen_target, sizeof(t->seen_target), in->headers[i].value);
    if (in->to_file)
        assert_int_equal(write(msg->fds[0], "piece", 5), 5);
    if (t->silent)
        return 0;
    if (t->without_creds > 0) {
        t->without_creds--;
        far_answer(t, msg->id,
                   &(struct fl_fetch_answer){ .error = -EKEYEXPIRED,
                                              .error_text = fl_text("credentials are old") });
    } else if (t->broken > 0) {
        t->broken--;
        far_answer(
            t, msg->id,
            &(struct fl_fetch_answer){ .error = t->break_error, .error_text = fl_text("broken") });
    } else if (t->busy > 0) {
        t->busy--;
        far_answer_text(t, msg->id, 400, "{\"__type\":\"ThrottlingException\"}");
    } else if (t->refuses) {
        snprintf(text, sizeof(text), "{\"__type\":\"%s\",\"message\":\"not so\"}", t->refuses);
        far_answer_text(t, msg->id, 400, text);
    } else {
        far_answer_text(t, msg->id, 200, "{\"Hello\":\"you\"}");
    }
    return 0;
}

static int on_far_cancel(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fixture *t = arg;

    t->cancels++;
    return 0;
}

static const struct fl_ipc_binding bindings[] = { { FL_FETCH_CALL, on_far_call },
                                                  { FL_FETCH_CANCEL, on_far_cancel } };

/* The monitor's answer: a fresh process. */
static void give(struct fixture *t)
{
    const struct fl_worker_fetch in = { .ok = true };
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    t->far = fl_ipc_free(t->far);
    assert_int_equal(
        fl_ipc_new(t->loop, fds[1], t->rows, FL_N_FETCH_ROWS, on_far_close, t, &t->far), 0);
    fl_calls_take(t->calls, &(struct fl_ipc_msg){ .in = &in, .fds = &fds[0], .n_fds = 1 });
    assert_int_equal(fds[0], -1);
}

static void refuse(struct fixture *t, const char *why)
{
    const struct fl_worker_fetch in = { .error = fl_text(why) };

    fl_calls_take(t->calls, &(struct fl_ipc_msg){ .in = &in });
}

static int setup(void **state)
{
    struct fixture *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    assert_int_equal(fl_loop_new(&t->loop), 0);
    assert_int_equal(fl_calls_new(t->loop, need, t, &t->calls), 0);
    fl_ipc_bind(fl_fetch_rows, fl_n_fetch_rows, bindings, FL_ARRAY_LEN(bindings), t->rows);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *t = *state;

    fl_calls_free(t->calls);
    fl_ipc_free(t->far);
    fl_loop_free(t->loop);
    free(t);
    return 0;
}

static void on_answer(void *arg, const struct fl_step_answer *a)
{
    struct fixture *t = arg;

    t->done++;
    t->error = a->error;
    t->status = a->status;
    keep(t->text, sizeof(t->text), a->error ? a->error_text : a->body);
}

static void on_reply(void *arg, const struct fl_step_reply *reply)
{
    const struct greeting *out = reply->out;
    struct fixture *t = arg;

    t->done++;
    t->error = reply->error;
    keep(t->name, sizeof(t->name), reply->name);
    keep(t->text, sizeof(t->text), reply->error ? reply->text : out->hello);
}

static const struct fl_step_request get = {
    .method = "GET",
    .url = "https://x/",
};

static uint32_t start(struct fixture *t, const struct fl_step_request *q)
{
    uint32_t id = 0;

    assert_int_equal(fl_calls_start(t->calls, q, on_answer, t, &id, NULL), 0);
    assert_int_not_equal(id, 0);
    return id;
}

static void start_operation(struct fixture *t, const struct fl_calls_service *service)
{
    const struct greeting in = { fl_text("me") };

    assert_int_equal(fl_calls_operation(t->calls, service, "Greet", &greeting_shape, &in,
                                        &greeting_shape, on_reply, t, NULL, NULL),
                     0);
}

static void start_ssm(struct fixture *t)
{
    start_operation(t, &fl_calls_service_ssm);
}

static void turn(struct fixture *t)
{
    fl_loop_run_once(t->loop, false);
    usleep(500); /* what is waited for may be a timer's doing, after which nothing wakes the loop */
}

static void a_call_goes_through_the_monitors_process(void **state)
{
    struct fixture *t = *state;

    start(t, &get);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->status, 200);
    assert_string_equal(t->text, "{\"Hello\":\"you\"}");
    assert_string_equal(t->seen_url, "https://x/");
    assert_in_range(t->seen_timeout_ms, 1, 60000);
}

static void a_monitor_that_is_away_is_waited_for(void **state)
{
    struct fixture *t = *state;

    t->away = true;
    start(t, &get);
    for (int i = 0; i < 10; i++)
        turn(t);
    assert_int_equal(t->needs, 0);
    t->away = false;
    fl_calls_monitor(t->calls);
    assert_int_equal(t->needs, 1);
    /* It went before it answered: the next one is asked. */
    fl_calls_monitor(t->calls);
    assert_int_equal(t->needs, 2);
    give(t);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->error, 0);
    fl_calls_monitor(t->calls);
    assert_int_equal(t->needs, 2);
}

static void a_refusal_is_not_the_end(void **state)
{
    struct fixture *t = *state;

    start(t, &get);
    while (t->needs == 0)
        turn(t);
    refuse(t, "32 run already");
    while (t->needs == 1)
        turn(t);
    give(t);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->error, 0);
}

static void what_was_waited_for_is_said(void **state)
{
    static const struct fl_step_request q = { .method = "GET",
                                              .url = "https://x/",
                                              .timeout_ms = 1 };
    struct fixture *t = *state;

    t->away = true;
    start(t, &q);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->error, -ETIMEDOUT);
    assert_string_equal(t->text, "the agent is not running");
}

static void old_credentials_are_replaced_and_calls_under_way_go_on(void **state)
{
    struct fixture *t = *state;
    struct fl_ipc *old;

    t->silent = true;
    start(t, &get);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->calls_seen == 0)
        turn(t);
    t->silent = false;
    t->without_creds = 1;
    start_ssm(t);
    while (t->needs == 1)
        turn(t);
    old = t->far;
    t->far = NULL;
    give(t);
    while (t->done == 0)
        turn(t);
    assert_string_equal(t->text, "you");
    assert_int_equal(
        fl_ipc_send(old, FL_FETCH_ANSWER, 1, &(struct fl_fetch_answer){ .status = 201 }, NULL, 0),
        0);
    while (t->done == 1)
        turn(t);
    assert_int_equal(t->status, 201);
    fl_ipc_free(old);
}

static void a_process_that_dies_leaves_no_trace_in_the_file(void **state)
{
    struct fixture *t = *state;
    int fd = memfd_create("test", MFD_CLOEXEC);
    const struct fl_step_download to = { .fd = fd, .max_bytes = 100 };
    const struct fl_step_request q = { .method = "GET", .url = "https://x/", .download = &to };
    char got[32] = "";

    assert_int_equal(write(fd, "kept ", 5), 5);
    t->silent = true;
    start(t, &q);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->calls_seen == 0)
        turn(t);
    t->silent = false;
    t->far = fl_ipc_free(t->far);
    while (t->needs == 1)
        turn(t);
    give(t);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->error, 0);
    assert_int_equal(pread(fd, got, sizeof(got) - 1, 0), 10);
    assert_string_equal(got, "kept piece");
    close(fd);
}

static void cancelled_calls_say_nothing_and_end_over_there(void **state)
{
    struct fixture *t = *state;
    uint32_t id;

    t->silent = true;
    id = start(t, &get);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->calls_seen == 0)
        turn(t);
    fl_calls_cancel(t->calls, id);
    fl_calls_cancel(t->calls, id);
    while (t->cancels == 0)
        turn(t);
    assert_int_equal(t->done, 0);
}

static void operations_are_json_calls_of_the_node(void **state)
{
    struct fixture *t = *state;

    start_ssm(t);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->error, 0);
    assert_string_equal(t->text, "you");
    assert_string_equal(t->seen_service, "ssm");
    assert_string_equal(t->seen_target, "AmazonSSM.Greet");
    assert_string_equal(t->seen_body, "{\"Hello\":\"me\"}");
    assert_string_equal(t->seen_url, "");

    t->refuses = "ParameterNotFound";
    start_ssm(t);
    while (t->done == 1)
        turn(t);
    assert_int_equal(t->error, -EREMOTEIO);
    assert_string_equal(t->name, "ParameterNotFound");
    assert_string_equal(t->text, "not so");
}

static void a_busy_service_is_asked_again(void **state)
{
    struct fixture *t = *state;

    t->busy = 1;
    start_ssm(t);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->done == 0)
        turn(t);
    assert_int_equal(t->error, 0);
    assert_int_equal(t->calls_seen, 2);
}

static void what_broke_off_is_asked_again(void **state)
{
    static const struct {
        const struct fl_calls_service *service;
        int error;
        bool again;
    } cases[] = {
        { &fl_calls_service_ssm, -EPROTO, true },
        { &fl_calls_service_ssm, -EMSGSIZE, false },
        { &fl_calls_service_logs, -EPROTO, false }, /* events would come twice */
    };
    struct fixture *t = *state;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        unsigned before = t->calls_seen;

        t->broken = 1;
        t->break_error = cases[i].error;
        t->done = 0;
        start_operation(t, cases[i].service);
        while (t->needs == 0)
            turn(t);
        if (!t->far)
            give(t);
        while (t->done == 0)
            turn(t);
        assert_int_equal(t->error, cases[i].again ? 0 : cases[i].error);
        assert_int_equal(t->calls_seen - before, cases[i].again ? 2 : 1);
    }
}

static void calls_end_with_their_step(void **state)
{
    struct fixture *t = *state;
    struct fl_step_calls s;
    uint32_t id;

    t->silent = true;
    fl_step_calls_init(&s, t->calls);
    assert_int_equal(fl_step_calls_start(&s, &get, on_answer, t, &id, NULL), 0);
    assert_int_equal(fl_step_calls_ssm(&s, "Greet", &greeting_shape, &(struct greeting){ 0 },
                                       &greeting_shape, on_reply, t, NULL, NULL),
                     0);
    while (t->needs == 0)
        turn(t);
    give(t);
    while (t->calls_seen < 2)
        turn(t);
    fl_step_calls_cancel(&s, id);
    while (t->cancels == 0)
        turn(t);
    fl_step_calls_end(&s);
    while (t->cancels == 1)
        turn(t);
    assert_int_equal(t->done, 0);

    t->silent = false;
    assert_int_equal(fl_step_calls_start(&s, &get, on_answer, t, &id, NULL), 0);
    while (t->done == 0)
        turn(t);
    fl_step_calls_cancel(&s, id);
    fl_step_calls_end(&s);

    fl_step_calls_init(&s, NULL);
    assert_int_equal(fl_step_calls_start(&s, &get, on_answer, t, &id, NULL), -EOPNOTSUPP);
}

static void calls_that_go_nowhere_are_refused(void **state)
{
    struct fixture *t = *state;
    struct fl_err err = { 0 };

    assert_int_equal(fl_calls_start(t->calls, &(struct fl_step_request){ .method = "GET" },
                                    on_answer, t, NULL, &err),
                     -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_goes_through_the_monitors_process),
        TEST(a_monitor_that_is_away_is_waited_for),
        TEST(a_refusal_is_not_the_end),
        TEST(what_was_waited_for_is_said),
        TEST(old_credentials_are_replaced_and_calls_under_way_go_on),
        TEST(a_process_that_dies_leaves_no_trace_in_the_file),
        TEST(cancelled_calls_say_nothing_and_end_over_there),
        TEST(operations_are_json_calls_of_the_node),
        TEST(a_busy_service_is_asked_again),
        TEST(what_broke_off_is_asked_again),
        TEST(calls_end_with_their_step),
        TEST(calls_that_go_nowhere_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
