/* arena.h - memory that lives and dies together, with a limit.
 *
 * Everything a message decodes into lives in that message's arena. Allocation fails with NULL once
 * `max_bytes` would be passed, so a peer cannot grow it without bound. Not thread-safe.
 */
#pragma once
#include "common/base/util.h"

struct fl_arena_block;

struct fl_arena {
    struct fl_arena_block *head;
    size_t used_bytes; /* handed out so far */
    size_t max_bytes;  /* no more than this is handed out */
    bool secret;       /* memory is wiped before it is given back */
};

void fl_arena_init(struct fl_arena *a, size_t max_bytes);
void fl_arena_done(struct fl_arena *a);

/* Zeroed memory, 16-byte aligned; NULL when the limit or memory is exhausted. A zero size gives a
 * valid pointer. */
void *fl_arena_alloc(struct fl_arena *a, size_t bytes);

/* `n` zeroed elements; NULL on overflow, limit or no memory. */
void *fl_arena_calloc(struct fl_arena *a, size_t n, size_t elem_bytes);

/* Copies of a string, of `len` bytes plus a NUL, or of formatted text; NULL as above. strdup of
 * NULL is NULL. */
char *fl_arena_strdup(struct fl_arena *a, const char *s);
char *fl_arena_memdup(struct fl_arena *a, const void *data, size_t len);
char *fl_arena_printf(struct fl_arena *a, const char *fmt, ...) FL_PRINTF(2, 3);

/*     fl_autoarena struct fl_arena a = FL_ARENA(65536); */
#define FL_ARENA(max)      \
    {                      \
        .max_bytes = (max) \
    }
#define fl_autoarena FL_CLEANUP(fl_arena_done)
