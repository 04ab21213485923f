/* backoff.h - delays between retries: exponential, capped, jittered.
 *
 * Plain data, no allocation, no clock: embed it, ask for the next delay, reset on success.
 */
#pragma once
#include <stdint.h>

struct fl_backoff {
    uint32_t base_ms; /* first delay */
    uint32_t cap_ms;  /* no delay is longer */
    uint32_t tries;   /* failures since the last reset */
};

/* Delay before the next try, in ms, and count one more failure. `rnd` is any 32 random bits: the
 * result lies in [d/2, d], with d doubling from base_ms up to cap_ms. Cannot fail. */
uint32_t fl_backoff_next_ms(struct fl_backoff *b, uint32_t rnd);

void fl_backoff_reset(struct fl_backoff *b);
