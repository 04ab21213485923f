/* ws.c - see ws.h: an open connection, of either side. */
#include "common/net/ws.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/net/ws_frame.h"
#include "common/net/ws_private.h"

#define DEFAULT_MAX_BYTES (1024 * 1024)
#define SECOND_US         ((int64_t)1000 * 1000)
#define CLOSE_MS          5000 /* how long the peer may take to answer our close */

/* RFC 6455 §7.4.1 */
#define CODE_PROTOCOL_ERROR 1002
#define CODE_NO_CODE        1005
#define CODE_ABNORMAL       1006
#define CODE_TOO_BIG        1009
#define CODE_SERVER_ERROR   1011

struct fl_ws {
    enum { CONNECTING, OPEN, CLOSING } state;
    struct fl_stream *stream; /* NULL while connecting */
    struct fl_ws_events events;
    void *arg;
    size_t max_queue_bytes;
    int64_t each_us;    /* a message's share of a second; 0: no limit */
    int64_t used_up_us; /* monotonic: the time that what was read stands for ends here */
    int64_t heard_ms;
    bool over_limit; /* max_per_s: nothing is read for a while */
    bool paused;     /* by the owner */
    struct fl_ws_reader reader;
    int code;        /* the peer's close code */
    const char *why; /* what ended it, if not the stream */
    const struct fl_ws_maker *how;
    void *maker;
};

static int queue_frame(struct fl_ws *ws, enum fl_ws_op op, const void *data, size_t len)
{
    uint8_t head[FL_WS_FRAME_HEAD_MAX_BYTES], mask[4], *room;
    bool masked = !ws->reader.from_client;
    size_t n;

    if (masked)
        fl_random_bytes(mask, sizeof(mask));
    n = fl_ws_frame_head(head, op, len, masked ? mask : NULL);
    room = fl_stream_push(ws->stream, n + len);
    if (!room)
        return -ENOMEM;
    memcpy(room, head, n);
    if (len)
        memcpy(room + n, data, len);
    if (masked)
        fl_ws_mask(room + n, len, mask, 0);
    return 0;
}

static void queue_close(struct fl_ws *ws, int code)
{
    uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

    if (queue_frame(ws, FL_WS_OP_CLOSE, payload, code == CODE_NO_CODE ? 0 : 2) < 0)
        fl_stream_abort(ws->stream);
}

/* The peer broke a rule or a limit: say so and leave. */
static void fail(struct fl_ws *ws, int r)
{
    static const struct {
        int r, code;
        const char *why;
    } reasons[] = {
        { -EPROTO, CODE_PROTOCOL_ERROR, "the peer violated the WebSocket protocol" },
        { -EMSGSIZE, CODE_TOO_BIG, "a message of the peer is over the limit" },
        { 0, CODE_SERVER_ERROR, "out of memory" },
    };
    size_t i = 0;

    while (reasons[i].r && reasons[i].r != r)
        i++;
    ws->why = reasons[i].why;
    if (ws->state == OPEN)
        queue_close(ws, reasons[i].code);
    ws->state = CLOSING;
    fl_stream_finish(ws->stream);
}

static void got_close(struct fl_ws *ws)
{
    const struct fl_ws_reader *r = &ws->reader;

    if (r->control_len == 1) {
        fail(ws, -EPROTO);
        return;
    }
    ws->code = r->control_len ? r->control[0] << 8 | r->control[1] : CODE_NO_CODE;
    if (!ws->why)
        ws->why = "closed by the peer";
    if (ws->state == OPEN)
        queue_close(ws, ws->code);
    ws->state = CLOSING;
    fl_stream_finish(ws->stream);
}

static void got_message(struct fl_ws *ws, enum fl_ws_kind kind)
{
    const struct fl_buf *message = &ws->reader.message;

    /* After our close frame the peer's messages no longer count. */
    if (ws->state == OPEN && ws->events.on_message)
        ws->events.on_message(ws->arg, ws, kind, message->data ? message->data : "", message->len);
}

