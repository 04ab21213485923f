/* data_priv.h - data channels of one loop thread, between data.c (sockets, clocks, the route) and
 * data_open.c (who opens one, and whether that is allowed). */
#pragma once
#include <sys/queue.h>
#include "server/api/nodes.h"
#include "server/call.h"
#include "server/http/route.h"
#include "server/session/hub.h"

#define FL_DATA_OPEN_BYTES 4096 /* OpenDataChannel */

enum fl_data_state {
    FL_DATA_OPENING, /* the first message has not come */
    FL_DATA_LOADING, /* the store is asked for the session */
    FL_DATA_RELAYED, /* its relay has it */
    FL_DATA_REFUSED, /* closing, without ever having had a relay */
};

struct fl_data_conn {
    struct fl_end end;
    struct fl_data_loop *data;
    LIST_ENTRY(fl_data_conn) entry;
    struct fl_ws *ws; /* NULL: gone */
    enum fl_data_state state;
    unsigned paused;                      /* enum fl_pause */
    int64_t since_ms, deaf_ms, pinged_ms; /* monotonic; deaf: nothing was read until then */
    bool beats;                           /* it is heard of every FL_DATA_BEAT_MS, or gone */
    size_t pending; /* bytes sent that the relay thinks are not with the kernel */
    struct fl_msgs early;
    size_t early_bytes;
    bool ready; /* data_channel_ready is waited for */
    char id[FL_SESSION_ID_BYTES];
    char node_id[FL_NODE_ID_BYTES]; /* that has signed the upgrade, or "" */
    char address[46];
};

/* Of one loop thread. */
struct fl_data_loop {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_hub *hub;
    struct fl_timer *timer; /* runs while there are connections */
    struct fl_timer *drain_timer;
    LIST_HEAD(, fl_data_conn) conns;
    unsigned refs; /* store jobs on their way, and one for the owner */
    int64_t ticked_ms;
    unsigned drain_ticks;
    bool draining, stopped;
};

/* ---- data.c ---- */

void fl_data_loop_unref(struct fl_data_loop *d);
void fl_data_conn_free(struct fl_data_conn *c);
void fl_data_conn_pause(struct fl_data_conn *c, enum fl_pause why, bool paused);

/* ---- data_open.c ---- */

/* The route's POST: a token for the agent of a session. */
int fl_data_create(struct fl_call *call, const struct fl_route_in *in, struct fl_route_out *out,
                   struct fl_err *err);

/* The first message of a connection: OpenDataChannel with a token, or it is refused. */
void fl_data_first(struct fl_data_conn *c, enum fl_ws_kind kind, const char *data, size_t len);

/* Recorded, with `s` if it is known, and closed with that code. */
void fl_data_refuse(struct fl_data_conn *c, const struct fl_session *s, int code, const char *error,
                    const char *why);
