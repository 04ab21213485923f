/* trouble.h - tells of a trouble that lasts without a line for every try.
 *
 * Told when it begins, then ever more rarely while it lasts, with whatever is its reason by then.
 * Plain data, no allocation: embed it zeroed.
 */
#pragma once
#include <stdbool.h>
#include "common/base/backoff.h"

#define FL_TROUBLE_FIRST_MS (60u * 1000)
#define FL_TROUBLE_LAST_MS  (4u * 3600 * 1000)

struct fl_trouble {
    struct fl_backoff wait;
    int64_t due_ms; /* monotonic; 0: there is no trouble */
};

/* Whether it is to be told now. */
bool fl_trouble_is_due(struct fl_trouble *t, int64_t mono_ms);

/* It is over; the next one begins anew. */
void fl_trouble_over(struct fl_trouble *t);
