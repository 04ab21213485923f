/* result.h - what a node reports about a command: decoding and merging. Pure.
 *
 * Source: protocol 2 §3.4; protocol 6 §3.3-§3.5.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "server/command/status.h"

/* Characters kept of a step (protocol 6 §3.5); what a node sends beyond them is cut. */
#define FL_STEP_MAX_OUTPUT  2500
#define FL_STEP_MAX_STDOUT  24000
#define FL_STEP_MAX_STDERR  24000
#define FL_STEP_MAX_TRACE   2500
#define FL_STEP_SHOW_STDERR 8000 /* of the 24000, GetCommandInvocation shows this many */

#define FL_REPLY_MAX_STEPS 1024         /* steps in one reply, and kept of one invocation */
#define FL_REPLY_MAX_NAME  256          /* characters of step and plugin names and S3 fields */
#define FL_REPLY_MAX_BYTES (512 * 1024) /* whole payload */

struct fl_step_result {
    char *step;
    char *plugin;
    char *status; /* as the agent spells it */
    int64_t code;
    int64_t started_ms; /* 0: unset */
    int64_t finished_ms;
    char *output;
    char *out;
    char *err;
    char *s3_bucket;
    char *s3_prefix; /* of the step's own files */
};

struct fl_reply {
    char *job_id;
    bool cancel;             /* topic says it answers a cancel job */
    bool bare;               /* no runtimeStatus: the fire-and-forget start report */
    enum fl_inv_event event; /* what its document status means */
    char *trace;
    struct fl_step_result *steps;
    size_t n_steps;
};

/* An agent_job_reply payload, or its inner content alone (`job_id` is then given). 0, or -EBADMSG,
 * -EINVAL, -EMSGSIZE with the reason. Memory of the arena; strings are never NULL. */
int fl_reply_decode(const char *payload, size_t len, struct fl_arena *arena,
                    struct fl_reply *ret_reply, struct fl_err *err);
int fl_reply_decode_content(const char *job_id, const char *content, size_t len,
                            struct fl_arena *arena, struct fl_reply *ret_reply, struct fl_err *err);

/* Whether `b` says more than, or comes later than, `a` about the same step: a total order, so that
 * merging gives one result in whatever order replies come. A finished step is never undone. */
bool fl_step_replaces(const struct fl_step_result *a, const struct fl_step_result *b);

/* Its invocation has ended in `state` without it. Where the plane ended it, which no later report
 * changes, the step has come to the same end, and only its output is taken. */
void fl_step_come_late(struct fl_step_result *s, enum fl_inv_state state);

/* The state a step shows in the API, and whether it has ended: Skipped is Success, SuccessAndReboot
 * is InProgress until the report that follows the reboot. */
enum fl_inv_state fl_inv_state_of_step(const char *status, bool *ret_ended);

/* stderr as GetCommandInvocation shows it: FL_STEP_SHOW_STDERR characters, a cut marked as agents
 * mark theirs. `s` itself, or memory of the arena; NULL without. */
char *fl_step_show_stderr(struct fl_arena *arena, char *s);

/* Length of the first `max` characters of UTF-8 text, in bytes. */
size_t fl_utf8_prefix(const char *s, size_t max);
