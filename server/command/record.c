/* record.c - see record.h. */
#include "server/command/record.h"

#include <errno.h>

/* Columns of command_state: these, then the counts in the order of enum fl_inv_state and fl_stage.
 * The statements command_state_* list them in this order. */
enum {
    COL_ID,
    COL_STATE,
    COL_OPEN,
    COL_WAKE,
    COL_EXPIRES,
    COL_RESOLVED,
    COL_RESOLVE_AFTER,
    COL_CANCELLED,
    COL_STOPPED,
    COL_LIMIT_EXCEEDED,
    COL_EXPIRED,
    COL_RATE_LIMIT,
    COL_ERROR_LIMIT,
    COL_RAMP,
    COL_STATES,
    COL_STAGES = COL_STATES + FL_INV__N,
    COL__N = COL_STAGES + FL_STAGE__N,
};

static void cmd_args(const struct fl_cmd *cmd, struct fl_sql_arg args[static COL__N])
{
    const struct fl_cmd_counts *c = &cmd->counts;

    args[COL_ID] = FL_T(cmd->id);
    args[COL_STATE] = FL_N(cmd->state);
    args[COL_OPEN] = FL_N(!fl_cmd_info[cmd->state].terminal);
    args[COL_WAKE] = FL_N(cmd->wake);
    args[COL_EXPIRES] = FL_N(cmd->expires_ms);
    args[COL_RESOLVED] = FL_N(c->resolved);
    args[COL_RESOLVE_AFTER] = FL_T(cmd->resolve_after);
    args[COL_CANCELLED] = FL_N(c->cancelled);
    args[COL_STOPPED] = FL_N(cmd->stopped);
    args[COL_LIMIT_EXCEEDED] = FL_N(c->limit_exceeded);
    args[COL_EXPIRED] = FL_N(cmd->expired);
    args[COL_RATE_LIMIT] = FL_N(cmd->rate_limit);
    args[COL_ERROR_LIMIT] = FL_N(c->max_errors);
    args[COL_RAMP] = FL_N(cmd->ramp);
    for (int i = 0; i < FL_INV__N; i++)
        args[COL_STATES + i] = FL_N(c->n[i]);
    for (int i = 0; i < FL_STAGE__N; i++)
        args[COL_STAGES + i] = FL_N(c->stage[i]);
}

int fl_cmd_load(struct fl_call *call, const char *command_id, struct fl_cmd *ret_cmd,
                struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_cmd cmd = { 0 };
    int r;

    r = fl_sql_open(call->tx, FL_SQL_command_state_get, &c, err, FL_T(command_id));
    if (r < 0)
        return r;
    r = fl_sql_next(c, err);
    if (r <= 0)
        return r;

    cmd.id = fl_arena_strdup(call->arena, fl_sql_text(c, COL_ID));
    cmd.state = (enum fl_cmd_state)fl_sql_int(c, COL_STATE);
    cmd.wake = fl_sql_int(c, COL_WAKE) != 0;
    cmd.expires_ms = fl_sql_int(c, COL_EXPIRES);
    cmd.counts.resolved = fl_sql_int(c, COL_RESOLVED) != 0;
    cmd.resolve_after = fl_arena_strdup(call->arena, fl_sql_text(c, COL_RESOLVE_AFTER));
    cmd.counts.cancelled = fl_sql_int(c, COL_CANCELLED) != 0;
    cmd.stopped = fl_sql_int(c, COL_STOPPED) != 0;
    cmd.counts.limit_exceeded = fl_sql_int(c, COL_LIMIT_EXCEEDED) != 0;
    cmd.expired = fl_sql_int(c, COL_EXPIRED) != 0;
    cmd.rate_limit = fl_sql_int(c, COL_RATE_LIMIT);
    cmd.counts.max_errors = fl_sql_int(c, COL_ERROR_LIMIT);
    cmd.ramp = fl_sql_int(c, COL_RAMP);
    for (int i = 0; i < FL_INV__N; i++)
        cmd.counts.n[i] = fl_sql_int(c, COL_STATES + i);
    for (int i = 0; i < FL_STAGE__N; i++)
        cmd.counts.stage[i] = fl_sql_int(c, COL_STAGES + i);
    if (!cmd.id || !cmd.resolve_after)
        return fl_err_set(err, -ENOMEM, NULL, "command %s: out of memory", command_id);
    if (cmd.state >= FL_CMD__N)
        return fl_err_set(err, -EINVAL, NULL, "command %s: unknown state %d", command_id,
                          (int)cmd.state);
    *ret_cmd = cmd;
    return 1;
}

int fl_cmd_insert(struct fl_call *call, const struct fl_cmd *cmd, struct fl_err *err)
{
    struct fl_sql_arg args[COL__N];
    int r;

    cmd_args(cmd, args);
    r = fl_sql_exec_v(call->tx, FL_SQL_command_state_insert, args, COL__N, err);
    return r < 0 ? r : 0;
}

