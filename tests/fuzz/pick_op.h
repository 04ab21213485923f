/* pick_op.h - the operation that a byte of an input names: '0' is the first of all tables. */
#pragma once
#include <stdlib.h>
#include "server/api/registry.h"

static inline const struct fl_op *pick_op(uint8_t n)
{
    size_t count = 0, at;

    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++)
        count += (*t)->n_ops;
    at = (uint8_t)(n - '0') % count;
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++) {
        if (at < (*t)->n_ops)
            return &(*t)->ops[at];
        at -= (*t)->n_ops;
    }
    abort();
}
