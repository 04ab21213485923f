/* seqring.h - messages by their sequence number: a ring of pointers that grows with the distance
 * between the first and the last, and gives its memory back when it is empty.
 */
#pragma once
#include "common/base/util.h"

struct fl_seqring {
    void **slots;
    size_t cap;   /* 0 or a power of two */
    size_t n;     /* slots in use */
    int64_t base; /* no message is below; slots reach from here to base + cap - 1 */
};

/* NULL if there is none. */
void *fl_seqring_get(const struct fl_seqring *r, int64_t seq);

/* Puts `p` (not NULL) at a free place at or above the base. -ENOSPC if that is `max` or more above
 * it, -ENOMEM. */
int fl_seqring_put(struct fl_seqring *r, int64_t seq, void *p, size_t max);

/* Takes out what is at `seq`, NULL if nothing. */
void *fl_seqring_take(struct fl_seqring *r, int64_t seq);

/* Only forward, and only over places that are empty. */
void fl_seqring_advance(struct fl_seqring *r, int64_t base);

void fl_seqring_done(struct fl_seqring *r, void (*free_message)(void *p));
