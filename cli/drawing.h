/* drawing.h - what a terminal was sent, less all that does more than draw: no question that the
 * terminal would answer as if it were typed, nothing for its clipboard, title, keys, mouse or
 * printer. For bytes that somebody else chose. Pure; no allocation of its own.
 *
 * Left are text (UTF-8; what is none becomes U+FFFD), colours, the cursor's moves, erasing,
 * scrolling, character sets, and the modes that change the picture alone. Control sequences:
 * ECMA-48, and xterm's ctlseqs.
 */
#pragma once
#include "common/base/buf.h"

#define FL_DRAWING_SEQUENCE_BYTES 64 /* a longer one is dropped */

struct fl_drawing { /* zero is its beginning */
    int state;
    char sequence[FL_DRAWING_SEQUENCE_BYTES]; /* behind ESC, or bytes of a character */
    size_t n;
};

/* Appends what is left of it to `out`; the same however the bytes are cut into calls. 0, or an
 * error of the buffer. */
int fl_drawing_feed(struct fl_drawing *d, const char *data, size_t len, struct fl_buf *out);
