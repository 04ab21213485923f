/* record.h - the rows of a command and of an invocation as structs, loaded and saved whole.
 *
 * All functions run on a store thread inside the transaction of `call`; strings lie in its arena.
 */
#pragma once
#include "server/command/rate.h"
#include "server/command/result.h"
#include "server/command/status.h"
#include "server/op.h"

/* The row command_state: what changes about a command. */
struct fl_cmd {
    char *id;
    enum fl_cmd_state state;
    bool wake; /* more to do than fitted into one transaction */
    bool stopped;
    bool expired;
    int64_t expires_ms;
    char *resolve_after;
    int64_t rate_limit;
    int64_t ramp;
    struct fl_cmd_counts counts; /* error limit, resolved, cancelled and limit_exceeded included */
};

/* The row invocation. */
struct fl_inv {
    char *command_id;
    char *node_id;
    enum fl_stage stage;
    enum fl_inv_state state;
    int64_t releases;
    int64_t refusals;
    int64_t due_ms; /* 0: not by the clock */
    int64_t started_ms;
    int64_t finished_ms;
    char *trace;
};

/* 1 found, 0 not, or a negative errno. */
int fl_cmd_load(struct fl_call *call, const char *command_id, struct fl_cmd *ret_cmd,
                struct fl_err *err);
int fl_cmd_insert(struct fl_call *call, const struct fl_cmd *cmd, struct fl_err *err);
int fl_cmd_save(struct fl_call *call, const struct fl_cmd *cmd, struct fl_err *err);

int fl_inv_load(struct fl_call *call, const char *command_id, const char *node_id,
                struct fl_inv *ret_inv, struct fl_err *err);
int fl_inv_save(struct fl_call *call, const struct fl_inv *inv, struct fl_err *err);

/* Up to `max` invocations of one stage in the order of sending, only those in a state of `mask`
 * (1 << state). The number found, or a negative errno. */
int fl_inv_of_stage(struct fl_call *call, const char *command_id, enum fl_stage stage,
                    uint32_t mask, unsigned max, struct fl_inv **ret_list, struct fl_err *err);

/* The current row of step_get or step_list. */
int fl_step_read(struct fl_arena *arena, struct fl_cursor *c, struct fl_step_result *ret_step,
                 struct fl_err *err);

#define FL_INV_ANY_STATE ((1u << FL_INV__N) - 1)
