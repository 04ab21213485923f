/* fakestream.h - a stream (common/net/stream.h) without a socket: bytes are fed by hand, what is
 * sent is kept. As over a real transport, nothing happens inside the call that caused it.
 */
#pragma once
#include <stdlib.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/net/stream.h"

struct fakestream {
    struct fl_stream s; /* first, as in every transport */
    struct fl_buf sent;
    bool wants_write, paused, ending, gone;
};

static inline struct fakestream *fakestream_of(struct fl_stream *s)
{
    return FL_CONTAINER_OF(s, struct fakestream, s);
}

static inline ssize_t fakestream_write(struct fl_stream *s, const void *data, size_t len)
{
    if (fl_buf_append(&fakestream_of(s)->sent, data, len) < 0)
        abort(); /* answers are small beside the limit */
    return (ssize_t)len;
}

static inline void fakestream_want_write(struct fl_stream *s)
{
    fakestream_of(s)->wants_write = true;
}

static inline void fakestream_pause(struct fl_stream *s, bool paused)
{
    fakestream_of(s)->paused = paused;
}

static inline void fakestream_timer(struct fl_stream *s, uint32_t ms)
{
}

static inline void fakestream_end(struct fl_stream *s)
{
    fakestream_of(s)->ending = true;
}

static const struct fl_transport fakestream_transport = {
    .write = fakestream_write,
    .want_write = fakestream_want_write,
    .pause = fakestream_pause,
    .timer = fakestream_timer,
    .fin = fakestream_end, /* the peer closes in turn */
    .kill = fakestream_end,
};

static inline void fakestream_init(struct fakestream *f)
{
    *f = (struct fakestream){ 0 };
    fl_buf_init(&f->sent, 64 << 20);
    fl_stream_init(&f->s, &fakestream_transport);
}

/* What the loop would do before it reads again. */
static inline void fakestream_turn(struct fakestream *f)
{
    while (f->wants_write && !f->ending) {
        f->wants_write = false;
        fl_stream_writable(&f->s);
    }
    if (f->ending && !f->gone) {
        f->gone = true;
        fl_stream_closed(&f->s, "ended");
    }
}

/* One read of at most `step` bytes; how many. 0: it does not read now. */
static inline size_t fakestream_feed(struct fakestream *f, const uint8_t *data, size_t len,
                                     size_t step)
{
    size_t n = FL_MIN(len, step);
    uint8_t *copy;

    if (f->paused || f->gone || n == 0)
        return 0;
    copy = malloc(n); /* of that size, so that a sanitizer sees a read past it */
    memcpy(copy, data, n);
    fl_stream_readable(&f->s, copy, n);
    free(copy);
    return n;
}

/* The peer closes. */
static inline void fakestream_close(struct fakestream *f)
{
    f->ending = true;
    fakestream_turn(f);
    fl_buf_done(&f->sent);
}
