/* state.h - the states of a session and what moves it from one to another (protocol 3 §11).
 *
 * One table. What a session does not answer to in its state leaves it as it is; the two last states
 * are final.
 */
#pragma once
#include <stdbool.h>

/* Also in the store: do not renumber. */
enum fl_session_status {
    FL_SESS_CONNECTING,   /* started; agent and client have not both come yet */
    FL_SESS_CONNECTED,    /* both are there, or only the agent is away */
    FL_SESS_DISCONNECTED, /* the client is away */
    FL_SESS_TERMINATING,  /* to be ended: the agent has not said that it is */
    FL_SESS_TERMINATED,
    FL_SESS_FAILED,
    FL_SESS__N,
};

enum fl_session_event {
    FL_SESS_EV_JOINED,      /* agent and client are both there */
    FL_SESS_EV_CLIENT_LOST, /* the client's connection is gone */
    FL_SESS_EV_TERMINATE,   /* TerminateSession, a limit of time, or the agent says it ends */
    FL_SESS_EV_COMPLETE,    /* the agent's task is complete, or it is waited for no longer */
    FL_SESS_EV_FAILED,      /* it could not start, or the agent says so */
    FL_SESS_EV__N,
};

enum fl_session_status fl_session_next(enum fl_session_status status, enum fl_session_event event);

bool fl_session_over(enum fl_session_status status);

/* As the API spells it; and back: FL_SESS__N for what is none. */
const char *fl_session_status_name(enum fl_session_status status);
enum fl_session_status fl_session_status_of(const char *name);
