/* utf8_tail.c - see utf8_tail.h. */
#include "agent/session/utf8_tail.h"
#include <string.h>

/* Bytes a character has that begins so; 0 for what begins none. */
static size_t length_of(unsigned char c)
{
    return c < 0x80                ? 1
           : c >= 0xc2 && c < 0xe0 ? 2
           : c >= 0xe0 && c < 0xf0 ? 3
           : c >= 0xf0 && c < 0xf5 ? 4
                                   : 0;
}

static unsigned char at(const struct fl_utf8_tail *t, const char *data, size_t i)
{
    return (unsigned char)(i < t->len ? t->bytes[i] : data[i - t->len]);
}

/* How many bytes at the end of both begin a character without ending it. */
static size_t open_bytes(const struct fl_utf8_tail *t, const char *data, size_t len)
{
    size_t all = t->len + len;

    for (size_t back = 1; back <= 3 && back <= all; back++) {
        unsigned char c = at(t, data, all - back);

        if ((c & 0xc0) != 0x80)
            return length_of(c) > back ? back : 0;
    }
    return 0;
}

size_t fl_utf8_tail_cut(const struct fl_utf8_tail *t, const char *data, size_t len,
                        struct iovec out[2])
{
    size_t go = t->len + len - open_bytes(t, data, len), first = FL_MIN(go, t->len), n = 0;

    if (first > 0)
        out[n++] = (struct iovec){ (void *)(uintptr_t)t->bytes, first };
    if (go > first)
        out[n++] = (struct iovec){ (void *)(uintptr_t)data, go - first };
    return n;
}

void fl_utf8_tail_keep(struct fl_utf8_tail *t, const char *data, size_t len)
{
    struct fl_utf8_tail kept = { .len = open_bytes(t, data, len) };
    size_t all = t->len + len;

    for (size_t i = 0; i < kept.len; i++)
        kept.bytes[i] = (char)at(t, data, all - kept.len + i);
    *t = kept;
}
