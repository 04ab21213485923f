/* Every state with every event, every condition of a command, the codes of acks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "server/command/status.h"

/* Rows: states in the order of enum fl_inv_state. Columns: events in the order of enum
 * fl_inv_event.
 * "=" stays. The four open states are spelled out, written from protocol 2 §6, not from the code.
 */
static const struct {
    enum fl_inv_state from;
    const char *to[FL_EV__N];
} open_states[] = {
    /* unreachable, gone, not taken, refused, delivered, succeeded, failed, timed out, was
     * cancelled, cancel unsent, cancel sent, cancel overdue, expired, stopped */
    { FL_INV_PENDING,
      { "Delayed", "Undeliverable", "=", "Failed", "InProgress", "Success", "Failed",
        "ExecutionTimedOut", "Cancelled", "Cancelled", "Cancelling", "=", "DeliveryTimedOut",
        "Terminated" } },
    { FL_INV_DELAYED,
      { "=", "Undeliverable", "=", "Failed", "InProgress", "Success", "Failed", "ExecutionTimedOut",
        "Cancelled", "Cancelled", "Cancelling", "=", "DeliveryTimedOut", "Terminated" } },
    { FL_INV_IN_PROGRESS,
      { "=", "=", "=", "Failed", "=", "Success", "Failed", "ExecutionTimedOut", "Cancelled", "=",
        "Cancelling", "=", "DeliveryTimedOut", "=" } },
    { FL_INV_CANCELLING,
      { "=", "Cancelled", "Cancelled", "Cancelled", "=", "Success", "Failed", "ExecutionTimedOut",
        "Cancelled", "=", "=", "Cancelled", "=", "=" } },
};

static void every_open_state_with_every_event(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(open_states); i++)
        for (int ev = 0; ev < FL_EV__N; ev++) {
            enum fl_inv_state from = open_states[i].from;
            enum fl_inv_state to = fl_inv_next(from, (enum fl_inv_event)ev);
            const char *want = open_states[i].to[ev];

            assert_string_equal(fl_inv_info[to].details,
                                strcmp(want, "=") == 0 ? fl_inv_info[from].details : want);
        }
}

static void a_terminal_state_never_changes(void **state)
{
    (void)state;
    for (int from = 0; from < FL_INV__N; from++)
        for (int ev = 0; fl_inv_info[from].terminal && ev < FL_EV__N; ev++)
            assert_int_equal(fl_inv_next((enum fl_inv_state)from, (enum fl_inv_event)ev), from);
}

static void errors_are_failed_and_execution_timed_out(void **state)
{
    (void)state;
    for (int i = 0; i < FL_INV__N; i++)
        assert_int_equal(fl_inv_info[i].error, i == FL_INV_FAILED || i == FL_INV_EXEC_TIMED_OUT);
}

static void status_words_match_either_column(void **state)
{
    (void)state;
    assert_int_equal(fl_inv_mask("TimedOut"),
                     1 << FL_INV_EXEC_TIMED_OUT | 1 << FL_INV_DELIVERY_TIMED_OUT);
    assert_int_equal(fl_inv_mask("DeliveryTimedOut"), 1 << FL_INV_DELIVERY_TIMED_OUT);
    assert_int_equal(fl_inv_mask("Cancelled"), 1 << FL_INV_CANCELLED | 1 << FL_INV_TERMINATED);
    assert_int_equal(fl_inv_mask("nope"), 0);
    assert_int_equal(fl_cmd_mask("NoInstancesInTag"), 1 << FL_CMD_NO_INSTANCES);
    assert_int_equal(fl_cmd_mask("Success"), 1 << FL_CMD_SUCCESS | 1 << FL_CMD_NO_INSTANCES);
}

