/* job.c - see job.h. */
#include "server/command/job.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/call.h"

#include <errno.h>
#include <string.h>

#define JOB_ARENA_BYTES (16 * 1024 * 1024)

struct job {
    struct fl_plane *plane;
    const char *what;
    fl_engine_job_fn fn;
    fl_engine_done_fn done;
    void *arg;
    int64_t now_ms; /* 0: when the job starts */
    struct fl_arena arena;
    struct fl_call call;
    struct fl_engine engine;
    struct fl_err err;
};

static int run(struct fl_tx *tx, void *arg)
{
    static const struct fl_identity plane_itself = { .kind = FL_ID_USER };
    struct job *j = arg;

    fl_call_init(&j->call, j->plane, &j->arena, &plane_itself, "",
                 j->now_ms ? j->now_ms : fl_now_ms());
    j->call.tx = tx;
    j->engine.call = &j->call;
    return j->fn(&j->engine, j->arg, &j->err);
}

static void finish(struct job *j, int r)
{
    j->call.tx = NULL;
    if (r == 0) {
        fl_engine_count(j->plane, &j->engine.effects);
        fl_call_publish_all(&j->call);
    }
    fl_arena_done(&j->arena);
}

static void done(void *arg, int r)
{
    struct job *j = arg;

    finish(j, r);
    if (r < 0 && r != -ECANCELED && !fl_store_trouble(r))
        fl_log_error("command work failed", FL_S("job", j->what),
                     FL_S("error", j->err.code ? fl_err_text(&j->err) : strerror(-r)));
    j->done(j->arg, r, j->engine.effects.again);
    free(j);
}

int fl_engine_submit(struct fl_plane *plane, struct fl_loop *loop, const char *what,
                     fl_engine_job_fn fn, fl_engine_done_fn done_fn, void *arg)
{
    struct job *j = calloc(1, sizeof(*j));
    int r;

    if (!j)
        return -ENOMEM;
    j->plane = plane;
    j->what = what;
    j->fn = fn;
    j->done = done_fn;
    j->arg = arg;
    fl_arena_init(&j->arena, JOB_ARENA_BYTES);
    r = fl_store_submit(plane->store, FL_LANE_WRITE, run, done, j, loop);
    if (r < 0) {
        fl_arena_done(&j->arena);
        free(j);
    }
    return r;
}

int fl_engine_run(struct fl_plane *plane, int64_t now_ms, fl_engine_job_fn fn, void *arg,
                  struct fl_err *err)
{
    struct job j = { .plane = plane, .fn = fn, .arg = arg, .now_ms = now_ms };
    int r;

    fl_arena_init(&j.arena, JOB_ARENA_BYTES);
    r = fl_store_run(plane->store, FL_LANE_WRITE, run, &j);
    if (r < 0 && err)
        *err = j.err;
    finish(&j, r);
    return r;
}
