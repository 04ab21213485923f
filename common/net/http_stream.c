/* http_stream.c - see http_stream.h. */
#include "common/net/http_stream.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "common/net/http_private.h"

#define READ_BYTES      (16 * 1024)
#define READ_TURN_BYTES (256 * 1024) /* then others get a turn */

struct fl_http_connect {
    struct fl_transfer base;
    fl_http_connect_fn done;
    void *arg;
};

struct curl_stream {
    struct fl_stream base;
    struct fl_http_connect *conn; /* owns curl's handle, and with it the connection */
    struct fl_io *io;
    struct fl_timer *timer; /* the user's */
    struct fl_timer *soon;  /* reads on, or closes, from the loop */
    bool writing, paused;
    const char *end; /* why it is to be closed */
};

static void connect_free(struct fl_http_connect *c)
{
    fl_transfer_done(&c->base);
    free(c);
}

static void stream_free(struct curl_stream *s)
{
    fl_io_free(s->io);
    fl_timer_free(s->timer);
    fl_timer_free(s->soon);
    if (s->conn)
        connect_free(s->conn);
    free(s);
}

static void watch(struct curl_stream *s)
{
    fl_io_set(s->io, (s->paused ? 0u : FL_IO_READ) | (s->writing ? FL_IO_WRITE : 0u));
}

/* ---- the transport ---- */

static ssize_t stream_write(struct fl_stream *base, const void *data, size_t len)
{
    struct curl_stream *s = (struct curl_stream *)base;
    size_t n = 0;

    switch (curl_easy_send(s->conn->base.easy, data, len, &n)) {
    case CURLE_OK:
        return (ssize_t)n;
    case CURLE_AGAIN:
        return 0;
    default:
        return -EPIPE;
    }
}

static void stream_want_write(struct fl_stream *base)
{
    struct curl_stream *s = (struct curl_stream *)base;

    if (s->writing)
        return;
    s->writing = true;
    watch(s);
}

static void stream_pause(struct fl_stream *base, bool paused)
{
    struct curl_stream *s = (struct curl_stream *)base;

    s->paused = paused;
    watch(s);
    if (!paused)
        fl_timer_start(s->soon, 0); /* what TLS has decrypted already, no poll tells */
}

static void stream_timer(struct fl_stream *base, uint32_t ms)
{
    struct curl_stream *s = (struct curl_stream *)base;

    if (ms)
        fl_timer_start(s->timer, ms);
    else
        fl_timer_stop(s->timer);
}

static void stream_fin(struct fl_stream *base)
{
    struct curl_stream *s = (struct curl_stream *)base;
    curl_socket_t fd = CURL_SOCKET_BAD;

    /* curl has no half-close; the end of the TCP stream tells a TLS peer as well. */
    curl_easy_getinfo(s->conn->base.easy, CURLINFO_ACTIVESOCKET, &fd);
    shutdown(fd, SHUT_WR);
}

static void stream_kill(struct fl_stream *base)
{
    struct curl_stream *s = (struct curl_stream *)base;

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

static void read_on(struct curl_stream *s)
{
    uint8_t data[READ_BYTES];
    size_t budget = READ_TURN_BYTES;

    while (!s->base.aborted && !s->paused) {
        size_t n = 0;
        CURLcode result = curl_easy_recv(s->conn->base.easy, data, sizeof(data), &n);

        if (result == CURLE_AGAIN)
            return;
        if (result != CURLE_OK || n == 0) {
            s->end = result == CURLE_OK ? "closed by the peer" : "the connection broke";
            fl_stream_abort(&s->base);
            return;
        }
        fl_stream_readable(&s->base, data, n);
        if (n >= budget) {
            fl_timer_start(s->soon, 0);
            return;
        }
        budget -= n;
    }
}

static void on_io(void *arg, unsigned events)
{
    struct curl_stream *s = arg;

    if (events & FL_IO_WRITE && s->writing) {
        s->writing = false;
        fl_stream_writable(&s->base);
        watch(s);
    }
    if (events & FL_IO_READ)
        read_on(s);
}

static void on_timer(void *arg)
{
    struct curl_stream *s = arg;

    fl_stream_timeout(&s->base);
}

static void on_soon(void *arg)
{
    struct curl_stream *s = arg;

    if (!s->base.aborted) {
        read_on(s);
        return;
    }
    fl_http_stream_drop(&s->base, s->end);
}

void fl_http_stream_drop(struct fl_stream *base, const char *why)
{
    struct curl_stream *s = (struct curl_stream *)base;

    fl_stream_closed(base, why);
    stream_free(s);
}

/* ---- connecting ---- */

static struct curl_stream *stream_new(struct fl_http_connect *c)
{
    struct curl_stream *s = calloc(1, sizeof(*s));
    struct fl_loop *loop = c->base.http->loop;
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (!s)
        return NULL;
    curl_easy_getinfo(c->base.easy, CURLINFO_ACTIVESOCKET, &fd);
    fl_stream_init(&s->base, &transport);
    s->io = fl_io_new(loop, fd, on_io, s);
    s->timer = fl_timer_new(loop, on_timer, s);
    s->soon = fl_timer_new(loop, on_soon, s);
    if (!s->io || !s->timer || !s->soon) {
        stream_free(s);
        return NULL;
    }
    watch(s);
    return s;
}

static void on_connected(struct fl_transfer *t, CURLcode result)
{
    struct fl_http_connect *c = (struct fl_http_connect *)t;
    fl_http_connect_fn done = c->done;
    struct curl_stream *s = NULL;
    struct fl_err err = { 0 };
    void *arg = c->arg;
    int r = fl_transfer_error(t, result, &err);

    if (r == 0) {
        s = stream_new(c);
        if (!s)
            r = fl_err_set(&err, -ENOMEM, NULL, "out of memory");
    }
    if (s)
        s->conn = c;
    else
        connect_free(c);
    done(arg, s ? &s->base : NULL, r, &err);
}

int fl_http_connect(struct fl_http *http, const char *url, uint32_t timeout_ms,
                    fl_http_connect_fn done, void *arg, struct fl_http_connect **ret_connect,
                    struct fl_err *err)
{
    struct fl_http_connect *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->done = done;
    c->arg = arg;
    r = fl_transfer_init(&c->base, http, url, timeout_ms, on_connected, err);
    if (r == 0) {
        curl_easy_setopt(c->base.easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(c->base.easy, CURLOPT_HTTPPROXYTUNNEL, 1L); /* for plain ws:// too */
        r = fl_transfer_start(&c->base, err);
    }
    if (r < 0) {
        connect_free(c);
        return r;
    }
    *ret_connect = c;
    return 0;
}

void fl_http_connect_cancel(struct fl_http_connect *c)
{
    if (c)
        connect_free(c);
}
