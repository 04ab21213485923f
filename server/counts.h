/* counts.h - a hash from string to integer; keys are copied. Not thread-safe, no limit of its own.
 */
#pragma once
#include "common/base/util.h"

struct fl_counts_slot {
    char *key; /* NULL: free */
    int64_t value;
};

struct fl_counts {
    struct fl_counts_slot *slots;
    size_t n_slots; /* power of two, or 0 */
    size_t n;       /* keys present */
};

void fl_counts_done(struct fl_counts *m);

/* The value of a key, or NULL; valid until the next change. */
int64_t *fl_counts_get(const struct fl_counts *m, const char *key);

/* The same, inserting 0 if the key is absent. NULL without memory. */
int64_t *fl_counts_put(struct fl_counts *m, const char *key);

/* True if it was there. */
bool fl_counts_remove(struct fl_counts *m, const char *key);
