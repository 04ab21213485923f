/* engine.c - see engine.h. Here: one invocation at a time, and a command's next step. */
#include "server/command/engine.h"
#include "server/command/engine_priv.h"
#include "common/base/rand.h"
#include "common/wire/control.h"
#include "server/plane.h"

#include <errno.h>
#include <string.h>

#define BIT(state) (1u << (state))
#define RUNNING    (BIT(FL_INV_PENDING) | BIT(FL_INV_DELAYED) | BIT(FL_INV_IN_PROGRESS))

int fl_engine_wake(struct fl_engine *e, const char *command_id)
{
    return fl_call_publish(e->call, FL_SUBJECT_COMMAND_WORK, command_id);
}

static int tell_node(struct fl_engine *e, const char *node_id)
{
    return fl_call_publish(e->call, FL_SUBJECT_NODE_WORK, node_id);
}

void fl_engine_count(struct fl_plane *plane, const struct fl_engine_effects *effects)
{
    for (int from = 0; from <= FL_INV__N; from++)
        for (int to = 0; to <= FL_INV__N; to++)
            for (uint32_t i = 0; i < effects->moved[from][to]; i++)
                fl_metrics_invocation(plane->metrics,
                                      from < FL_INV__N ? fl_inv_info[from].details : NULL,
                                      to < FL_INV__N ? fl_inv_info[to].details : NULL);
}

/* ---- one invocation ---- */

/* Writes the invocation and keeps the command's counts. */
static int move(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                enum fl_inv_state state, enum fl_stage stage, int64_t due_ms, struct fl_err *err)
{
    if (state != inv->state) {
        cmd->counts.n[inv->state]--;
        cmd->counts.n[state]++;
        e->effects.moved[inv->state][state]++;
    }
    cmd->counts.stage[inv->stage]--;
    cmd->counts.stage[stage]++;
    if (stage == FL_STAGE_DELIVERED && inv->started_ms == 0)
        inv->started_ms = e->call->now_ms;
    if (stage == FL_STAGE_DONE && inv->finished_ms == 0)
        inv->finished_ms = e->call->now_ms;
    inv->state = state;
    inv->stage = stage;
    inv->due_ms = due_ms;
    return fl_inv_save(e->call, inv, err);
}

static bool connected(const struct fl_engine *e, const char *node_id)
{
    return fl_presence_connected(e->call->plane->presence, node_id);
}

static int release(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv, struct fl_err *err)
{
    int r;

    inv->releases++;
    r = move(e, cmd, inv, inv->state, FL_STAGE_RELEASED, e->call->now_ms + FL_ENGINE_ACK_WAIT_MS,
             err);
    return r < 0 ? r : tell_node(e, inv->node_id);
}

/* Gives back the slot. A node that is not connected wakes its invocations itself when it comes; one
 * that is connected and silent is tried again later. */
static int park(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv, struct fl_err *err)
{
    return move(e, cmd, inv, fl_inv_next(inv->state, FL_EV_UNREACHABLE), FL_STAGE_PARKED,
                connected(e, inv->node_id) ? e->call->now_ms + FL_ENGINE_RETRY_MS : 0, err);
}

int fl_engine_requeue(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                      struct fl_err *err)
{
    return move(e, cmd, inv, inv->state, FL_STAGE_QUEUED, 0, err);
}

int fl_engine_park(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv, struct fl_err *err)
{
    return park(e, cmd, inv, err);
}

/* The agent did not take the job: as if it had never been sent. */
static int take_back(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                     struct fl_err *err)
{
    inv->releases = 0;
    return move(e, cmd, inv, inv->state, FL_STAGE_PARKED, e->call->now_ms + FL_ENGINE_BUSY_MS, err);
}

static int send_cancel(struct fl_engine *e, const struct fl_inv *inv, struct fl_err *err)
{
    char id[FL_UUID_BYTES];
    int r;

    fl_uuid4(id); /* its own: the target's would overwrite the target's state on the node */
    r = fl_sql_exec(e->call->tx, FL_SQL_command_cancel_put, err, FL_T(inv->node_id),
                    FL_T(inv->command_id), FL_T(id));
    return r < 0 ? r : tell_node(e, inv->node_id);
}

