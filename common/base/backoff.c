/* backoff.c - see backoff.h. */
#include "common/base/backoff.h"

uint32_t fl_backoff_next_ms(struct fl_backoff *b, uint32_t rnd)
{
    /* Past 31 doublings any base is over any cap, and a larger shift would be undefined. */
    uint64_t d = (uint64_t)b->base_ms << (b->tries < 31 ? b->tries : 31);

    if (d > b->cap_ms)
        d = b->cap_ms;
    if (b->tries < UINT32_MAX)
        b->tries++;
    return (uint32_t)(d - d / 2 + (d / 2) * (uint64_t)rnd / UINT32_MAX);
}

void fl_backoff_reset(struct fl_backoff *b)
{
    b->tries = 0;
}
