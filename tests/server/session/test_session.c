/* What becomes of a session by what is said of it and by the clock; who is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/wire/datachannel.h"
#include "server/session/hub_priv.h"
#include "server/session/session.h"
#include "tests/server/fixture.h"

static struct fl_fixture f;
static struct fl_loop *loop;
static char node[24], id[FL_SESSION_ID_BYTES];
static char told_node[200]; /* last key of FL_SUBJECT_NODE_SESSION */
static unsigned n_told, n_told_node, n_due;

static void on_session(void *arg, const char *key)
{
    assert_string_equal(key, id);
    n_told++;
}

static void on_node_session(void *arg, const char *key)
{
    snprintf(told_node, sizeof(told_node), "%s", key);
    n_told_node++;
}

static void on_due(void *arg, const char *key)
{
    n_due++;
}

static void start(const char *document)
{
    char request[256];

    snprintf(request, sizeof(request), "{\"Target\":\"%s\"%s%s%s}", node,
             document ? ",\"DocumentName\":\"" : "", document ? document : "",
             document ? "\"" : "");
    fl_fixture_ok(&f, "StartSession", request);
    snprintf(id, sizeof(id), "%s", fl_fixture_text(&f, "SessionId"));
    fl_loop_run_once(loop, false);
    n_told = n_told_node = n_due = 0;
}

static int setup(void **state)
{
    (void)state;
    fl_fixture_open(&f);
    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_bus_subscribe(f.plane.bus, FL_SUBJECT_SESSION, loop, on_session, NULL), 0);
    assert_int_equal(
        fl_bus_subscribe(f.plane.bus, FL_SUBJECT_NODE_SESSION, loop, on_node_session, NULL), 0);
    assert_int_equal(fl_bus_subscribe(f.plane.bus, FL_SUBJECT_SESSION_DUE, loop, on_due, NULL), 0);
    f.plane.conf.session_idle_minutes = 20;
    snprintf(node, sizeof(node), "%s", fl_fixture_node(&f, NULL));
    assert_int_equal(fl_presence_add(f.plane.presence, node), 0);
    start(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_fixture_close(&f);
    fl_loop_free(loop);
    return 0;
}

/* ---- one call ---- */

enum what { NOTE, TERMINATE, OVERDUE, RESTARTED, COMPLETE, NODE_GONE, LOAD };
static struct arg {
    enum what what;
    struct fl_session_seen seen;
    const char *text, *from;
    struct fl_session s; /* numbers only */
    char details[200];
    bool has_content;
    int r;
} arg;

static int run(struct fl_call *call, void *unused)
{
    char topic[] = "agent_task_complete";
    struct fl_msg_task_complete said = {
        .task_id = id,
        .topic = topic,
        .final_status = (char *)arg.text,
        .output = (char *)(arg.text && strcmp(arg.text, "Failed") == 0 ? "no such user" : "")
    };
    int r;

    switch (arg.what) {
    case NOTE:
        return fl_session_note(call, id, &arg.seen, &f.err);
    case TERMINATE:
        return fl_session_terminate(call, id, arg.text, &f.err);
    case OVERDUE:
        return fl_session_overdue(call, id, &f.err);
    case RESTARTED:
        return fl_session_restarted(call, id, &f.err);
    case COMPLETE:
        arg.r = fl_session_complete(call, arg.from ? arg.from : node, &said, &f.err);
        return FL_MIN(arg.r, 0); /* what is not 0 undoes it */
    case NODE_GONE:
        return fl_session_node_gone(call, node, &f.err);
    default:
        r = fl_session_load(call, id, &arg.s, &f.err);
        snprintf(arg.details, sizeof(arg.details), "%s", r > 0 ? arg.s.details : "");
        arg.has_content = r > 0 && arg.s.content;
        return r;
    }
}

#define NOTED(...) ((struct arg){ .what = NOTE, .seen = { __VA_ARGS__ } })

static int act(struct arg a)
{
    int r;

    arg = a;
    r = fl_fixture_run(&f, a.what == LOAD ? FL_LANE_READ : FL_LANE_WRITE, run, NULL);
    assert_true(r >= 0);
    fl_loop_run_once(loop, false);
    return a.what == COMPLETE ? arg.r : r;
}

static const char *status(void)
{
    assert_int_equal(act((struct arg){ .what = LOAD }), 1);
    return fl_session_status_name((enum fl_session_status)arg.s.status);
}

static int64_t due_in(void)
{
    status();
    return arg.s.due_ms ? arg.s.due_ms - f.now_ms : -1;
}

