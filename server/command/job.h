/* job.h - engine calls outside of an operation: one write transaction, its hints, its metrics. */
#pragma once
#include "server/command/engine.h"
#include "server/plane.h"

/* Runs on a store thread with a fresh call; fl_engine_… calls go in here. */
typedef int (*fl_engine_job_fn)(struct fl_engine *e, void *arg, struct fl_err *err);

/* Runs on the loop after the commit, when hints and metrics are out. `again`: the same call has
 * more to do. r < 0: nothing was written; it was logged. */
typedef void (*fl_engine_done_fn)(void *arg, int r, bool again);

/* 0, -EAGAIN when the store's queue is full, -ENOMEM; `done` runs only after a 0. `what` (static)
 * stands in the log line of a failure. */
int fl_engine_submit(struct fl_plane *plane, struct fl_loop *loop, const char *what,
                     fl_engine_job_fn fn, fl_engine_done_fn done, void *arg);

/* The same on the calling thread, for tests and start-up. */
int fl_engine_run(struct fl_plane *plane, int64_t now_ms, fl_engine_job_fn fn, void *arg,
                  struct fl_err *err);
