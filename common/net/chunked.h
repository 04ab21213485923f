/* chunked.h - decoder of "Transfer-Encoding: chunked" bodies (RFC 9112 §7.1). Pure: no I/O.
 *
 * Strict where leniency lets two parties disagree about where a request ends: CRLF only, no blanks
 * in or around the size. Extensions and trailers are skipped, up to FL_CHUNKED_EXTRA_MAX_BYTES in
 * all.
 */
#pragma once
#include "common/base/buf.h"

#define FL_CHUNKED_EXTRA_MAX_BYTES 4096

struct fl_chunked {
    int state;
    unsigned digits; /* of the size being read */
    uint64_t left;   /* bytes of the chunk still to come */
    size_t extra;    /* bytes of extensions and trailers so far */
};

void fl_chunked_init(struct fl_chunked *c);

/* Reads up to `len` bytes, appends what they carry to `out`, and tells in *ret_used how many it
 * took (all, unless the body ended). 1 when the body is complete, 0 when more is needed, -EINVAL
 * for a malformed body, -EMSGSIZE when `out` or the extras pass their limit, -ENOMEM. */
int fl_chunked_feed(struct fl_chunked *c, const char *data, size_t len, struct fl_buf *out,
                    size_t *ret_used);
