/* session_hello.h - the client's side of the handshake (protocol 3 §6), and the data key that an
 * encrypted session needs: asked of KMS with the user's own credentials (§7). */
#pragma once
#include "cli/session.h"
#include "common/session/seal.h"

/* What the official plugin says, whose behaviour on the wire this client has: nodes and planes
 * gate on it. */
#define FL_SESSION_CLIENT_VERSION "1.2.677.0"

struct fl_session_hello;

/* What the ends have agreed on; all of it lives as long as the hello. */
struct fl_session_agreed {
    struct fl_session_info info;
    size_t max_payload;           /* of data, before encryption */
    struct fl_session_seal *seal; /* NULL: nothing is encrypted */
    const char *text;             /* what the node has to say to people; "" */
};

/* Callbacks come from within fl_session_hello_input(), or from the loop. */
struct fl_session_hello_events {
    /* A message for the node. 0 or -errno. */
    int (*send)(void *arg, uint32_t type, const void *data, size_t len);
    /* One of these is the last call. Where it failed, the node has been told, if it can be. */
    void (*on_agreed)(void *arg, const struct fl_session_agreed *agreed);
    void (*on_failed)(void *arg, int r, const char *why);
};

/* `session_id` and `target` (the node, as the session was started with it; NULL: not known) are
 * copied: a data key is bound to both. 0 or -ENOMEM. */
int fl_session_hello_new(struct fl_cli *cli, const char *session_id, const char *target,
                         const struct fl_session_hello_events *events, void *arg,
                         struct fl_session_hello **ret_hello);
struct fl_session_hello *fl_session_hello_free(struct fl_session_hello *h);

/* A message of a handshake's type. */
void fl_session_hello_input(struct fl_session_hello *h, uint32_t type, const char *data,
                            size_t len);
