/* trouble.c - see trouble.h. */
#include "agent/lib/trouble.h"

bool fl_trouble_is_due(struct fl_trouble *t, int64_t mono_ms)
{
    if (t->due_ms == 0)
        t->wait =
            (struct fl_backoff){ .base_ms = FL_TROUBLE_FIRST_MS, .cap_ms = FL_TROUBLE_LAST_MS };
    else if (mono_ms < t->due_ms)
        return false;
    t->due_ms = mono_ms + fl_backoff_next_ms(&t->wait, UINT32_MAX);
    return true;
}

void fl_trouble_over(struct fl_trouble *t)
{
    t->due_ms = 0;
}
