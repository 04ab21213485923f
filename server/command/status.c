/* status.c - see status.h. */
#include "server/command/status.h"
#include "common/wire/control.h"

#include <string.h>

const struct fl_inv_info fl_inv_info[FL_INV__N] = {
    [FL_INV_PENDING] = { "Pending", "Pending", false, false },
    [FL_INV_IN_PROGRESS] = { "InProgress", "InProgress", false, false },
    [FL_INV_DELAYED] = { "Delayed", "Delayed", false, false },
    [FL_INV_SUCCESS] = { "Success", "Success", true, false },
    [FL_INV_FAILED] = { "Failed", "Failed", true, true },
    [FL_INV_EXEC_TIMED_OUT] = { "TimedOut", "ExecutionTimedOut", true, true },
    [FL_INV_DELIVERY_TIMED_OUT] = { "TimedOut", "DeliveryTimedOut", true, false },
    [FL_INV_CANCELLING] = { "Cancelling", "Cancelling", false, false },
    [FL_INV_CANCELLED] = { "Cancelled", "Cancelled", true, false },
    [FL_INV_TERMINATED] = { "Cancelled", "Terminated", true, false },
    [FL_INV_UNDELIVERABLE] = { "Failed", "Undeliverable", true, false },
    [FL_INV_INVALID_PLATFORM] = { "Failed", "InvalidPlatform", true, false },
    [FL_INV_ACCESS_DENIED] = { "Failed", "AccessDenied", true, false },
};

#define BIT(state) (1u << (state))
#define WAITING    (BIT(FL_INV_PENDING) | BIT(FL_INV_DELAYED))
#define RUNNING    (WAITING | BIT(FL_INV_IN_PROGRESS))
#define CANCELLING BIT(FL_INV_CANCELLING)

/* What is not here changes nothing: a terminal state is sticky, a repeated event is harmless. A
 * final reply counts from every open state, because the ack and the replies before it may be lost
 * or late. */
static const struct {
    uint32_t from;
    enum fl_inv_event event;
    enum fl_inv_state to;
} transitions[] = {
    { WAITING, FL_EV_UNREACHABLE, FL_INV_DELAYED },
    { WAITING, FL_EV_GONE, FL_INV_UNDELIVERABLE },
    { CANCELLING, FL_EV_GONE, FL_INV_CANCELLED },
    { CANCELLING, FL_EV_NOT_TAKEN, FL_INV_CANCELLED },
    { RUNNING, FL_EV_REFUSED, FL_INV_FAILED },
    { CANCELLING, FL_EV_REFUSED, FL_INV_CANCELLED },
    { WAITING, FL_EV_DELIVERED, FL_INV_IN_PROGRESS },
    { RUNNING | CANCELLING, FL_EV_SUCCEEDED, FL_INV_SUCCESS },
    { RUNNING | CANCELLING, FL_EV_FAILED, FL_INV_FAILED },
    { RUNNING | CANCELLING, FL_EV_TIMED_OUT, FL_INV_EXEC_TIMED_OUT },
    { RUNNING | CANCELLING, FL_EV_WAS_CANCELLED, FL_INV_CANCELLED },
    { WAITING, FL_EV_CANCEL_UNSENT, FL_INV_CANCELLED },
    { RUNNING, FL_EV_CANCEL_SENT, FL_INV_CANCELLING },
    { CANCELLING, FL_EV_CANCEL_OVERDUE, FL_INV_CANCELLED },
    { RUNNING, FL_EV_EXPIRED, FL_INV_DELIVERY_TIMED_OUT },
    { WAITING, FL_EV_STOPPED, FL_INV_TERMINATED },
};

enum fl_inv_state fl_inv_next(enum fl_inv_state from, enum fl_inv_event event)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(transitions); i++)
        if (transitions[i].event == event && (transitions[i].from & BIT(from)))
            return transitions[i].to;
    return from;
}

uint32_t fl_inv_mask(const char *text)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < FL_INV__N; i++)
        if (strcmp(fl_inv_info[i].status, text) == 0 || strcmp(fl_inv_info[i].details, text) == 0)
            mask |= BIT(i);
    return mask;
}

