/* One command on its way through the store: delivery, replies in any order, cancel, deadlines, rate
 * control, large sets of targets, what a killed server leaves behind. */
#include "tests/server/command/command_fixture.h"

#include <errno.h>
#include "common/base/file.h"
#include "server/command/record.h"

static struct fl_fixture f;
static char node[24], cmd[37];

static int setup(void **state)
{
    (void)state;
    fl_fixture_open(&f);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_fixture_close(&f);
    return 0;
}

static void an_echo_from_end_to_end(void **state)
{
    char request[160];

    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    assert_string_equal(invocation(&f, cmd, node), "Pending/Pending");
    assert_string_equal(command_state(&f, cmd), "InProgress/InProgress");
    ack(&f, cmd, node, "200");
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
    reply(&f, cmd, node, REPLY_STARTED);
    reply(&f, cmd, node, REPLY_DONE);
    assert_string_equal(invocation(&f, cmd, node), "Success/Success");
    assert_string_equal(command_state(&f, cmd), "Success/Success");
    assert_string_equal(command_member(&f, cmd, "CompletedCount"), "1");
    assert_string_equal(command_member(&f, cmd, "TargetCount"), "1");
    assert_string_equal(command_member(&f, cmd, "ErrorCount"), "0");

    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"InstanceId\":\"%s\"}", cmd, node);
    fl_fixture_ok(&f, "GetCommandInvocation", request);
    assert_string_equal(fl_fixture_text(&f, "Status"), "Success");
    assert_string_equal(fl_fixture_text(&f, "ResponseCode"), "0");
    assert_string_equal(fl_fixture_text(&f, "StandardOutputContent"), "hi\n");
    assert_string_equal(fl_fixture_text(&f, "PluginName"), "aws:runShellScript");
    assert_string_equal(fl_fixture_text(&f, "ExecutionElapsedTime"), "PT0.004S");
    assert_string_equal(fl_fixture_text(&f, "ExecutionStartDateTime"), "2026-01-01T00:00:01.000Z");
    assert_string_equal(fl_fixture_text(&f, "CloudWatchOutputConfig.CloudWatchOutputEnabled"),
                        "false");
}

/* ---- replies in every order ---- */
static void every_order_of_replies_ends_the_same(void **state)
{
    static const char *const said[] = { "ack", REPLY_STARTED, REPLY_REBOOT, REPLY_STEP,
                                        REPLY_DONE };
    size_t order[] = { 0, 1, 2, 3, 4 };

    (void)state;
    make_node(&f, NULL, true, node);
    for (size_t k = 0; k < 120; k++) {
        size_t rest = k;

        /* the k-th permutation: each place takes one of those that are left */
        for (size_t i = 0; i < 5; i++)
            order[i] = i;
        for (size_t i = 0; i < 5; i++) {
            size_t pick = i + rest % (5 - i);
            size_t t = order[i];

            rest /= 5 - i;
            order[i] = order[pick];
            order[pick] = t;
        }
        send_to(&f, node, cmd);
        for (size_t i = 0; i < 5; i++) {
            if (order[i] == 0)
                ack(&f, cmd, node, "200");
            else
                reply(&f, cmd, node, said[order[i]]);
        }
        reply(&f, cmd, node, REPLY_STEP); /* and a repetition */
        assert_string_equal(invocation(&f, cmd, node), "Success/Success");
        assert_string_equal(command_state(&f, cmd), "Success/Success");
    }
}

static void reports_of_another_node_or_command_do_nothing(void **state)
{
    char other[24];

    (void)state;
    make_node(&f, NULL, true, node);
    make_node(&f, NULL, true, other);
    send_to(&f, node, cmd);
    reply(&f, cmd, other, REPLY_DONE);
    reply(&f, "00000000-0000-0000-0000-000000000000", node, REPLY_DONE);
    say(&f, (struct said){ do_ack, .node = other, .job = job_id(cmd, node), .code = "200" });
    say(&f, (struct said){ do_ack, .node = node, .job = "garbage", .code = "200" });
    assert_string_equal(invocation(&f, cmd, node), "Pending/Pending");
}

