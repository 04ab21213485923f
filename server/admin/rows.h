/* rows.h - lists of users, keys, roles, policies and clones: read by shape, printed as a table or
 * as JSON.
 */
#pragma once
#include <stdio.h>
#include "server/admin/iam.h"

enum fl_rows_kind {
    FL_ROWS_USERS,
    FL_ROWS_KEYS,
    FL_ROWS_ROLES,
    FL_ROWS_POLICIES,
    FL_ROWS_CLONES,
    FL_ROWS__N
};

struct fl_rows {
    const struct fl_shape *shape;
    char *v; /* n times shape->size bytes, in the arena */
    size_t n;
};

/* `arg`: the user whose keys are wanted, "" for all; unused by the other kinds. */
int fl_rows_read(struct fl_rows *rows, const struct fl_iam *iam, enum fl_rows_kind kind,
                 const char *arg, struct fl_arena *arena, struct fl_err *err);

/* The table leaves out members that hold JSON. */
int fl_rows_print(const struct fl_rows *rows, bool json, FILE *out);
