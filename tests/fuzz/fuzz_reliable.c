/* A session's reliability layer and a peer that does what the input says: a step is a byte that
 * picks what is done, and its arguments. Whatever comes, messages are delivered once and in order,
 * what is written leaves in order, and the limits hold. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/session/reliable.h"

#define MAX_BYTES   8192
#define EARLY_BYTES 4096
#define MAX_STEPS   2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
    struct fl_reliable *reliable;
    const uint8_t *at, *end;
    bool full, unready;
    int64_t delivered; /* messages */
    int64_t left;      /* the highest number that left, and each below it did */
    int64_t now_ms;
};

static uint8_t next(struct peer *p)
{
    return p->at < p->end ? *p->at++ : 0;
}

static int on_send(void *arg, const void *frame, size_t len)
{
    struct peer *p = arg;
    struct fl_frame f;

    if (p->full)
        return -ENOBUFS;
    if (fl_frame_decode(frame, len, &f, NULL) < 0)
        abort();
    if (strcmp(f.type, FL_DATA_ACK) == 0)
        return 0;
    if (f.sequence > p->left + 1 || f.payload_len == 0)
        abort();
    p->left = FL_MAX(p->left, f.sequence);
    return 0;
}

/* What message `sequence` holds, whenever it comes. */
static size_t payload_of(int64_t sequence, char out[64])
{
    return (size_t)snprintf(out, 64, "message %lld", (long long)sequence);
}

static int on_deliver(void *arg, uint32_t type, const char *data, size_t len)
{
    struct peer *p = arg;
    char want[64];
    size_t want_len = payload_of(p->delivered, want);

    if (p->unready)
        return -EAGAIN;
    if (type != FL_DATA_TYPE_OUTPUT || len != want_len || memcmp(data, want, len) != 0)
        abort();
    p->delivered++;
    if (p->delivered % 3 == 0) /* an answer inside of the callback */
        fl_reliable_write(p->reliable, FL_DATA_TYPE_FLAG, "\0\0\0\1", 4, 1, p->now_ms);
    return 0;
}

static void input(struct peer *p, const char *type, int64_t sequence, const char *payload,
                  size_t len, bool broken)
{
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = 1,
                          .sequence = sequence,
                          .payload_type = FL_DATA_TYPE_OUTPUT,
                          .payload = payload,
                          .payload_len = len };
    fl_autobuf struct fl_buf out = FL_BUF(65536);

    snprintf(f.type, sizeof(f.type), "%s", type);
    if (fl_frame_encode(&f, &out) < 0)
        abort();
    if (broken)
        out.data[out.len - 1] ^= 1;
    if (fl_reliable_input(p->reliable, out.data, out.len, 1, p->now_ms) < 0)
        abort();
}

static void peer_sends(struct peer *p)
{
    int64_t sequence = p->delivered + (int8_t)next(p);
    char text[64];

    if (sequence >= 0)
        input(p, FL_DATA_INPUT, sequence, text, payload_of(sequence, text), false);
}

static void peer_acknowledges(struct peer *p)
{
    static const uint8_t id[16];
    char text[FL_DATA_ACK_MAX_BYTES];
    int64_t sequence = p->left - (int8_t)next(p);

    sequence = FL_MAX(sequence, 0);
    input(p, FL_DATA_ACK, 0, text, fl_data_ack_encode(FL_DATA_OUTPUT, id, sequence, text), false);
}

static void raw_frame(struct peer *p)
{
    size_t len = next(p);
    struct fl_frame f;

    len |= (size_t)next(p) << 8;
    len = FL_MIN(len, (size_t)(p->end - p->at));

    /* not one that is right, whose payload would not be what it must be */
    if (fl_frame_decode(p->at, len, &f, NULL) < 0 || strcmp(f.type, FL_DATA_INPUT) != 0)
        fl_reliable_input(p->reliable, p->at, len, 1, p->now_ms);
    p->at += len;
}

static void owner_writes(struct peer *p)
{
    static const char data[4096];
    size_t len = (size_t)next(p) * 16 + 1;
    bool fits = len <= fl_reliable_room(p->reliable);
    int r = fl_reliable_write(p->reliable, FL_DATA_TYPE_OUTPUT, data, len, 1, p->now_ms);

    if ((fits && r < 0) || (r < 0 && r != -ENOBUFS))
        abort();
}

static void on_other(void *arg, const struct fl_frame *frame)
{
    if (strcmp(frame->type, FL_DATA_INPUT) == 0 || strcmp(frame->type, FL_DATA_ACK) == 0)
        abort();
}

static void on_room(void *arg)
{
    struct peer *p = arg;

    if (fl_reliable_room(p->reliable) == 0)
        abort();
}

/* What is seldom done: the largest message, pauses of the owner, connections. */
static void owner_changes(struct peer *p, uint8_t what)
{
    if (what >= 200)
        fl_reliable_set_max_payload(p->reliable, (size_t)(what - 200) * 40);
    else if (what >= 190)
        fl_reliable_set_paused(p->reliable, what % 2);
    else
        fl_reliable_set_connected(p->reliable, what % 4 != 0);
}

static void step(struct peer *p)
{
    static const char *const types[] = { FL_DATA_PAUSE, FL_DATA_START, FL_DATA_OUTPUT,
                                         FL_MSG_CHANNEL_CLOSED };
    int64_t due;

    switch (next(p) % 10) {
    case 0:
    case 1:
        peer_sends(p);
        break;
    case 2:
        peer_acknowledges(p);
        break;
    case 3:
        raw_frame(p);
        break;
    case 4:
        owner_writes(p);
        break;
    case 5:
        p->now_ms += next(p) * 8;
        due = fl_reliable_tick(p->reliable, 1, p->now_ms);
        if (due <= p->now_ms)
            abort();
        break;
    case 6:
        p->full = !p->full;
        break;
    case 7:
        p->unready = !p->unready;
        break;
    case 8:
        input(p, types[next(p) % FL_ARRAY_LEN(types)], 0, "x", 1, next(p) % 2);
        break;
    case 9:
        owner_changes(p, next(p));
        break;
    }
    if (fl_reliable_kick(p->reliable, 1, p->now_ms) < 0)
        abort();
    if (fl_reliable_room(p->reliable) > MAX_BYTES || fl_reliable_held(p->reliable) > EARLY_BYTES)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fl_reliable_events events = {
        .send = on_send, .deliver = on_deliver, .other = on_other, .on_room = on_room
    };
    const struct fl_reliable_conf conf = { .agent = true,
                                           .max_bytes = MAX_BYTES,
                                           .max_early_bytes = EARLY_BYTES };
    struct peer p = { .at = data, .end = data + size, .left = -1, .now_ms = 1 };

    if (fl_reliable_new(&conf, &events, &p, &p.reliable) < 0)
        return 0;
    fl_reliable_set_connected(p.reliable, true);
    for (int i = 0; i < MAX_STEPS && p.at < p.end; i++)
        step(&p);
    fl_reliable_free(p.reliable);
    return 0;
}
