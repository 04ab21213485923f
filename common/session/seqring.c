/* seqring.c - see seqring.h. A number's slot is the number modulo the ring's size, so the base
 * moves without anything being copied. */
#include "common/session/seqring.h"
#include <errno.h>

#define FIRST_CAP 16
#define KEPT_CAP  256 /* an empty ring keeps no more */

static void **slot(const struct fl_seqring *r, int64_t seq)
{
    return &r->slots[(uint64_t)seq & (r->cap - 1)];
}

static bool inside(const struct fl_seqring *r, int64_t seq)
{
    return seq >= r->base && (uint64_t)(seq - r->base) < r->cap;
}

void *fl_seqring_get(const struct fl_seqring *r, int64_t seq)
{
    return inside(r, seq) ? *slot(r, seq) : NULL;
}

static int grow(struct fl_seqring *r, size_t cap)
{
    struct fl_seqring wider = { .cap = cap, .n = r->n, .base = r->base };

    wider.slots = calloc(cap, sizeof(*wider.slots));
    if (!wider.slots)
        return -ENOMEM;
    for (size_t i = 0; i < r->cap; i++)
        *slot(&wider, r->base + (int64_t)i) = *slot(r, r->base + (int64_t)i);
    free(r->slots);
    *r = wider;
    return 0;
}

int fl_seqring_put(struct fl_seqring *r, int64_t seq, void *p, size_t max)
{
    uint64_t distance = (uint64_t)(seq - r->base);

    if (distance >= max)
        return -ENOSPC;
    if (distance >= r->cap) {
        size_t cap = r->cap ? r->cap : FIRST_CAP;
        int err;

        while (cap <= distance)
            cap *= 2;
        err = grow(r, cap);
        if (err < 0)
            return err;
    }
    *slot(r, seq) = p;
    r->n++;
    return 0;
}

void *fl_seqring_take(struct fl_seqring *r, int64_t seq)
{
    void *p = fl_seqring_get(r, seq);

    if (p) {
        *slot(r, seq) = NULL;
        r->n--;
    }
    return p;
}

void fl_seqring_advance(struct fl_seqring *r, int64_t base)
{
    r->base = base;
    if (r->n == 0 && r->cap > KEPT_CAP) {
        free(r->slots);
        r->slots = NULL;
        r->cap = 0;
    }
}

void fl_seqring_done(struct fl_seqring *r, void (*free_message)(void *p))
{
    for (size_t i = 0; i < r->cap; i++)
        if (r->slots[i])
            free_message(r->slots[i]);
    free(r->slots);
    *r = (struct fl_seqring){ 0 };
}
