/* service.c - what happens to sessions by the clock alone: starts that take too long, the longest
 * time a session may last, agents that do not come back, ends nobody confirms, forgetting.
 */
#include "common/base/clock.h"
#include "server/api/list.h"
#include "server/command/job.h"
#include "server/http/route.h"
#include "server/session/session.h"

#include <errno.h>
#include <string.h>

#define AT_ONCE    50
#define FORGET_MS  (3600 * 1000)
#define RETRY_MS   1000
#define LONGEST_MS (3600 * 1000) /* between two looks */

struct service {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_timer *timer;
    int64_t due_ms;    /* wall: of the session that is due next; 0: none */
    int64_t forget_ms; /* monotonic */
    unsigned refs;     /* work on its way, and one for the owner */
    bool busy;         /* reading or writing */
    bool again;        /* and then once more */
    bool stopped;
};

static void unref(struct service *s)
{
    if (--s->refs == 0)
        free(s);
}

static void look(struct service *s);

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
    if (!s->stopped && r < 0)
        fl_timer_start(s->timer, RETRY_MS);
    else if (!s->stopped)
        look(s);
    unref(s);
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
    s->refs++;
    s->busy = true;
    if (fl_engine_submit(s->plane, s->loop, "deadlines of sessions", fn, tick_done, s) == 0)
        return;
    s->busy = false;
    s->refs--;
    fl_timer_start(s->timer, RETRY_MS);
}

static void look_done(void *arg, int r)
{
    struct service *s = arg;
    int64_t wait_ms = s->due_ms ? s->due_ms - fl_now_ms() : LONGEST_MS;

    s->busy = false;
    if (s->stopped) {
        unref(s);
        return;
    }
    if (r < 0) {
        fl_timer_start(s->timer, RETRY_MS);
    } else if (wait_ms <= 0) {
        s->again = false;
        write_now(s, tick_run);
    } else if (fl_mono_ms() >= s->forget_ms) {
        s->forget_ms = fl_mono_ms() + FORGET_MS;
        write_now(s, forget_run);
    } else if (s->again) {
        look(s);
    } else {
        fl_timer_start(s->timer, (uint64_t)FL_MIN(wait_ms, (int64_t)LONGEST_MS));
    }
    unref(s);
}

static void look(struct service *s)
{
    if (s->busy) {
        s->again = true;
        return;
    }
    s->again = false;
    s->refs++;
    s->busy = true;
    if (fl_store_submit(s->plane->store, FL_LANE_READ, look_run, look_done, s, s->loop) == 0)
        return;
    s->busy = false;
    s->refs--;
    fl_timer_start(s->timer, RETRY_MS);
}

static void on_timer(void *arg)
{
    look(arg);
}

static void on_due(void *arg, const char *key)
{
    (void)key;
    look(arg);
}

/* ---- a node that is gone ---- */

struct gone {
    struct service *s;
    char node_id[];
};

static void end_sessions_of(struct service *s, const char *node_id);

static int gone_run(struct fl_engine *e, void *arg, struct fl_err *err)
{
    struct gone *g = arg;
    int r = fl_session_node_gone(e->call, g->node_id, err);

    e->effects.again = r > 0;
    return FL_MIN(r, 0);
}

static void gone_done(void *arg, int r, bool again)
{
    struct gone *g = arg;
    struct service *s = g->s;

    if (again && !s->stopped)
        end_sessions_of(s, g->node_id);
    free(g);
    unref(s);
}

/* Left undone, its agent's connections are closed all the same, and the clock ends the sessions. */
static void end_sessions_of(struct service *s, const char *node_id)
{
    size_t len = strlen(node_id) + 1;
    struct gone *g = malloc(sizeof(*g) + len);

    if (!g)
        return;
    g->s = s;
    memcpy(g->node_id, node_id, len);
    s->refs++;
    if (fl_engine_submit(s->plane, s->loop, "sessions of a node", gone_run, gone_done, g) == 0)
        return;
    s->refs--;
    free(g);
}

static void on_node_drop(void *arg, const char *node_id)
{
    end_sessions_of(arg, node_id);
}

/* ---- start and stop ---- */

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

static void service_stop(void *state)
{
    struct service *s = state;

    s->stopped = true;
    s->timer = fl_timer_free(s->timer);
    unref(s);
}

static int service_start(struct fl_plane *plane, struct fl_loop *loop, void **ret_state,
                         struct fl_err *err)
{
    struct service *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return fl_err_nomem(err);
    *s = (struct service){ .plane = plane, .loop = loop, .refs = 1 };
    s->timer = fl_timer_new(loop, on_timer, s);
    r = s->timer ? fl_engine_run(plane, 0, restarted, NULL, NULL) : -ENOMEM;
    if (r == 0)
        r = fl_bus_subscribe(plane->bus, FL_SUBJECT_SESSION_DUE, loop, on_due, s);
    if (r == 0)
        r = fl_bus_subscribe(plane->bus, FL_SUBJECT_NODE_DROP, loop, on_node_drop, s);
    if (r < 0) {
        service_stop(s);
        return fl_err_set(err, r, NULL, "sessions: %s", strerror(-r));
    }
    fl_timer_start(s->timer, 0);
    *ret_state = s;
    return 0;
}

const struct fl_service fl_service_sessions = {
    .name = "sessions",
    .start = service_start,
    .stop = service_stop,
};
