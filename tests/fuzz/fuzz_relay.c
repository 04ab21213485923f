/* What two hostile sides can do to a session's relay: a script of connections, frames good and bad,
 * full sockets. The relay keeps its counts and limits, sends to nobody who is away or has had the
 * last frame, and passes on nothing but what belongs there.
 *
 * The script, byte by byte: 'A' 'C' connect agent, client; 'a' 'c' disconnect; 'R' n: room for n
 * frames in both sockets; 'K': sockets are asked again; 'E' side: channel_closed; 'F' side n bytes:
 * a raw message of n (16 bits); 'S' side kind type n bytes: a stream message or an acknowledgement
 * with the number n (16 bits), payload of 0-255 bytes, by its first one; 'L' side n: those before n
 * may be sent on, 'l' side: all; 'X': none any more. Whose payload begins with '~' is not taken,
 * with '^' the last for now.
 */
#include <errno.h>
#include <string.h>
#include "common/wire/datachannel.h"
#include "server/session/relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct fl_relay relay;
    unsigned room;
    bool paused[FL_SIDE__N], ended[FL_SIDE__N];
    int64_t sent[FL_SIDE__N];   /* the newest; who asks for it again gets it again */
    int64_t before[FL_SIDE__N]; /* may be sent to it */
} world;

static int on_send(void *arg, enum fl_side to, struct fl_msg *m)
{
    struct fl_frame f;

    (void)arg;
    if (!world.relay.attached[to] || world.ended[to])
        abort();
    if (m->sequence >= world.before[to])
        abort();
    if (world.room == 0)
        return -ENOBUFS;
    world.room--;
    if (fl_frame_parse(m->data, m->len, &f, NULL) < 0 || f.payload_len > 256 * 1024)
        abort();
    if (strcmp(f.type, to == FL_SIDE_AGENT ? FL_DATA_OUTPUT : FL_DATA_INPUT) == 0 ||
        strcmp(f.type, FL_DATA_SESSION_STATE) == 0)
        abort();
    world.ended[to] = m->last;
    world.sent[to] = FL_MAX(world.sent[to], m->sequence);
    return 0;
}

static void on_pause(void *arg, enum fl_side from, bool paused)
{
    (void)arg;
    world.paused[from] = paused;
}

static void on_word(void *arg, enum fl_relay_word word)
{
    (void)arg;
    (void)word;
}

static int on_stream(void *arg, enum fl_side from, const struct fl_msg *m, const char *payload,
                     size_t len)
{
    (void)arg;
    (void)from;
    if (m->sequence < 0 || payload < m->data || payload + len > m->data + m->len)
        abort();
    return len == 0            ? 0
           : payload[0] == '~' ? -ENOBUFS
           : payload[0] == '%' ? FL_RELAY_SEEN
                               : payload[0] == '^';
}

static void check(void)
{
    for (int side = 0; side < FL_SIDE__N; side++) {
        const struct fl_flow *flow = &world.relay.to[side];
        size_t sent = 0, unsent = 0;
        bool behind = false;
        const struct fl_msg *m;

        TAILQ_FOREACH (m, &flow->list, link) {
            behind = behind || m == flow->next;
            if (m->sent == behind)
                abort();
            *(m->sent ? &sent : &unsent) += m->len;
        }
        if (sent != flow->sent_bytes || unsent != flow->unsent_bytes ||
            sent > FL_FLOW_KEEP_BYTES + 256 * 1024)
            abort();
        if (unsent > FL_FLOW_HIGH_BYTES && !world.relay.paused[!side])
            abort();
        if (unsent == 0 && world.relay.paused[!side])
            abort();
    }
}

static void give(enum fl_side from, const void *data, size_t len)
{
    struct fl_msg *m = fl_msg_new(data, len);

    if (m)
        fl_relay_input(&world.relay, from, m, 1700000000000, 1000);
}

