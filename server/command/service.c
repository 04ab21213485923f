/* service.c - the part of Run Command that belongs to no request: deadlines, retries, large fleets.
 *
 * Everything it does follows from the store; a hint that is lost is made up for by the clock.
 */
#include "server/http/route.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/call.h"
#include "server/command/job.h"

#include <errno.h>
#include <string.h>

#define TICK_MS       1000
#define SLOW_EVERY_MS (3600 * 1000) /* forgetting old commands, finding deregistered nodes */
#define FIRST_SLOW_MS 2000

struct service {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_timer *timer;
    int64_t next_slow_ms; /* monotonic */
    unsigned refs;        /* calls that are on their way, and one for the owner */
    bool ticking;         /* the read or the write of a tick is on its way */
    bool due;
    bool stopped;
};

static void unref(struct service *s)
{
    if (--s->refs == 0)
        free(s);
}

/* ---- one call of the engine about a command or a node ---- */
struct errand {
    struct service *s;
    int (*fn)(struct fl_engine *e, const char *key, struct fl_err *err);
    char key[];
};

static int run_errand(struct fl_engine *e, void *arg, struct fl_err *err)
{
    struct errand *x = arg;

    return x->fn(e, x->key, err);
}

static void start_errand(struct service *s,
                         int (*fn)(struct fl_engine *e, const char *key, struct fl_err *err),
                         const char *key);

static void errand_done(void *arg, int r, bool again)
{
    struct errand *x = arg;
    struct service *s = x->s;

    if (r == 0 && again && !s->stopped)
        start_errand(s, x->fn, x->key);
    free(x);
    unref(s);
}

static void start_errand(struct service *s,
                         int (*fn)(struct fl_engine *e, const char *key, struct fl_err *err),
                         const char *key)
{
    size_t len = strlen(key) + 1;
    struct errand *x = malloc(sizeof(*x) + len);

    if (x) {
        x->s = s;
        x->fn = fn;
        memcpy(x->key, key, len);
        s->refs++;
        if (fl_engine_submit(s->plane, s->loop, "errand", run_errand, errand_done, x) == 0)
            return;
        s->refs--;
        free(x);
    }
    s->next_slow_ms = 0; /* what the hint was about is found by looking for it */
}

static void on_command_work(void *arg, const char *command_id)
{
    start_errand(arg, fl_engine_advance, command_id);
}

static void on_node_drop(void *arg, const char *node_id)
{
    start_errand(arg, fl_engine_node_gone, node_id);
}

static int find_orphans(struct fl_engine *e, const char *key, struct fl_err *err)
{
    (void)key;
    return fl_engine_find_orphans(e, err);
}

static int retire(struct fl_engine *e, const char *key, struct fl_err *err)
{
    (void)key;
    return fl_engine_retire(e, err);
}

/* ---- the clock ---- */
static int tick_write(struct fl_engine *e, void *arg, struct fl_err *err)
{
    (void)arg;
    return fl_engine_tick(e, err);
}

static void tick_written(void *arg, int r, bool again)
{
    struct service *s = arg;

    s->ticking = false;
    if (!s->stopped)
        fl_timer_start(s->timer, r == 0 && again ? 0 : TICK_MS);
    unref(s);
}

/* Looks in the read lane first: an idle plane writes nothing. */
static int tick_read(struct fl_tx *tx, void *arg)
{
    struct service *s = arg;
    struct fl_call call = { .plane = s->plane, .tx = tx, .now_ms = fl_now_ms() };

    s->due = fl_engine_is_due(&call, NULL) > 0;
    return 0;
}

static void tick_read_done(void *arg, int r)
{
    struct service *s = arg;

    if (!s->stopped && r == 0 && s->due &&
        fl_engine_submit(s->plane, s->loop, "deadlines", tick_write, tick_written, s) == 0)
        return;
    s->ticking = false;
    if (!s->stopped)
        fl_timer_start(s->timer, TICK_MS);
    unref(s);
}

static void on_timer(void *arg)
{
    struct service *s = arg;

    if (fl_mono_ms() >= s->next_slow_ms) {
        s->next_slow_ms = fl_mono_ms() + SLOW_EVERY_MS;
        start_errand(s, find_orphans, "");
        start_errand(s, retire, "");
    }
    s->ticking = true;
    s->refs++;
    if (fl_store_submit(s->plane->store, FL_LANE_READ, tick_read, tick_read_done, s, s->loop) == 0)
        return;
    s->ticking = false;
    s->refs--;
    fl_timer_start(s->timer, TICK_MS);
}

/* ---- start and stop ---- */

/* Gauges count from what the store holds. */
static int seed_metrics(struct fl_tx *tx, void *arg)
{
    struct service *s = arg;
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_engine_effects effects = { 0 };
    int r = fl_sql_open(tx, FL_SQL_invocation_states, &c, NULL);

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        int64_t state = fl_sql_int(c, 0);

        if (state >= 0 && state < FL_INV__N)
            effects.moved[FL_INV__N][state] = (uint32_t)fl_sql_int(c, 1);
    }
    if (r == 0)
        fl_engine_count(s->plane, &effects);
    return r;
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
    r = s->timer ? fl_store_run(plane->store, FL_LANE_READ, seed_metrics, s) : -ENOMEM;
    if (r == 0)
        r = fl_bus_subscribe(plane->bus, FL_SUBJECT_COMMAND_WORK, loop, on_command_work, s);
    if (r == 0)
        r = fl_bus_subscribe(plane->bus, FL_SUBJECT_NODE_DROP, loop, on_node_drop, s);
    if (r < 0) {
        service_stop(s);
        return fl_err_set(err, r, NULL, "commands: %s", strerror(-r));
    }
    s->next_slow_ms = fl_mono_ms() + FIRST_SLOW_MS;
    fl_timer_start(s->timer, TICK_MS);
    *ret_state = s;
    return 0;
}

const struct fl_service fl_service_commands = {
    .name = "commands",
    .start = service_start,
    .stop = service_stop,
};
