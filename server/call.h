/* call.h - the inside of a call: what server/http/ does with it around the handler. */
#pragma once
#include "server/auth/auth.h"
#include "server/op.h"

#define FL_CALL_ARENA_BYTES                                                            \
    (32 * 1024 * 1024)              /* decoded request, result, everything of one call \
                                     */
#define FL_CALL_MAX_PUBLISHED 20000 /* distinct hints of one call */

/* Prepares `call` for `caller`'s identity; the arena and strings must outlive it. */
void fl_call_init(struct fl_call *call, struct fl_plane *plane, struct fl_arena *arena,
                  const struct fl_identity *who, const char *request_id, int64_t now_ms);

/* Hands what the call wanted published to the bus; after its commit, once. */
void fl_call_publish_all(struct fl_call *call);

/* Checks the constraints of the model, then that a node speaks for itself only: a member InstanceId
 * or Destination that names another node is refused. ValidationException or AccessDeniedException.
 */
int fl_call_check(const struct fl_op *op, const struct fl_identity *who, const void *in,
                  struct fl_err *err);

/* The policy check: evaluates "service:Op" on the resources the operation names. `ret_resources` is
 * what it named, for the audit line. */
int fl_call_authorize(struct fl_call *call, const struct fl_caller *caller, const char *service,
                      const struct fl_op *op, const void *in, struct fl_resources *ret_resources,
                      struct fl_err *err);
