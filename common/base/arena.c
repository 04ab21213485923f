/* arena.c - see arena.h. Blocks grow with use, so a small message costs one small allocation. */
#include "common/base/arena.h"
#include <stdio.h>
#include <string.h>

#define FIRST_BLOCK_BYTES 1024
#define MAX_BLOCK_BYTES   (64 * 1024)
#define ALIGN             16

struct fl_arena_block {
    struct fl_arena_block *next;
    size_t size;
    size_t used;
    _Alignas(ALIGN) char data[];
};

void fl_arena_init(struct fl_arena *a, size_t max_bytes)
{
    *a = (struct fl_arena){ .max_bytes = max_bytes };
}

void fl_arena_done(struct fl_arena *a)
{
    while (a->head) {
        struct fl_arena_block *next = a->head->next;

        if (a->secret)
            explicit_bzero(a->head->data, a->head->used);
        free(a->head);
        a->head = next;
    }
    a->used_bytes = 0;
}

static struct fl_arena_block *new_block(struct fl_arena *a, size_t need)
{
    size_t size = a->head ? FL_MIN(a->head->size * 2, (size_t)MAX_BLOCK_BYTES) : FIRST_BLOCK_BYTES;
    struct fl_arena_block *b;

    size = FL_MAX(size, need);
    b = malloc(sizeof(*b) + size);
    if (!b)
        return NULL;
    b->size = size;
    b->used = 0;
    b->next = a->head;
    a->head = b;
    return b;
}

void *fl_arena_alloc(struct fl_arena *a, size_t bytes)
{
    struct fl_arena_block *b = a->head;
    size_t rounded;
    void *p;

    if (bytes > a->max_bytes)
        return NULL;
    rounded = (FL_MAX(bytes, (size_t)1) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (rounded > a->max_bytes - FL_MIN(a->used_bytes, a->max_bytes))
        return NULL;
    if (!b || b->size - b->used < rounded) {
        b = new_block(a, rounded);
        if (!b)
            return NULL;
    }
    p = b->data + b->used;
    b->used += rounded;
    a->used_bytes += rounded;
    return memset(p, 0, rounded);
}

void *fl_arena_calloc(struct fl_arena *a, size_t n, size_t elem_bytes)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, elem_bytes, &bytes))
        return NULL;
    return fl_arena_alloc(a, bytes);
}

char *fl_arena_memdup(struct fl_arena *a, const void *data, size_t len)
{
    char *p;

    if (len == SIZE_MAX)
        return NULL;
    p = fl_arena_alloc(a, len + 1);
    if (p && len)
        memcpy(p, data, len);
    return p;
}

char *fl_arena_strdup(struct fl_arena *a, const char *s)
{
    return s ? fl_arena_memdup(a, s, strlen(s)) : NULL;
}

char *fl_arena_printf(struct fl_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *p = NULL;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0)
        p = fl_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}
