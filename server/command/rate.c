/* rate.c - see rate.h. */
#include "server/command/rate.h"

#include <stdlib.h>
#include <string.h>

int64_t fl_rate_next(struct fl_rate *r)
{
    int64_t room = r->limit - r->running;
    int64_t n = room;

    if (room <= 0)
        return 0;
    if (r->ramp <= r->limit) {
        if (r->unacked > 0)
            return 0;
        n = FL_MIN(r->ramp, room);
        r->ramp *= 2;
    }
    return n;
}

int64_t fl_rate_number(const char *text, int64_t targets, int64_t at_least)
{
    int64_t v = strtoll(text, NULL, 10); /* at most 7 digits by the model */

    if (strchr(text, '%'))
        v = targets * v / 100;
    return FL_MAX(v, at_least);
}
