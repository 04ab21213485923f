/* dial_stream.c - an open outgoing connection as a stream. See dial.h. */
#include <errno.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include "common/net/dial_private.h"

#define READ_BYTES      (16 * 1024)
#define READ_TURN_BYTES (256 * 1024) /* then others get a turn */

struct dial_stream {
    struct fl_stream base;
    int fd;
    SSL *ssl; /* NULL: plain */
    struct fl_io *io;
    struct fl_timer *timer; /* the user's */
    struct fl_timer *soon;  /* reads on, or closes, from the loop */
    bool writing, paused;
    bool read_wants_write, write_wants_read; /* TLS has its own ideas */
    const char *end;                         /* why it is to be closed */
};

static void stream_free(struct dial_stream *s)
{
    fl_io_free(s->io);
    fl_timer_free(s->timer);
    fl_timer_free(s->soon);
    SSL_free(s->ssl);
    close(s->fd);
    free(s);
}

static void watch(struct dial_stream *s)
{
    unsigned events = 0;

    if (!s->paused || s->write_wants_read)
        events |= FL_IO_READ;
    if ((s->writing && !s->write_wants_read) || s->read_wants_write)
        events |= FL_IO_WRITE;
    fl_io_set(s->io, events);
}

/* ---- the transport ---- */

static ssize_t stream_write(struct fl_stream *base, const void *data, size_t len)
{
    struct dial_stream *s = (struct dial_stream *)base;
    ssize_t n;

    if (s->ssl) {
        ERR_clear_error();
        n = SSL_write(s->ssl, data, (int)len);
        if (n > 0)
            return n;
        switch (SSL_get_error(s->ssl, (int)n)) {
        case SSL_ERROR_WANT_READ:
            s->write_wants_read = true;
            return 0;
        case SSL_ERROR_WANT_WRITE:
            return 0;
        default:
            return -EPIPE;
        }
    }
    do
        n = send(s->fd, data, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    return n;
}

static void stream_want_write(struct fl_stream *base)
{
    struct dial_stream *s = (struct dial_stream *)base;

    if (s->writing)
        return;
    s->writing = true;
    watch(s);
}

static void stream_pause(struct fl_stream *base, bool paused)
{
    struct dial_stream *s = (struct dial_stream *)base;

    s->paused = paused;
    watch(s);
    if (!paused)
        fl_timer_start(s->soon, 0); /* what TLS has decrypted already, no poll tells */
}

static void stream_timer(struct fl_stream *base, uint32_t ms)
{
    struct dial_stream *s = (struct dial_stream *)base;

    if (ms)
        fl_timer_start(s->timer, ms);
    else
        fl_timer_stop(s->timer);
}

static void stream_fin(struct fl_stream *base)
{
    struct dial_stream *s = (struct dial_stream *)base;

    if (s->ssl)
        SSL_shutdown(s->ssl);
    shutdown(s->fd, SHUT_WR);
}

static void stream_kill(struct fl_stream *base)
{
    struct dial_stream *s = (struct dial_stream *)base;

    if (!s->end)
        s->end = "dropped";
    fl_timer_start(s->soon, 0);
}

static const struct fl_transport transport = {
    .write = stream_write,
    .want_write = stream_want_write,
    .pause = stream_pause,
    .timer = stream_timer,
    .fin = stream_fin,
    .kill = stream_kill,
};

/* ---- what the loop calls ---- */

/* Bytes, 0 at the end of the stream, -EAGAIN, or -EIO. */
static ssize_t receive(struct dial_stream *s, void *data, size_t len)
{
    ssize_t n;

    if (s->ssl) {
        ERR_clear_error();
        n = SSL_read(s->ssl, data, (int)len);
        if (n > 0)
            return n;
        switch (SSL_get_error(s->ssl, (int)n)) {
        case SSL_ERROR_WANT_WRITE:
            s->read_wants_write = true;
            return -EAGAIN;
        case SSL_ERROR_WANT_READ:
            return -EAGAIN;
        case SSL_ERROR_ZERO_RETURN:
            return 0;
        default:
            return -EIO;
        }
    }
    do
        n = recv(s->fd, data, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -EAGAIN : -EIO;
    return n;
}

static void read_on(struct dial_stream *s)
{
    uint8_t data[READ_BYTES];
    size_t budget = READ_TURN_BYTES;

    while (!s->base.aborted && !s->paused) {
        ssize_t n = receive(s, data, sizeof(data));

        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            s->end = n == 0 ? "closed by the peer" : "the connection broke";
            fl_stream_abort(&s->base);
            return;
        }
        fl_stream_readable(&s->base, data, (size_t)n);
        if ((size_t)n >= budget) {
            fl_timer_start(s->soon, 0);
            return;
        }
        budget -= (size_t)n;
    }
}

static void on_io(void *arg, unsigned events)
{
    struct dial_stream *s = arg;

    if (s->writing && (events & (s->write_wants_read ? FL_IO_READ : FL_IO_WRITE))) {
        s->writing = s->write_wants_read = false;
        fl_stream_writable(&s->base);
    }
    if (events & (s->read_wants_write ? FL_IO_WRITE : FL_IO_READ)) {
        s->read_wants_write = false;
        read_on(s);
    }
    watch(s);
}

static void on_timer(void *arg)
{
    struct dial_stream *s = arg;

    fl_stream_timeout(&s->base);
}

static void on_soon(void *arg)
{
    struct dial_stream *s = arg;

    if (!s->base.aborted) {
        read_on(s);
        return;
    }
    fl_dial_drop(&s->base, s->end);
}

void fl_dial_drop(struct fl_stream *base, const char *why)
{
    struct dial_stream *s = (struct dial_stream *)base;

    fl_stream_closed(base, why);
    stream_free(s);
}

struct fl_stream *fl_dial_stream_new(struct fl_loop *loop, int fd, SSL *ssl)
{
    struct dial_stream *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    fl_stream_init(&s->base, &transport);
    s->io = fl_io_new(loop, fd, on_io, s);
    s->timer = fl_timer_new(loop, on_timer, s);
    s->soon = fl_timer_new(loop, on_soon, s);
    if (!s->io || !s->timer || !s->soon) {
        fl_io_free(s->io);
        fl_timer_free(s->timer);
        fl_timer_free(s->soon);
        free(s);
        return NULL;
    }
    s->fd = fd;
    s->ssl = ssl;
    watch(s);
    /* Bytes that came with the last handshake record are in the session, not in the socket. */
    fl_timer_start(s->soon, 0);
    return &s->base;
}
