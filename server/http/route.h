/* route.h - what is served besides JSON operations: paths of their own, and WebSocket upgrades.
 *
 * A service is one const struct: a signed REST call by path prefix, the upgrade on the same prefix,
 * and what it keeps per loop thread. server/http/routes.c lists them.
 */
#pragma once
#include "common/net/server.h"
#include "server/op.h"
#include "server/plane.h"

/* A REST call as its handler sees it (store thread, one transaction, like an operation). */
struct fl_route_in {
    const char *rest;  /* the path behind the prefix, percent-decoded, "" if none: "mi-…" */
    const char *query; /* raw, without '?' */
    const char *body;  /* NUL-terminated */
    size_t body_len;
};
struct fl_route_out {
    int status;         /* 201, … */
    const char *type;   /* static string */
    struct fl_buf body; /* initialised by the caller with a limit, freed by it */
};

/* An upgrade as its handler sees it (loop thread; must not block). */
struct fl_upgrade_in {
    const char *rest;
    const char *query;
    const struct fl_identity *who; /* verified; valid during the call only */
};

struct fl_route {
    const char *prefix;   /* "/v1/control-channel/" */
    const char *service;  /* the credential scope must name it: "ssmmessages" */
    const char *resource; /* what a policy is asked about: "control-channel"/rest */

    /* POST. The caller is authenticated and the policy was asked for `action` on `resource(rest)`.
     * An error is answered as XML, <BadRequest xmlns=""><message>…</message></BadRequest>. */
    const char *post_action; /* "ssmmessages:CreateControlChannel" */
    enum fl_lane post_lane;
    int (*post)(struct fl_call *call, const struct fl_route_in *in, struct fl_route_out *out,
                struct fl_err *err);

    /* GET with Upgrade: websocket, by a node with its temporary credentials, verified on the loop
     * thread (self-contained, no store read); `rest` was compared with the node's own id. Returns 0
     * with the three results filled, or an HTTP status to refuse with. `state` is this loop's. */
    const char *upgrade_action; /* "ssmmessages:OpenControlChannel" */
    /* The first message on the channel says who opens it: the upgrade may come from anyone, and a
     * node's signature is only taken note of (who: FL_ID_NODE, else FL_ID_ANONYMOUS). The
     * connection stays a guest until the route calls fl_ws_trust, and the route records what came
     * of it. */
    bool upgrade_by_token;
    int (*upgrade)(void *state, const struct fl_upgrade_in *in, struct fl_ws_events *ret_events,
                   void **ret_arg, struct fl_ws_limits *ret_limits);

    /* Per loop thread. start runs before the threads do (subscribe to the bus here); drain is asked
     * on the loop's thread to close its channels spread over `over_ms`; stop runs when the thread
     * has ended and its sockets are gone. NULL members are skipped. */
    int (*start)(struct fl_plane *plane, struct fl_loop *loop, unsigned index, void **ret_state,
                 struct fl_err *err);
    void (*drain)(void *state, unsigned over_ms);
    void (*stop)(void *state);
};

#define FL_ROUTES_MAX 8
extern const struct fl_route *const fl_routes[];        /* ended by NULL; server/http/routes.c */
const struct fl_route *fl_route_find(const char *path); /* or NULL */

extern const struct fl_route fl_route_control_channel; /* server/channel/control.c */
extern const struct fl_route fl_route_data_channel;    /* server/channel/data.c */
