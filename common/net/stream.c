/* stream.c - see stream.h. */
#include "common/net/stream.h"
#include <errno.h>
#include <string.h>

#define WRITE_BYTES      (16 * 1024)        /* one TLS record */
#define TURN_BYTES       (256 * 1024)       /* written at a time, then others get a turn */
#define CHUNK_MIN_BYTES  1024               /* small sends share an allocation, and a record */
#define FINISH_MS        5000               /* how long a finished stream may linger, */
#define FINISH_MAX_BYTES (16 * 1024 * 1024) /* and how much of the peer's is thrown away */

struct fl_stream_chunk {
    TAILQ_ENTRY(fl_stream_chunk) link;
    size_t at, len, cap;
    uint8_t data[];
};

static void drop_chunk(struct fl_stream *s, struct fl_stream_chunk *c)
{
    TAILQ_REMOVE(&s->out, c, link);
    explicit_bzero(c->data, c->len); /* answers hold secrets */
    free(c);
}

/* Writes until the kernel is full or the turn is over. 0 or a negative errno. */
static int flush(struct fl_stream *s)
{
    size_t budget = TURN_BYTES;
    struct fl_stream_chunk *c;

    while (budget && (c = TAILQ_FIRST(&s->out))) {
        size_t want = FL_MIN(c->len - c->at, (size_t)WRITE_BYTES);
        ssize_t n = s->transport->write(s, c->data + c->at, want);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        c->at += (size_t)n;
        s->queued -= (size_t)n;
        budget -= FL_MIN(budget, (size_t)n);
        if (c->at == c->len)
            drop_chunk(s, c);
    }
    return 0;
}

void fl_stream_set_ops(struct fl_stream *s, const struct fl_stream_ops *ops, void *arg)
{
    s->ops = ops;
    s->arg = arg;
}

int fl_stream_send(struct fl_stream *s, const void *data, size_t len)
{
    uint8_t *room;

    if (s->aborted || s->finishing)
        return -EPIPE;
    room = fl_stream_push(s, len);
    if (!room)
        return -ENOMEM;
    if (len)
        memcpy(room, data, len);
    return 0;
}

uint8_t *fl_stream_push(struct fl_stream *s, size_t len)
{
    struct fl_stream_chunk *c = TAILQ_LAST(&s->out, fl_stream_chunks);
    uint8_t *room;

    if (s->aborted || s->finishing)
        return NULL;
    if (!c || c->cap - c->len < len) {
        size_t cap = FL_MAX(len, (size_t)CHUNK_MIN_BYTES);

        c = malloc(sizeof(*c) + cap);
        if (!c)
            return NULL;
        c->at = c->len = 0;
        c->cap = cap;
        TAILQ_INSERT_TAIL(&s->out, c, link);
    }
    room = c->data + c->len;
    c->len += len;
    s->queued += len;
    s->transport->want_write(s);
    return room;
}

size_t fl_stream_queued(const struct fl_stream *s)
{
    return s->queued;
}

void fl_stream_pause(struct fl_stream *s, bool paused)
{
    if (!s->aborted)
        s->transport->pause(s, paused);
}

void fl_stream_timer(struct fl_stream *s, uint32_t ms)
{
    if (!s->aborted && !s->finishing)
        s->transport->timer(s, ms);
}

void fl_stream_finish(struct fl_stream *s)
{
    if (s->aborted || s->finishing)
        return;
    s->finishing = true;
    s->transport->timer(s, FINISH_MS);
    s->transport->pause(s, false);
    s->transport->want_write(s);
}

void fl_stream_abort(struct fl_stream *s)
{
    if (s->aborted)
        return;
    s->aborted = true;
    s->transport->kill(s);
}

void fl_stream_init(struct fl_stream *s, const struct fl_transport *transport)
{
    s->transport = transport;
    TAILQ_INIT(&s->out);
}

void fl_stream_readable(struct fl_stream *s, uint8_t *data, size_t len)
{
    if (s->aborted)
        return;
    if (!s->finishing) {
        s->ops->on_data(s->arg, data, len);
        return;
    }
    s->discarded += len;
    if (s->discarded > FINISH_MAX_BYTES)
        fl_stream_abort(s);
}

void fl_stream_writable(struct fl_stream *s)
{
    if (s->aborted || s->fin_sent)
        return;
    if (flush(s) < 0) {
        fl_stream_abort(s);
    } else if (!TAILQ_EMPTY(&s->out)) {
        s->transport->want_write(s);
    } else if (s->finishing) {
        s->fin_sent = true;
        s->transport->fin(s);
    } else if (s->ops->on_drain) {
        s->ops->on_drain(s->arg);
    }
}

void fl_stream_timeout(struct fl_stream *s)
{
    if (s->aborted)
        return;
    if (s->finishing)
        fl_stream_abort(s);
    else if (s->ops->on_timer)
        s->ops->on_timer(s->arg);
}

void fl_stream_closed(struct fl_stream *s, const char *why)
{
    struct fl_stream_chunk *c;

    s->aborted = true;
    while ((c = TAILQ_FIRST(&s->out)))
        drop_chunk(s, c);
    s->queued = 0;
    s->ops->on_close(s->arg, why);
}
