/* fanout.c - which nodes a command goes to, and whole-node and whole-command events. */
#include "server/command/engine_priv.h"
#include "server/api/list.h"
#include "server/api/node_filters.h"
#include "server/plane.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

struct targets_row {
    char *account, *region;
    int64_t requested_ms;
    struct fl_target *targets;
    size_t n_targets;
    struct fl_strs platforms;
    char *max_concurrency, *max_errors;
};

#define F(member, key) FL_FIELD(struct targets_row, member, key, 0)
static const struct fl_field targets_row_fields[] = {
    F(account, "Account"),
    F(region, "Region"),
    F(requested_ms, "RequestedMs"),
    FL_FIELD_LIST(struct targets_row, targets, n_targets, "Targets", 0, &fl_target_shape),
    F(platforms, "Platforms"),
    F(max_concurrency, "MaxConcurrency"),
    F(max_errors, "MaxErrors"),
};
#undef F
static const struct fl_shape targets_row_shape =
    FL_SHAPE(struct targets_row, "Command", targets_row_fields);

struct found {
    char *node_id;
    bool wrong_platform;
};

struct collect {
    struct fl_call *call;
    const struct fl_strs *platforms;
    struct found *v;
    size_t n, cap;
};

static bool runs_on(const struct fl_strs *platforms, const char *platform)
{
    if (!platform || !*platform || platforms->n == 0) /* a node that has not said what it is */
        return true;
    for (size_t i = 0; i < platforms->n; i++)
        if (strcasecmp(platforms->v[i], platform) == 0)
            return true;
    return false;
}

/* Ids are gathered first and written afterwards: the cursor that walks the nodes is then closed. */
static int collect_node(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct collect *c = arg;
    struct found *room = fl_list_room(c->call->arena, c->v, c->n, &c->cap, sizeof(*room));

    if (!room)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory for targets");
    c->v = room;
    room[c->n].node_id = fl_arena_strdup(c->call->arena, fl_sql_text(row, FL_NODE_ID));
    if (!room[c->n].node_id)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory for targets");
    room[c->n].wrong_platform = !runs_on(c->platforms, fl_sql_text(row, FL_NODE_PLATFORM_TYPE));
    return ++c->n >= FL_ENGINE_BATCH;
}

static int add_invocation(struct fl_engine *e, struct fl_cmd *cmd, const struct targets_row *row,
                          const char *node_id, bool wrong_platform, struct fl_err *err)
{
    enum fl_inv_state state = wrong_platform ? FL_INV_INVALID_PLATFORM : FL_INV_PENDING;
    enum fl_stage stage = wrong_platform ? FL_STAGE_DONE : FL_STAGE_QUEUED;
    int r = fl_sql_exec(e->call->tx, FL_SQL_invocation_insert, err, FL_T(cmd->id), FL_T(node_id),
                        FL_T(row->account), FL_T(row->region), FL_N(fl_cmd_targets(&cmd->counts)),
                        FL_N(row->requested_ms), FL_N(stage), FL_N(state),
                        FL_N(wrong_platform ? e->call->now_ms : 0));

    if (r <= 0)
        return r; /* 0: was there already */
    cmd->counts.n[state]++;
    cmd->counts.stage[stage]++;
    e->effects.moved[FL_INV__N][state]++;
    return 0;
}

/* The set of targets is complete: percentages get their meaning. */
static void fix_targets(struct fl_cmd *cmd, const char *max_concurrency, const char *max_errors)
{
    int64_t n = fl_cmd_targets(&cmd->counts);

    cmd->counts.resolved = true;
    cmd->rate_limit = fl_rate_number(max_concurrency, n, 1);
    cmd->counts.max_errors = fl_rate_number(max_errors, n, 0);
}

/* Whether `n` more invocations would pass the limit of open ones. */
static int over_limit(struct fl_engine *e, int64_t n, struct fl_err *err)
{
    int64_t open = fl_sql_scalar_v(e->call->tx, FL_SQL_command_open_invocations, NULL, 0, -1, err);

    return open < 0 ? -EIO : open + n > FL_ENGINE_MAX_OPEN;
}

int fl_engine_resolve(struct fl_engine *e, struct fl_cmd *cmd, bool *ret_more, struct fl_err *err)
{
    struct targets_row row = { 0 };
    struct collect c = { .call = e->call, .platforms = &row.platforms };
    int r;

    if (cmd->counts.cancelled || cmd->expired) {
        cmd->counts.resolved = true;
        return 0;
    }
    r = fl_sql_one(e->call->tx, FL_SQL_command_targets, &targets_row_shape, e->call->arena, &row,
                   err, FL_T(cmd->id));
    if (r <= 0)
        return r < 0 ? r : fl_err_set(err, -ENOENT, NULL, "command %s: row is missing", cmd->id);
    e->call->account = row.account;
    e->call->region = row.region;

    r = fl_targets_resolve(e->call, row.targets, row.n_targets,
                           *cmd->resolve_after ? cmd->resolve_after : NULL, collect_node, &c, err);
    if (r < 0)
        return r;
    *ret_more = r > 0;
    r = over_limit(e, (int64_t)c.n, err);
    if (r < 0)
        return r;
    if (r > 0) {
        *ret_more = false;
        cmd->counts.limit_exceeded = true;
        c.n = 0;
    }
    for (size_t i = 0; i < c.n; i++) {
        r = add_invocation(e, cmd, &row, c.v[i].node_id, c.v[i].wrong_platform, err);
        if (r < 0)
            return r;
    }
    if (c.n > 0)
        cmd->resolve_after = c.v[c.n - 1].node_id;
    if (!*ret_more)
        fix_targets(cmd, row.max_concurrency, row.max_errors);
    return 0;
}

