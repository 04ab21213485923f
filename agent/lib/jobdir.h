/* jobdir.h - one accepted job on disk, and the records that tell what became of it.
 *
 *   <state>/jobs/<command id>/   open jobs; 0700
 *       job        one record: struct fl_job
 *       journal    the worker's records; whoever holds its flock is the job's worker
 *       acks       the monitor's records
 *       policy     one record, struct fl_job_policy: it may run, under this policy. No such file:
 *                  the node had none when the document began
 *       sock       the worker's listening socket
 *       steps/<n>/ script, stdout, stderr of step n; steps/downloads/
 *   <state>/done/<command id>/   the same once all its replies are acknowledged, until it is swept
 *
 * A folder is accepted once its `job` record is whole and on disk; one without, and without a
 * record in its journal, was never acknowledged and is removed at the next start. What else is
 * damaged is reported as failed: a record without content (fl_jobdir_repair) stands for it then.
 */
#pragma once
#include "agent/lib/journal.h"
#include "common/base/rand.h"

/* Bounds of what a control plane may send (checked by fl_job_check). */
#define FL_JOB_MAX_ID_BYTES      200
#define FL_COMMAND_ID_MAX_BYTES  100
#define FL_JOB_MAX_NAME_BYTES    512
#define FL_JOB_MAX_CONTENT_BYTES (1u << 20)
#define FL_JOB_NONCE_DIGITS      32

/* A document older than this is not resumed after a reboot (protocol 4 §6). */
#define FL_JOB_RESUME_MS (48LL * 3600 * 1000)

/* The job and what the node was when it came. Everything a worker needs stands in it. */
struct fl_job {
    char *job_id, *command_id, *document_name;
    char *content;       /* JSON text of the job's Content */
    int64_t created_ms;  /* of the message, by the sender's clock */
    int64_t accepted_ms; /* ours */
    char *nonce;         /* hex; ids of replies are derived from it */
    char *node_id, *region, *platform_name, *platform_version;
    char *aws_profile, *aws_credentials_file; /* NULL: not shared with scripts */
    int64_t output_max_bytes;                 /* per stream and step kept on disk */
};

enum fl_job_record_type {
    FL_JREC_JOB = 1,
    /* journal */
    FL_JREC_RUN,        /* struct fl_jrec_run: a worker took over */
    FL_JREC_STEP_START, /* struct fl_jrec_step_start: on disk before the step begins */
    FL_JREC_STEP_CHILD, /* struct fl_jrec_step_child */
    FL_JREC_STEP_DONE,  /* struct fl_jrec_step_done */
    FL_JREC_DOC_DONE,   /* struct fl_jrec_doc_done: the last record */
    FL_JREC_REBOOT,     /* struct fl_jrec_reboot: nothing more in this boot */
    FL_JREC_GO_TO,      /* struct fl_jrec_go_to: belongs to the result that follows it */
    FL_JREC_DELIVERED,  /* struct fl_jrec_delivered: belongs to the result before it */
    /* acks */
    FL_JREC_ACKED = 32, /* struct fl_jrec_acked */
    FL_JREC_CANCEL,     /* empty: a cancel was asked for */
    FL_JREC_ASKED,      /* empty: the reboot of the newest FL_JREC_REBOOT was asked for */
    /* policy */
    FL_JREC_POLICY = 48, /* struct fl_job_policy */
};

/* The policy that a document was accepted under, and what it was found to be. */
struct fl_job_policy {
    char *text; /* of policy.json */
    char *document_sha256, *signed_by, *run_as;
    int64_t time_ms; /* of the decision: windows of time are judged by it to the end */
};
struct fl_jrec_run {
    int64_t time_ms;
    int64_t pid;
};
struct fl_jrec_step_start {
    int64_t index;
    int64_t time_ms;
};
/* The process group a step runs as; what is left of it is ended when the worker died. */
struct fl_jrec_step_child {
    int64_t pid;
    int64_t start_ticks; /* field 22 of /proc/<pid>/stat */
    char *boot_id;
};
/* A step's result as its reply tells it. The texts are JSON strings with quotes (NUL is \u0000),
 * cut so that a reply with them fits its limit. */
