/* smux.h - many connections in a session's byte stream: version 1 of xtaci's smux (protocol 3 §8),
 * either role.
 *
 * Pure: no I/O, time is passed in. The client opens streams, the server is told of them. There are
 * no windows: who reads slowly is paused here, and when what is kept for the paused is too much,
 * the whole session must wait (fl_smux_full). A FIN closes both directions.
 *
 * Callbacks run inside of the calls below and may make any of them but fl_smux_free and
 * fl_smux_input.
 */
#pragma once
#include <sys/uio.h>
#include "common/base/util.h"

/* Two whole frames make FL_DATA_MAX_PAYLOAD_BYTES, and each whole messages of the official size. */
#define FL_SMUX_HEADER_BYTES 8
#define FL_SMUX_DATA_BYTES   (32768 - FL_SMUX_HEADER_BYTES)

struct fl_smux;
struct fl_smux_stream;

struct fl_smux_events {
    /* How many bytes `write` would take now; at least these it must take. */
    size_t (*room)(void *arg);
    int (*write)(void *arg, const struct iovec *iov, size_t n_iov);
    /* Server: a client opened a stream. 0; an error refuses it, then there is no further call. */
    int (*on_open)(void *arg, struct fl_smux_stream *stream);
    /* Bytes in order, at most 64 KiB; not while the stream is paused. */
    void (*on_data)(void *arg, struct fl_smux_stream *stream, const char *data, size_t len);
    /* With half_close: the peer writes no more, after all its data, and still reads. NULL if not.
     */
    void (*on_end)(void *arg, struct fl_smux_stream *stream);
    /* The peer closed it, after all its data; it remains to be closed here. */
    void (*on_fin)(void *arg, struct fl_smux_stream *stream);
};

struct fl_smux_conf {
    bool server;
    bool keepalive;     /* a NOP every 10 s, and an end after 30 s without a byte */
    bool half_close;    /* ours, where both ends agreed (struct fl_msg_extras): one direction ends
                           alone */
    size_t max_streams; /* 0: 256 */
    size_t max_kept_bytes; /* for streams that are paused, all together; 0: 4 MiB */
};

/* 0 or -ENOMEM. */
int fl_smux_new(const struct fl_smux_conf *conf, const struct fl_smux_events *events, void *arg,
                int64_t mono_ms, struct fl_smux **ret_smux);

/* With all its streams, without a word to anyone. */
struct fl_smux *fl_smux_free(struct fl_smux *m);

/* Bytes that came, cut anywhere. 0; -EBADMSG for what is not smux (the session must end), -ENOMEM,
 * or the error of `write`. */
int fl_smux_input(struct fl_smux *m, const void *data, size_t len, int64_t mono_ms);

/* Should wait with further input: too much is kept. Until the next fl_smux_stream_pause or
 * fl_smux_stream_close. */
bool fl_smux_full(const struct fl_smux *m);

/* There is room again: sends openings and ends that had none. 0 or the error of `write`. */
int fl_smux_kick(struct fl_smux *m);

/* Keepalive. Gives the time of the next call, INT64_MAX for never. 0; -ETIMEDOUT after 30 s of
 * silence; or the error of `write`. */
int fl_smux_tick(struct fl_smux *m, int64_t mono_ms, int64_t *ret_next_ms);

/* Client. -EMFILE over the limit, -EOVERFLOW when all numbers were used, -ENOMEM. */
int fl_smux_open(struct fl_smux *m, void *arg, struct fl_smux_stream **ret_stream);

/* How many bytes fl_smux_stream_write would take now. */
size_t fl_smux_room(const struct fl_smux *m);

/* All or nothing: -ENOBUFS beyond the room; -EPIPE once the peer has closed the stream; or the
 * error of `write`, after which the session is broken. */
int fl_smux_stream_write(struct fl_smux_stream *st, const void *data, size_t len);

/* What comes meanwhile is kept; going on delivers it before this returns. */
void fl_smux_stream_pause(struct fl_smux_stream *st, bool paused);

/* Nothing more is written here, and the peer is told; what it says still comes. Without half_close
 * it is not known to smux: -EOPNOTSUPP, and nothing happens. */
int fl_smux_stream_end(struct fl_smux_stream *st);

/* Tells the peer, and forgets the stream with what is kept for it: the pointer is gone. */
void fl_smux_stream_close(struct fl_smux_stream *st);

size_t fl_smux_streams(const struct fl_smux *m); /* that are open */
uint32_t fl_smux_stream_id(const struct fl_smux_stream *st);
void *fl_smux_stream_arg(const struct fl_smux_stream *st);
void fl_smux_stream_set_arg(struct fl_smux_stream *st, void *arg);