static void terminal_is_sticky_but_takes_outputs(void **state)
{
    char request[160];

    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    ack(&f, cmd, node, "200");
    f.now_ms += 7200 * 1000;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "TimedOut/DeliveryTimedOut");
    reply(&f, cmd, node, REPLY_DONE);
    assert_string_equal(invocation(&f, cmd, node), "TimedOut/DeliveryTimedOut");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"InstanceId\":\"%s\"}", cmd, node);
    fl_fixture_ok(&f, "GetCommandInvocation", request);
    assert_string_equal(fl_fixture_text(&f, "StandardOutputContent"), "hi\n");
    assert_string_equal(fl_fixture_text(&f, "Status"), "TimedOut");
    assert_string_equal(fl_fixture_text(&f, "StatusDetails"), "DeliveryTimedOut");
    assert_string_equal(fl_fixture_text(&f, "ResponseCode"), "-1");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"Details\":true}", cmd);
    fl_fixture_ok(&f, "ListCommandInvocations", request);
#define STEP "CommandInvocations.0.CommandPlugins.0."
    assert_string_equal(fl_fixture_text(&f, STEP "StatusDetails"), "DeliveryTimedOut");
    assert_string_equal(fl_fixture_text(&f, STEP "Output"), "hi\n");
#undef STEP
}

/* ---- acks ---- */
static void what_an_ack_leads_to(void **state)
{
    static const struct {
        const char *codes[4];
        const char *want;
    } cases[] = {
        { { "200" }, "InProgress/InProgress" },  { { "51405" }, "InProgress/InProgress" },
        { { "" }, "InProgress/InProgress" },     { { "51401" }, "Pending/Pending" },
        { { "51402" }, "Pending/Pending" },      { { "51403" }, "Failed/Undeliverable" },
        { { "51407" }, "Failed/Undeliverable" }, { { "51406" }, "Failed/Failed" },
        { { "51408" }, "Failed/Failed" },        { { "51404" }, "Pending/Pending" },
    };

    (void)state;
    make_node(&f, NULL, true, node);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        send_to(&f, node, cmd);
        for (size_t j = 0; cases[i].codes[j]; j++)
            ack(&f, cmd, node, cases[i].codes[j]);
        assert_string_equal(invocation(&f, cmd, node), cases[i].want);
    }
}

static void a_busy_agent_is_asked_again_and_a_stubborn_one_fails(void **state)
{
    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    for (int i = 0; i < 5; i++) { /* as often as it likes */
        ack(&f, cmd, node, "51402");
        f.now_ms += FL_ENGINE_BUSY_MS;
        tick(&f);
        assert_string_equal(invocation(&f, cmd, node), "Pending/Pending");
    }
    ack(&f, cmd, node, "200");
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");

    send_to(&f, node, cmd);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(invocation(&f, cmd, node), "Pending/Pending");
        ack(&f, cmd, node, "51499");
        f.now_ms += FL_ENGINE_BUSY_MS;
        tick(&f);
    }
    assert_string_equal(invocation(&f, cmd, node), "Failed/Failed");
}

static void silence_makes_it_delayed_and_it_is_tried_again(void **state)
{
    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    f.now_ms += FL_ENGINE_ACK_WAIT_MS;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "Delayed/Delayed");
    assert_string_equal(command_state(&f, cmd), "InProgress/Delayed");
    f.now_ms += FL_ENGINE_RETRY_MS;
    tick(&f); /* released again */
    assert_string_equal(invocation(&f, cmd, node), "Delayed/Delayed");
    ack(&f, cmd, node, "200");
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
}

/* ---- nodes that are away ---- */
static void an_offline_node_gets_it_when_it_comes(void **state)
{
    (void)state;
    make_node(&f, NULL, false, node);
    send_to(&f, node, cmd);
    assert_string_equal(invocation(&f, cmd, node), "Delayed/Delayed");
    f.now_ms += 600 * 1000;
    tick(&f);
    assert_int_equal(fl_presence_add(f.plane.presence, node), 0);
    say(&f, (struct said){ do_connected, .node = node });
    ack(&f, cmd, node, "200");
    assert_string_equal(invocation(&f, cmd, node), "InProgress/InProgress");
}