static void pass(int64_t ms)
{
    f.now_ms += ms;
    act((struct arg){ .what = OVERDUE });
}

static void join(void)
{
    act(NOTED(.agent = true, .client = true, .joined = true));
    assert_string_equal(status(), "Connected");
}

/* ---- tests ---- */

static void a_start_has_its_time(void **state)
{
    (void)state;
    assert_string_equal(status(), "Connecting");
    assert_true(arg.has_content);
    act(NOTED(.client = true));
    assert_int_equal(due_in(), FL_SESSION_AGAIN_MS);
    pass(FL_SESSION_AGAIN_MS - 1);
    assert_int_equal(n_told_node, 0);
    pass(1);
    assert_int_equal(n_told_node, 1); /* once more */
    n_told = n_told_node = 0;
    assert_int_equal(due_in(), FL_SESSION_START_MS - FL_SESSION_AGAIN_MS);
    pass(FL_SESSION_START_MS - FL_SESSION_AGAIN_MS - 1);
    assert_string_equal(status(), "Connecting");
    assert_int_equal(n_told_node, 0);
    pass(1);
    assert_string_equal(status(), "Failed");
    assert_string_equal(arg.details, "The node did not begin the session in time.");
    assert_false(arg.has_content);
    assert_int_equal(n_told, 1);
    assert_int_equal(n_told_node, 1); /* it may come later, and is to end then */
}

static void a_client_that_does_not_come(void **state)
{
    (void)state;
    act(NOTED(.agent = true));
    assert_string_equal(status(), "Connecting");
    assert_int_equal(arg.s.agent_came, 1);
    pass(FL_SESSION_START_MS);
    assert_string_equal(status(), "Failed");
    assert_string_equal(arg.details, "No client connected to the session in time.");
}

static void coming_and_going(void **state)
{
    (void)state;
    join();
    assert_int_equal(due_in(), -1);
    act(NOTED(.agent = true));
    assert_string_equal(status(), "Disconnected");
    act(NOTED(.agent = true, .client = true, .joined = true));
    assert_string_equal(status(), "Connected");
    /* both were there between two notes, and are not any more */
    act(NOTED(.joined = true));
    assert_string_equal(status(), "Disconnected");
    assert_int_equal(n_told, 0);
}

static void an_agent_that_does_not_come_back(void **state)
{
    (void)state;
    join();
    act(NOTED(.client = true));
    assert_string_equal(status(), "Connected");
    assert_int_equal(due_in(), FL_FIXTURE_LOST_MS);
    assert_int_equal(n_due, 1);
    pass(FL_FIXTURE_LOST_MS);
    assert_string_equal(status(), "Terminating");
    assert_string_equal(arg.details, "The connection of the node to the session was lost.");
    pass(FL_SESSION_END_MS);
    assert_string_equal(status(), "Terminated");
    assert_int_equal(arg.s.agent_done, 0);
    assert_int_equal(n_told, 2);
}

static void an_agent_that_was_silent_before(void **state)
{
    (void)state;
    join();
    act(NOTED(.client = true, .silent = true));
    assert_int_equal(due_in(), 0);
    act(NOTED(.client = true, .agent = true));
    assert_int_equal(due_in(), -1);
    act(NOTED(.client = true, .silent = true));
    pass(0);
    assert_string_equal(status(), "Terminating");
}

static void nobody_waits_for_the_agent(void **state)
{
    (void)state;
    join();
    act(NOTED(.silent = true));
    assert_int_equal(due_in(), FL_SESSION_LOST_MS);
    act(NOTED(.client = true));
    assert_int_equal(due_in(), FL_FIXTURE_LOST_MS);
}

static void a_restart_of_the_plane(void **state)
{
    (void)state;
    f.now_ms += FL_SESSION_START_MS - 1;
    act((struct arg){ .what = RESTARTED });
    assert_string_equal(status(), "Connecting");
    assert_int_equal(due_in(), FL_SESSION_START_MS);
    join();
    act((struct arg){ .what = RESTARTED });
    assert_string_equal(status(), "Disconnected");
    assert_int_equal(due_in(), FL_SESSION_LOST_MS);
    join();
    assert_int_equal(due_in(), -1);
    act((struct arg){ .what = TERMINATE, .text = "why" });
    f.now_ms += 1000;
    act((struct arg){ .what = RESTARTED });
    assert_string_equal(status(), "Terminating");
    assert_int_equal(due_in(), FL_SESSION_END_MS);
}

