/* revoked.h - nodes whose credentials no longer count although they have not expired.
 *
 * The truth is the table revoked_node; a copy in memory answers on any thread without a store read.
 * A row is dropped once no token issued before it can still be alive.
 */
#pragma once
#include "server/plane.h"

struct fl_revoked;

int fl_revoked_new(struct fl_revoked **ret_revoked);
struct fl_revoked *fl_revoked_free(struct fl_revoked *r);

/* Fills the copy from the store, drops old rows. At start, before anything is served. */
int fl_revoked_load(struct fl_revoked *r, struct fl_plane *plane, struct fl_err *err);

bool fl_revoked_has(struct fl_revoked *r, const char *node_id);

/* Adds to the copy; called on FL_SUBJECT_NODE_DROP. */
int fl_revoked_add(struct fl_revoked *r, const char *node_id);

/* For DeregisterManagedInstance (write lane): writes the row and publishes FL_SUBJECT_NODE_DROP,
 * which closes the node's channels and fills the copy on every plane. */
int fl_revoke_node(struct fl_call *call, const char *node_id, struct fl_err *err);
