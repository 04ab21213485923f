/* relay.h - the rules of one session's relay: what is passed on, held, answered, kept (protocol 3
 * §11). Pure: sockets and threads are the caller's, time is passed in.
 *
 * Frames pass as they came, one WebSocket message each; of their payloads only acknowledgements and
 * agent_session_state are read. All calls are made on one thread.
 */
#pragma once
#include "common/base/buf.h"
#include "server/session/flow.h"

enum fl_side { FL_SIDE_AGENT, FL_SIDE_CLIENT, FL_SIDE__N };

enum fl_relay_word { /* of the agent, by agent_session_state */
                     FL_RELAY_CONNECTED,
                     FL_RELAY_TERMINATING,
};

enum { /* fl_relay_events.stream */
       /* Nothing more is to be read from there until those that wait (fl_relay_let) are sent. */
       FL_RELAY_FULL = 1,
       /* One with its number was there before: another must not pass. */
       FL_RELAY_SEEN,
};

struct fl_relay_events {
    /* For the socket of a side that is attached. 0, or -ENOBUFS: it is full; fl_relay_room will be
     * called. With m->last the connection is to end after it. */
    int (*send)(void *arg, enum fl_side to, struct fl_msg *m);
    /* Nothing more is to be read from a side, or it is again. */
    void (*pause)(void *arg, enum fl_side from, bool paused);
    void (*word)(void *arg, enum fl_relay_word word);
    /* May be NULL. Each stream message that came, whatever its order; repeated ones too. 0;
     * FL_RELAY_FULL; FL_RELAY_SEEN; <0: it is not taken, and its sender repeats it. */
    int (*stream)(void *arg, enum fl_side from, const struct fl_msg *m, const char *payload,
                  size_t len);
};

struct fl_relay_conf {
    const char *session_id, *node_id; /* live as long as the relay */
    bool no_pause;   /* pause_publication would harm: its output ends with an error (§5) */
    bool any_counts; /* what the agent says counts as activity, too */
    bool resumed;    /* its client may have had a connection before the first that is seen here */
};

struct fl_relay {
    struct fl_relay_conf conf;
    const struct fl_relay_events *events;
    void *arg;
    struct fl_flow to[FL_SIDE__N];
    bool attached[FL_SIDE__N], came[FL_SIDE__N], paused[FL_SIDE__N], closing[FL_SIDE__N];
    bool back;              /* the client's connection is not its first */
    struct fl_msg *barrier; /* HandshakeComplete that waits for the acknowledgement of … */
    int64_t response;       /* … HandshakeResponse; -1: none was seen, or it was acknowledged */
    int64_t active_ms;      /* monotonic: of the last activity of the user */
    uint64_t bad;           /* frames that were dropped */
    int64_t before[FL_SIDE__N]; /* of a side's messages only those before this number may be sent */
    bool full[FL_SIDE__N];      /* events->stream gave FL_RELAY_FULL */
    bool shut;
};

void fl_relay_init(struct fl_relay *relay, const struct fl_relay_conf *conf,
                   const struct fl_relay_events *events, void *arg, int64_t mono_ms);
void fl_relay_done(struct fl_relay *relay);

/* A side has a new connection, with nothing on it yet; or none any more. */
void fl_relay_attach(struct fl_relay *relay, enum fl_side side, int64_t wall_ms);
void fl_relay_detach(struct fl_relay *relay, enum fl_side side, int64_t wall_ms);

/* A binary message came; takes the reference. -EBADMSG: it is no frame. Frames that do not belong
 * there are dropped and counted. */
int fl_relay_input(struct fl_relay *relay, enum fl_side from, struct fl_msg *m, int64_t wall_ms,
                   int64_t mono_ms);

/* Of what a side sent, messages before this number may be sent on, the others wait. At the
 * beginning all may. */
void fl_relay_let(struct fl_relay *relay, enum fl_side from, int64_t before);

/* What waits is forgotten, and what comes to wait. */
void fl_relay_shut(struct fl_relay *relay);

/* Whether there are any that wait. */
bool fl_relay_waits(const struct fl_relay *relay);

/* The socket of a side has room again. */
void fl_relay_room(struct fl_relay *relay, enum fl_side side);

/* The session ends: a side gets what is here for it, then channel_closed. For the client `output`
 * says why, and its connection ends; it gets that also if it comes later. The agent's stays, for
 * its last words. Once for each side; further calls do nothing. */
void fl_relay_close(struct fl_relay *relay, enum fl_side side, const char *output, int64_t wall_ms);

/* Appends the payload of channel_closed, which a control channel may bring as well. */
int fl_relay_closed_payload(const char *session_id, const char *node_id, const char *output,
                            int64_t wall_ms, struct fl_buf *out);