static void the_longest_time(void **state)
{
    (void)state;
    fl_fixture_ok(
        &f, "CreateDocument",
        "{\"Name\":\"Short\",\"DocumentType\":\"Session\",\"Content\":\"{\\\"schemaVersion"
        "\\\":\\\"1.0\\\",\\\"sessionType\\\":\\\"Standard_Stream\\\",\\\"inputs\\\":{"
        "\\\"maxSessionDuration\\\":\\\"3\\\",\\\"idleSessionTimeout\\\":\\\"61\\\"}}\"}");
    start("Short");
    join();
    assert_int_equal(due_in(), 3 * 60000);
    assert_int_equal(arg.s.idle_minutes, 20); /* 61 is none */
    act(NOTED(.client = true));
    assert_int_equal(due_in(), FL_FIXTURE_LOST_MS); /* whichever is first */
    pass(FL_FIXTURE_LOST_MS - 1);
    act(NOTED(.client = true, .agent = true));
    pass(3 * 60000 - FL_FIXTURE_LOST_MS + 1);
    assert_string_equal(status(), "Terminating");
    assert_string_equal(arg.details, "The session reached its maximum duration.");
}

static struct fl_live *relayed(struct fl_hub *hub, int64_t idle_minutes)
{
    struct fl_session_info *info = calloc(1, sizeof(*info));
    struct fl_live *live;

    fl_arena_init(&info->arena, 1024);
    info->session = (struct fl_session){ .id = id,
                                         .node_id = node,
                                         .status = FL_SESS_CONNECTED,
                                         .owner = (char *)"",
                                         .document_name = (char *)"",
                                         .session_type = (char *)"Standard_Stream",
                                         .content = (char *)"{}",
                                         .idle_minutes = idle_minutes };
    live = fl_live_new(hub, info);
    assert_non_null(live);
    return live;
}

/* The relay's clock ends a session in which nothing is said, to the millisecond. */
static void no_activity(void **state)
{
    static const struct {
        int64_t minutes, ms;
        const char *want, *details;
    } cases[] = {
        { 0, 1000 * 60000, "Connected", "" },
        { 20, 20 * 60000 - 1, "Connected", "" },
        { 20, 20 * 60000, "Terminating",
          "The session timed out: there was no activity for 20 minutes." },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_hub *hub;
        struct fl_live *live;

        join();
        assert_int_equal(fl_hub_new(&f.plane, loop, &hub, NULL), 0);
        live = relayed(hub, cases[i].minutes);
        assert_true(fl_live_tick(live, live->relay.active_ms + cases[i].ms));
        while (hub->refs > 1) /* what it asks of the store */
            fl_loop_run_once(loop, true);
        fl_live_free(live, false);
        fl_hub_stop(hub);
        assert_string_equal(status(), cases[i].want);
        assert_string_equal(arg.details, cases[i].details);
        fl_hub_free(hub);
        teardown(state); /* the bus knows the hub for as long as it is there */
        setup(state);
    }
}

/* Each of the three limits, and that others are not meant. */
static void how_many_at_once(void **state)
{
    static const struct {
        int64_t all, of_node, of_owner;
        bool other_node, other_owner;
        const char *want; /* NULL: it may start */
    } cases[] = {
        { 0, 0, 0, false, false, NULL },
        { 2, 0, 0, false, false, NULL },
        { 1, 0, 0, false, false, "All 1 sessions that the plane may have are in use." },
        { 1, 0, 0, true, true, "All 1 sessions that the plane may have are in use." },
        { 0, 2, 0, false, false, NULL },
        { 0, 1, 0, false, true, "All 1 sessions that the node may have are in use." },
        { 0, 1, 0, true, false, NULL },
        { 0, 0, 2, false, false, NULL },
        { 0, 0, 1, true, false, "All 1 sessions that the caller may have are in use." },
        { 0, 0, 1, false, true, NULL },
    };
    char other[24];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char request[100];
        int r;

        snprintf(other, sizeof(other), "%s", fl_fixture_node(&f, NULL));
        assert_int_equal(fl_presence_add(f.plane.presence, other), 0);
        f.plane.conf.sessions_max = cases[i].all;
        f.plane.conf.sessions_max_per_node = cases[i].of_node;
        f.plane.conf.sessions_max_per_owner = cases[i].of_owner;
        if (cases[i].other_owner)
            f.who.arn = "arn:aws:iam::123456789012:user/other";
        snprintf(request, sizeof(request), "{\"Target\":\"%s\"}",
                 cases[i].other_node ? other : node);
        r = fl_fixture_call(&f, "StartSession", request);
        if (cases[i].want && r >= 0)
            fail_msg("case %zu was let in", i);
        if (!cases[i].want && r < 0)
            fail_msg("case %zu: %s", i, fl_err_text(&f.err));
        if (cases[i].want) {
            assert_string_equal(f.err.name, "ServiceQuotaExceededException");
            assert_string_equal(fl_err_text(&f.err), cases[i].want);
        }
        teardown(state);
        setup(state);
    }
}

