/* sweep.c - what happens to commands by the clock: retries, deadlines, forgetting. */
#include "server/command/engine_priv.h"
#include "server/plane.h"

#include <errno.h>
#include <string.h>

#define COMMANDS_PER_TICK 50
#define ORPHANS_PER_RUN   50
#define RETIRED_PER_RUN   50

/* Up to `max` rows of one or two text columns. */
struct pair {
    char *command_id;
    char *node_id;
};

static int read_pairs(struct fl_engine *e, enum fl_sql sql, const struct fl_sql_arg *args,
                      size_t n_args, bool second, struct pair *out, unsigned max,
                      struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int n = 0;
    int r = fl_sql_open_v(e->call->tx, sql, args, n_args, &c, err);

    if (r < 0)
        return r;
    while ((unsigned)n < max && (r = fl_sql_next(c, err)) > 0) {
        out[n].command_id = fl_arena_strdup(e->call->arena, fl_sql_text(c, 0));
        out[n].node_id = second ? fl_arena_strdup(e->call->arena, fl_sql_text(c, 1)) : NULL;
        if (!out[n].command_id || (second && !out[n].node_id))
            return fl_err_set(err, -ENOMEM, NULL, "out of memory for due commands");
        n++;
    }
    return r < 0 ? r : n;
}

int fl_engine_is_due(struct fl_call *call, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_N(call->now_ms), FL_N(1) };
    int64_t none = -1;

    if (fl_sql_scalar_v(call->tx, FL_SQL_invocation_due_count, args, 1, none, err) > 0)
        return 1;
    return fl_sql_scalar_v(call->tx, FL_SQL_command_due_count, args, 1, none, err) > 0;
}

static int tick_commands(struct fl_engine *e, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_N(e->call->now_ms), FL_N(COMMANDS_PER_TICK) };
    struct pair due[COMMANDS_PER_TICK];
    int n = read_pairs(e, FL_SQL_command_due, args, 2, false, due, COMMANDS_PER_TICK, err);

    for (int i = 0; i < n; i++) {
        struct fl_cmd cmd;
        int r = fl_cmd_load(e->call, due[i].command_id, &cmd, err);

        if (r > 0) {
            cmd.expired = cmd.expired || cmd.expires_ms <= e->call->now_ms;
            r = fl_engine_step(e, &cmd, err);
        }
        if (r < 0)
            return r;
    }
    e->effects.again = e->effects.again || n == COMMANDS_PER_TICK;
    return FL_MIN(n, 0);
}

/* The clock says that this invocation has waited long enough for what its stage waits for. */
static int tick_invocation(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                           struct fl_err *err)
{
    if (inv->stage == FL_STAGE_RELEASED) /* no ack */
        return fl_engine_park(e, cmd, inv, err);
    if (inv->stage == FL_STAGE_PARKED)
        return fl_engine_requeue(e, cmd, inv, err);
    if (inv->state == FL_INV_CANCELLING)
        return fl_engine_event(e, cmd, inv, FL_EV_CANCEL_OVERDUE, err);
    inv->due_ms = 0;
    return fl_inv_save(e->call, inv, err);
}

static int tick_invocations(struct fl_engine *e, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_N(e->call->now_ms), FL_N(FL_ENGINE_BATCH) };
    struct pair *due = fl_arena_calloc(e->call->arena, FL_ENGINE_BATCH, sizeof(*due));
    int n;

    if (!due)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory for due invocations");
    n = read_pairs(e, FL_SQL_invocation_due, args, 2, true, due, FL_ENGINE_BATCH, err);
    for (int i = 0; i < n; i++) {
        struct fl_cmd cmd;
        struct fl_inv inv;
        int r = fl_inv_load(e->call, due[i].command_id, due[i].node_id, &inv, err);

        if (r > 0 && inv.due_ms > 0 && inv.due_ms <= e->call->now_ms)
            r = fl_cmd_load(e->call, due[i].command_id, &cmd, err);
        else
            r = FL_MIN(r, 0); /* an earlier one of this run has moved it */
        if (r > 0) {
            r = tick_invocation(e, &cmd, &inv, err);
            if (r == 0)
                r = fl_engine_step(e, &cmd, err);
        }
        if (r < 0)
            return r;
    }
    e->effects.again = e->effects.again || n == FL_ENGINE_BATCH;
    return FL_MIN(n, 0);
}

int fl_engine_tick(struct fl_engine *e, struct fl_err *err)
{
    int r = tick_commands(e, err);

    return r < 0 ? r : tick_invocations(e, err);
}

int fl_engine_find_orphans(struct fl_engine *e, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_N(ORPHANS_PER_RUN) };
    struct pair gone[ORPHANS_PER_RUN];
    int n = read_pairs(e, FL_SQL_invocation_orphans, args, 1, false, gone, ORPHANS_PER_RUN, err);

    for (int i = 0; i < n; i++) {
        int r = fl_engine_node_gone(e, gone[i].command_id, err); /* the first column: a node */

        if (r < 0)
            return r;
    }
    e->effects.again = e->effects.again || n == ORPHANS_PER_RUN;
    return FL_MIN(n, 0);
}

/* ---- forgetting ---- */

/* Returns how many invocations went, at most FL_ENGINE_BATCH. */
static int retire_one(struct fl_engine *e, const char *command_id, struct fl_err *err)
{
    static const enum fl_sql parts[] = { FL_SQL_invocation_retire_steps, FL_SQL_invocation_retire };
    static const enum fl_sql rest[] = { FL_SQL_command_cancel_retire, FL_SQL_command_job_delete,
                                        FL_SQL_command_state_delete, FL_SQL_command_delete };
    fl_autocursor struct fl_cursor *c = NULL;
    int r, n;

    r = fl_sql_open(e->call->tx, FL_SQL_invocation_retire_states, &c, err, FL_T(command_id),
                    FL_N(FL_ENGINE_BATCH));
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        int64_t state = fl_sql_int(c, 0);

        if (state >= 0 && state < FL_INV__N)
            e->effects.moved[state][FL_INV__N] += (uint32_t)fl_sql_int(c, 1);
    }
    c = fl_sql_close(c);
    for (size_t i = 0; i < FL_ARRAY_LEN(parts) && r >= 0; i++)
        r = fl_sql_exec(e->call->tx, parts[i], err, FL_T(command_id), FL_N(FL_ENGINE_BATCH));
    if (r < 0)
        return r;
    n = r;
    if (n == FL_ENGINE_BATCH) { /* the rest of a large fleet another time */
        e->effects.again = true;
        return n;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(rest) && r >= 0; i++)
        r = fl_sql_exec(e->call->tx, rest[i], err, FL_T(command_id));
    return r < 0 ? r : n;
}

int fl_engine_retire(struct fl_engine *e, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_N(e->call->now_ms - FL_ENGINE_KEEP_MS),
                                       FL_N(RETIRED_PER_RUN) };
    struct pair old[RETIRED_PER_RUN];
    int n = read_pairs(e, FL_SQL_command_retired, args, 2, false, old, RETIRED_PER_RUN, err);
    int gone = 0;

    /* One transaction takes many small commands or part of a large one. */
    for (int i = 0; i < n; i++) {
        int r = gone < FL_ENGINE_BATCH ? retire_one(e, old[i].command_id, err) : 0;

        if (r < 0)
            return r;
        gone += r;
    }
    e->effects.again = e->effects.again || gone >= FL_ENGINE_BATCH;
    e->effects.again = e->effects.again || n == RETIRED_PER_RUN;
    return FL_MIN(n, 0);
}
