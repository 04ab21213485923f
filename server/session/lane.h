/* lane.h - one direction of a session's relay: messages on their way to one side, in the order they
 * came, and what was sent but not acknowledged yet (protocol 3 §5, §11). Pure: no sockets, no time.
 *
 * A stream message stays until its receiver has acknowledged it, so that a new connection of the
 * receiver gets it again; its sender would resend only one message per time-out. What is over
 * FL_LANE_KEEP_BYTES is not kept: then the sender's own resending has to do.
 */
#pragma once
#include <stdatomic.h>
#include <sys/queue.h>
#include "common/base/util.h"

#define FL_LANE_KEEP_BYTES (2 * 1024 * 1024) /* sent and not acknowledged */
#define FL_LANE_HIGH_BYTES (1024 * 1024)     /* not sent: the sender is to be paused, */
#define FL_LANE_LOW_BYTES  (256 * 1024)      /* until so few are left */
#define FL_LANE_ACKS       16384 /* so far behind the newest are acknowledgements known */

/* A whole frame. Shared between a lane and the socket that sends it, perhaps on another thread. */
struct fl_msg {
    TAILQ_ENTRY(fl_msg) link;
    atomic_uint refs;
    uint32_t payload_type;
    int64_t sequence; /* -1: of no stream, forgotten when it is sent */
    bool sent;        /* on the connection that the receiver has now */
    bool last;        /* nothing follows it: the connection ends */
    size_t len;
    char data[];
};

/* A copy with one reference; NULL without memory. */
struct fl_msg *fl_msg_new(const void *data, size_t len);
struct fl_msg *fl_msg_ref(struct fl_msg *m);
struct fl_msg *fl_msg_unref(struct fl_msg *m); /* NULL is fine; returns NULL */

struct fl_lane {
    TAILQ_HEAD(fl_msgs, fl_msg) list; /* those sent, then those not sent */
    struct fl_msg *next;              /* the first that is not sent; NULL: all are */
    size_t sent_bytes, unsent_bytes;
    int64_t newest; /* highest that was put here; -1: none */
    int64_t top;    /* highest acknowledged + 1 */
    uint64_t acks[FL_LANE_ACKS / 64];
};

void fl_lane_init(struct fl_lane *lane);
void fl_lane_done(struct fl_lane *lane);

enum fl_lane_known {
    FL_LANE_NEW,
    FL_LANE_WAITS, /* it is here and was not sent yet */
    FL_LANE_SENT,  /* it is here, sent and not acknowledged: its sender repeats it */
    FL_LANE_ACKED,
};
enum fl_lane_known fl_lane_find(const struct fl_lane *lane, int64_t sequence);

/* Appends; takes the reference. `before` NULL: at the end, else in front of that one. */
void fl_lane_put(struct fl_lane *lane, struct fl_msg *m, struct fl_msg *before);

/* The first that is not sent was sent: it is kept or forgotten. */
void fl_lane_sent(struct fl_lane *lane);

/* The receiver has it. */
void fl_lane_ack(struct fl_lane *lane, int64_t sequence);

/* The receiver has a new connection: all that is here is to be sent, from the first. */
void fl_lane_rewind(struct fl_lane *lane);