struct fl_jrec_step_done {
    int64_t index;
    char *key, *plugin; /* in the reply: name of the member, and "name" in it */
    char *status;
    int64_t code;
    int64_t start_ms, end_ms; /* 0: never begun */
    char *output_json, *stdout_json, *stderr_json;
    int64_t stdout_bytes, stderr_bytes;      /* all that was written, kept or not */
    bool stop;                               /* later steps are to be skipped */
    char *s3_bucket, *s3_prefix, *step_name; /* where its outputs go; NULL: to no bucket */
};
struct fl_jrec_doc_done {
    char *status;
    struct fl_intmap counts; /* results by status */
    int64_t n_results;
    char *error; /* document error, NULL for none */
};
/* A step ended with SuccessAndReboot: on disk before the reboot is asked for. The next FL_JREC_RUN,
 * which comes in another boot (or for a cancel), begins that step anew. Counts as in doc_done. */
struct fl_jrec_reboot {
    int64_t index;
    char *boot_id; /* of the boot that is to end */
    struct fl_intmap counts;
    int64_t n_results;
};
/* After the result that follows, the steps before this one are passed over. */
struct fl_jrec_go_to {
    int64_t index;
};
/* Nothing more is tried to bring the outputs of the newest result where they are wanted. */
struct fl_jrec_delivered {
    bool all; /* they are there */
};
struct fl_jrec_acked {
    char *message_id;
};

extern const struct fl_journal_row fl_job_rows[];

/* True for [A-Za-z0-9._-]{1,100} without a leading dot: safe as a folder name. */
bool fl_command_id_valid(const char *s);

/* Every bound above, on strings that may be NULL. 0 or -EINVAL naming the member. */
int fl_job_check(const struct fl_job *job, struct fl_err *err);

/* Id of the reply for step `index`, or of the final one (FL_REPLY_FINAL), after so many reboots:
 * the same on every call. */
#define FL_REPLY_FINAL (-1)
void fl_job_reply_id(const char *nonce, uint32_t reboots, int64_t index, char out[FL_UUID_BYTES]);

/* Makes the folder below `jobs_dir` (path); whole and on disk when it returns. -EEXIST if there is
 * one; -ENOSPC and the like leave nothing behind. */
int fl_jobdir_create(const char *jobs_dir, const struct fl_job *job, struct fl_err *err);

/* The same for several at once, which wait for the disk together; each fails or not by itself. */
#define FL_JOBDIR_MAX_ROWS 32
struct fl_jobdir_row {
    const struct fl_job *job;
    /* out; the error is empty before */
    int r;
    struct fl_err err;
};
void fl_jobdir_create_all(const char *jobs_dir, struct fl_jobdir_row *rows, size_t n);

/* Takes back a folder just made: what was refused must not be found and run after a restart. */
void fl_jobdir_discard(const char *jobs_dir, const char *command_id);

/* True for what a crash left of a folder in the making: nothing of it was ever acknowledged. */
bool fl_jobdir_is_unborn(int dir_fd);

/* The job record of the folder open as `dir_fd`. -EBADMSG if it is damaged. */
int fl_jobdir_load(int dir_fd, struct fl_arena *arena, struct fl_job *ret_job, struct fl_err *err);

/* The same from the file itself, whose offset is moved. */
int fl_jobdir_read(int job_fd, struct fl_arena *arena, struct fl_job *ret_job, struct fl_err *err);

/* Durable once it returns 0. */
int fl_jobdir_put_policy(int dir_fd, const struct fl_job_policy *policy, struct fl_err *err);
/* 1, or 0 if there is none; -EBADMSG if it is damaged. */
int fl_jobdir_get_policy(int dir_fd, struct fl_arena *arena, struct fl_job_policy *ret_policy,
                         struct fl_err *err);

/* Puts a new `job` record, and a journal if there is none, into a folder whose own are damaged; the
 * old record stays as FL_JOB_DAMAGED_FILE. Can be interrupted and done again. */
#define FL_JOB_DAMAGED_FILE "job.damaged"
int fl_jobdir_repair(int dir_fd, const struct fl_job *job, struct fl_err *err);

/* Opens `journal` or `acks`, which is never created here: to read and write, on a read-only file
 * system to read. */
int fl_jobdir_open(int dir_fd, const char *name, struct fl_journal *ret, struct fl_err *err);

/* 0 and the lock held by `fd`; -EWOULDBLOCK if a worker lives. */
int fl_jobdir_lock(int fd);