static int drop_cancel(struct fl_engine *e, const struct fl_inv *inv, struct fl_err *err)
{
    int r = fl_sql_exec(e->call->tx, FL_SQL_command_cancel_delete, err, FL_T(inv->node_id),
                        FL_T(inv->command_id));

    return r < 0 ? r : 0;
}

int fl_engine_event(struct fl_engine *e, struct fl_cmd *cmd, struct fl_inv *inv,
                    enum fl_inv_event event, struct fl_err *err)
{
    enum fl_inv_state to = fl_inv_next(inv->state, event);
    bool was_cancelling = inv->state == FL_INV_CANCELLING;
    int r;

    if (to == inv->state) {
        if (event == FL_EV_NOT_TAKEN && inv->stage == FL_STAGE_RELEASED)
            return take_back(e, cmd, inv, err);
        return 0;
    }
    if (to == FL_INV_CANCELLING) {
        r = move(e, cmd, inv, to, FL_STAGE_DELIVERED, e->call->now_ms + FL_ENGINE_CANCEL_WAIT_MS,
                 err);
        return r < 0 ? r : send_cancel(e, inv, err);
    }
    if (!fl_inv_info[to].terminal)
        return move(e, cmd, inv, to, FL_STAGE_DELIVERED, 0, err);

    /* After a timeout the cancel stays to be sent: the node may come back with the job running. */
    if (was_cancelling && event != FL_EV_CANCEL_OVERDUE) {
        r = drop_cancel(e, inv, err);
        if (r < 0)
            return r;
    }
    return move(e, cmd, inv, to, FL_STAGE_DONE, 0, err);
}

/* ---- a command's next step; each part takes from the budget ---- */
struct step {
    struct fl_engine *e;
    struct fl_cmd *cmd;
    unsigned budget;
    bool more;
};

typedef enum fl_inv_event (*choose_fn)(const struct fl_inv *inv);

static enum fl_inv_event choose_expired(const struct fl_inv *inv)
{
    (void)inv;
    return FL_EV_EXPIRED;
}

static enum fl_inv_event choose_stopped(const struct fl_inv *inv)
{
    (void)inv;
    return FL_EV_STOPPED;
}

enum fl_inv_event fl_engine_choose_cancel(const struct fl_inv *inv)
{
    /* What was once handed to a channel may be on the node although its ack is not here. */
    bool unsent = inv->stage == FL_STAGE_QUEUED || inv->stage == FL_STAGE_PARKED;

    return unsent && inv->releases == 0 ? FL_EV_CANCEL_UNSENT : FL_EV_CANCEL_SENT;
}

/* Applies an event to the invocations of one stage that are in a state of `mask`. */
static int sweep_stage(struct step *s, enum fl_stage stage, uint32_t mask, choose_fn choose,
                       struct fl_err *err)
{
    struct fl_inv *list;
    int n;

    if (s->cmd->counts.stage[stage] == 0)
        return 0;
    if (s->budget == 0) {
        s->more = true;
        return 0;
    }
    n = fl_inv_of_stage(s->e->call, s->cmd->id, stage, mask, s->budget, &list, err);
    if (n < 0)
        return n;
    s->more = s->more || (unsigned)n == s->budget;
    s->budget -= (unsigned)n;
    for (int i = 0; i < n; i++) {
        int r = fl_engine_event(s->e, s->cmd, &list[i], choose(&list[i]), err);

        if (r < 0)
            return r;
    }
    return 0;
}

/* True if any invocation is in a state of `mask`; spares walking those that were swept before. */
static bool any_in(const struct fl_cmd_counts *c, uint32_t mask)
{
    for (int state = 0; state < FL_INV__N; state++)
        if ((mask & BIT(state)) && c->n[state] > 0)
            return true;
    return false;
}