static void the_agent_has_the_last_word(void **state)
{
    static const struct {
        const char *said, *want, *details;
    } cases[] = {
        { "Success", "Terminated", "" },
        { "Cancelled", "Terminated", "" },
        { "Failed", "Failed", "no such user" },
        { NULL, "Terminated", "" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        start(NULL);
        join();
        assert_int_equal(
            act((struct arg){ .what = COMPLETE, .text = "Failed", .from = "mi-00000000000000000" }),
            0); /* none of its business */
        assert_string_equal(status(), "Connected");
        assert_int_equal(act((struct arg){ .what = COMPLETE, .text = cases[i].said }), 1);
        assert_string_equal(status(), cases[i].want);
        assert_string_equal(arg.details, cases[i].details);
        assert_int_equal(arg.s.agent_done, 1);
        assert_false(arg.has_content);
        assert_int_equal(n_told, 1);
        assert_int_equal(n_told_node, 0);
        /* again, and otherwise: it stays */
        assert_int_equal(act((struct arg){ .what = COMPLETE, .text = "Failed" }), 0);
        act((struct arg){ .what = TERMINATE, .text = "why" });
        act(NOTED(.joined = true));
        assert_string_equal(status(), cases[i].want);
        assert_int_equal(n_told, 1);
    }
}

static void terminating(void **state)
{
    char want[200];

    (void)state;
    join();
    act((struct arg){ .what = TERMINATE, .text = "enough" });
    act((struct arg){ .what = TERMINATE, .text = "too late" });
    assert_string_equal(status(), "Terminating");
    assert_string_equal(arg.details, "enough");
    assert_int_equal(n_told, 1);
    snprintf(want, sizeof(want), "%s %s", node, id);
    assert_string_equal(told_node, want);
    act((struct arg){ .what = NOTE });
    assert_string_equal(status(), "Terminating");
    assert_int_equal(act((struct arg){ .what = COMPLETE, .text = "Success" }), 1);
    assert_string_equal(status(), "Terminated");
    assert_string_equal(arg.details, "enough");
}

static void a_late_word_is_kept(void **state)
{
    (void)state;
    join();
    act((struct arg){ .what = TERMINATE, .text = "enough" });
    pass(FL_SESSION_END_MS);
    assert_string_equal(status(), "Terminated");
    assert_int_equal(arg.s.agent_done, 0);
    assert_int_equal(act((struct arg){ .what = COMPLETE, .text = "Failed" }), 0);
    assert_string_equal(status(), "Terminated");
    assert_int_equal(arg.s.agent_done, 1); /* it is told no more */
}

static void a_node_that_is_deregistered(void **state)
{
    (void)state;
    join();
    assert_int_equal(act((struct arg){ .what = NODE_GONE }), 0);
    assert_string_equal(status(), "Terminated");
    assert_string_equal(arg.details, "The node was deregistered.");
}

static void the_id_is_the_caller_s(void **state)
{
    static const struct {
        const char *name, *prefix;
    } cases[] = {
        { "admin", "admin-" },
        { "ann@example.com", "ann_example.com-" },
        { ".hidden", "_hidden-" },
        { "a/../b", "a_.._b-" },
        { "a-name-of-seventy-nine-characters-which-is-one-more-than-fit-into-a-session-id-xx",
          "a-name-of-seventy-nine-characters-which-is-one-more-than-fit-into-a-session-id-" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        f.who.name = cases[i].name;
        start(NULL);
        assert_memory_equal(id, cases[i].prefix, strlen(cases[i].prefix));
        assert_true(fl_session_id_valid(id));
        assert_true(strlen(strrchr(id, '-') + 1) == 17);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_start_has_its_time),
        TEST(a_client_that_does_not_come),
        TEST(coming_and_going),
        TEST(an_agent_that_does_not_come_back),
        TEST(an_agent_that_was_silent_before),
        TEST(nobody_waits_for_the_agent),
        TEST(a_restart_of_the_plane),
        TEST(the_longest_time),
        TEST(no_activity),
        TEST(how_many_at_once),
        TEST(the_agent_has_the_last_word),
        TEST(terminating),
        TEST(a_late_word_is_kept),
        TEST(a_node_that_is_deregistered),
        TEST(the_id_is_the_caller_s),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
