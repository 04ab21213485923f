/* session_hello.h - the client's side of the handshake (protocol 3 §6). Pure. */
#pragma once
#include "cli/session.h"

/* What the official plugin says, whose behaviour on the wire this client has: nodes and planes
 * gate on it. */
#define FL_SESSION_CLIENT_VERSION "1.2.677.0"

struct fl_session_agreed {
    struct fl_session_info info; /* in the arena */
    size_t max_payload;
    bool refused; /* the answer says so to the node; `err` why */
};

/* Takes HandshakeRequest and appends HandshakeResponse. -EBADMSG: no answer is possible. */
int fl_session_hello(const char *request, size_t len, struct fl_arena *arena,
                     struct fl_session_agreed *ret, struct fl_buf *answer, struct fl_err *err);

/* What HandshakeComplete has to say to people; "" for nothing. */
const char *fl_session_hello_done(const char *message, size_t len, struct fl_arena *arena);
