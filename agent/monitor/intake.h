/* intake.h - new jobs on their way to the disk.
 *
 * Their folders are made and synced on the pool's thread, all that came meanwhile together: the
 * loop goes on, and what waits for the disk waits once. Things said about a job that is not there
 * yet can be put behind it.
 */
#pragma once
#include "agent/lib/ipc_net.h"
#include "agent/lib/jobdir.h"
#include "common/base/loop.h"

/* Of the messages kept here; more are -ENOBUFS. */
#define FL_INTAKE_MAX_BYTES (32u << 20)
#define FL_INTAKE_MAX_LATER 100

struct fl_intake;

struct fl_intake_events {
    /* The job's folder is made (r is 0), or not. */
    void (*made)(void *arg, const struct fl_net_job *in, const struct fl_job *job, int r,
                 struct fl_err *err);
    /* All that came before the message is told. */
    void (*later)(void *arg, const struct fl_net_job *in);
    void *arg;
};

/* `jobs_dir` and the events outlive it. NULL without memory. */
struct fl_intake *fl_intake_new(struct fl_loop *loop, const char *jobs_dir,
                                const struct fl_intake_events *events);
/* Nothing more is told. A folder that is being made may be found at the next start, as after a
 * kill. */
struct fl_intake *fl_intake_free(struct fl_intake *in);

/* Is the job on its way? */
bool fl_intake_has(const struct fl_intake *in, const char *command_id);
size_t fl_intake_count(const struct fl_intake *in);

/* Both copy what they are given, and call an event in a later turn of the loop. -ENOBUFS, -ENOMEM.
 */
int fl_intake_make(struct fl_intake *in, const struct fl_net_job *message,
                   const struct fl_job *job);
int fl_intake_later(struct fl_intake *in, const struct fl_net_job *message);