const struct fl_cmd_info fl_cmd_info[FL_CMD__N] = {
    [FL_CMD_PENDING] = { "Pending", "Pending", false },
    [FL_CMD_IN_PROGRESS] = { "InProgress", "InProgress", false },
    [FL_CMD_DELAYED] = { "InProgress", "Delayed", false },
    [FL_CMD_CANCELLING] = { "Cancelling", "Cancelling", false },
    [FL_CMD_CANCELLED] = { "Cancelled", "Cancelled", true },
    [FL_CMD_SUCCESS] = { "Success", "Success", true },
    [FL_CMD_NO_INSTANCES] = { "Success", "NoInstancesInTag", true },
    [FL_CMD_LIMIT_EXCEEDED] = { "Failed", "LimitExceeded", true },
    [FL_CMD_FAILED] = { "Failed", "Failed", true },
    [FL_CMD_EXEC_TIMED_OUT] = { "TimedOut", "ExecutionTimedOut", true },
    [FL_CMD_DELIVERY_TIMED_OUT] = { "TimedOut", "DeliveryTimedOut", true },
    [FL_CMD_INCOMPLETE] = { "Failed", "Incomplete", true },
};

uint32_t fl_cmd_mask(const char *text)
{
    uint32_t mask = 0;

    for (unsigned i = 0; i < FL_CMD__N; i++)
        if (strcmp(fl_cmd_info[i].status, text) == 0 || strcmp(fl_cmd_info[i].details, text) == 0)
            mask |= BIT(i);
    return mask;
}

int64_t fl_cmd_targets(const struct fl_cmd_counts *c)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < FL_INV__N; i++)
        sum += c->n[i];
    return sum;
}

int64_t fl_cmd_open(const struct fl_cmd_counts *c)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < FL_INV__N; i++)
        if (!fl_inv_info[i].terminal)
            sum += c->n[i];
    return sum;
}

int64_t fl_cmd_errors(const struct fl_cmd_counts *c)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < FL_INV__N; i++)
        if (fl_inv_info[i].error)
            sum += c->n[i];
    return sum;
}

/* Invocations that could not reach a node at all; they decide nothing unless there is nothing else.
 */
static int64_t ignored(const struct fl_cmd_counts *c)
{
    return c->n[FL_INV_UNDELIVERABLE] + c->n[FL_INV_INVALID_PLATFORM] + c->n[FL_INV_ACCESS_DENIED];
}

static bool is_open(const struct fl_cmd_counts *c)
{
    return !c->resolved || fl_cmd_open(c) > 0;
}

static bool when_limit(const struct fl_cmd_counts *c)
{
    return c->limit_exceeded;
}

static bool when_cancelling(const struct fl_cmd_counts *c)
{
    return c->cancelled && is_open(c);
}

static bool when_none_sent(const struct fl_cmd_counts *c)
{
    return is_open(c) && c->stage[FL_STAGE_QUEUED] == fl_cmd_targets(c);
}

static bool when_all_delayed(const struct fl_cmd_counts *c)
{
    return fl_cmd_open(c) > 0 && c->n[FL_INV_DELAYED] == fl_cmd_open(c);
}

static bool when_cancelled(const struct fl_cmd_counts *c)
{
    return c->cancelled && (c->n[FL_INV_CANCELLED] > 0 || fl_cmd_targets(c) == 0);
}

static bool when_no_target(const struct fl_cmd_counts *c)
{
    return fl_cmd_targets(c) == 0;
}

static bool when_all_errors_timed_out(const struct fl_cmd_counts *c)
{
    return fl_cmd_errors(c) > c->max_errors && c->n[FL_INV_FAILED] == 0;
}

static bool when_errors(const struct fl_cmd_counts *c)
{
    return fl_cmd_errors(c) > c->max_errors;
}

static bool when_undelivered(const struct fl_cmd_counts *c)
{
    return c->n[FL_INV_DELIVERY_TIMED_OUT] > c->max_errors;
}