/* Commands: counts -> state. Protocol 6 §3.4. */
#define N(...)     .n = { __VA_ARGS__ }
#define STAGE(...) .stage = { __VA_ARGS__ }
static const struct {
    const char *what;
    struct fl_cmd_counts c;
    enum fl_cmd_state want;
} commands[] = {
    { "targets not resolved", { .resolved = false }, FL_CMD_PENDING },
    { "cancelled before the targets were resolved", { .cancelled = true }, FL_CMD_CANCELLING },
    { "cancelled with no target", { .cancelled = true, .resolved = true }, FL_CMD_CANCELLED },
    { "no target", { .resolved = true }, FL_CMD_NO_INSTANCES },
    { "none sent",
      { .resolved = true, N([FL_INV_PENDING] = 3), STAGE([FL_STAGE_QUEUED] = 3) },
      FL_CMD_PENDING },
    { "one sent",
      { .resolved = true,
        N([FL_INV_PENDING] = 3),
        STAGE([FL_STAGE_QUEUED] = 2, [FL_STAGE_RELEASED] = 1) },
      FL_CMD_IN_PROGRESS },
    { "all open delayed",
      { .resolved = true,
        N([FL_INV_DELAYED] = 2, [FL_INV_SUCCESS] = 1),
        STAGE([FL_STAGE_PARKED] = 2, [FL_STAGE_DONE] = 1) },
      FL_CMD_DELAYED },
    { "one of two delayed",
      { .resolved = true,
        N([FL_INV_DELAYED] = 1, [FL_INV_IN_PROGRESS] = 1),
        STAGE([FL_STAGE_PARKED] = 1, [FL_STAGE_DELIVERED] = 1) },
      FL_CMD_IN_PROGRESS },
    { "being cancelled",
      { .resolved = true,
        .cancelled = true,
        N([FL_INV_CANCELLING] = 1, [FL_INV_CANCELLED] = 1),
        STAGE([FL_STAGE_DELIVERED] = 1, [FL_STAGE_DONE] = 1) },
      FL_CMD_CANCELLING },
    { "one node being cancelled is not the command",
      { .resolved = true, N([FL_INV_CANCELLING] = 1), STAGE([FL_STAGE_DELIVERED] = 1) },
      FL_CMD_IN_PROGRESS },
    { "cancelled",
      { .resolved = true, .cancelled = true, N([FL_INV_CANCELLED] = 1, [FL_INV_SUCCESS] = 4) },
      FL_CMD_CANCELLED },
    { "the cancel came too late",
      { .resolved = true, .cancelled = true, N([FL_INV_SUCCESS] = 4) },
      FL_CMD_SUCCESS },
    { "limit exceeded", { .resolved = true, .limit_exceeded = true }, FL_CMD_LIMIT_EXCEEDED },
    { "one failure, none allowed",
      { .resolved = true, N([FL_INV_SUCCESS] = 1, [FL_INV_FAILED] = 1) },
      FL_CMD_FAILED },
    { "three failures, three allowed",
      { .resolved = true, .max_errors = 3, N([FL_INV_SUCCESS] = 1, [FL_INV_FAILED] = 3) },
      FL_CMD_INCOMPLETE },
    { "the fourth failure",
      { .resolved = true, .max_errors = 3, N([FL_INV_SUCCESS] = 1, [FL_INV_FAILED] = 4) },
      FL_CMD_FAILED },
    { "all errors timed out",
      { .resolved = true, N([FL_INV_EXEC_TIMED_OUT] = 1, [FL_INV_TERMINATED] = 7) },
      FL_CMD_EXEC_TIMED_OUT },
    { "some errors timed out",
      { .resolved = true, N([FL_INV_EXEC_TIMED_OUT] = 1, [FL_INV_FAILED] = 1) },
      FL_CMD_FAILED },
    { "not delivered",
      { .resolved = true, N([FL_INV_DELIVERY_TIMED_OUT] = 1) },
      FL_CMD_DELIVERY_TIMED_OUT },
    { "not delivered, allowed",
      { .resolved = true,
        .max_errors = 1,
        N([FL_INV_DELIVERY_TIMED_OUT] = 1, [FL_INV_SUCCESS] = 1) },
      FL_CMD_INCOMPLETE },
    { "all undeliverable or unfit",
      { .resolved = true,
        N([FL_INV_UNDELIVERABLE] = 1, [FL_INV_INVALID_PLATFORM] = 1, [FL_INV_ACCESS_DENIED] = 1) },
      FL_CMD_FAILED },
    { "one success, four undeliverable",
      { .resolved = true, N([FL_INV_SUCCESS] = 1, [FL_INV_UNDELIVERABLE] = 4) },
      FL_CMD_SUCCESS },
    { "all successful", { .resolved = true, N([FL_INV_SUCCESS] = 4) }, FL_CMD_SUCCESS },
    { "single nodes were cancelled",
      { .resolved = true, N([FL_INV_SUCCESS] = 4, [FL_INV_CANCELLED] = 1) },
      FL_CMD_INCOMPLETE },
};