int fl_cmd_save(struct fl_call *call, const struct fl_cmd *cmd, struct fl_err *err)
{
    struct fl_sql_arg args[COL__N];
    int r;

    cmd_args(cmd, args);
    r = fl_sql_exec_v(call->tx, FL_SQL_command_state_set, args, COL__N, err);
    return r < 0 ? r : 0;
}

/* Reads the current row; the statements invocation_get and invocation_of_stage share the columns.
 */
static int read_inv(struct fl_call *call, struct fl_cursor *c, struct fl_inv *inv,
                    struct fl_err *err)
{
    inv->command_id = fl_arena_strdup(call->arena, fl_sql_text(c, 0));
    inv->node_id = fl_arena_strdup(call->arena, fl_sql_text(c, 1));
    inv->stage = (enum fl_stage)fl_sql_int(c, 2);
    inv->state = (enum fl_inv_state)fl_sql_int(c, 3);
    inv->releases = fl_sql_int(c, 4);
    inv->refusals = fl_sql_int(c, 5);
    inv->due_ms = fl_sql_int(c, 6);
    inv->started_ms = fl_sql_int(c, 7);
    inv->finished_ms = fl_sql_int(c, 8);
    inv->trace = fl_arena_strdup(call->arena, fl_sql_text(c, 9));
    if (!inv->command_id || !inv->node_id || (!inv->trace && !fl_sql_is_null(c, 9)))
        return fl_err_set(err, -ENOMEM, NULL, "out of memory for an invocation");
    if (inv->stage >= FL_STAGE__N || inv->state >= FL_INV__N)
        return fl_err_set(err, -EINVAL, NULL, "command %s on %s: unknown state %d or stage %d",
                          inv->command_id, inv->node_id, (int)inv->state, (int)inv->stage);
    return 0;
}

int fl_inv_load(struct fl_call *call, const char *command_id, const char *node_id,
                struct fl_inv *ret_inv, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r;

    r = fl_sql_open(call->tx, FL_SQL_invocation_get, &c, err, FL_T(command_id), FL_T(node_id));
    if (r < 0)
        return r;
    r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    r = read_inv(call, c, ret_inv, err);
    return r < 0 ? r : 1;
}

int fl_inv_save(struct fl_call *call, const struct fl_inv *inv, struct fl_err *err)
{
    int r = fl_sql_exec(call->tx, FL_SQL_invocation_set, err, FL_T(inv->command_id),
                        FL_T(inv->node_id), FL_N(inv->stage), FL_N(inv->state), FL_N(inv->releases),
                        FL_N(inv->refusals), inv->due_ms ? FL_N(inv->due_ms) : FL_NULL,
                        FL_N(inv->started_ms), FL_N(inv->finished_ms), FL_T(inv->trace));

    return r < 0 ? r : 0;
}

int fl_inv_of_stage(struct fl_call *call, const char *command_id, enum fl_stage stage,
                    uint32_t mask, unsigned max, struct fl_inv **ret_list, struct fl_err *err)
{
    struct fl_inv *list = fl_arena_calloc(call->arena, max, sizeof(*list));
    fl_autocursor struct fl_cursor *c = NULL;
    int n = 0;
    int r;

    if (!list)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory for %u invocations", max);
    r = fl_sql_open(call->tx, FL_SQL_invocation_of_stage, &c, err, FL_T(command_id), FL_N(stage),
                    FL_N(mask), FL_N(max));
    if (r < 0)
        return r;
    while ((unsigned)n < max && (r = fl_sql_next(c, err)) > 0) {
        r = read_inv(call, c, &list[n], err);
        if (r < 0)
            return r;
        n++;
    }
    if (r < 0)
        return r;
    *ret_list = list;
    return n;
}

int fl_step_read(struct fl_arena *arena, struct fl_cursor *c, struct fl_step_result *ret_step,
                 struct fl_err *err)
{
    struct fl_step_result s = { .code = fl_sql_int(c, 3),
                                .started_ms = fl_sql_int(c, 4),
                                .finished_ms = fl_sql_int(c, 5) };
    const struct {
        int col;
        char **to;
    } texts[] = {
        { 0, &s.step }, { 1, &s.plugin }, { 2, &s.status },    { 6, &s.output },
        { 7, &s.out },  { 8, &s.err },    { 9, &s.s3_bucket }, { 10, &s.s3_prefix },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++) {
        *texts[i].to = fl_arena_strdup(arena, fl_sql_text(c, texts[i].col));
        if (!*texts[i].to)
            return fl_err_set(err, -ENOMEM, NULL, "out of memory for a step");
    }
    *ret_step = s;
    return 0;
}
