/* relay.c - see relay.h. The numbers are the rules of protocol 3 §11. */
#include "server/session/relay.h"
#include "common/base/clock.h"
#include "common/base/rand.h"
#include "common/wire/datachannel.h"

#include <errno.h>
#include <string.h>

#define ARENA_BYTES   (16 * 1024)
#define CLOSED_BYTES  (32 * 1024)
#define SEQUENCE_MAX  (1ll << 62) /* beyond is no number that a peer can have counted to */
#define OTHER(side)   ((side) == FL_SIDE_AGENT ? FL_SIDE_CLIENT : FL_SIDE_AGENT)
#define PAUSE_PAYLOAD " "  /* plane's frames have at least one byte of payload (§4) */
#define EARLY_MAX     8192 /* a plugin that has 10000 messages early is silent about more */

void fl_relay_init(struct fl_relay *relay, const struct fl_relay_conf *conf,
                   const struct fl_relay_events *events, void *arg, int64_t mono_ms)
{
    *relay = (struct fl_relay){
        .conf = *conf, .events = events, .arg = arg, .response = -1, .active_ms = mono_ms
    };
    for (int side = 0; side < FL_SIDE__N; side++) {
        fl_flow_init(&relay->to[side]);
        relay->before[side] = INT64_MAX;
    }
}

void fl_relay_done(struct fl_relay *relay)
{
    for (int side = 0; side < FL_SIDE__N; side++)
        fl_flow_done(&relay->to[side]);
}

/* ---- sending ---- */

/* Rule 6: HandshakeComplete, and what comes after it, waits until the client has the
 * acknowledgement of its HandshakeResponse. */
static bool is_barred(const struct fl_relay *relay, const struct fl_flow *flow)
{
    return relay->barrier && flow->next == relay->barrier;
}

static bool must_wait(const struct fl_relay *relay, enum fl_side to)
{
    const struct fl_msg *next = relay->to[to].next;

    return next && next->sequence >= relay->before[OTHER(to)];
}

static void set_paused(struct fl_relay *relay, enum fl_side side, bool paused)
{
    if (relay->paused[side] == paused)
        return;
    relay->paused[side] = paused;
    relay->events->pause(relay->arg, side, paused);
}

static void judge(struct fl_relay *relay, enum fl_side to)
{
    size_t bytes = relay->to[to].unsent_bytes;

    relay->full[OTHER(to)] = relay->full[OTHER(to)] && must_wait(relay, to);
    if (bytes > FL_FLOW_HIGH_BYTES || relay->full[OTHER(to)])
        set_paused(relay, OTHER(to), true);
    else if (bytes <= FL_FLOW_LOW_BYTES)
        set_paused(relay, OTHER(to), false);
}

static void pump(struct fl_relay *relay, enum fl_side to)
{
    struct fl_flow *flow = &relay->to[to];

    while (relay->shut && must_wait(relay, to)) {
        if (is_barred(relay, flow))
            relay->barrier = NULL;
        fl_flow_skip(flow);
    }
    while (relay->attached[to] && flow->next && !is_barred(relay, flow) && !must_wait(relay, to) &&
           !fl_flow_full(flow)) {
        if (relay->events->send(relay->arg, to, flow->next) < 0)
            break;
        fl_flow_sent(flow);
    }
    judge(relay, to);
}

static void put(struct fl_relay *relay, enum fl_side to, struct fl_msg *m)
{
    /* What is of no stream may overtake what is barred: the acknowledgement that lifts the bar is
     * among it. */
    bool overtakes = m->sequence < 0 && !m->last && is_barred(relay, &relay->to[to]);

    fl_flow_put(&relay->to[to], m, overtakes ? relay->barrier : NULL);
    pump(relay, to);
}

/* Without memory the frame is not sent; all of them are of a kind that peers can do without, or
 * that is said again. */