static void an_offline_node_times_out(void **state)
{
    char where[200];

    (void)state;
    make_node(&f, NULL, false, node);
    snprintf(where, sizeof(where), "\"TimeoutSeconds\":30,\"InstanceIds\":[\"%s\"]", node);
    send_command(&f, where, cmd);
    f.now_ms += (30 + 3600) * 1000 - 1;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "Delayed/Delayed");
    f.now_ms += 1;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "TimedOut/DeliveryTimedOut");
    assert_string_equal(command_state(&f, cmd), "TimedOut/DeliveryTimedOut");
    assert_string_equal(command_member(&f, cmd, "DeliveryTimedOutCount"), "1");
    assert_string_equal(command_member(&f, cmd, "ErrorCount"), "0");
}

static void a_deregistered_node_is_undeliverable(void **state)
{
    char running[37];

    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, running);
    ack(&f, running, node, "200");
    send_to(&f, node, cmd);
    say(&f, (struct said){ do_gone, .node = node });
    assert_string_equal(invocation(&f, cmd, node), "Failed/Undeliverable");
    assert_string_equal(command_state(&f, cmd), "Failed/Failed");
    assert_string_equal(invocation(&f, running, node), "InProgress/InProgress");
}

static void deregistered_while_nobody_listened(void **state)
{
    char request[64], other[24], stays[37];

    (void)state;
    make_node(&f, NULL, false, node);
    make_node(&f, NULL, false, other);
    send_to(&f, node, cmd);
    send_to(&f, other, stays);
    snprintf(request, sizeof(request), "{\"InstanceId\":\"%s\"}", node);
    fl_fixture_ok(&f, "DeregisterManagedInstance", request);
    say(&f, (struct said){ .fn = do_find_orphans });
    assert_string_equal(invocation(&f, cmd, node), "Failed/Undeliverable");
    assert_string_equal(invocation(&f, stays, other), "Delayed/Delayed");
}

/* ---- cancel ---- */
static void cancel(const char *command)
{
    char request[80];

    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\"}", command);
    fl_fixture_ok(&f, "CancelCommand", request);
}

static int count_cancels(struct fl_call *call, void *arg)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int n = 0;

    assert_int_equal(
        fl_sql_open(call->tx, FL_SQL_command_cancel_list, &c, NULL, FL_T(node), FL_N(9)), 0);
    while (fl_sql_next(c, NULL) > 0) {
        snprintf(arg, 37, "%s", fl_sql_text(c, 1));
        n++;
    }
    return n;
}

static void cancel_before_delivery_is_immediate(void **state)
{
    char id[37];

    (void)state;
    make_node(&f, NULL, false, node);
    send_to(&f, node, cmd);
    cancel(cmd);
    assert_string_equal(invocation(&f, cmd, node), "Cancelled/Cancelled");
    assert_string_equal(command_state(&f, cmd), "Cancelled/Cancelled");
    assert_int_equal(fl_fixture_run(&f, FL_LANE_READ, count_cancels, id), 0);
}

static void cancel_of_a_running_command_is_confirmed_by_the_node(void **state)
{
    char id[37];

    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    ack(&f, cmd, node, "200");
    cancel(cmd);
    assert_string_equal(invocation(&f, cmd, node), "Cancelling/Cancelling");
    assert_string_equal(command_state(&f, cmd), "Cancelling/Cancelling");
    assert_int_equal(fl_fixture_run(&f, FL_LANE_READ, count_cancels, id), 1);
    assert_string_not_equal(id, cmd); /* its own id */
    cancel(cmd);                      /* again: the same job stays */
    assert_int_equal(fl_fixture_run(&f, FL_LANE_READ, count_cancels, id), 1);
    ack(&f, id, node, "51402"); /* not taken: stays to be sent */
    assert_int_equal(fl_fixture_run(&f, FL_LANE_READ, count_cancels, id), 1);
    ack(&f, id, node, "200");
    assert_int_equal(fl_fixture_run(&f, FL_LANE_READ, count_cancels, id), 0);
    reply(&f, cmd, node, REPLY_CANCELLED);
    assert_string_equal(invocation(&f, cmd, node), "Cancelled/Cancelled");
    assert_string_equal(command_state(&f, cmd), "Cancelled/Cancelled");
}

