/* A WebSocket connection of either side, from the upgrade on: in reads of any size the same
 * messages must come out, the same answers go back, and it ends the same. The first byte picks the
 * side ('0': we are the client, odd: the server). */
#include "common/net/ws_private.h"
#include "tests/fuzz/fakestream.h"

#define MAX_MESSAGE_BYTES 2048
#define READ_BYTES        16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t hash;
    unsigned opens, messages, pongs, closes, ended;
};

static struct seen seen;

static void add(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        seen.hash = (seen.hash ^ p[i]) * 1099511628211u;
    seen.hash = (seen.hash ^ len) * 1099511628211u;
}

static void on_open(void *arg, struct fl_ws *ws)
{
    seen.opens++;
}

static void on_message(void *arg, struct fl_ws *ws, enum fl_ws_kind kind, const char *data,
                       size_t len)
{
    if (seen.opens != 1 || seen.closes || len > MAX_MESSAGE_BYTES)
        abort();
    seen.messages++;
    add(&kind, sizeof(kind));
    add(data, len);
    if (len == 1)
        fl_ws_close(ws, 1000, false);
    else
        fl_ws_send(ws, kind, data, len);
}

static void on_pong(void *arg, struct fl_ws *ws)
{
    seen.pongs++;
}

static void on_close(void *arg, struct fl_ws *ws, int code, int http_status, const char *why)
{
    if (http_status || !why)
        abort();
    seen.closes++;
    add(&code, sizeof(code));
}

static void cancel(void *maker)
{
    abort(); /* it is open from the start */
}

static void ended(void *maker)
{
    seen.ended++;
}

static void talk(bool server, const uint8_t *data, size_t size, size_t step)
{
    static const struct fl_ws_events events = {
        .on_open = on_open, .on_message = on_message, .on_pong = on_pong, .on_close = on_close
    };
    static const struct fl_ws_limits limits = { .max_message_bytes = MAX_MESSAGE_BYTES };
    static const struct fl_ws_maker maker = { .cancel = cancel, .ended = ended };
    size_t at = FL_MIN(size, step), n;
    struct fakestream stream;
    uint8_t *first = malloc(at + 1);
    struct fl_ws *ws;

    memcpy(first, data, at);
    fakestream_init(&stream);
    ws = fl_ws_new(server, &limits, &events, NULL, &maker, NULL);
    if (!ws)
        abort();
    fl_ws_begin(ws, &stream.s, first, at);
    fakestream_turn(&stream);
    while (at < size && (n = fakestream_feed(&stream, data + at, size - at, step)) > 0) {
        at += n;
        fakestream_turn(&stream);
    }
    /* What a client sends is masked by chance. */
    if (server)
        add(stream.sent.data ? stream.sent.data : "", stream.sent.len);
    else
        add(&stream.sent.len, sizeof(stream.sent.len));
    fakestream_close(&stream);
    free(first);
    if (seen.opens != 1 || seen.closes != 1 || seen.ended != 1)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = { READ_BYTES, 1, 7 };
    struct seen first;

    if (size == 0)
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(steps); i++) {
        seen = (struct seen){ 0 };
        talk(data[0] & 1, data + 1, size - 1, steps[i]);
        if (i == 0)
            first = seen;
        else if (memcmp(&first, &seen, sizeof(seen)) != 0)
            abort();
    }
    return 0;
}