static void say(struct fl_relay *relay, enum fl_side to, const struct fl_frame *frame, bool last)
{
    fl_autobuf struct fl_buf out = FL_BUF(FL_FRAME_HEADER_BYTES + CLOSED_BYTES);
    struct fl_frame f = *frame;
    char id[FL_UUID_BYTES];
    struct fl_msg *m;

    f.schema_version = 1;
    fl_uuid4(id);
    fl_uuid_parse(id, f.message_id);
    if (fl_frame_encode(&f, &out) < 0)
        return;
    m = fl_msg_new(out.data, out.len);
    if (!m)
        return;
    m->last = last;
    put(relay, to, m);
}

/* Rules 2 and 3. Pausing is for a client that is lost, not for one that has yet to come. */
static void tell_publication(struct fl_relay *relay, bool paused, int64_t wall_ms)
{
    struct fl_frame f = { .created_ms = (uint64_t)wall_ms,
                          .payload = PAUSE_PAYLOAD,
                          .payload_len = strlen(PAUSE_PAYLOAD) };

    if (relay->conf.no_pause || !relay->attached[FL_SIDE_AGENT] || relay->closing[FL_SIDE_AGENT])
        return;
    strcpy(f.type, paused ? FL_DATA_PAUSE : FL_DATA_START);
    say(relay, FL_SIDE_AGENT, &f, false);
}

/* ---- attaching ---- */

void fl_relay_attach(struct fl_relay *relay, enum fl_side side, int64_t wall_ms)
{
    bool again = relay->came[side];

    relay->attached[side] = relay->came[side] = true;
    if (side == FL_SIDE_CLIENT)
        relay->back = again || relay->conf.resumed;
    if (relay->paused[side])
        relay->events->pause(relay->arg, side, true);
    pump(relay, side);
    if (side == FL_SIDE_CLIENT && again)
        tell_publication(relay, false, wall_ms);
    if (side == FL_SIDE_AGENT && relay->came[FL_SIDE_CLIENT] && !relay->attached[FL_SIDE_CLIENT])
        tell_publication(relay, true, wall_ms);
}

void fl_relay_detach(struct fl_relay *relay, enum fl_side side, int64_t wall_ms)
{
    relay->attached[side] = false;
    if (side == FL_SIDE_AGENT)
        relay->closing[side] = false; /* whether it has read its last frame is not known */
    fl_flow_rewind(&relay->to[side]);
    judge(relay, side);
    if (side == FL_SIDE_CLIENT)
        tell_publication(relay, true, wall_ms);
}

/* ---- what comes ---- */

/* Rule 4: the plugin does not acknowledge again what it has; so it is answered here. */
static void answer_ack(struct fl_relay *relay, enum fl_side to, const struct fl_frame *of,
                       int64_t wall_ms)
{
    char text[FL_DATA_ACK_MAX_BYTES];
    struct fl_frame f = { .created_ms = (uint64_t)wall_ms, .flags = FL_FRAME_SYN | FL_FRAME_FIN };

    f.payload = text;
    f.payload_len = fl_data_ack_encode(of->type, of->message_id, of->sequence, text);
    strcpy(f.type, FL_DATA_ACK);
    say(relay, to, &f, false);
}

/* What was acknowledged on a connection that was cut, perhaps without the acknowledgement: a plugin
 * that is shown it again has it and says nothing. Official agents repeat their oldest message
 * alone, so they would never come to another that is missing. */
static void answer_silent(struct fl_relay *relay, int64_t wall_ms)
{
    struct fl_flow *flow = &relay->to[FL_SIDE_CLIENT];
    struct fl_msg *m = fl_flow_silent(flow);
    int64_t limit = m ? m->sequence + EARLY_MAX : 0;
    struct fl_frame f;

    for (; m && m->sequence < limit; m = fl_flow_silent(flow)) {
        if (fl_frame_parse(m->data, m->len, &f, NULL) == 0)
            answer_ack(relay, FL_SIDE_AGENT, &f, wall_ms);
        fl_flow_ack(flow, m->sequence);
    }
}

