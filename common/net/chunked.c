/* chunked.c - see chunked.h. */
#include "common/net/chunked.h"
#include <errno.h>

#define SIZE_MAX_DIGITS 15 /* no overflow of 64 bits, and more than any limit */

enum {
    SIZE,      /* hex digits */
    EXTENSION, /* ";…" up to CR */
    SIZE_LF,   /* after the CR of a size line */
    DATA,      /* payload */
    DATA_CR,   /* CRLF that ends a chunk */
    DATA_LF,
    TRAILER, /* first byte of a trailer line, or the CR of the last, empty line */
    TRAILER_TEXT,
    TRAILER_LF,
    LAST_LF,
    DONE,
};

static int read_size(struct fl_chunked *c, char ch)
{
    int v = fl_hex_value(ch);

    if (v >= 0) {
        if (++c->digits > SIZE_MAX_DIGITS)
            return -EMSGSIZE;
        c->left = c->left << 4 | (unsigned)v;
        return SIZE;
    }
    if (!c->digits)
        return -EINVAL;
    if (ch == '\r')
        return SIZE_LF;
    return ch == ';' ? EXTENSION : -EINVAL;
}

/* A byte of an extension or a trailer: the state after it. */
static int read_extra(struct fl_chunked *c, char ch, int after_cr)
{
    if (ch == '\r')
        return after_cr;
    if (ch == '\n' || ch == '\0')
        return -EINVAL;
    if (++c->extra > FL_CHUNKED_EXTRA_MAX_BYTES)
        return -EMSGSIZE;
    return c->state == TRAILER ? TRAILER_TEXT : c->state;
}

/* One byte outside of payload: the next state or a negative errno. */
static int step(struct fl_chunked *c, char ch)
{
    switch (c->state) {
    case SIZE:
        return read_size(c, ch);
    case EXTENSION:
        return read_extra(c, ch, SIZE_LF);
    case SIZE_LF:
        if (ch != '\n')
            return -EINVAL;
        return c->left ? DATA : TRAILER;
    case DATA_CR:
        return ch == '\r' ? DATA_LF : -EINVAL;
    case DATA_LF:
        c->digits = 0;
        return ch == '\n' ? SIZE : -EINVAL;
    case TRAILER:
        return read_extra(c, ch, LAST_LF);
    case TRAILER_TEXT:
        return read_extra(c, ch, TRAILER_LF);
    case TRAILER_LF:
        return ch == '\n' ? TRAILER : -EINVAL;
    default: /* LAST_LF */
        return ch == '\n' ? DONE : -EINVAL;
    }
}

void fl_chunked_init(struct fl_chunked *c)
{
    *c = (struct fl_chunked){ .state = SIZE };
}

int fl_chunked_feed(struct fl_chunked *c, const char *data, size_t len, struct fl_buf *out,
                    size_t *ret_used)
{
    size_t i = 0;
    int r;

    while (i < len && c->state != DONE) {
        if (c->state == DATA) {
            size_t n = FL_MIN(len - i, c->left);

            r = fl_buf_append(out, data + i, n);
            if (r < 0)
                return r;
            i += n;
            c->left -= n;
            if (!c->left)
                c->state = DATA_CR;
            continue;
        }
        r = step(c, data[i]);
        if (r < 0)
            return r;
        c->state = r;
        i++;
    }
    *ret_used = i;
    return c->state == DONE;
}