static void got_ping(struct fl_ws *ws)
{
    /* A peer that pings without reading gets no pongs to pile up. */
    if (ws->state == OPEN && fl_stream_queued(ws->stream) <= ws->max_queue_bytes)
        queue_frame(ws, FL_WS_OP_PONG, ws->reader.control, ws->reader.control_len);
}

static void dispatch(struct fl_ws *ws, int op)
{
    switch (op) {
    case FL_WS_OP_TEXT:
        got_message(ws, FL_WS_TEXT);
        break;
    case FL_WS_OP_BINARY:
        got_message(ws, FL_WS_BINARY);
        break;
    case FL_WS_OP_PING:
        got_ping(ws);
        break;
    case FL_WS_OP_PONG:
        if (ws->state == OPEN && ws->events.on_pong)
            ws->events.on_pong(ws->arg, ws);
        break;
    default: /* FL_WS_OP_CLOSE: the reader knows no other */
        got_close(ws);
        break;
    }
}

/* Counts one, at the rate of the limit. */
static void count(struct fl_ws *ws)
{
    int64_t now_us = fl_mono_ms() * 1000;

    ws->used_up_us = FL_MAX(ws->used_up_us, now_us) + ws->each_us;
}

/* Reads no more until the peer is back within its limit; its messages are not lost. */
static void hold_back(struct fl_ws *ws)
{
    int64_t over_us = ws->used_up_us - fl_mono_ms() * 1000 - FL_WS_BURST_S * SECOND_US;

    if (over_us <= 0 || ws->state != OPEN)
        return;
    ws->over_limit = true;
    fl_stream_pause(ws->stream, true);
    fl_stream_timer(ws->stream, (uint32_t)(over_us / 1000) + 1);
}

static void go_on(struct fl_ws *ws)
{
    ws->over_limit = false;
    fl_stream_pause(ws->stream, ws->paused);
}

/* ---- stream callbacks ---- */

static void on_data(void *arg, uint8_t *data, size_t len)
{
    struct fl_ws *ws = arg;

    ws->heard_ms = fl_mono_ms();
    while (len && !ws->stream->aborted && !ws->stream->finishing) {
        size_t used = 0;
        int op = fl_ws_reader_feed(&ws->reader, data, len, &used);

        if (op < 0) {
            fail(ws, op);
            return;
        }
        data += used;
        len -= used;
        if (op && ws->each_us)
            count(ws);
        if (op)
            dispatch(ws, op);
    }
    if (ws->each_us)
        hold_back(ws);
    /* An idle connection holds no buffer. */
    if (!ws->reader.message_op)
        fl_buf_done(&ws->reader.message);
}

static void on_drain(void *arg)
{
    struct fl_ws *ws = arg;

    if (ws->state == OPEN && ws->events.on_drain)
        ws->events.on_drain(ws->arg, ws);
}

/* The pause is over, or the peer did not answer our close. */
static void on_timer(void *arg)
{
    struct fl_ws *ws = arg;

    if (ws->over_limit)
        go_on(ws);
    else
        fl_stream_abort(ws->stream);
}

static void finish(struct fl_ws *ws, int http_status, const char *why)
{
    const struct fl_ws_maker *how = ws->how;
    void *maker = ws->maker;

    ws->state = CLOSING;
    ws->stream = NULL;
    if (ws->events.on_close)
        ws->events.on_close(ws->arg, ws, ws->code ? ws->code : CODE_ABNORMAL, http_status,
                            ws->why ? ws->why : why);
    fl_ws_reader_done(&ws->reader);
    free(ws);
    how->ended(maker);
}

static void on_close(void *arg, const char *why)
{
    finish(arg, 0, why);
}

static const struct fl_stream_ops stream_ops = {
    .on_data = on_data,
    .on_drain = on_drain,
    .on_timer = on_timer,
    .on_close = on_close,
};

/* ---- making and ending ---- */