static void give_stream(enum fl_side from, unsigned kind, uint8_t type, uint16_t n,
                        const void *payload, size_t len)
{
    static const char *const types[] = { FL_DATA_OUTPUT, FL_DATA_INPUT, FL_DATA_ACK,
                                         FL_DATA_SESSION_STATE };
    static const uint8_t id[16];
    fl_autobuf struct fl_buf out = FL_BUF(1 << 20);
    char ack[FL_DATA_ACK_MAX_BYTES];
    struct fl_frame f = {
        .created_ms = 1, .sequence = n, .payload_type = type, .payload = payload, .payload_len = len
    };

    strcpy(f.type, types[kind % FL_ARRAY_LEN(types)]);
    if (kind % FL_ARRAY_LEN(types) == 2) {
        f.payload = ack;
        f.payload_len = fl_data_ack_encode(FL_DATA_OUTPUT, id, n, ack);
    }
    if (fl_frame_encode(&f, &out) == 0)
        give(from, out.data, out.len);
}

/* The next byte, or 0 behind the end. */
static unsigned take(const uint8_t **p, const uint8_t *end)
{
    return *p < end ? *(*p)++ : 0;
}

static void connect_side(enum fl_side side, bool there)
{
    if (world.relay.attached[side] && there)
        fl_relay_detach(&world.relay, side, 1);
    if (there == world.relay.attached[side])
        return;
    world.ended[side] = false;
    if (there)
        fl_relay_attach(&world.relay, side, 1);
    else
        fl_relay_detach(&world.relay, side, 1);
}

static void let(enum fl_side to, int64_t before)
{
    world.before[to] = before;
    fl_relay_let(&world.relay, !to, before);
}

static void step(const uint8_t **p, const uint8_t *end)
{
    unsigned op = take(p, end), side, kind, type, n;
    size_t len;

    switch (op) {
    case 'A':
    case 'a':
        connect_side(FL_SIDE_AGENT, op == 'A');
        return;
    case 'C':
    case 'c':
        connect_side(FL_SIDE_CLIENT, op == 'C');
        return;
    case 'R':
        world.room = take(p, end);
        return;
    case 'K':
        fl_relay_room(&world.relay, FL_SIDE_AGENT);
        fl_relay_room(&world.relay, FL_SIDE_CLIENT);
        return;
    case 'E':
        fl_relay_close(&world.relay, take(p, end) & 1, "over", 1);
        return;
    case 'L':
        side = take(p, end) & 1;
        n = take(p, end);
        if (world.before[side] == INT64_MAX)
            let(side, FL_MAX(world.sent[side] + 1, n));
        else
            let(side, FL_MAX(world.before[side], n));
        return;
    case 'l':
        let(take(p, end) & 1, INT64_MAX);
        return;
    case 'X':
        fl_relay_shut(&world.relay);
        return;
    case 'F':
    case 'S':
        side = take(p, end) & 1;
        kind = op == 'S' ? take(p, end) : 0;
        type = op == 'S' ? take(p, end) : 0;
        n = take(p, end) << 8;
        n |= take(p, end);
        len = op == 'S' ? take(p, end) : n;
        len = FL_MIN(len, (size_t)(end - *p));
        if (op == 'S')
            give_stream(side, kind, (uint8_t)type, (uint16_t)n, *p, len);
        else
            give(side, *p, len);
        *p += len;
        return;
    default:
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fl_relay_events events = { on_send, on_pause, on_word, on_stream };
    const struct fl_relay_conf conf = {
        .session_id = "alice-0", .node_id = "mi-0", .no_pause = size % 2, .any_counts = size % 2
    };
    const uint8_t *end = data + size;

    memset(&world, 0, sizeof(world));
    world.room = 1000;
    world.sent[0] = world.sent[1] = -1;
    world.before[0] = world.before[1] = INT64_MAX;
    fl_relay_init(&world.relay, &conf, &events, NULL, 0);
    while (data < end) {
        step(&data, end);
        check();
    }
    fl_relay_done(&world.relay);
    return 0;
}
