/* exchange_priv.h - one request, between exchange.c (its way through loop and store) and
 * exchange_codec.c (what it asks for, its bytes and those of the answer). */
#pragma once
#include <stdatomic.h>
#include "common/base/rand.h"
#include "common/codec/form.h"
#include "server/auth/authorize.h"
#include "server/call.h"
#include "server/http/exchange.h"
#include "server/http/reply.h"
#include "server/http/route.h"
#include "server/http/served.h"

#define FL_EXCHANGE_REPLY_BYTES (16 * 1024 * 1024)

/* A place in the list of answers that are kept back. */
struct fl_exchange_held {
    struct fl_exchange_held *next, **prev;
    struct fl_timer *timer;
};

/* A place in the list of those that the store has. */
struct fl_exchange_wait {
    struct fl_exchange_wait *next, **prev;
    int64_t since_ms; /* monotonic */
};

/* Who may still decide what becomes of a call in the store's queue. */
enum fl_exchange_turn { FL_TURN_WAITS, FL_TURN_STORE, FL_TURN_GIVEN_UP };

struct fl_exchange {
    struct fl_exchange_ctx *ctx;
    struct fl_exchange_held held;
    struct fl_exchange_wait wait;
    atomic_int turn;
    struct fl_plane *plane;
    struct fl_server_req *req; /* NULL once answered or gone; loop thread only */
    struct fl_arena arena;
    int64_t start_us;
    char request_id[FL_UUID_BYTES];
    enum fl_dialect dialect;

    struct fl_auth_request auth;
    char *body;
    size_t body_len;

    const char *service; /* "ssm"; NULL until known */
    const struct fl_op *op;
    struct fl_form form; /* the body, in the query dialect */
    const struct fl_route *route;
    struct fl_route_in route_in;

    /* filled by the store threads, read by the loop thread after them */
    struct fl_caller caller;
    bool known; /* caller is valid */
    struct fl_call call;
    void *in, *out;
    struct fl_route_out route_out;
    struct fl_resources resources;
    int result;
    bool stored;
    struct fl_buf reply;
    struct fl_err err;
};

/* Finds the operation or the route. 0, or -errno with x->err set. */
int fl_exchange_route(struct fl_exchange *x);

/* Makes x->in of the body, and room for x->out. 0, or -errno with x->err set. */
int fl_exchange_decode(struct fl_exchange *x);

/* Makes x->reply of x->out; a route has its own body. 0, or -errno with x->err set. */
int fl_exchange_encode(struct fl_exchange *x);
