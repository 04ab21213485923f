/* tap.h - who watches sessions: sees every stream message once, in order, as the relay passes it.
 *
 * A tap is one const struct and a line in server/session/taps.c. Its functions run on the loop
 * thread that relays the session and must not block: what they do with the disk or the store goes
 * through fl_loop_work or fl_store_submit. A tap that keeps what it sees says by the session's pass
 * what may be sent on already; without that the relay does not wait for it.
 *
 * A session is one chain of start, message…, end. If the plane goes down in mid-session the chain
 * ends with `over` false, and the next one, in another process, begins with `resumed` true: what
 * was said in between is in neither.
 */
#pragma once
#include "common/base/loop.h"
#include "common/base/util.h"
#include "server/session/state.h"

struct fl_pass;
struct fl_plane;

/* All strings live as long as the chain. */
struct fl_tap_session {
    const char *session_id;
    const char *node_id;
    const char *owner; /* ARN */
    const char *document_name;
    const char *content;  /* JSON of struct fl_msg_session_content, as the agent got it */
    int64_t started_ms;   /* wall */
    struct fl_pass *pass; /* pass.h; may be NULL */
    bool resumed;         /* by this process from an earlier one; the beginning is not seen */
};

struct fl_tap_message {
    bool input;       /* client -> agent; else agent -> client */
    uint32_t type;    /* payload type, protocol 3 §4 */
    int64_t sequence; /* of its direction; ascending */
    int64_t lost;     /* messages before this one that are missing; 0 but for a peer that jumps */
    const void *data; /* gone after the return; as on the wire, so perhaps encrypted */
    size_t len;
    int64_t wall_ms; /* when it came to the plane */
};

struct fl_tap_end {
    bool over;                     /* false: the plane goes down, the session may go on */
    enum fl_session_status status; /* over: Terminated or Failed */
    const char *details;           /* why, or "" */
    int64_t wall_ms;
};

struct fl_tap {
    const char *name;
    /* 1: not interested, nothing more is called; 0 with the chain's own state; a negative errno is
     * logged and the same as 1, but for -EACCES: the session must not go on without this tap. */
    int (*start)(struct fl_plane *plane, struct fl_loop *loop, const struct fl_tap_session *session,
                 void **ret_state);
    /* 0; 1: nothing more is to be read from its sender until what waits was sent on. */
    int (*message)(void *state, const struct fl_tap_message *message);
    void (*end)(void *state, const struct fl_tap_end *end); /* frees the state */
};

#define FL_TAPS_MAX 4
extern const struct fl_tap *const fl_taps[]; /* ended by NULL; server/session/taps.c */