static void commands_are_judged_from_the_top(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(commands); i++) {
        enum fl_cmd_state got = fl_cmd_evaluate(&commands[i].c);

        if (got != commands[i].want)
            fail_msg("%s: %s/%s", commands[i].what, fl_cmd_info[got].status,
                     fl_cmd_info[got].details);
    }
}

static void a_command_is_terminal_only_when_nothing_is_open(void **state)
{
    (void)state;
    for (int i = 0; i < FL_INV__N; i++)
        for (int cancelled = 0; cancelled < 2; cancelled++) {
            struct fl_cmd_counts c = { .resolved = true, .cancelled = cancelled };

            c.n[i] = 1;
            c.stage[fl_inv_info[i].terminal ? FL_STAGE_DONE : FL_STAGE_DELIVERED] = 1;
            assert_int_equal(fl_cmd_info[fl_cmd_evaluate(&c)].terminal, fl_inv_info[i].terminal);
            c.resolved = false;
            assert_false(fl_cmd_info[fl_cmd_evaluate(&c)].terminal);
        }
}

static void acks(void **state)
{
    static const struct {
        const char *code;
        int64_t refusals;
        enum fl_inv_event want;
    } cases[] = {
        { NULL, 0, FL_EV_DELIVERED },    { "", 0, FL_EV_DELIVERED },
        { "200", 0, FL_EV_DELIVERED },   { "51405", 0, FL_EV_DELIVERED },
        { "51401", 9, FL_EV_NOT_TAKEN }, { "51402", 9, FL_EV_NOT_TAKEN },
        { "51403", 0, FL_EV_GONE },      { "51407", 0, FL_EV_GONE },
        { "51406", 0, FL_EV_REFUSED },   { "51408", 0, FL_EV_REFUSED },
        { "51404", 0, FL_EV_NOT_TAKEN }, { "51404", 2, FL_EV_REFUSED },
        { "51499", 1, FL_EV_NOT_TAKEN }, { "51499", 2, FL_EV_REFUSED },
        { "99999", 0, FL_EV_NOT_TAKEN }, { "99999", 2, FL_EV_REFUSED },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_ack_event(cases[i].code, cases[i].refusals), cases[i].want);
}

static void reports(void **state)
{
    (void)state;
    assert_int_equal(fl_report_event("Success"), FL_EV_SUCCEEDED);
    assert_int_equal(fl_report_event("Failed"), FL_EV_FAILED);
    assert_int_equal(fl_report_event("TimedOut"), FL_EV_TIMED_OUT);
    assert_int_equal(fl_report_event("Cancelled"), FL_EV_WAS_CANCELLED);
    assert_int_equal(fl_report_event("SuccessAndReboot"), FL_EV_DELIVERED);
    assert_int_equal(fl_report_event("InProgress"), FL_EV_DELIVERED);
    assert_int_equal(fl_report_event(NULL), FL_EV_DELIVERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_open_state_with_every_event),
        cmocka_unit_test(a_terminal_state_never_changes),
        cmocka_unit_test(errors_are_failed_and_execution_timed_out),
        cmocka_unit_test(status_words_match_either_column),
        cmocka_unit_test(commands_are_judged_from_the_top),
        cmocka_unit_test(a_command_is_terminal_only_when_nothing_is_open),
        cmocka_unit_test(acks),
        cmocka_unit_test(reports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