int fl_engine_start(struct fl_engine *e, const struct fl_engine_start *start, struct fl_err *err)
{
    const struct targets_row row = { .account = (char *)e->call->account,
                                     .region = (char *)e->call->region,
                                     .requested_ms = e->call->now_ms };
    char empty[] = "";
    struct fl_cmd cmd = { .id = (char *)start->command_id,
                          .expires_ms = start->expires_ms,
                          .resolve_after = empty,
                          .ramp = 1,
                          .wake = start->node_ids.n == 0 };
    int r;

    r = over_limit(e, (int64_t)start->node_ids.n, err);
    if (r < 0)
        return r;
    cmd.counts.limit_exceeded = r > 0;
    for (size_t i = 0; i < start->node_ids.n && !cmd.counts.limit_exceeded; i++) {
        r = add_invocation(e, &cmd, &row, start->node_ids.v[i], false, err);
        if (r < 0)
            return r;
    }
    if (start->node_ids.n > 0 || cmd.counts.limit_exceeded)
        fix_targets(&cmd, start->max_concurrency, start->max_errors);
    cmd.state = fl_cmd_evaluate(&cmd.counts);
    r = fl_cmd_insert(e->call, &cmd, err);
    if (r < 0)
        return r;
    return cmd.counts.resolved ? fl_engine_step(e, &cmd, err)
                               : fl_engine_wake(e, start->command_id);
}

int fl_engine_cancel(struct fl_engine *e, const char *command_id, const struct fl_strs *node_ids,
                     struct fl_err *err)
{
    struct fl_cmd cmd;
    int r = fl_cmd_load(e->call, command_id, &cmd, err);

    if (r <= 0 || fl_cmd_info[cmd.state].terminal)
        return FL_MIN(r, 0);
    if (node_ids->n == 0)
        cmd.counts.cancelled = true;
    for (size_t i = 0; i < node_ids->n; i++) {
        struct fl_inv inv;

        r = fl_inv_load(e->call, command_id, node_ids->v[i], &inv, err);
        if (r > 0)
            r = fl_engine_event(e, &cmd, &inv, fl_engine_choose_cancel(&inv), err);
        if (r < 0)
            return r;
    }
    return fl_engine_step(e, &cmd, err);
}

/* ---- a node comes or goes ---- */

/* Commands that have an invocation of the node in `stage`; at most FL_ENGINE_BATCH. */
static int commands_of_node(struct fl_engine *e, const char *node_id, enum fl_stage stage,
                            char ***ret_ids, struct fl_err *err)
{
    char **ids = fl_arena_calloc(e->call->arena, FL_ENGINE_BATCH, sizeof(*ids));
    fl_autocursor struct fl_cursor *c = NULL;
    int n = 0;
    int r;

    if (!ids)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory for commands of %s", node_id);
    r = fl_sql_open(e->call->tx, FL_SQL_invocation_commands_of_node, &c, err, FL_T(node_id),
                    FL_N(stage), FL_N(FL_ENGINE_BATCH));
    if (r < 0)
        return r;
    while (n < FL_ENGINE_BATCH && (r = fl_sql_next(c, err)) > 0) {
        ids[n] = fl_arena_strdup(e->call->arena, fl_sql_text(c, 0));
        if (!ids[n++])
            return fl_err_set(err, -ENOMEM, NULL, "out of memory for commands of %s", node_id);
    }
    *ret_ids = ids;
    return r < 0 ? r : n;
}

/* Does one thing to every invocation the node has in `stage`. */
static int for_node(struct fl_engine *e, const char *node_id, enum fl_stage stage,
                    int (*fn)(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                              struct fl_err *err),
                    struct fl_err *err)
{
    char **ids = NULL;
    int n = commands_of_node(e, node_id, stage, &ids, err);

    for (int i = 0; i < n; i++) {
        struct fl_cmd cmd;
        struct fl_inv inv;
        int r = fl_inv_load(e->call, ids[i], node_id, &inv, err);

        if (r > 0)
            r = fl_cmd_load(e->call, ids[i], &cmd, err);
        if (r > 0)
            r = fn(e, &cmd, &inv, err);
        if (r == 0)
            r = fl_engine_step(e, &cmd, err);
        if (r < 0)
            return r;
    }
    e->effects.again = e->effects.again || n == FL_ENGINE_BATCH;
    return FL_MIN(n, 0);
}

int fl_engine_connected(struct fl_engine *e, const char *node_id, struct fl_err *err)
{
    return for_node(e, node_id, FL_STAGE_PARKED, fl_engine_requeue, err);
}

static int is_gone(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv, struct fl_err *err)
{
    return fl_engine_event(e, cmd, inv, FL_EV_GONE, err);
}

int fl_engine_node_gone(struct fl_engine *e, const char *node_id, struct fl_err *err)
{
    static const enum fl_stage stages[] = { FL_STAGE_QUEUED, FL_STAGE_RELEASED, FL_STAGE_PARKED };

    for (size_t i = 0; i < FL_ARRAY_LEN(stages); i++) {
        int r = for_node(e, node_id, stages[i], is_gone, err);

        if (r < 0)
            return r;
    }
    return 0;
}
