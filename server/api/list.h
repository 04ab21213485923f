/* list.h - a list that grows inside an arena, for handlers that collect rows. */
#pragma once
#include <string.h>

#include "common/base/arena.h"

/* Room for element `n` of list `v`: v itself, or a copy twice as large. *cap starts at 0. NULL when
 * the arena is exhausted. Elements beyond n are zero. */
static inline void *fl_list_room(struct fl_arena *arena, void *v, size_t n, size_t *cap,
                                 size_t elem_bytes)
{
    size_t want = *cap ? *cap * 2 : 4;
    void *grown;

    if (n < *cap)
        return v;
    grown = fl_arena_calloc(arena, want, elem_bytes);
    if (!grown)
        return NULL;
    if (n > 0)
        memcpy(grown, v, n * elem_bytes);
    *cap = want;
    return grown;
}
