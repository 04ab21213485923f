/* engine.h - moves commands along: sends, counts, cancels, expires, forgets.
 *
 * Every function runs on a store thread inside the write transaction of `engine->call` and works
 * through at most FL_ENGINE_BATCH invocations of a command; what is left is marked in the store
 * (wake) and published, so that neither a large fleet nor a crash stops it half way. Time is
 * call->now_ms. Hints go out through fl_call_publish: after the commit. What the caller must do
 * then stands in `effects` (job.h does it for background work).
 *
 * Who may be sent next: rate.h. Which state follows which: status.h.
 */
#pragma once
#include "server/command/record.h"
#include "server/command/result.h"

#define FL_ENGINE_BATCH 500
#define FL_ENGINE_ACK_WAIT_MS \
    30000 /* three deliveries 10 s apart, then the node counts as unreachable */
#define FL_ENGINE_RETRY_MS \
    30000 /* pause before a connected node that does not ack is tried again */
#define FL_ENGINE_BUSY_MS        10000 /* pause after the agent said that its buffer is full */
#define FL_ENGINE_CANCEL_WAIT_MS 60000 /* protocol 2 §6: no terminal reply after a cancel */
#define FL_ENGINE_KEEP_MS        (30LL * 24 * 3600 * 1000) /* protocol 6 §3.5 */
#define FL_ENGINE_MAX_OPEN       1000000 /* open invocations; a command beyond is LimitExceeded */

#define FL_SUBJECT_COMMAND_WORK "command.work" /* key: command id; its wake mark is set */

struct fl_engine_effects {
    /* Invocations that went from one state to another; FL_INV__N stands for none. */
    uint32_t moved[FL_INV__N + 1][FL_INV__N + 1];
    bool again; /* the same call has more to do */
};

struct fl_engine {
    struct fl_call *call;
    struct fl_engine_effects effects;
};

struct fl_engine_start {
    const char *command_id;
    int64_t expires_ms;
    const char *max_concurrency; /* as the API has them */
    const char *max_errors;
    struct fl_strs node_ids; /* distinct; none: the targets stand in the command's row */
};

/* Begins a command whose rows `command` and `command_job` were just inserted. */
int fl_engine_start(struct fl_engine *e, const struct fl_engine_start *start, struct fl_err *err);

/* Does whatever can be done now; for FL_SUBJECT_COMMAND_WORK. An unknown command is no error. */
int fl_engine_advance(struct fl_engine *e, const char *command_id, struct fl_err *err);

/* The node acknowledged (or refused) the job `job_id`, a send or a cancel. */
int fl_engine_ack(struct fl_engine *e, const char *node_id, const char *job_id, const char *code,
                  struct fl_err *err);

/* The node reported. Unknown and finished commands are no error. */
int fl_engine_reply(struct fl_engine *e, const char *node_id, const struct fl_reply *reply,
                    struct fl_err *err);

/* CancelCommand: all invocations (`node_ids` empty), or some of them. Of a known command; nodes
 * that are not in it are passed over. */
int fl_engine_cancel(struct fl_engine *e, const char *command_id, const struct fl_strs *node_ids,
                     struct fl_err *err);

/* The node has a channel: what was put off for it is queued again. */
int fl_engine_connected(struct fl_engine *e, const char *node_id, struct fl_err *err);

/* The node was deregistered: what it never acknowledged is Undeliverable. */
int fl_engine_node_gone(struct fl_engine *e, const char *node_id, struct fl_err *err);

/* Nodes deregistered while nobody listened. */
int fl_engine_find_orphans(struct fl_engine *e, struct fl_err *err);

/* What is due by the clock. 1 from fl_engine_is_due (read lane is enough) when there is any. */
int fl_engine_is_due(struct fl_call *call, struct fl_err *err);
int fl_engine_tick(struct fl_engine *e, struct fl_err *err);

/* Deletes finished commands older than FL_ENGINE_KEEP_MS, with everything that belongs to them. */
int fl_engine_retire(struct fl_engine *e, struct fl_err *err);

/* Brings the metrics up to date with the effects of a committed call. */
void fl_engine_count(struct fl_plane *plane, const struct fl_engine_effects *effects);
