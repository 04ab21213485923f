/* audit_flood.c - see audit_flood.h. */
#include "server/audit_flood.h"

#include <string.h>

static bool same(const struct fl_flood_row *a, const struct fl_flood_row *b)
{
    return strcmp(a->source, b->source) == 0 && strcmp(a->error, b->error) == 0;
}

/* The row of this source and error, a free one, or the shared one. */
static struct fl_flood_row *find(struct fl_flood *f, const struct fl_flood_row *what)
{
    struct fl_flood_row *free_row = NULL;

    for (size_t i = 1; i < FL_FLOOD_ROWS; i++) {
        struct fl_flood_row *row = &f->rows[i];

        if (!row->seen)
            free_row = free_row ? free_row : row;
        else if (same(row, what))
            return row;
    }
    return free_row ? free_row : &f->rows[0];
}

bool fl_flood_admit(struct fl_flood *f, const struct fl_flood_row *what, int64_t now_ms)
{
    struct fl_flood_row *row = find(f, what);

    if (!row->seen) {
        *row = *what;
        row->since_ms = now_ms;
        if (row == &f->rows[0])
            row->source[0] = row->error[0] = row->operation[0] = '\0';
        f->n++;
    }
    return ++row->seen <= FL_FLOOD_KEEP;
}

bool fl_flood_next(struct fl_flood *f, int64_t now_ms, bool all, struct fl_flood_row *ret_row)
{
    for (size_t i = 0; i < FL_FLOOD_ROWS && f->n > 0; i++) {
        struct fl_flood_row *row = &f->rows[i];

        if (!row->seen || (!all && now_ms - row->since_ms < FL_FLOOD_WINDOW_MS))
            continue;
        *ret_row = *row;
        row->seen = 0;
        f->n--;
        if (ret_row->seen > FL_FLOOD_KEEP) {
            ret_row->seen -= FL_FLOOD_KEEP;
            return true;
        }
    }
    return false;
}
