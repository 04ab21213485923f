/* hub.h - the relays of one loop thread, and the way between sockets and relays on different ones.
 *
 * A session's relay lives on the loop thread of whichever side came first; the other side's socket
 * may live on any. What crosses threads goes through one mailbox a hub, drained in batches; what
 * does not, by a plain call. A socket (struct fl_end) is its owner's, who frees it when told that
 * its relay has let it go.
 */
#pragma once
#include <stdatomic.h>
#include "server/plane.h"
#include "server/session/relay.h"
#include "server/session/session.h"

#define FL_HUB_WINDOW (1024 * 1024) /* bytes given to a socket that the kernel has not got yet */
#define FL_HUB_FLIGHT (1024 * 1024) /* bytes read from a socket that the relay has not seen yet */

struct fl_hubs; /* of the plane */
struct fl_hub;  /* of a loop thread */
struct fl_live; /* a session's relay; the hub's */
struct fl_end;

enum fl_pause {
    FL_PAUSE_RELAY = 1,  /* the other side is slow, or away */
    FL_PAUSE_FLIGHT = 2, /* the relay's thread is behind */
    FL_PAUSE_OWNER = 4,  /* the socket's owner's own */
};

/* All run on the socket's thread. */
struct fl_end_ops {
    /* To be sent; the reference stays the caller's. With `last` the connection is to end after it.
     */
    void (*send)(struct fl_end *end, struct fl_msg *m, bool last);
    /* Read nothing more as long as there is a reason. */
    void (*pause)(struct fl_end *end, enum fl_pause why, bool paused);
    void (*pong)(struct fl_end *end); /* so that a paused peer does not give up */
    void (*close)(struct fl_end *end, int code);
    void (*released)(struct fl_end *end); /* the last call: nobody knows it any more */
};

struct fl_end {
    const struct fl_end_ops *ops;
    enum fl_side side;
    struct fl_hub *hub; /* of its thread */
    bool silent;        /* before fl_end_gone(): nothing was heard of it for its time */
    /* the rest is the hubs' */
    struct fl_hub *home;
    struct fl_live *live;
    atomic_size_t flight;
    atomic_bool held; /* FL_PAUSE_FLIGHT */
    size_t outstanding;
    int64_t moved_ms; /* when it last took something */
};

/* A session as it was read, with the memory it lies in. */
struct fl_session_info {
    struct fl_arena arena;
    struct fl_session session;
};
struct fl_session_info *fl_session_info_free(struct fl_session_info *info);

int fl_hubs_new(struct fl_hubs **ret_hubs);
struct fl_hubs *fl_hubs_free(struct fl_hubs *hubs);

/* Whether its relay is still there, perhaps for a client that comes late; whether an agent is
 * connected to it. From any thread. */
bool fl_hubs_has(struct fl_hubs *hubs, const char *session_id);
bool fl_hubs_has_agent(struct fl_hubs *hubs, const char *session_id);
size_t fl_hubs_count(struct fl_hubs *hubs);

/* Before the threads run. */
int fl_hub_new(struct fl_plane *plane, struct fl_loop *loop, struct fl_hub **ret_hub,
               struct fl_err *err);
/* No timers from now on. */
void fl_hub_stop(struct fl_hub *hub);
/* After all of them have stopped. */
struct fl_hub *fl_hub_free(struct fl_hub *hub);

/* ---- for the owner of a socket, on its thread ---- */

/* A side of this session has come; takes `info`. 0, or a negative errno and nothing was done. The
 * side's connection before, if any, is closed. */
int fl_end_attach(struct fl_end *end, struct fl_session_info *info);

/* A message came; takes the reference. */
void fl_end_input(struct fl_end *end, struct fl_msg *m);

/* So many bytes of what was sent are with the kernel. */
void fl_end_drained(struct fl_end *end, size_t bytes);

/* The connection is gone; ops->released follows, perhaps at once. */
void fl_end_gone(struct fl_end *end);