struct fl_ws *fl_ws_new(bool server, const struct fl_ws_limits *limits,
                        const struct fl_ws_events *events, void *arg, const struct fl_ws_maker *how,
                        void *maker)
{
    struct fl_ws *ws = calloc(1, sizeof(*ws));
    size_t max_message = limits ? limits->max_message_bytes : 0;
    size_t max_queue = limits ? limits->max_queue_bytes : 0;

    if (!ws)
        return NULL;
    fl_ws_reader_init(&ws->reader, server, max_message ? max_message : DEFAULT_MAX_BYTES);
    ws->max_queue_bytes = max_queue ? max_queue : DEFAULT_MAX_BYTES;
    ws->each_us = limits && limits->max_per_s ? SECOND_US / limits->max_per_s : 0;
    ws->events = *events;
    ws->arg = arg;
    ws->how = how;
    ws->maker = maker;
    return ws;
}

void fl_ws_begin(struct fl_ws *ws, struct fl_stream *stream, uint8_t *data, size_t len)
{
    ws->stream = stream;
    ws->state = OPEN;
    ws->heard_ms = fl_mono_ms();
    fl_stream_set_ops(stream, &stream_ops, ws);
    if (ws->events.on_open)
        ws->events.on_open(ws->arg, ws);
    on_data(ws, data, len);
}

void fl_ws_end(struct fl_ws *ws, int http_status, const char *why)
{
    finish(ws, http_status, why);
}

void fl_ws_accept_key(const char *key, char out[FL_WS_ACCEPT_BYTES])
{
    char text[128];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    snprintf(text, sizeof(text), "%.64s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    EVP_Digest(text, strlen(text), digest, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
}

/* ---- the public face ---- */

int fl_ws_send(struct fl_ws *ws, enum fl_ws_kind kind, const void *data, size_t len)
{
    size_t queued;

    if (ws->state != OPEN || ws->stream->aborted)
        return -EPIPE;
    queued = fl_stream_queued(ws->stream);
    if (len > ws->max_queue_bytes || queued > ws->max_queue_bytes - len)
        return -ENOBUFS;
    return queue_frame(ws, kind == FL_WS_TEXT ? FL_WS_OP_TEXT : FL_WS_OP_BINARY, data, len);
}

int fl_ws_ping(struct fl_ws *ws, const void *payload, size_t len)
{
    if (len > FL_WS_CONTROL_MAX_BYTES)
        return -EINVAL;
    if (ws->state != OPEN || ws->stream->aborted)
        return -EPIPE;
    if (fl_stream_queued(ws->stream) > ws->max_queue_bytes)
        return -ENOBUFS;
    return queue_frame(ws, FL_WS_OP_PING, payload, len);
}

int fl_ws_pong(struct fl_ws *ws)
{
    if (ws->state != OPEN || ws->stream->aborted)
        return -EPIPE;
    if (fl_stream_queued(ws->stream) > ws->max_queue_bytes)
        return -ENOBUFS;
    return queue_frame(ws, FL_WS_OP_PONG, NULL, 0);
}

void fl_ws_pause(struct fl_ws *ws, bool paused)
{
    if (ws->state != OPEN || ws->paused == paused)
        return;
    ws->paused = paused;
    if (!ws->over_limit)
        fl_stream_pause(ws->stream, paused);
}

void fl_ws_set_max_message(struct fl_ws *ws, size_t max_message_bytes)
{
    ws->reader.message.max_bytes = max_message_bytes;
}

void fl_ws_trust(struct fl_ws *ws)
{
    if (ws->how->trust)
        ws->how->trust(ws->maker);
}

void fl_ws_close(struct fl_ws *ws, int code, bool abort)
{
    if (!ws->stream) {
        if (ws->state == CONNECTING)
            ws->how->cancel(ws->maker);
        return;
    }
    if (abort) {
        if (!ws->why)
            ws->why = "dropped";
        fl_stream_abort(ws->stream);
        return;
    }
    if (ws->state != OPEN)
        return;
    ws->state = CLOSING;
    ws->paused = false;
    go_on(ws); /* the answer stands behind what was not read */
    fl_stream_timer(ws->stream, CLOSE_MS);
    queue_close(ws, code);
}

size_t fl_ws_queued(const struct fl_ws *ws)
{
    return ws->stream ? fl_stream_queued(ws->stream) : 0;
}

int64_t fl_ws_heard_ms(const struct fl_ws *ws)
{
    return ws->heard_ms;
}

void fl_ws_set_arg(struct fl_ws *ws, void *arg)
{
    ws->arg = arg;
}
