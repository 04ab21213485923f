/* control_priv.h - the control channels of one loop thread; between control.c,
 * control_open.c, control_jobs.c, control_reports.c and control_sessions.c.
 *
 * Everything here belongs to the loop's thread. What waits for the store keeps a reference to the
 * manager and names its channel by node and generation, never by pointer: a channel may be gone, or
 * replaced by a newer one, when the store has answered.
 */
#pragma once
#include <sys/queue.h>
#include "common/wire/agentmessage.h"
#include "server/counts.h"
#include "server/http/route.h"

#define FL_CTL_MAX_MESSAGE (512 * 1024)      /* protocol 2 §8.3: reassemble 256 KiB and more */
#define FL_CTL_MAX_QUEUE   (8 * 1024 * 1024) /* not yet taken by a node */
#define FL_CTL_MAX_PER_S   1000              /* frames of a node */
#define FL_CTL_WINDOW      10                /* jobs sent to a node and not acknowledged */
#define FL_CTL_OPEN_MS     15000             /* for OpenControlChannel */
#define FL_CTL_RESEND_MS   10000             /* protocol 2 §3.3 */
#define FL_CTL_SILENT_S                                                       \
    180 /* a node not heard for so long has lost its connection; it is pinged \
           after two thirds of it. Agents ping too, but unseen by us */
#define FL_CTL_MAX_WAITING (64 * 1024 * 1024) /* bytes of reports that wait for the store */
#define FL_CTL_RECENT      8
#define FL_CTL_PROBE_MS    5000 /* a replaced channel that is silent for so long is dead */
#define FL_CTL_LAST_MS     3000 /* one that answers is heard for so long: replies are on their way */
#define FL_CTL_AGAIN_MS    5000 /* what the store could not do for a new channel */
#define FL_CTL_ASK_MS      3000 /* silence of a node that is to begin a session: it is pinged */

#define FL_SUBJECT_NODE_OPEN "node.open" /* key: "<node id> <generation> <address>" */

struct fl_control;

/* A job on the wire. */
struct fl_ctl_job {
    char command_id[37]; /* of a cancel: the cancel job's own */
    uint8_t message_id[16];
    int64_t sent_ms; /* monotonic */
    bool used;
    bool acked; /* its ack is on the way to the store */
};

struct fl_ctl_channel {
    struct fl_control *ctl;
    struct fl_ws *ws;
    LIST_ENTRY(fl_ctl_channel) entry;
    uint64_t gen;            /* 0: not open yet; higher is newer, over all loop threads */
    int64_t since_ms;        /* monotonic: accepted */
    int64_t heard_ms;        /* monotonic: last frame or pong */
    struct fl_ctl_job *jobs; /* FL_CTL_WINDOW, while there are any */
    unsigned n_jobs;
    uint8_t recent[FL_CTL_RECENT][16]; /* commands whose ack is stored, newest last */
    bool fetching;                     /* a read of its work is on the way */
    bool fetch_again;
    bool more; /* the store has more than the window holds */
    bool dead; /* dropped: what it still says is not heard */
    bool pinged;
    bool present; /* counted in the plane's presence */
    /* A newer channel of the node has taken its place. It is still heard, so that what it has on
     * the wire is not sent to the newer one too, until it has said so, or is found dead, or too
     * late. */
    bool retiring;
    bool held;          /* nothing is sent: an older channel has jobs on the wire */
    bool alive;         /* retiring, and answers: two machines hold the identity */
    uint8_t pings;      /* not answered; the last pong answers the ping after it was replaced */
    int64_t retired_ms; /* monotonic */
    int64_t again_ms;   /* monotonic: the store is asked again; 0: no need */
    /* Monotonic. It is to begin a session: until `starts_ms` its silence is counted, from `deaf_ms`
     * on. */
    int64_t starts_ms, deaf_ms;
    char address[46], other[46]; /* where it is, and, retiring, where the newer one is */
    char node_id[32];
};

struct fl_ctl_report;

struct fl_control {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_timer *timer;      /* runs while something is timed */
    struct fl_timer *slow_timer; /* looks for dead connections */
    int64_t silent_ms;
    int64_t ticked_ms; /* monotonic: `timer` was started */
    struct fl_timer *drain_timer;
    struct fl_timer *trim_timer; /* runs until memory is given back */
    uint64_t opens, opens_then;  /* since that was done, and when it was last looked at */
    LIST_HEAD(, fl_ctl_channel) channels;
    size_t n_channels;
    struct fl_counts open; /* node id -> newest struct fl_ctl_channel * */
    unsigned n_retiring;
    struct fl_ctl_report *waiting, **waiting_tail; /* the store's queue was full */
    size_t waiting_bytes;                          /* in the store's queue and in ours */
    unsigned refs; /* store jobs on their way, and one for the owner */
    unsigned drain_ticks;
    bool draining;
    bool stopped;
};

