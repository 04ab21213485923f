/* state.c - see state.h. */
#include "server/session/state.h"

#include <string.h>

#define SAME FL_SESS__N

static const struct {
    const char *name;
    enum fl_session_status
        next[FL_SESS_EV__N]; /* JOINED, CLIENT_LOST, TERMINATE, COMPLETE, FAILED */
} rows[FL_SESS__N] = {
    [FL_SESS_CONNECTING] = { "Connecting",
                             { FL_SESS_CONNECTED, SAME, FL_SESS_TERMINATING, FL_SESS_TERMINATED,
                               FL_SESS_FAILED } },
    [FL_SESS_CONNECTED] = { "Connected",
                            { SAME, FL_SESS_DISCONNECTED, FL_SESS_TERMINATING, FL_SESS_TERMINATED,
                              FL_SESS_FAILED } },
    [FL_SESS_DISCONNECTED] = { "Disconnected",
                               { FL_SESS_CONNECTED, SAME, FL_SESS_TERMINATING, FL_SESS_TERMINATED,
                                 FL_SESS_FAILED } },
    [FL_SESS_TERMINATING] = { "Terminating",
                              { SAME, SAME, SAME, FL_SESS_TERMINATED, FL_SESS_FAILED } },
    [FL_SESS_TERMINATED] = { "Terminated", { SAME, SAME, SAME, SAME, SAME } },
    [FL_SESS_FAILED] = { "Failed", { SAME, SAME, SAME, SAME, SAME } },
};

enum fl_session_status fl_session_next(enum fl_session_status status, enum fl_session_event event)
{
    enum fl_session_status next = rows[status].next[event];

    return next == SAME ? status : next;
}

bool fl_session_over(enum fl_session_status status)
{
    return status == FL_SESS_TERMINATED || status == FL_SESS_FAILED;
}

const char *fl_session_status_name(enum fl_session_status status)
{
    return status < FL_SESS__N ? rows[status].name : "Unknown";
}

enum fl_session_status fl_session_status_of(const char *name)
{
    enum fl_session_status s = 0;

    while (s < FL_SESS__N && strcmp(rows[s].name, name) != 0)
        s++;
    return s;
}