static void a_cancel_that_is_not_confirmed_ends_after_a_minute(void **state)
{
    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    ack(&f, cmd, node, "200");
    cancel(cmd);
    f.now_ms += FL_ENGINE_CANCEL_WAIT_MS - 1;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "Cancelling/Cancelling");
    f.now_ms += 1;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "Cancelled/Cancelled");
}

static void a_cancel_may_come_too_late(void **state)
{
    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    ack(&f, cmd, node, "200");
    cancel(cmd);
    reply(&f, cmd, node, REPLY_DONE);
    assert_string_equal(invocation(&f, cmd, node), "Success/Success");
    assert_string_equal(command_state(&f, cmd), "Success/Success");
}

static void a_cancelled_job_the_agent_refuses_never_ran(void **state)
{
    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    cancel(cmd); /* on the wire, not acknowledged */
    assert_string_equal(invocation(&f, cmd, node), "Cancelling/Cancelling");
    ack(&f, cmd, node, "51402");
    assert_string_equal(invocation(&f, cmd, node), "Cancelled/Cancelled");
}

/* ---- targets and rate control ---- */
#define FLEET 10

static int in_stage(struct fl_call *call, void *arg)
{
    struct fl_cmd c;

    assert_int_equal(fl_cmd_load(call, cmd, &c, NULL), 1);
    memcpy(arg, &c.counts, sizeof(c.counts));
    return 0;
}

static struct fl_cmd_counts counts(void)
{
    struct fl_cmd_counts c;

    fl_fixture_run(&f, FL_LANE_READ, in_stage, &c);
    return c;
}

static void targets_are_resolved_after_the_reply(void **state)
{
    char nodes[FLEET][24];

    (void)state;
    for (int i = 0; i < FLEET; i++)
        make_node(&f, i < 4 ? "Dev" : "Prod", true, nodes[i]);
    send_command(&f,
                 "\"Targets\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}],\"MaxErrors\":\"1\","
                 "\"MaxConcurrency\":\"50%\"",
                 cmd);
    assert_int_equal(fl_fixture_count(&f, "Command.InstanceIds"), 0);
    assert_int_equal(fl_fixture_count(&f, "Command.Targets"), 1);
    assert_string_equal(command_state(&f, cmd), "Pending/Pending");
    tick(&f); /* what a lost hint comes to */
    assert_string_equal(command_member(&f, cmd, "TargetCount"), "4");
    assert_int_equal(counts().stage[FL_STAGE_RELEASED], 1);
    assert_string_equal(command_state(&f, cmd), "InProgress/InProgress");

    send_command(&f, "\"Targets\":[{\"Key\":\"tag:Env\",\"Values\":[\"none\"]}]", cmd);
    advance(&f, cmd);
    assert_string_equal(command_state(&f, cmd), "Success/NoInstancesInTag");
    assert_string_equal(command_member(&f, cmd, "TargetCount"), "0");

    send_command(&f, "\"Targets\":[{\"Key\":\"instanceids\",\"Values\":[\"*\"]}]", cmd);
    cancel(cmd);
    assert_string_equal(command_state(&f, cmd), "Cancelled/Cancelled");
}

struct stage_of {
    const char *node;
    enum fl_stage stage;
};

static int read_stage(struct fl_call *call, void *arg)
{
    struct stage_of *s = arg;
    struct fl_inv inv;

    assert_int_equal(fl_inv_load(call, cmd, s->node, &inv, NULL), 1);
    s->stage = inv.stage;
    return 0;
}

