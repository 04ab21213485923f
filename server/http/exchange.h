/* exchange.h - one HTTP request from its last byte to its answer.
 *
 * The loop thread takes the request apart; a store thread authenticates, decodes, checks and, for
 * reading operations, runs the handler; writing operations then run on the writer; after the commit
 * the loop thread answers, publishes, counts and records. An exchange is freed once, on its loop,
 * after the last of these, also when the client has gone in between.
 */
#pragma once
#include "common/net/server.h"
#include "server/plane.h"

struct fl_exchange_held;

/* What the exchanges of one loop thread share. */
struct fl_exchange_ctx {
    struct fl_plane *plane;
    struct fl_loop *loop;
    unsigned open;                 /* exchanges that are not finished */
    bool draining;                 /* answers are not held back any more */
    struct fl_exchange_held *held; /* long polls waiting for their time */
    int64_t ready_until_ms;        /* /readyz answers from memory until then (monotonic) */
    bool ready;
    int64_t counted_until_ms; /* the same for what /metrics counts in the store */
};

/* Takes over a request (fl_server_events.on_request). */
void fl_exchange_start(struct fl_exchange_ctx *ctx, struct fl_server_req *req);

/* Answers long polls now and from now on at once; for a graceful stop. */
void fl_exchange_drain(struct fl_exchange_ctx *ctx);

/* The client is gone (on_abort). */
void fl_exchange_abort(struct fl_server_req *req);
