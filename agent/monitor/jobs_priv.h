/* jobs_priv.h - what jobs.c and the files job_*.c share. */
#pragma once
#include <sys/queue.h>
#include "agent/lib/boot.h"
#include "agent/lib/ipc_worker.h"
#include "agent/lib/jobdir.h"
#include "agent/lib/judge.h"
#include "agent/monitor/doclimit.h"
#include "agent/monitor/intake.h"
#include "agent/monitor/jobs.h"
#include "agent/monitor/reply.h"
#include "agent/monitor/seen.h"
#include "common/base/backoff.h"
#include "common/base/child.h"

enum job_state {
    JOB_QUEUED,
    JOB_RUNNING, /* a worker lives, or is about to be started again */
    JOB_WAITING, /* for the next boot of the machine */
    JOB_ENDED,   /* only its replies are left */
};

/* One reply the journal calls for. */
struct job_reply {
    int64_t index;    /* of the step, or FL_REPLY_FINAL */
    uint32_t reboots; /* before it, in this document */
    uint64_t offset;  /* of the record in the journal */
    int64_t sent_ms;  /* monotonic; 0: waits to be sent */
    bool acked;
    bool again; /* a bad result: told once more after a reboot */
};

struct job {
    TAILQ_ENTRY(job) entry; /* in order of acceptance */
    struct fl_jobs *jobs;
    char *command_id, *job_id, *document_name;
    char nonce[FL_JOB_NONCE_DIGITS + 1];
    int64_t accepted_ms;
    enum job_state state;
    bool cancel;
    bool damaged; /* what was to be done is lost: only its failure can be told */

    /* worker, while running */
    int dir_fd;
    struct fl_journal journal; /* read as it grows */
    struct fl_child *child;    /* NULL: not ours, attached to */
    struct fl_ipc *ipc;
    struct fl_timer *timer; /* next try to start or to look */
    struct fl_backoff backoff;
    uint32_t runs;        /* workers started, as the journal or we count */
    uint32_t runs_before; /* the newest one was */
    bool begun;           /* a worker said so in the journal */

    /* while it is decided whether it may run */
    struct fl_judge *judge;
    int policy_fd;

    /* reboots */
    uint32_t reboots;               /* that the journal calls for */
    uint32_t reboots_asked;         /* of these, as `acks` says */
    char boot_id[FL_BOOT_ID_BYTES]; /* the boot that is to end before it goes on; "" for none */
    bool holds;                     /* no other document is begun meanwhile */

    struct job_reply *replies;
    size_t n_replies;
    uint64_t acks_end;           /* where the next record of `acks` goes */
    char status[24];             /* of the document, once it ended */
    bool delivered, undelivered; /* some outputs are where they were wanted, some are not */
    char *failure;               /* the end could not be journaled: this is what is reported */
    bool failure_kept;           /* now it is */
};

struct fl_jobs {
    struct fl_jobs_conf conf;
    char *jobs_dir, *done_dir;
    struct fl_doclimit limit;
    struct fl_seen seen;
    struct fl_intake *intake; /* accepted, not on disk yet */
    struct fl_timer *start_timer;
    TAILQ_HEAD(job_list, job) list;
    size_t n_jobs, n_running, n_holding;
    struct fl_ipc_row worker_rows[FL_N_WORKER_ROWS];
    struct fl_reply_agent agent;
    bool closed, online;
    int64_t online_ms; /* monotonic; since when */
    struct fl_timer *reply_timer;
    /* removal of old folders */
    struct fl_child *sweeper;
    size_t closed_since_sweep;
    int64_t swept_ms; /* monotonic; 0: never */
};

/* ---- jobs.c ---- */
struct job *fl_job_new(struct fl_jobs *jobs, const struct fl_job *from); /* not in the list yet */
struct job *fl_job_free(struct job *job);
void fl_job_insert(struct fl_jobs *jobs, struct job *job);
struct job *fl_job_find(struct fl_jobs *jobs, const char *command_id);
size_t fl_jobs_in_state(const struct fl_jobs *jobs, enum job_state state);
bool fl_jobs_can_start(const struct fl_jobs *jobs);
void fl_job_ended(struct job *job);            /* the journal says the document is over */
void fl_jobs_start_next(struct fl_jobs *jobs); /* one now, each other in a turn of its own */
void fl_job_retire(struct job *job); /* nothing is left to do: folder away, object freed */

/* ---- job_accept.c: what the intake tells ---- */
void fl_job_made(void *arg, const struct fl_net_job *in, const struct fl_job *from, int r,
                 struct fl_err *err);
void fl_job_later(void *arg, const struct fl_net_job *in);

/* ---- job_load.c ---- */
int fl_jobs_load(struct fl_jobs *jobs, struct fl_err *err);
void fl_jobs_fail_damaged(struct fl_jobs *jobs); /* of what was loaded */

/* ---- job_worker.c ---- */
void fl_job_start(struct job *job); /* the job is running then: decided about, then a worker */
void fl_job_run(struct job *job);   /* starts a worker: it may */
void fl_job_attach_or_probe(struct job *job); /* to a worker that lives; tried until it is over */
void fl_job_follow(struct job *job);          /* reads what is new in the journal */
void fl_job_cancel_worker(struct job *job);
void fl_job_close(struct job *job); /* every reply is acknowledged: retired, now or soon */
/* The document's last word where no worker can write it. */
void fl_job_fail(struct job *job, const char *text);
/* The same with one failed step that tells why: nothing of the document was run. */
struct fl_refused_step {
    int64_t index;
    const char *key, *action;
};
void fl_job_refuse(struct job *job, const struct fl_refused_step *step, const char *text);
void fl_job_detach(struct job *job); /* lets go of the worker and the folder */
int fl_job_open(struct job *job);    /* dir_fd and journal */

/* ---- job_reboot.c ---- */
bool fl_job_awaits_boot(const struct job *job); /* there is nothing to do in this boot */
void fl_job_await_boot(struct job *job);        /* asks for it if nobody did, and waits */
void fl_job_stop_waiting(struct job *job);      /* for it, if it does */
/* ---- job_policy.c ---- */
/* 0: it may run, by no policy or one that said so before. 1: it is being decided, or was refused
 * (the job may be gone). Negative: it cannot be decided now. */
int fl_job_ask_policy(struct job *job, struct fl_err *err);

/* ---- job_replies.c ---- */
int fl_job_add_reply(struct job *job, int64_t index, uint64_t offset, bool again);
void fl_job_repeat_replies(struct job *job); /* after a reboot: the bad results of the run before */
void fl_jobs_pump(struct fl_jobs *jobs);     /* sends what may be sent, sets the timer */
size_t fl_job_unacked(const struct job *job);
void fl_jobs_on_reply_timer(void *arg);
int fl_job_note(struct job *job, uint16_t type, const void *record, bool sync);