static const char *released_node(char nodes[FLEET][24])
{
    for (int i = 0; i < FLEET; i++) {
        struct stage_of s = { .node = nodes[i] };

        fl_fixture_run(&f, FL_LANE_READ, read_stage, &s);
        if (s.stage == FL_STAGE_RELEASED)
            return nodes[i];
    }
    return NULL;
}

static void the_ramp_goes_on_with_acks_and_the_limit_holds(void **state)
{
    static const int64_t released[] = { 1, 2, 1, 1, 0 }; /* after 0, 1, … acks: 1, then 2, then 4 */
    char nodes[FLEET][24], ids[FLEET * 30] = "";
    char where[FLEET * 30 + 100];

    (void)state;
    for (int i = 0; i < FLEET; i++) {
        make_node(&f, NULL, true, nodes[i]);
        strcat(strcat(strcat(ids, i ? ",\"" : "\""), nodes[i]), "\"");
    }
    snprintf(where, sizeof(where), "\"InstanceIds\":[%s],\"MaxConcurrency\":\"4\"", ids);
    send_command(&f, where, cmd);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(counts().stage[FL_STAGE_RELEASED], released[i]);
        assert_true(counts().stage[FL_STAGE_RELEASED] + counts().stage[FL_STAGE_DELIVERED] <= 4);
        ack(&f, cmd, nodes[i], "200"); /* sent in the order given */
    }
    assert_int_equal(counts().stage[FL_STAGE_RELEASED], 0);
    assert_int_equal(counts().stage[FL_STAGE_DELIVERED], 4);
    reply(&f, cmd, nodes[0], REPLY_DONE);
    assert_int_equal(counts().stage[FL_STAGE_RELEASED], 1);
    assert_non_null(released_node(nodes));
}

static void the_first_error_stops_the_rest(void **state)
{
    char nodes[FLEET][24];

    (void)state;
    for (int i = 0; i < FLEET; i++)
        make_node(&f, "Dev", true, nodes[i]);
    send_command(&f, "\"Targets\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}]", cmd);
    advance(&f, cmd);
    reply(&f, cmd, released_node(nodes), REPLY_FAILED);
    assert_int_equal(counts().n[FL_INV_FAILED], 1);
    assert_int_equal(counts().n[FL_INV_TERMINATED], FLEET - 1);
    assert_string_equal(command_state(&f, cmd), "Failed/Failed");
    assert_string_equal(command_member(&f, cmd, "CompletedCount"), "10");
    assert_string_equal(command_member(&f, cmd, "ErrorCount"), "1");
}

static void nodes_that_are_away_hold_no_slot(void **state)
{
    char nodes[FLEET][24];

    (void)state;
    for (int i = 0; i < FLEET; i++)
        make_node(&f, "Dev", i == 7, nodes[i]);
    send_command(
        &f, "\"Targets\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}],\"MaxConcurrency\":\"1\"",
        cmd);
    advance(&f, cmd);
    assert_string_equal(released_node(nodes), nodes[7]); /* those before it were passed over */
    reply(&f, cmd, nodes[7], REPLY_DONE);
    assert_int_equal(counts().n[FL_INV_DELAYED], FLEET - 1);
    assert_string_equal(command_state(&f, cmd), "InProgress/Delayed");
}

static void a_large_fleet_goes_in_batches(void **state)
{
    const int n = 2 * FL_ENGINE_BATCH + 10;
    char one[24];
    int rounds = 0;

    (void)state;
    for (int i = 0; i < n; i++)
        make_node(&f, "Dev", false, one);
    send_command(&f, "\"Targets\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}]", cmd);
    while (counts().n[FL_INV_DELAYED] < n && rounds++ < 20)
        tick(&f);
    assert_int_equal(counts().n[FL_INV_DELAYED], n);
    assert_in_range(rounds, 4, 7); /* three to resolve, three to try */
    cancel(cmd);
    for (rounds = 0; counts().n[FL_INV_CANCELLED] < n && rounds < 20; rounds++)
        tick(&f);
    assert_string_equal(command_state(&f, cmd), "Cancelled/Cancelled");
}