static bool when_all_ignored(const struct fl_cmd_counts *c)
{
    return ignored(c) == fl_cmd_targets(c);
}

static bool when_success(const struct fl_cmd_counts *c)
{
    return c->n[FL_INV_SUCCESS] + ignored(c) == fl_cmd_targets(c);
}

static bool always(const struct fl_cmd_counts *c)
{
    return c != NULL;
}

/* From the top, the first that holds. The cancel stands before "some not terminal", which would
 * hide it; from when_cancelled on every invocation is terminal. */
static const struct {
    bool (*when)(const struct fl_cmd_counts *c);
    enum fl_cmd_state state;
} conditions[] = {
    { when_limit, FL_CMD_LIMIT_EXCEEDED },   { when_cancelling, FL_CMD_CANCELLING },
    { when_none_sent, FL_CMD_PENDING },      { when_all_delayed, FL_CMD_DELAYED },
    { is_open, FL_CMD_IN_PROGRESS },         { when_cancelled, FL_CMD_CANCELLED },
    { when_no_target, FL_CMD_NO_INSTANCES }, { when_all_errors_timed_out, FL_CMD_EXEC_TIMED_OUT },
    { when_errors, FL_CMD_FAILED },          { when_undelivered, FL_CMD_DELIVERY_TIMED_OUT },
    { when_all_ignored, FL_CMD_FAILED },     { when_success, FL_CMD_SUCCESS },
    { always, FL_CMD_INCOMPLETE },
};

enum fl_cmd_state fl_cmd_evaluate(const struct fl_cmd_counts *c)
{
    size_t i = 0;

    while (!conditions[i].when(c))
        i++;
    return conditions[i].state;
}

enum fl_inv_event fl_report_event(const char *document_status)
{
    static const struct {
        const char *status;
        enum fl_inv_event event;
    } rows[] = {
        { "Success", FL_EV_SUCCEEDED },       { "Skipped", FL_EV_SUCCEEDED },
        { "Failed", FL_EV_FAILED },           { "TimedOut", FL_EV_TIMED_OUT },
        { "Cancelled", FL_EV_WAS_CANCELLED },
    };

    for (size_t i = 0; document_status && i < FL_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].status, document_status) == 0)
            return rows[i].event;
    return FL_EV_DELIVERED;
}

/* protocol 2 §3.3 */
static const struct {
    const char *code;
    enum fl_inv_event event;
    bool retryable;
} acks[] = {
    { FL_ACK_OK, FL_EV_DELIVERED, false },       { FL_ACK_DUPLICATE, FL_EV_DELIVERED, false },
    { FL_ACK_CLOSED, FL_EV_NOT_TAKEN, false },   { FL_ACK_BUFFER_FULL, FL_EV_NOT_TAKEN, false },
    { FL_ACK_BAD_TYPE, FL_EV_GONE, false },      { FL_ACK_CONTAINER, FL_EV_GONE, false },
    { FL_ACK_INVALID, FL_EV_REFUSED, false },    { FL_ACK_PARSE_ERROR, FL_EV_REFUSED, false },
    { FL_ACK_TRANSLATION, FL_EV_REFUSED, true }, { FL_ACK_UNEXPECTED, FL_EV_REFUSED, true },
};

static size_t find_ack(const char *code)
{
    size_t i;

    for (i = 0; i < FL_ARRAY_LEN(acks); i++)
        if (strcmp(acks[i].code, code) == 0)
            return i;
    return FL_ARRAY_LEN(acks) - 1; /* unknown: as 51499 */
}

bool fl_ack_is_retryable(const char *code)
{
    return code && *code && acks[find_ack(code)].retryable;
}

enum fl_inv_event fl_ack_event(const char *code, int64_t refusals)
{
    if (!code || !*code)
        return FL_EV_DELIVERED;
    if (fl_ack_is_retryable(code) && refusals + 1 < FL_ACK_MAX_REFUSALS)
        return FL_EV_NOT_TAKEN;
    return acks[find_ack(code)].event;
}
