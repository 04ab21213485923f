/* exchange.h - one HTTP request from its last byte to its answer.
 *
 * The loop thread takes the request apart; a store thread authenticates, decodes, checks and, for
 * reading operations, runs the handler; writing operations then run on the writer; after the commit
 * the loop thread answers, publishes, counts and records. An exchange is freed once, on its loop,
 * after the last of these, also when the client has gone in between.
 *
 * A call that the store has not begun within FL_EXCHANGE_WAIT_MS is answered with
 * ServiceUnavailable and is not done; one that it has begun is answered when the store is, however
 * slow the disk is: nothing else would be true.
 */
#pragma once
#include "common/net/server.h"
#include "server/plane.h"

#define FL_EXCHANGE_WAIT_MS   10000
#define FL_EXCHANGE_MAX_BYTES (64 * 1024 * 1024) /* of bodies under way, for each loop thread */

struct fl_exchange_held;
struct fl_exchange_wait;

/* What the exchanges of one loop thread share. */
struct fl_exchange_ctx {
    struct fl_plane *plane;
    struct fl_loop *loop;
    bool people;                   /* the loop is that of known users' connections */
    unsigned open;                 /* exchanges that are not finished */
    bool draining;                 /* answers are not held back any more */
    struct fl_exchange_held *held; /* long polls waiting for their time */
    size_t body_bytes;             /* kept for those that are not finished */
    struct fl_exchange_wait *waiting, **waiting_tail; /* in the store's queues, oldest first */
    struct fl_timer *deadline;                        /* looks at the oldest */
    int64_t ready_until_ms; /* /readyz answers from memory until then (monotonic) */
    bool ready;
    int64_t counted_until_ms; /* the same for what /metrics counts in the store */
};

/* 0 or -ENOMEM. */
int fl_exchange_ctx_init(struct fl_exchange_ctx *ctx, struct fl_plane *plane, struct fl_loop *loop,
                         bool people);
void fl_exchange_ctx_done(struct fl_exchange_ctx *ctx);

/* Takes over a request (fl_server_events.on_request). */
void fl_exchange_start(struct fl_exchange_ctx *ctx, struct fl_server_req *req);

/* Answers long polls now and from now on at once; for a graceful stop. */
void fl_exchange_drain(struct fl_exchange_ctx *ctx);

/* The client is gone (on_abort). */
void fl_exchange_abort(struct fl_exchange_ctx *ctx, struct fl_server_req *req);
