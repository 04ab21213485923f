/* place.h - where what a session shows is put: an object and a log stream, written once, by the
 * plane or by the session's node (protocol 3 §10).
 *
 * The plane does it where it can. It cannot where the session is encrypted, or nothing is recorded:
 * then the node may without a policy, until FL_SESSION_TELL_MS after the end. Otherwise no node
 * may, whatever its policy: agents other than ours always try.
 */
#pragma once
#include "server/op.h"

struct fl_session_place {
    char *bucket, *key;              /* bucket NULL: to none of the plane's */
    char *log_group;                 /* NULL: to none of the plane's */
    bool keeps_object, keeps_events; /* the plane does it */
};

/* Of a session that was inserted. */
int fl_session_place_add(struct fl_call *call, const char *session_id,
                         const struct fl_session_place *place, struct fl_err *err);

/* May a node write there? 1: it is of its own session; 0: it is no session's; -EACCES
 * (AccessDeniedException): the plane or another node does, or it is too late, or the object is
 * there.
 */
int fl_session_object(struct fl_call *call, const char *bucket, const char *key,
                      const char *node_id, struct fl_err *err);
int fl_session_stream(struct fl_call *call, const char *group, const char *stream,
                      const char *node_id, struct fl_err *err);

/* 1 if a session of the node, by the node, goes to this group; 0 if none does. */
int fl_session_group(struct fl_call *call, const char *group, const char *node_id,
                     struct fl_err *err);
