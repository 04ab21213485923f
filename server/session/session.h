/* session.h - sessions in the store: starting, what becomes of them, and who is told.
 *
 * All functions run on a store thread inside the transaction of `call`; strings lie in its arena.
 * Those that change a session publish hints for after the commit: FL_SUBJECT_SESSION for the relay,
 * FL_SUBJECT_NODE_SESSION for the node's control channel. Whoever gets one reads the session.
 */
#pragma once
#include "server/op.h"
#include "server/session/state.h"

struct fl_msg_task_complete; /* common/wire/datachannel.h */

#define FL_SUBJECT_SESSION      "session"      /* key: session id */
#define FL_SUBJECT_NODE_SESSION "node.session" /* key: "<node id> <session id>" */

#define FL_SUBJECT_SESSION_DUE "session.due" /* key: "": the clock may be asked for earlier */

#define FL_SESSION_START_MS 60000 /* for agent and client to come */
/* For an agent to come before it is told once more: one whose sessions are not up yet drops what it
 * is told without a word (protocol 2 §3.7). */
#define FL_SESSION_AGAIN_MS 5000
/* For an agent to come back while nobody waits for it: after a start of the plane, or with its
 * client away. Else it is conf.session_lost_ms. */
#define FL_SESSION_LOST_MS  120000
#define FL_SESSION_END_MS   60000                /* for an agent to say that it has ended */
#define FL_SESSION_TELL_MS  (24LL * 3600 * 1000) /* an agent that was away is told of the end */
#define FL_SESSION_KEEP_MS  (30LL * 24 * 3600 * 1000) /* protocol 6 §3.6: History */

#define FL_SESSION_OVER_TEXT "Session is already terminated" /* agents look for it (§3) */

struct fl_session {
    char *id, *node_id;
    int64_t status; /* enum fl_session_status */
    char *owner;    /* ARN */
    char *owner_id; /* aws:userid */
    char *document_name;
    char *session_type; /* "Port", … */
    char *details;      /* why it ended */
    int64_t started_ms;
    int64_t idle_minutes;    /* 0: no limit */
    int64_t ends_ms, due_ms; /* 0: never */
    int64_t agent_came, agent_done;
    char *content; /* JSON of struct fl_msg_session_content; NULL after the end */
};

/* 1 found, 0 not, or a negative errno. */
int fl_session_load(struct fl_call *call, const char *id, struct fl_session *ret_session,
                    struct fl_err *err);

/* A new one, with its id, node, owner, document, type, idle limit and content given. `max_minutes`
 * 0: no limit. */
int fl_session_insert(struct fl_call *call, const struct fl_session *s, const char *reason,
                      int64_t max_minutes, struct fl_err *err);

/* To be ended; what is unknown or has ended stays as it is. `why` is shown to the user. */
int fl_session_terminate(struct fl_call *call, const char *id, const char *why, struct fl_err *err);

/* Who is connected now. */
struct fl_session_seen {
    bool agent, client;
    bool joined; /* both have been, at a time since the last note */
    bool silent; /* the agent was away for its time already when its connection was given up */
};
int fl_session_note(struct fl_call *call, const char *id, const struct fl_session_seen *seen,
                    struct fl_err *err);

/* The agent of `node_id` says that it has ended. 1: it was open, 0: nothing of it is known, or it
 * was over. */
int fl_session_complete(struct fl_call *call, const char *node_id,
                        const struct fl_msg_task_complete *said, struct fl_err *err);

/* Its time has come. */
int fl_session_overdue(struct fl_call *call, const char *id, struct fl_err *err);

/* The plane has just started: nobody is connected. */
int fl_session_restarted(struct fl_call *call, const char *id, struct fl_err *err);

/* The node was deregistered: its sessions are over. 1: there are more. */
int fl_session_node_gone(struct fl_call *call, const char *node_id, struct fl_err *err);

/* The node is not heard of: what it has not begun is over. 1: there may be more. */
int fl_session_node_unheard(struct fl_call *call, const char *node_id, struct fl_err *err);

/* For a policy: arn:aws:ssm:<region>:<account>:session/<id>, with the tags that AWS gives sessions:
 * aws:ssmmessages:session-id (the owner's aws:userid) and aws:ssmmessages:target-id. */
int fl_session_resource(struct fl_call *call, const char *id, struct fl_resources *ret,
                        struct fl_err *err);