static int sweep(struct step *s, unsigned stages, uint32_t mask, choose_fn choose,
                 struct fl_err *err)
{
    if (!any_in(&s->cmd->counts, mask))
        return 0;
    for (int stage = 0; stage < FL_STAGE_DONE; stage++) {
        int r = (stages & BIT(stage)) ? sweep_stage(s, (enum fl_stage)stage, mask, choose, err) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

static int pump(struct step *s, struct fl_err *err)
{
    struct fl_cmd *cmd = s->cmd;

    while (cmd->counts.stage[FL_STAGE_QUEUED] > 0) {
        struct fl_rate rate = {
            .limit = cmd->rate_limit,
            .running = cmd->counts.stage[FL_STAGE_RELEASED] + cmd->counts.stage[FL_STAGE_DELIVERED],
            .unacked = cmd->counts.stage[FL_STAGE_RELEASED],
            .ramp = cmd->ramp,
        };
        int64_t want = fl_rate_next(&rate);
        struct fl_inv *list;
        bool released = false;
        int n;

        if (want == 0)
            return 0;
        if (s->budget == 0) {
            s->more = true;
            return 0;
        }
        n = fl_inv_of_stage(s->e->call, cmd->id, FL_STAGE_QUEUED, FL_INV_ANY_STATE,
                            (unsigned)FL_MIN(want, s->budget), &list, err);
        if (n <= 0)
            return n;
        s->budget -= (unsigned)n;
        for (int i = 0; i < n; i++) {
            bool up = connected(s->e, list[i].node_id);
            int r = up ? release(s->e, cmd, &list[i], err) : park(s->e, cmd, &list[i], err);

            if (r < 0)
                return r;
            released = released || up;
        }
        if (released) /* nodes that are away are no batch */
            cmd->ramp = rate.ramp;
    }
    return 0;
}

int fl_engine_step(struct fl_engine *e, struct fl_cmd *cmd, struct fl_err *err)
{
    const unsigned unsent = BIT(FL_STAGE_QUEUED) | BIT(FL_STAGE_PARKED);
    struct step s = { e, cmd, FL_ENGINE_BATCH, false };
    struct fl_cmd_counts *c = &cmd->counts;
    int r = 0;

    if (!c->resolved)
        r = fl_engine_resolve(e, cmd, &s.more, err);
    if (r == 0 && c->cancelled)
        r = sweep(&s, ~0u, RUNNING, fl_engine_choose_cancel, err);
    if (r == 0 && cmd->expired)
        r = sweep(&s, ~0u, RUNNING, choose_expired, err);
    cmd->stopped = cmd->stopped || c->limit_exceeded || fl_cmd_errors(c) > c->max_errors;
    if (r == 0 && cmd->stopped)
        r = sweep(&s, unsent, RUNNING, choose_stopped, err);
    else if (r == 0 && c->resolved && !c->cancelled && !cmd->expired)
        r = pump(&s, err);
    if (r < 0)
        return r;

    cmd->wake = s.more;
    cmd->state = fl_cmd_evaluate(c);
    r = fl_cmd_save(e->call, cmd, err);
    if (r < 0 || !cmd->wake)
        return r;
    return fl_engine_wake(e, cmd->id);
}

int fl_engine_advance(struct fl_engine *e, const char *command_id, struct fl_err *err)
{
    struct fl_cmd cmd;
    int r = fl_cmd_load(e->call, command_id, &cmd, err);

    return r <= 0 ? r : fl_engine_step(e, &cmd, err);
}

/* ---- what nodes say ---- */
int fl_engine_ack(struct fl_engine *e, const char *node_id, const char *job_id, const char *code,
                  struct fl_err *err)
{
    char id[FL_UUID_BYTES];
    enum fl_inv_event event;
    struct fl_inv inv;
    struct fl_cmd cmd;
    int r;

    if (fl_job_command_id(job_id, id, sizeof(id)) < 0)
        return 0; /* none of ours */
    r = fl_inv_load(e->call, id, node_id, &inv, err);
    if (r < 0)
        return r;
    if (r == 0) { /* a cancel job: taken unless the agent wants it again */
        if (fl_ack_event(code, FL_ACK_MAX_REFUSALS) == FL_EV_NOT_TAKEN)
            return 0;
        r = fl_sql_exec(e->call->tx, FL_SQL_command_cancel_acked, err, FL_T(node_id), FL_T(id));
        return r < 0 ? r : 0;
    }
    event = fl_ack_event(code, inv.refusals);
    if (fl_inv_next(inv.state, event) == inv.state &&
        (event != FL_EV_NOT_TAKEN || inv.stage != FL_STAGE_RELEASED))
        return 0; /* late or repeated */
    r = fl_cmd_load(e->call, id, &cmd, err);
    if (r <= 0)
        return r;
    if (fl_ack_is_retryable(code))
        inv.refusals++;
    r = fl_engine_event(e, &cmd, &inv, event, err);
    return r < 0 ? r : fl_engine_step(e, &cmd, err);
}

static int load_step(struct fl_call *call, const struct fl_inv *inv, const char *step,
                     struct fl_step_result *ret_step, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(call->tx, FL_SQL_step_get, &c, err, FL_T(inv->command_id),
                        FL_T(inv->node_id), FL_T(step));

    if (r < 0)
        return r;
    r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    r = fl_step_read(call->arena, c, ret_step, err);
    return r < 0 ? r : 1;
}

static int merge_step(struct fl_engine *e, const struct fl_inv *inv, struct fl_step_result *s,
                      struct fl_err *err)
{
    struct fl_step_result old;
    int r = load_step(e->call, inv, s->step, &old, err);

    fl_step_come_late(s, inv->state);
    if (r < 0)
        return r;
    if (r > 0) {
        bool ended;

        /* What ended with its invocation stays as it was seen; a step that the final reply overtook
         * is still filled in. */
        fl_inv_state_of_step(old.status, &ended);
        if ((ended && fl_inv_info[inv->state].terminal) || !fl_step_replaces(&old, s))
            return 0;
    }
    if (r == 0 &&
        fl_sql_scalar_v(e->call->tx, FL_SQL_step_count,
                        (const struct fl_sql_arg[]){ FL_T(inv->command_id), FL_T(inv->node_id) }, 2,
                        0, NULL) >= FL_REPLY_MAX_STEPS)
        return 0;
    r = fl_sql_exec(e->call->tx, FL_SQL_step_put, err, FL_T(inv->command_id), FL_T(inv->node_id),
                    FL_T(s->step), FL_T(s->plugin), FL_T(s->status), FL_N(s->code),
                    FL_N(s->started_ms), FL_N(s->finished_ms), FL_T(s->output), FL_T(s->out),
                    FL_T(s->err), FL_T(s->s3_bucket), FL_T(s->s3_prefix));
    return r < 0 ? r : 0;
}

int fl_engine_reply(struct fl_engine *e, const char *node_id, const struct fl_reply *reply,
                    struct fl_err *err)
{
    char id[FL_UUID_BYTES];
    struct fl_inv inv;
    struct fl_cmd cmd;
    bool new_trace;
    int r;

    /* Nothing is done with what is said about a cancel job; its ack has told all there is. */
    if (reply->cancel || fl_job_command_id(reply->job_id, id, sizeof(id)) < 0)
        return 0;
    r = fl_inv_load(e->call, id, node_id, &inv, err);
    if (r <= 0)
        return r;
    for (size_t i = 0; i < reply->n_steps; i++) {
        r = merge_step(e, &inv, &reply->steps[i], err);
        if (r < 0)
            return r;
    }
    new_trace = *reply->trace && !(inv.trace && *inv.trace);
    if (new_trace)
        inv.trace = reply->trace;
    if (fl_inv_next(inv.state, reply->event) == inv.state)
        return new_trace ? fl_inv_save(e->call, &inv, err) : 0;

    r = fl_cmd_load(e->call, id, &cmd, err);
    if (r <= 0)
        return r;
    r = fl_engine_event(e, &cmd, &inv, reply->event, err);
    return r < 0 ? r : fl_engine_step(e, &cmd, err);
}
