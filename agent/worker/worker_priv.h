/* worker_priv.h - what the files of the worker share: one document on its way through its steps.
 *
 * worker.c is the role, folder.c reads the job folder, load.c the document, run.c runs the steps,
 * results.c writes the journal. Order of things: a record is on disk before the fact in it is told
 * or acted on. A step's result and the start of the next step (or the document's end) share one
 * sync; a result whose outputs are delivered first has one of its own, and is told afterwards.
 */
#pragma once
#include "agent/lib/ipc_worker.h"
#include "agent/lib/jobdir.h"
#include "agent/lib/paths.h"
#include "agent/worker/deliver.h"
#include "agent/worker/flow.h"
#include "agent/worker/step.h"
#include "agent/calls/values.h"
#include "common/doc/doc.h"

struct worker {
    struct fl_loop *loop;
    const char *path;
    int dir_fd, step_fd, listen_fd;
    struct fl_arena arena;
    struct fl_job job;
    struct fl_doc doc;
    struct fl_step_guard *guard; /* NULL: no policy */
    struct fl_journal journal;
    struct fl_ipc *ipc;
    struct fl_io *listener;
    struct fl_ipc_row rows[FL_N_WORKER_ROWS];
    struct fl_calls *calls;
    struct fl_ssm_refs *refs;     /* of the document */
    struct fl_values values;      /* asking for them */
    struct fl_delivery *delivery; /* NULL: its outputs go nowhere */
    int exit_status;
    bool cancelled;
    uint32_t reboots_max;
    bool resumed; /* by this worker */

    /* what the journal says */
    size_t next;      /* step to be looked at next */
    bool started;     /* it was begun */
    int64_t start_ms; /* when */
    struct fl_group group;
    bool stopped, reboot, done;
    bool undelivered;   /* the newest result's outputs are still to be brought where they go */
    size_t go_to;       /* steps before it are passed over */
    size_t go_to_next;  /* of a record whose result has not come yet */
    size_t cleanup;     /* from this step on a cancelled document runs; 0: it does not */
    uint32_t reboots;   /* asked for so far */
    size_t reboot_step; /* the step that asked last */
    char boot_id[FL_BOOT_ID_BYTES]; /* of the boot that is to end first; "" for none */
    uint32_t counts[FL_STATUS__N];
    int64_t n_results;

    struct fl_step *step;           /* running, or NULL */
    struct fl_timer *cleanup_timer; /* what runs after a cancel has its time, too */
    struct fl_flow_props props;
    char *step_dir, *downloads;
    struct fl_paths paths; /* libexec */
    const char *net_user;
    char *data; /* the agent's state */
};

/* ---- folder.c ---- */

/* Opens and locks the job folder and reads what stands in it; the journal is then ready for more.
 * -EWOULDBLOCK if another worker has it, -EINPROGRESS if the document waits for the next boot. */
int fl_worker_open_folder(struct worker *w, struct fl_err *err);

/* ---- load.c ---- */

/* Reads the document; its values are asked for if it refers to some. Then fl_worker_loaded, or the
 * end with a document error; may run inside. */
void fl_worker_load(struct worker *w);
/* The document was cancelled: nothing is waited for any more. */
void fl_worker_load_cancel(struct worker *w);

/* ---- worker.c ---- */

void fl_worker_loaded(struct worker *w); /* w->doc is ready */

/* ---- results.c ---- */

/* A result before it is written: what a plugin, the flow rules or a crash made of a step. */
struct fl_outcome {
    enum fl_status status;
    int64_t code;
    bool apply_flow;             /* the step ran: codes and properties count */
    const char *error;           /* stands in `output` instead of the streams; NULL for none */
    struct fl_output *out, *err; /* NULL: nothing was printed */
    int64_t start_ms, end_ms;
};

/* What returns int here is 0, or negative once the journal could not be written: the worker stops.
 */

void fl_worker_look(struct worker *w); /* tells the monitor that the journal has grown */
void fl_worker_stop(struct worker *w, int exit_status);
int fl_worker_append(struct worker *w, uint16_t type, const void *in); /* without sync */
int fl_worker_sync(struct worker *w);
int fl_worker_commit(struct worker *w); /* sync, look */

/* Appends (without sync) the result of step w->next and moves on. */
int fl_worker_record(struct worker *w, const struct fl_outcome *o);

/* The document's end. `error` is a document error, or NULL. */
void fl_worker_finish(struct worker *w, enum fl_status status, const char *error);

/* Not its end: the step before w->next wants the machine booted anew. */
void fl_worker_leave_for_boot(struct worker *w);

/* Of step `index`, as its outputs are called elsewhere. */
struct fl_delivery_step fl_worker_delivery_step(const struct worker *w, size_t index);

/* ---- run.c ---- */

/* After a result with this status the document goes on with that step (0: as it stands). */
void fl_worker_go_to(struct worker *w, enum fl_status status, size_t step);

/* Takes the document as far as it goes without waiting: to a running step or to its end. */
void fl_worker_advance(struct worker *w);

/* A step that was running when the worker before us died: ended, reported, never run again. */
int fl_worker_report_interrupted(struct worker *w);