void fl_ctl_ref(struct fl_control *ctl);
void fl_ctl_unref(struct fl_control *ctl);

/* The channel of a node by generation, also a retiring one; 0: the newest. NULL if it is gone. */
struct fl_ctl_channel *fl_ctl_find(struct fl_control *ctl, const char *node_id, uint64_t gen);

/* Ends a channel; on_close follows. Nothing more is heard from it. */
void fl_ctl_drop(struct fl_ctl_channel *ch, int code);

/* The store could not do what opening needs: it is asked again soon if it is in trouble, else the
 * node has to come again. */
void fl_ctl_later(struct fl_ctl_channel *ch, int r);

/* Asks the node whether it is there. */
void fl_ctl_ping(struct fl_ctl_channel *ch);

/* Makes the manager look at its channels soon. */
void fl_ctl_arm(struct fl_control *ctl);

/* Queues one frame; `ret_id` (may be NULL) gets its message id. 0 or as fl_ws_send. */
int fl_ctl_send(struct fl_ctl_channel *ch, const char *type, const void *payload, size_t len,
                uint8_t ret_id[16]);

/* Heap that handshakes left full of holes is given back some time after many of them. */
void fl_ctl_count_open(struct fl_control *ctl);

/* ---- control_open.c ---- */

/* What comes first on a connection: it opens the channel, or ends the connection. */
void fl_ctl_on_open(struct fl_ctl_channel *ch, enum fl_ws_kind kind, const char *data, size_t len);

/* A newer channel, opened from `other`, has the node's place. */
void fl_ctl_retire(struct fl_ctl_channel *ch, const char *other);

/* Settles or ends one that is retiring. True while it is to be looked at. */
bool fl_ctl_check_retiring(struct fl_ctl_channel *ch, int64_t now);

/* Lets go what waited for older channels, once they have nothing on the wire. */
void fl_ctl_let_go(struct fl_ctl_channel *ch);

/* ---- control_jobs.c ---- */

/* Reads what the node is to be sent and sends it. `opened`: the channel was just opened: also looks
 * whether the node is still registered. */
void fl_ctl_fetch(struct fl_ctl_channel *ch, bool opened);

/* Sends again what was not acknowledged in time. True while anything is on the wire. */
bool fl_ctl_check_jobs(struct fl_ctl_channel *ch, int64_t mono_ms);

struct fl_ctl_job *fl_ctl_job_by_message(struct fl_ctl_channel *ch, const uint8_t id[16]);
struct fl_ctl_job *fl_ctl_job_by_command(struct fl_ctl_channel *ch, const char *command_id);
void fl_ctl_job_done(struct fl_ctl_channel *ch, struct fl_ctl_job *job);

/* Whether the ack of this command was stored lately through this channel. */
bool fl_ctl_is_recent(const struct fl_ctl_channel *ch, const char *command_id);
void fl_ctl_set_recent(struct fl_ctl_channel *ch, const char *command_id);

/* ---- control_reports.c ---- */

/* agent_job_ack and agent_job_reply frames. */
void fl_ctl_on_ack(struct fl_ctl_channel *ch, const struct fl_frame *frame);
void fl_ctl_on_reply(struct fl_ctl_channel *ch, const struct fl_frame *frame);

/* The channel was just opened: wakes what was put off for its node. */
void fl_ctl_on_connected(struct fl_ctl_channel *ch);

/* Gives the store what it had no room for. True while something waits. */
bool fl_ctl_submit_waiting(struct fl_control *ctl);
void fl_ctl_free_waiting(struct fl_control *ctl);

/* ---- control_sessions.c ---- */

/* Tells the node which sessions it is to begin, and which to end. `session_id` NULL: all that it
 * has missed. */
void fl_ctl_tell_sessions(struct fl_ctl_channel *ch, const char *session_id);

/* A node that was told to begin a session, and is not heard of, has lost its connection: that is
 * closed, and what it has not begun ends. True while it is to be looked at. */
bool fl_ctl_check_starts(struct fl_ctl_channel *ch, int64_t mono_ms);

/* For FL_SUBJECT_NODE_SESSION. */
void fl_ctl_on_node_session(void *arg, const char *key);

/* agent_task_complete frames. */
void fl_ctl_on_task_complete(struct fl_ctl_channel *ch, const struct fl_frame *frame);
