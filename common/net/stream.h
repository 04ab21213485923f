/* stream.h - byte streams with an output queue, over whatever moves the bytes. Private to
 * common/net.
 *
 * Two transports exist: server_lws.c (accepted sockets, TLS by libwebsockets) and dial_stream.c
 * (outgoing connections, TLS by OpenSSL). HTTP parsing and WebSocket framing sit on top and
 * see neither library.
 *
 * Callbacks never run before the call that causes them returns. A callback may call anything here
 * on its own stream.
 */
#pragma once
#include <sys/queue.h>
#include <sys/types.h>
#include "common/base/util.h"

struct fl_stream;
struct fl_stream_chunk;

struct fl_stream_ops {
    /* Bytes of the peer; may be changed in place, gone after the return. */
    void (*on_data)(void *arg, uint8_t *data, size_t len);
    void (*on_drain)(void *arg); /* everything queued is with the kernel */
    void (*on_timer)(void *arg);
    /* The last call; the stream is gone when it returns. `why`: words for a log. */
    void (*on_close)(void *arg, const char *why);
};

/* What a transport can do. It embeds the stream as its first member. */
struct fl_transport {
    /* Bytes taken, 0 if there is no room now, or a negative errno. */
    ssize_t (*write)(struct fl_stream *s, const void *data, size_t len);
    void (*want_write)(struct fl_stream *s); /* call fl_stream_writable when there is room */
    void (*pause)(struct fl_stream *s, bool paused); /* stop or go on reading */
    void (*timer)(struct fl_stream *s, uint32_t ms); /* call fl_stream_timeout once; 0: do not */
    void (*fin)(struct fl_stream *s);  /* end-of-stream to the peer; reading goes on */
    void (*kill)(struct fl_stream *s); /* call fl_stream_closed soon, not now */
};

struct fl_stream {
    const struct fl_transport *transport;
    const struct fl_stream_ops *ops;
    void *arg;
    TAILQ_HEAD(fl_stream_chunks, fl_stream_chunk) out;
    size_t queued;    /* bytes in `out` */
    size_t discarded; /* bytes thrown away since fl_stream_finish */
    bool aborted, finishing, fin_sent;
};

/* ---- for users of a stream ---- */

/* From now on these callbacks. */
void fl_stream_set_ops(struct fl_stream *s, const struct fl_stream_ops *ops, void *arg);

/* Queues a copy. 0, -EPIPE when closing, -ENOMEM. The caller limits fl_stream_queued. */
int fl_stream_send(struct fl_stream *s, const void *data, size_t len);

/* The same without the copy: room for `len` queued bytes, to be filled before control returns to
 * the loop. NULL without memory or when closing. */
uint8_t *fl_stream_push(struct fl_stream *s, size_t len);
size_t fl_stream_queued(const struct fl_stream *s);

/* Stops or resumes on_data; bytes stay in the kernel. */
void fl_stream_pause(struct fl_stream *s, bool paused);

/* on_timer once, in `ms`; 0 stops it. */
void fl_stream_timer(struct fl_stream *s, uint32_t ms);

/* Sends what is queued, says end-of-stream, and throws away what the peer still sends (else its
 * kernel could answer our last bytes with a reset) until it closes too, or a limit of bytes or
 * time. No more on_data, on_drain, on_timer; on_close at the end. */
void fl_stream_finish(struct fl_stream *s);

/* Drops the connection. on_close follows from the loop. */
void fl_stream_abort(struct fl_stream *s);

/* ---- for transports ---- */

void fl_stream_init(struct fl_stream *s, const struct fl_transport *transport);
void fl_stream_readable(struct fl_stream *s, uint8_t *data, size_t len);
void fl_stream_writable(struct fl_stream *s);
void fl_stream_timeout(struct fl_stream *s);

/* Runs on_close and releases the queue; the transport then frees its object. */
void fl_stream_closed(struct fl_stream *s, const char *why);