/* ---- keeping and forgetting ---- */

/* A copy of the files as they are on the disk now is what a killed server leaves. */
static void a_killed_server_loses_nothing_it_committed(void **state)
{
    static const char *const suffixes[] = { "", "-wal" };
    struct fl_store_conf conf = { .readers = 1 };
    char path[160], copy[160], pending[37];
    struct fl_store *live = f.plane.store;

    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    ack(&f, cmd, node, "200");
    reply(&f, cmd, node, REPLY_DONE);
    send_to(&f, node, pending);
    for (size_t i = 0; i < FL_ARRAY_LEN(suffixes); i++) {
        char line[400];

        snprintf(path, sizeof(path), "%s/store.db%s", f.dir, suffixes[i]);
        snprintf(copy, sizeof(copy), "%s/copy.db%s", f.dir, suffixes[i]);
        snprintf(line, sizeof(line), "cp '%s' '%s'", path, copy);
        assert_int_equal(system(line), 0);
    }
    snprintf(copy, sizeof(copy), "%s/copy.db", f.dir);
    conf.path = copy;
    assert_int_equal(fl_store_open(&conf, true, &f.plane.store, NULL), 0);
    assert_string_equal(invocation(&f, cmd, node), "Success/Success");
    assert_string_equal(command_state(&f, cmd), "Success/Success");
    assert_string_equal(invocation(&f, pending, node), "Pending/Pending");
    ack(&f, pending, node, "200"); /* goes on where it was */
    assert_string_equal(invocation(&f, pending, node), "InProgress/InProgress");
    fl_store_free(f.plane.store);
    f.plane.store = live;
}

static void commands_are_kept_for_30_days(void **state)
{
    char open[37];

    (void)state;
    make_node(&f, NULL, true, node);
    send_to(&f, node, cmd);
    reply(&f, cmd, node, REPLY_DONE);
    send_to(&f, node, open);
    f.now_ms += FL_ENGINE_KEEP_MS;
    say(&f, (struct said){ .fn = do_retire });
    assert_string_equal(invocation(&f, cmd, node), "Success/Success");
    f.now_ms += 1;
    say(&f, (struct said){ .fn = do_retire });
    fl_fixture_ok(&f, "ListCommands", "{}");
    assert_int_equal(fl_fixture_count(&f, "Commands"), 1); /* the open one stays */
    assert_string_equal(fl_fixture_text(&f, "Commands.0.CommandId"), open);
    fl_fixture_ok(&f, "ListCommandInvocations", "{}");
    assert_int_equal(fl_fixture_count(&f, "CommandInvocations"), 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_echo_from_end_to_end),
        CASE(every_order_of_replies_ends_the_same),
        CASE(reports_of_another_node_or_command_do_nothing),
        CASE(terminal_is_sticky_but_takes_outputs),
        CASE(what_an_ack_leads_to),
        CASE(a_busy_agent_is_asked_again_and_a_stubborn_one_fails),
        CASE(silence_makes_it_delayed_and_it_is_tried_again),
        CASE(an_offline_node_gets_it_when_it_comes),
        CASE(an_offline_node_times_out),
        CASE(a_deregistered_node_is_undeliverable),
        CASE(deregistered_while_nobody_listened),
        CASE(cancel_before_delivery_is_immediate),
        CASE(cancel_of_a_running_command_is_confirmed_by_the_node),
        CASE(a_cancel_that_is_not_confirmed_ends_after_a_minute),
        CASE(a_cancel_may_come_too_late),
        CASE(a_cancelled_job_the_agent_refuses_never_ran),
        CASE(targets_are_resolved_after_the_reply),
        CASE(the_ramp_goes_on_with_acks_and_the_limit_holds),
        CASE(the_first_error_stops_the_rest),
        CASE(nodes_that_are_away_hold_no_slot),
        CASE(a_large_fleet_goes_in_batches),
        CASE(a_killed_server_loses_nothing_it_committed),
        CASE(commands_are_kept_for_30_days),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
