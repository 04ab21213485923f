/* flow.h - one direction of a session's relay: messages on their way to one side, in the order they
 * came, and what was sent but not acknowledged yet (protocol 3 §5, §11). Pure: no sockets, no time.
 *
 * A stream message stays until its receiver has acknowledged it, so that a new connection of the
 * receiver gets it again; its sender would resend only one message per time-out. What is over
 * FL_FLOW_KEEP_BYTES is not kept: then the sender's own resending has to do. Its payload's digest
 * is: a number stands for one message, the one that others (tap.h) have seen.
 */
#pragma once
#include <stdatomic.h>
#include <sys/queue.h>
#include "common/aws/crypto.h"
#include "common/base/util.h"

#define FL_FLOW_KEEP_BYTES (2 * 1024 * 1024) /* sent and not acknowledged */
#define FL_FLOW_HIGH_BYTES (1024 * 1024)     /* not sent: the sender is to be paused, */
#define FL_FLOW_LOW_BYTES  (256 * 1024)      /* until so few are left */
#define FL_FLOW_GONE       4096  /* sent, not acknowledged and not kept: then no more is sent */
#define FL_FLOW_ACKS       16384 /* so far behind the newest are acknowledgements known */

/* A whole frame. Shared between a flow and the socket that sends it, perhaps on another thread. */
struct fl_msg {
    TAILQ_ENTRY(fl_msg) link;
    atomic_uint refs;
    uint32_t payload_type;
    int64_t sequence;  /* -1: of no stream, forgotten when it is sent */
    size_t payload_at; /* in data */
    bool sent;         /* on the connection that the receiver has now, */
    bool passed;       /* and one sent after it was acknowledged: its receiver has seen it, */
    bool repeated;     /* and its sender has repeated it since */
    bool last;         /* nothing follows it: the connection ends */
    size_t len;
    char data[];
};

/* A copy with one reference; NULL without memory. */
struct fl_msg *fl_msg_new(const void *data, size_t len);
struct fl_msg *fl_msg_ref(struct fl_msg *m);
struct fl_msg *fl_msg_unref(struct fl_msg *m); /* NULL is fine; returns NULL */

struct fl_flow_gone {
    TAILQ_ENTRY(fl_flow_gone) link;
    int64_t sequence;
    uint8_t digest[FL_SHA256_BYTES]; /* of the payload: repeated ones may have a new date */
};

struct fl_flow {
    TAILQ_HEAD(fl_msgs, fl_msg) list; /* those sent, then those not sent */
    struct fl_msg *next;              /* the first that is not sent; NULL: all are */
    size_t sent_bytes, unsent_bytes;
    TAILQ_HEAD(fl_flow_gones, fl_flow_gone) gone; /* in the order in which they were sent */
    size_t n_gone;
    int64_t newest; /* highest that was put here; -1: none */
    int64_t top;    /* highest acknowledged + 1 */
    uint64_t acks[FL_FLOW_ACKS / 64];
};

void fl_flow_init(struct fl_flow *flow);
void fl_flow_done(struct fl_flow *flow);

enum fl_flow_known {
    FL_FLOW_NEW,
    FL_FLOW_WAITS, /* it is here and was not sent yet */
    FL_FLOW_SENT,  /* it is here, sent and not acknowledged: its sender repeats it */
    FL_FLOW_ACKED,
    FL_FLOW_LOST,  /* it was sent and not kept, */
    FL_FLOW_OTHER, /* and this is another with its number */
};
/* What is known of a message like `m` that came before. `ret_kept` (may be NULL) is set with
 * FL_FLOW_WAITS and FL_FLOW_SENT. */
enum fl_flow_known fl_flow_find(const struct fl_flow *flow, const struct fl_msg *m,
                                struct fl_msg **ret_kept);

/* Appends; takes the reference. `before` NULL: at the end, else in front of that one. */
void fl_flow_put(struct fl_flow *flow, struct fl_msg *m, struct fl_msg *before);

/* Too much is on its way: the first that is not sent waits for acknowledgements. */
bool fl_flow_full(const struct fl_flow *flow);

/* The first that is not sent was sent: it is kept or forgotten. */
void fl_flow_sent(struct fl_flow *flow);

/* The first that is not sent is not to be sent. */
void fl_flow_skip(struct fl_flow *flow);

/* The receiver has it. */
void fl_flow_ack(struct fl_flow *flow, int64_t sequence);

/* Its sender repeats one that was sent. True: for the second time since its receiver has seen it
 * and was silent. */
bool fl_flow_repeat(struct fl_flow *flow, int64_t sequence);

/* The first of those that the receiver has seen and was silent about; NULL: there is none. */
struct fl_msg *fl_flow_silent(const struct fl_flow *flow);

/* The receiver has a new connection: all that is here is to be sent, from the first. */
void fl_flow_rewind(struct fl_flow *flow);
