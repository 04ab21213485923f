/* service.c - what happens to sessions by the clock alone: starts that take too long, the longest
 * time a session may last, agents that do not come back, ends nobody confirms, forgetting.
 */
#include "common/base/clock.h"
#include "server/api/list.h"
#include "server/command/job.h"
#include "server/http/service.h"
#include "server/session/session.h"

#include <errno.h>
#include <string.h>

#define AT_ONCE    50
#define FORGET_MS  (3600 * 1000)
#define RETRY_MS   1000
#define LONGEST_MS (3600 * 1000) /* between two looks */

struct service {
    struct fl_duty duty;
    int64_t due_ms;    /* wall: of the session that is due next; 0: none */
    int64_t forget_ms; /* monotonic */
    bool busy;         /* reading or writing */
    bool again;        /* and then once more */
};

static void look(void *arg);

/* ---- what is due ---- */

static int tick_run(struct fl_engine *e, void *arg, struct fl_err *err)
{
    struct fl_call *call = e->call;
    fl_autocursor struct fl_cursor *c = NULL;
    char *ids[AT_ONCE];
    int n = 0;
    int r = fl_sql_open(call->tx, FL_SQL_session_due, &c, err, FL_N(call->now_ms), FL_N(AT_ONCE));

    (void)arg;
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0)
        if (!(ids[n++] = fl_arena_strdup(call->arena, fl_sql_text(c, 0))))
            return fl_err_nomem(err);
    for (int i = 0; i < n && r == 0; i++)
        r = fl_session_overdue(call, ids[i], err);
    e->effects.again = n == AT_ONCE;
    return r;
}

static void tick_done(void *arg, int r, bool again)
{
    struct service *s = arg;

    s->busy = false;
    if (!s->duty.stopped && r < 0)
        fl_timer_start(s->duty.timer, RETRY_MS);
    else if (!s->duty.stopped)
        look(s);
    fl_duty_unref(&s->duty);
}

static int forget_run(struct fl_engine *e, void *arg, struct fl_err *err)
{
    int r = fl_sql_exec(e->call->tx, FL_SQL_session_retire, err,
                        FL_N(e->call->now_ms - FL_SESSION_KEEP_MS));

    (void)arg;
    return FL_MIN(r, 0);
}

static int look_run(struct fl_tx *tx, void *arg)
{
    struct service *s = arg;

    s->due_ms = fl_sql_scalar(tx, FL_SQL_session_next_due, 0, NULL);
    return 0;
}

/* Runs `fn` if there is room in the store, else asks again soon. */
static void write_now(struct service *s, fl_engine_job_fn fn)
{
    fl_duty_ref(&s->duty);
    s->busy = true;
    if (fl_engine_submit(s->duty.plane, s->duty.loop, "deadlines of sessions", fn, tick_done, s) ==
        0)
        return;
    s->busy = false;
    fl_duty_unref(&s->duty);
    fl_timer_start(s->duty.timer, RETRY_MS);
}

static void look_done(void *arg, int r)
{
    struct service *s = arg;
    int64_t wait_ms = s->due_ms ? s->due_ms - fl_now_ms() : LONGEST_MS;

    s->busy = false;
    if (s->duty.stopped) {
        fl_duty_unref(&s->duty);
        return;
    }
    if (r < 0) {
        fl_timer_start(s->duty.timer, RETRY_MS);
    } else if (wait_ms <= 0) {
        s->again = false;
        write_now(s, tick_run);
    } else if (fl_mono_ms() >= s->forget_ms) {
        s->forget_ms = fl_mono_ms() + FORGET_MS;
        write_now(s, forget_run);
    } else if (s->again) {
        look(s);
    } else {
        fl_timer_start(s->duty.timer, (uint64_t)FL_MIN(wait_ms, (int64_t)LONGEST_MS));
    }
    fl_duty_unref(&s->duty);
}

static void look(void *arg)
{
    struct service *s = arg;
    struct fl_duty *duty = &s->duty;

    if (s->busy) {
        s->again = true;
        return;
    }
    s->again = false;
    fl_duty_ref(&s->duty);
    s->busy = true;
    if (fl_store_submit(duty->plane->store, FL_LANE_READ, look_run, look_done, s, duty->loop) == 0)
        return;
    s->busy = false;
    fl_duty_unref(&s->duty);
    fl_timer_start(s->duty.timer, RETRY_MS);
}

static void on_due(void *arg, const char *key)
{
    (void)key;
    look(arg);
}

/* ---- a node that is gone ---- */

static int node_gone(struct fl_engine *e, const char *node_id, struct fl_err *err)
{
    int r = fl_session_node_gone(e->call, node_id, err);

    e->effects.again = r > 0;
    return FL_MIN(r, 0);
}

/* Left undone, its agent's connections are closed all the same, and the clock ends the sessions. */
static void on_node_drop(void *arg, const char *node_id)
{
    fl_duty_errand(arg, "sessions of a node", node_gone, node_id);
}

/* ---- the service ---- */

/* Nobody is connected any more; both sides get their time to come back. */
static int restarted(struct fl_engine *e, void *arg, struct fl_err *err)
{
    struct fl_call *call = e->call;
    fl_autocursor struct fl_cursor *c = NULL;
    char **ids = NULL;
    size_t n = 0, cap = 0;
    int r = fl_sql_open(call->tx, FL_SQL_session_open_all, &c, err);

    (void)arg;
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        ids = fl_list_room(call->arena, ids, n, &cap, sizeof(*ids));
        if (!ids || !(ids[n++] = fl_arena_strdup(call->arena, fl_sql_text(c, 0))))
            return fl_err_nomem(err);
    }
    for (size_t i = 0; i < n && r >= 0; i++)
        r = fl_session_restarted(call, ids[i], err);
    return FL_MIN(r, 0);
}

static int begin(void *state)
{
    struct service *s = state;

    return fl_engine_run(s->duty.plane, 0, restarted, NULL, NULL);
}

static const struct fl_service_hint hints[] = {
    { FL_SUBJECT_SESSION_DUE, on_due },
    { FL_SUBJECT_NODE_DROP, on_node_drop },
    { NULL, NULL },
};

const struct fl_service fl_service_sessions = {
    .name = "sessions",
    .state_bytes = sizeof(struct service),
    .begin = begin,
    .on_timer = look,
    .hints = hints,
};
