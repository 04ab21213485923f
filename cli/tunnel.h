/* tunnel.h - a local listener whose connections become streams of a session to a port (protocol 3
 * §8).
 */
#pragma once
#include "cli/forward_spec.h"
#include "cli/session.h"

struct fl_tunnel;

/* Listens; connections wait until fl_tunnel_begin. -EADDRINUSE and the like with the address in
 * `err`. */
int fl_tunnel_new(struct fl_loop *loop, const struct fl_forward_spec *spec,
                  struct fl_tunnel **ret_tunnel, struct fl_err *err);

/* Closes all of it, and removes a Unix socket. NULL is fine. */
struct fl_tunnel *fl_tunnel_free(struct fl_tunnel *t);

/* The session is ready. `on_accept` (may be NULL) is told of the first connection. A node of times
 * before smux has one connection at a time: the others wait. */
int fl_tunnel_begin(struct fl_tunnel *t, struct fl_session *session,
                    const struct fl_session_info *info, void (*on_accept)(void *arg), void *arg);

/* What the session's callbacks say: output that came (-errno: the session is broken); room again.
 */
int fl_tunnel_input(struct fl_tunnel *t, const char *data, size_t len);
void fl_tunnel_room(struct fl_tunnel *t);

/* Where it listens: "127.0.0.1:5432" or the path of the socket. */
const char *fl_tunnel_name(const struct fl_tunnel *t);
uint16_t fl_tunnel_port(const struct fl_tunnel *t); /* 0: a Unix socket */
