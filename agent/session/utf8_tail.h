/* utf8_tail.h - output that ends in the middle of a character waits for its rest (protocol 3 §8).
 * Pure. Bytes that are no UTF-8 pass through.
 */
#pragma once
#include <sys/uio.h>
#include "common/base/util.h"

struct fl_utf8_tail {
    char bytes[4];
    size_t len;
};

/* What of the tail and the fresh bytes can go now, as pieces that point to them: 0 to 2. */
size_t fl_utf8_tail_cut(const struct fl_utf8_tail *t, const char *data, size_t len,
                        struct iovec out[2]);
/* Then, what is kept of the same bytes. */
void fl_utf8_tail_keep(struct fl_utf8_tail *t, const char *data, size_t len);
