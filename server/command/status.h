/* status.h - the states of a command and of its invocations, as tables.
 *
 * Pure: no store, no clock. An invocation is one command on one node. What the API calls Status and
 * StatusDetails is one state here; every change of an invocation is a row of one table, and the
 * state of a command is the first row of one list whose condition holds. Source: protocol 2 §6,
 * protocol 6 §3.4.
 */
#pragma once
#include "common/base/util.h"

/* Kept as numbers in the store: append only. */
enum fl_inv_state {
    FL_INV_PENDING,
    FL_INV_IN_PROGRESS,
    FL_INV_DELAYED,
    FL_INV_SUCCESS,
    FL_INV_FAILED,
    FL_INV_EXEC_TIMED_OUT,
    FL_INV_DELIVERY_TIMED_OUT,
    FL_INV_CANCELLING,
    FL_INV_CANCELLED,
    FL_INV_TERMINATED,
    FL_INV_UNDELIVERABLE,
    FL_INV_INVALID_PLATFORM,
    FL_INV_ACCESS_DENIED,
    FL_INV__N,
};

enum fl_inv_event {
    FL_EV_UNREACHABLE, /* node not connected, or no ack after retries */
    FL_EV_GONE,        /* node unknown or deregistered; ack 51403, 51407 */
    FL_EV_NOT_TAKEN,   /* ack 51401, 51402: come again */
    FL_EV_REFUSED,     /* ack 51406, 51408; 51404, 51499 and unknown codes after retries */
    FL_EV_DELIVERED,   /* ack 200, 51405; any reply that is not the last */
    FL_EV_SUCCEEDED,   /* final replies */
    FL_EV_FAILED,
    FL_EV_TIMED_OUT,
    FL_EV_WAS_CANCELLED,
    FL_EV_CANCEL_UNSENT,  /* CancelCommand, nothing was handed to the node */
    FL_EV_CANCEL_SENT,    /* CancelCommand, the node may have it */
    FL_EV_CANCEL_OVERDUE, /* no terminal reply in time after the cancel */
    FL_EV_EXPIRED,        /* past ExpiresAfter */
    FL_EV_STOPPED,        /* the command passed MaxErrors */
    FL_EV__N,
};

/* How an invocation stands with its delivery. Kept as numbers in the store: append only. */
enum fl_stage {
    FL_STAGE_QUEUED,    /* waits for a slot of the rate control */
    FL_STAGE_RELEASED,  /* holds a slot; handed to the node's channel, not acknowledged */
    FL_STAGE_PARKED,    /* tried and given back its slot; waits for the node */
    FL_STAGE_DELIVERED, /* holds a slot; acknowledged, or being cancelled: never sent again */
    FL_STAGE_DONE,
    FL_STAGE__N,
};

struct fl_inv_info {
    const char *status; /* as the API spells it */
    const char *details;
    bool terminal;
    bool error; /* counts to MaxErrors and ErrorCount */
};
extern const struct fl_inv_info fl_inv_info[FL_INV__N];

/* The state after `event`; `from` itself where the event changes nothing. */
enum fl_inv_state fl_inv_next(enum fl_inv_state from, enum fl_inv_event event);

/* The states whose Status or StatusDetails is `text`, as a mask of 1 << state; 0 for an unknown
 * text. */
uint32_t fl_inv_mask(const char *text);

enum fl_cmd_state {
    FL_CMD_PENDING,
    FL_CMD_IN_PROGRESS,
    FL_CMD_DELAYED,
    FL_CMD_CANCELLING,
    FL_CMD_CANCELLED,
    FL_CMD_SUCCESS,
    FL_CMD_NO_INSTANCES,
    FL_CMD_LIMIT_EXCEEDED,
    FL_CMD_FAILED,
    FL_CMD_EXEC_TIMED_OUT,
    FL_CMD_DELIVERY_TIMED_OUT,
    FL_CMD_INCOMPLETE,
    FL_CMD__N,
};

struct fl_cmd_info {
    const char *status;
    const char *details;
    bool terminal;
};
extern const struct fl_cmd_info fl_cmd_info[FL_CMD__N];

uint32_t fl_cmd_mask(const char *text);

/* What a command's state depends on. */
struct fl_cmd_counts {
    int64_t n[FL_INV__N];       /* invocations in each state */
    int64_t stage[FL_STAGE__N]; /* and in each stage */
    int64_t max_errors;
    bool resolved;       /* the set of targets is fixed */
    bool cancelled;      /* CancelCommand without InstanceIds was called */
    bool limit_exceeded; /* refused for the limit of open invocations */
};

enum fl_cmd_state fl_cmd_evaluate(const struct fl_cmd_counts *c);

int64_t fl_cmd_targets(const struct fl_cmd_counts *c);
int64_t fl_cmd_open(const struct fl_cmd_counts *c);   /* invocations that are not terminal */
int64_t fl_cmd_errors(const struct fl_cmd_counts *c); /* Failed and ExecutionTimedOut */

/* What the status of a final or step report means; FL_EV_DELIVERED for one that is not the last
 * (InProgress, SuccessAndReboot, PassedAndReboot, …) and for unknown words. */
enum fl_inv_event fl_report_event(const char *document_status);

/* The meaning of an agent_job_ack: `code` NULL or "" (agents before 3.2.923.0) means accepted.
 * `refusals`: how many retryable refusals (51404, 51499, unknown) came before this one. */
enum fl_inv_event fl_ack_event(const char *code, int64_t refusals);

/* True for the codes that are tried again a few times and then fail. */
bool fl_ack_is_retryable(const char *code);
#define FL_ACK_MAX_REFUSALS 3