/* Returns whether the message was taken. */
static bool on_stream(struct fl_relay *relay, enum fl_side from, struct fl_msg *m,
                      const struct fl_frame *f, int64_t wall_ms)
{
    enum fl_side to = OTHER(from);
    struct fl_flow *flow = &relay->to[to];
    struct fl_msg *kept;
    int r = 0;

    if (f->sequence < 0 || f->sequence > SEQUENCE_MAX) {
        relay->bad++;
        return false;
    }
    if (relay->closing[to])
        return false; /* its last frame is under way */
    m->sequence = f->sequence;
    m->payload_type = f->payload_type;
    m->payload_at = (size_t)(f->payload - m->data);
    if (relay->events->stream)
        r = relay->events->stream(relay->arg, from, m, f->payload, f->payload_len);
    if (r < 0)
        return false;
    relay->full[from] |= r == FL_RELAY_FULL;
    switch (fl_flow_find(flow, m, &kept)) {
    case FL_FLOW_NEW:
        /* A receiver that has not taken the first would take this one, which nobody has seen. */
        if (r == FL_RELAY_SEEN) {
            relay->bad++;
            return false;
        }
        break;
    case FL_FLOW_LOST:
        break;
    case FL_FLOW_OTHER:
        relay->bad++;
        return false;
    case FL_FLOW_WAITS:
        return false;
    case FL_FLOW_SENT:
        if (from == FL_SIDE_AGENT && relay->back && fl_flow_repeat(flow, m->sequence)) {
            answer_silent(relay, wall_ms);
            return false;
        }
        /* With others before it on their way it would only take their room. What came first is what
         * was seen: it is sent. */
        if (relay->attached[to] && !flow->next)
            relay->events->send(relay->arg, to, kept);
        return false;
    case FL_FLOW_ACKED:
        if (from == FL_SIDE_AGENT) {
            /* But any acknowledgement ends a pause: while its client is away it hears of none. */
            if (relay->attached[to] || relay->conf.no_pause)
                answer_ack(relay, from, f, wall_ms);
            return false;
        }
        m->sequence = -1; /* the agent acknowledges it again: passed on, and not kept */
        break;
    }
    if (from == FL_SIDE_CLIENT && f->payload_type == FL_DATA_TYPE_HANDSHAKE_RESPONSE)
        relay->response = f->sequence;
    if (from == FL_SIDE_AGENT && f->payload_type == FL_DATA_TYPE_HANDSHAKE_COMPLETE &&
        relay->response >= 0 && !relay->barrier)
        relay->barrier = m;
    put(relay, to, m);
    return true;
}

static bool on_ack(struct fl_relay *relay, enum fl_side from, struct fl_msg *m,
                   const struct fl_frame *f)
{
    enum fl_side to = OTHER(from);
    int64_t sequence;

    if (fl_data_ack_decode(f->payload, f->payload_len, &sequence) < 0 || sequence > SEQUENCE_MAX) {
        relay->bad++;
        return false;
    }
    if (from == FL_SIDE_CLIENT && relay->barrier && relay->barrier->sequence == sequence)
        relay->barrier = NULL; /* it cannot have it, and says so */
    /* Some clients acknowledge acknowledgements as if they were output, all with the number 0: what
     * has yet to pass here is not taken for done. Whose relay was another before passes it on. */
    if (sequence <= relay->to[from].newest)
        fl_flow_ack(&relay->to[from], sequence);
    pump(relay, from);
    /* Of no use to one who is away: it asks again, and is answered again. */
    if (!relay->attached[to] || relay->closing[to])
        return false;
    put(relay, to, m);
    if (from == FL_SIDE_AGENT && sequence == relay->response) {
        relay->response = -1;
        relay->barrier = NULL;
        pump(relay, to);
    }
    return true;
}

static void on_word(struct fl_relay *relay, const struct fl_frame *f)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct fl_msg_session_state state;

    if (fl_json_decode(&fl_shape_session_state, f->payload, f->payload_len,
                       FL_DECODE_NOCASE | FL_DECODE_LAX, &arena, &state, NULL) < 0 ||
        !state.state) {
        relay->bad++;
        return;
    }
    if (strcmp(state.state, "Connected") == 0)
        relay->events->word(relay->arg, FL_RELAY_CONNECTED);
    else if (strcmp(state.state, "Terminating") == 0)
        relay->events->word(relay->arg, FL_RELAY_TERMINATING);
}

