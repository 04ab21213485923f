/* status_socket.h - the monitor's end of `fairlead-agent status`: a listening socket that writes
 * one JSON object to whoever connects and hangs up. Nothing is read, nobody can keep it busy.
 */
#pragma once
#include "agent/lib/agent_status.h"
#include "common/base/err.h"
#include "common/base/loop.h"

struct fl_status_socket;

/* Fills the status; memory from `arena`, which lives until it is sent. */
typedef void (*fl_status_fill_fn)(void *arg, struct fl_arena *arena, struct fl_agent_status *out);

int fl_status_socket_new(struct fl_loop *loop, const char *runtime_dir, fl_status_fill_fn fill,
                         void *arg, struct fl_status_socket **ret_sock, struct fl_err *err);
struct fl_status_socket *fl_status_socket_free(struct fl_status_socket *s);
