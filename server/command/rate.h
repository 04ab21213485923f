/* rate.h - how many invocations of a command may be sent next. Pure.
 *
 * Source: protocol 6 §3.3 "Rate control": one node, after its acknowledgement two more, then four,
 * … up to MaxConcurrency.
 */
#pragma once
#include "common/base/util.h"

struct fl_rate {
    int64_t limit;   /* invocations that may hold a slot at once; at least 1 */
    int64_t running; /* hold one now */
    int64_t unacked; /* of those, not acknowledged */
    int64_t ramp;    /* size of the next batch: 1 at first; over `limit`: the ramp is done */
};

/* How many to send now. When it is not 0, `r->ramp` grows for the batch after this one: ask only if
 * at least one is waiting. */
int64_t fl_rate_next(struct fl_rate *r);

/* "10" or "25%" of `targets`: percent is rounded down. `at_least` bounds the result from below.
 * The text was checked against the model's pattern. */
int64_t fl_rate_number(const char *text, int64_t targets, int64_t at_least);