/* Rule 7: a window that changes its size is not its user. */
static bool is_activity(const struct fl_relay *relay, enum fl_side from, const struct fl_frame *f)
{
    return from == FL_SIDE_AGENT ? relay->conf.any_counts : f->payload_type != FL_DATA_TYPE_SIZE;
}

int fl_relay_input(struct fl_relay *relay, enum fl_side from, struct fl_msg *m, int64_t wall_ms,
                   int64_t mono_ms)
{
    static const char *const streams[FL_SIDE__N] = { FL_DATA_OUTPUT, FL_DATA_INPUT };
    bool taken = false;
    struct fl_frame f;
    int r = fl_frame_parse(m->data, m->len, &f, NULL);

    if (r < 0) {
        relay->bad++;
    } else if (strcmp(f.type, streams[from]) == 0) {
        if (is_activity(relay, from, &f))
            relay->active_ms = mono_ms;
        taken = on_stream(relay, from, m, &f, wall_ms);
    } else if (strcmp(f.type, FL_DATA_ACK) == 0) {
        taken = on_ack(relay, from, m, &f);
    } else if (from == FL_SIDE_AGENT && strcmp(f.type, FL_DATA_SESSION_STATE) == 0) {
        on_word(relay, &f);
    } else {
        relay->bad++;
    }
    if (!taken)
        fl_msg_unref(m);
    return r;
}

void fl_relay_let(struct fl_relay *relay, enum fl_side from, int64_t before)
{
    relay->before[from] = before;
    pump(relay, OTHER(from));
}

void fl_relay_shut(struct fl_relay *relay)
{
    relay->shut = true;
    for (int side = 0; side < FL_SIDE__N; side++)
        pump(relay, (enum fl_side)side);
}

bool fl_relay_waits(const struct fl_relay *relay)
{
    return must_wait(relay, FL_SIDE_AGENT) || must_wait(relay, FL_SIDE_CLIENT);
}

void fl_relay_room(struct fl_relay *relay, enum fl_side side)
{
    pump(relay, side);
}

int fl_relay_closed_payload(const char *session_id, const char *node_id, const char *output,
                            int64_t wall_ms, struct fl_buf *out)
{
    static char type[] = FL_MSG_CHANNEL_CLOSED;
    char id[FL_UUID_BYTES], date[FL_ISO_BYTES];
    const struct fl_msg_channel_closed closed = {
        .message_type = type,
        .message_id = id,
        .destination_id = (char *)node_id,
        .session_id = (char *)session_id,
        .schema_version = 1,
        .created_date = date,
        .output = (char *)output,
    };

    fl_uuid4(id);
    fl_time_iso(wall_ms, false, date);
    return fl_json_encode(&fl_shape_channel_closed, &closed, out);
}

void fl_relay_close(struct fl_relay *relay, enum fl_side side, const char *output, int64_t wall_ms)
{
    fl_autobuf struct fl_buf json = FL_BUF(CLOSED_BYTES);
    struct fl_frame f = { .created_ms = (uint64_t)wall_ms, .flags = FL_FRAME_SYN | FL_FRAME_FIN };

    if (relay->closing[side] || (side == FL_SIDE_AGENT && !relay->attached[side]) ||
        fl_relay_closed_payload(relay->conf.session_id, relay->conf.node_id, output, wall_ms,
                                &json) < 0)
        return;
    f.payload = json.data;
    f.payload_len = json.len;
    strcpy(f.type, FL_MSG_CHANNEL_CLOSED);
    if (side == FL_SIDE_CLIENT)
        relay->barrier = NULL;
    say(relay, side, &f, side == FL_SIDE_CLIENT);
    relay->closing[side] = true;
}
