/* service.c - the part of Run Command that belongs to no request: deadlines, retries, large fleets.
 *
 * Everything it does follows from the store; a hint that is lost is made up for by the clock.
 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/call.h"
#include "server/command/job.h"
#include "server/http/service.h"

#include <errno.h>
#include <string.h>

#define TICK_MS       1000
#define SLOW_EVERY_MS (3600 * 1000) /* forgetting old commands, finding deregistered nodes */
#define FIRST_SLOW_MS 2000

struct service {
    struct fl_duty duty;
    int64_t next_slow_ms; /* monotonic */
    bool due;
};

static void start_errand(struct service *s, fl_errand_fn fn, const char *key)
{
    if (fl_duty_errand(&s->duty, "errand", fn, key) < 0)
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

/* The read or the write of a tick came to its end. */
static void next_tick(struct service *s, uint64_t after_ms)
{
    if (!s->duty.stopped)
        fl_timer_start(s->duty.timer, after_ms);
    fl_duty_unref(&s->duty);
}

static void tick_written(void *arg, int r, bool again)
{
    next_tick(arg, r == 0 && again ? 0 : TICK_MS);
}

/* Looks in the read lane first: an idle plane writes nothing. */
static int tick_read(struct fl_tx *tx, void *arg)
{
    struct service *s = arg;
    struct fl_call call = { .plane = s->duty.plane, .tx = tx, .now_ms = fl_now_ms() };

    s->due = fl_engine_is_due(&call, NULL) > 0;
    return 0;
}

static void tick_read_done(void *arg, int r)
{
    struct service *s = arg;
    struct fl_duty *duty = &s->duty;

    if (duty->stopped || r < 0 || !s->due ||
        fl_engine_submit(duty->plane, duty->loop, "deadlines", tick_write, tick_written, s) < 0)
        next_tick(s, TICK_MS);
}

static void on_timer(void *arg)
{
    struct service *s = arg;
    struct fl_duty *duty = &s->duty;

    if (fl_mono_ms() >= s->next_slow_ms) {
        s->next_slow_ms = fl_mono_ms() + SLOW_EVERY_MS;
        start_errand(s, find_orphans, "");
        start_errand(s, retire, "");
    }
    fl_duty_ref(duty);
    if (fl_store_submit(duty->plane->store, FL_LANE_READ, tick_read, tick_read_done, s,
                        duty->loop) < 0)
        next_tick(s, TICK_MS);
}

/* ---- the service ---- */

/* Gauges count from what the store holds. */
static int seed_metrics(struct fl_tx *tx, void *arg)
{
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_engine_effects effects = { 0 };
    int r = fl_sql_open(tx, FL_SQL_invocation_states, &c, NULL);

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        int64_t state = fl_sql_int(c, 0);

        if (state >= 0 && state < FL_INV__N)
            effects.moved[FL_INV__N][state] = (uint32_t)fl_sql_int(c, 1);
    }
    if (r == 0)
        fl_engine_count(arg, &effects);
    return r;
}

static int begin(void *state)
{
    struct service *s = state;

    s->next_slow_ms = fl_mono_ms() + FIRST_SLOW_MS;
    return fl_store_run(s->duty.plane->store, FL_LANE_READ, seed_metrics, s->duty.plane);
}

static const struct fl_service_hint hints[] = {
    { FL_SUBJECT_COMMAND_WORK, on_command_work },
    { FL_SUBJECT_NODE_DROP, on_node_drop },
    { NULL, NULL },
};

const struct fl_service fl_service_commands = {
    .name = "commands",
    .state_bytes = sizeof(struct service),
    .begin = begin,
    .first_ms = TICK_MS,
    .on_timer = on_timer,
    .hints = hints,
};
