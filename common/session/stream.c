/* stream.c - see stream.h.
 *
 * Every message has one block of memory, with its frame ready to be sent; it is filled once and
 * stays as it is however often it is sent. Blocks of full messages are used again.
 */
#include "common/session/stream.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/rand.h"
#include "common/session/seqring.h"

#define MAX_BYTES          ((size_t)1 << 20)
#define MAX_MESSAGES       8192
#define MAX_EARLY_BYTES    ((size_t)4 << 20)
#define MAX_EARLY_MESSAGES 16384
#define EARLY_COST_BYTES   64                  /* what an early message takes besides its payload */
#define RESERVE_BYTES      ((size_t)256 << 10) /* for what is not data */
#define RESERVE_MESSAGES   64
#define MAX_OWED           1024 /* acknowledgements that wait for room in the socket */
#define SPARE_KEPT_MS      1000 /* unused blocks are given back after so long */
#define ACK_FRAME_BYTES    (FL_FRAME_HEADER_BYTES + FL_DATA_ACK_MAX_BYTES)

/* protocol 3 §5 */
#define SRTT_FIRST_MS 100.0
#define RTO_FIRST_MS  200.0
#define RTO_MAX_MS    1000.0
#define VAR_MIN_MS    10.0
#define ROUND_MS      100 /* between two rounds of resending */
#define MAX_ROUND     256 /* messages sent again in one */
#define NEVER_SENT    INT64_MIN

struct message {
    struct message *next_spare;
    int64_t last_sent_ms; /* going out: NEVER_SENT or mono_ms */
    uint32_t payload_type;
    bool acked;      /* going out: by the peer; coming in: by us */
    bool full;       /* of the size that is used again */
    size_t len;      /* of the payload */
    uint8_t frame[]; /* header and payload */
};

struct owed_ack {
    int64_t sequence;
    uint8_t message_id[16];
};

struct fl_stream {
    struct fl_stream_conf conf;
    struct fl_stream_events events;
    void *arg;
    const char *out_type, *in_type;
    size_t max_payload;
    bool connected;
    bool blocked; /* the socket is full */
    bool paused;
    bool delivering;
    bool had_room;
    uint8_t id[16]; /* of the next message: random, then counted up */

    struct fl_seqring out;
    int64_t next;       /* number of the next message written */
    int64_t next_send;  /* the first not sent since the connection was made */
    int64_t last_acked; /* the highest */
    size_t out_bytes;
    double srtt, rttvar, rto;
    int64_t round_ms; /* when something was last resent */
    unsigned tries;   /* resends of the oldest since anything was acknowledged */
    struct message *spare;
    size_t spare_bytes;
    int64_t spare_used_ms;

    struct owed_ack *owed; /* ring */
    size_t owed_at, n_owed, owed_cap;

    struct fl_seqring early; /* its base is the number expected next */
    size_t early_bytes;
    struct fl_session_seal *seal; /* the owner's, or NULL */
    uint8_t *opened;              /* what was sealed */
    size_t opened_cap;
    struct fl_stream_counters counters;
};

/* ---- memory of messages ---- */

/* Of a full message of data. */
static size_t full_payload(const struct fl_stream *s)
{
    return s->max_payload + (s->seal ? FL_SESSION_SEAL_BYTES : 0);
}

static size_t full_bytes(const struct fl_stream *s)
{
    return FL_FRAME_HEADER_BYTES + full_payload(s);
}

static struct message *message_new(struct fl_stream *s, size_t len)
{
    struct message *m = s->spare;

    if (m && len == full_payload(s)) {
        s->spare = m->next_spare;
        s->spare_bytes -= full_bytes(s);
    } else {
        m = malloc(sizeof(*m) + FL_FRAME_HEADER_BYTES + len);
        if (!m)
            return NULL;
    }
    *m = (struct message){ .last_sent_ms = NEVER_SENT, .len = len };
    return m;
}

static void message_free(struct fl_stream *s, struct message *m)
{
    if (m->len != full_payload(s) || s->spare_bytes + full_bytes(s) > s->conf.max_bytes) {
        free(m);
        return;
    }
    m->next_spare = s->spare;
    s->spare = m;
    s->spare_bytes += full_bytes(s);
}

static void free_spare(struct fl_stream *s)
{
    while (s->spare) {
        struct message *m = s->spare;

        s->spare = m->next_spare;
        free(m);
    }
    s->spare_bytes = 0;
}

/* ---- sending ---- */

/* Random bits make the ids of two ends differ, counting those of one; version and variant stay. */
static void next_id(struct fl_stream *s, uint8_t out[16])
{
    memcpy(out, s->id, 16);
    for (size_t i = 16; i-- > 9;)
        if (++s->id[i] != 0)
            break;
}

static bool send_frame(struct fl_stream *s, const void *frame, size_t len)
{
    s->blocked = s->events.send(s->arg, frame, len) != 0;
    return !s->blocked;
}

static bool send_message(struct fl_stream *s, struct message *m, int64_t mono_ms)
{
    if (!send_frame(s, m->frame, FL_FRAME_HEADER_BYTES + m->len))
        return false;
    if (m->last_sent_ms == NEVER_SENT)
        s->counters.sent++;
    else
        s->counters.resent++;
    m->last_sent_ms = mono_ms;
    return true;
}

static bool send_ack(struct fl_stream *s, const struct owed_ack *owed, int64_t wall_ms)
{
    struct fl_frame f = { .type = FL_DATA_ACK,
                          .schema_version = 1,
                          .created_ms = (uint64_t)wall_ms,
                          .flags = FL_FRAME_SYN | FL_FRAME_FIN };
    uint8_t frame[ACK_FRAME_BYTES];
    char *payload = (char *)frame + FL_FRAME_HEADER_BYTES;

    f.payload = payload;
    f.payload_len = fl_data_ack_encode(s->in_type, owed->message_id, owed->sequence, payload);
    next_id(s, f.message_id);
    fl_frame_put_head(&f, frame);
    return send_frame(s, frame, FL_FRAME_HEADER_BYTES + f.payload_len);
}

/* Acknowledgements first: a peer must not see an answer before it knows that it was heard (protocol
 * 3 §5, race b). */
static void flush(struct fl_stream *s, int64_t wall_ms, int64_t mono_ms)
{
    if (!s->connected || s->blocked || s->delivering)
        return;
    while (s->n_owed > 0) {
        if (!send_ack(s, &s->owed[s->owed_at], wall_ms))
            return;
        s->owed_at = (s->owed_at + 1) % s->owed_cap;
        s->n_owed--;
    }
    while (!s->paused && s->next_send < s->next) {
        struct message *m = fl_seqring_get(&s->out, s->next_send);

        if (!m->acked && !send_message(s, m, mono_ms))
            return;
        s->next_send++;
    }
}

/* One that does not fit is forgotten: the peer sends its message again, and that is acknowledged.
 */
static void owe_ack(struct fl_stream *s, int64_t sequence, const uint8_t message_id[16])
{
    struct owed_ack *owed;

    if (s->n_owed == s->owed_cap) {
        size_t cap = s->owed_cap ? 2 * s->owed_cap : 16;

        if (cap > MAX_OWED)
            return;
        owed = malloc(cap * sizeof(*owed));
        if (!owed)
            return;
        for (size_t i = 0; i < s->n_owed; i++)
            owed[i] = s->owed[(s->owed_at + i) % s->owed_cap];
        free(s->owed);
        s->owed = owed;
        s->owed_cap = cap;
        s->owed_at = 0;
    }
    owed = &s->owed[(s->owed_at + s->n_owed++) % s->owed_cap];
    owed->sequence = sequence;
    memcpy(owed->message_id, message_id, sizeof(owed->message_id));
}

/* ---- room ---- */

static size_t free_bytes(const struct fl_stream *s)
{
    size_t bytes = s->conf.max_bytes > s->out_bytes ? s->conf.max_bytes - s->out_bytes : 0;
    size_t n = (size_t)(s->next - s->out.base);
    size_t messages = s->conf.max_messages > n ? s->conf.max_messages - n : 0;

    return FL_MIN(bytes, messages * s->max_payload);
}

size_t fl_stream_room(const struct fl_stream *s)
{
    size_t bytes = free_bytes(s);

    return s->paused || bytes < s->max_payload ? 0 : bytes;
}

/* After what may take room away. */
static void note_room(struct fl_stream *s)
{
    s->had_room = fl_stream_room(s) > 0;
}

/* After what may give some. */
static void tell_room(struct fl_stream *s)
{
    bool had_room = s->had_room;

    note_room(s);
    if (!had_room && s->had_room && s->events.on_room)
        s->events.on_room(s->arg);
}

/* ---- writing ---- */

/* What is left of the pieces to be written. */
struct source {
    const struct iovec *iov;
    size_t at; /* bytes of the first that are taken */
};

static void take(struct source *from, uint8_t *to, size_t len)
{
    while (len > 0) {
        size_t n = FL_MIN(len, from->iov->iov_len - from->at);

        memcpy(to, (const char *)from->iov->iov_base + from->at, n);
        to += n;
        len -= n;
        from->at += n;
        if (from->at == from->iov->iov_len) {
            from->iov++;
            from->at = 0;
        }
    }
}

static int append(struct fl_stream *s, uint32_t payload_type, struct source *from, size_t plain_len,
                  int64_t wall_ms)
{
    bool sealed = s->seal && fl_session_seal_covers(s->conf.agent, payload_type);
    size_t len = plain_len + (sealed ? FL_SESSION_SEAL_BYTES : 0);
    struct message *m = message_new(s, len);
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = (uint64_t)wall_ms,
                          .sequence = s->next,
                          .payload_type = payload_type };
    uint8_t *payload;
    int r = 0;

    if (!m)
        return -ENOMEM;
    /* the agent's first message only, as official programs do it (protocol 3 §4) */
    f.flags = s->conf.agent && s->next == 0 ? FL_FRAME_SYN : 0;
    snprintf(f.type, sizeof(f.type), "%s", s->out_type);
    payload = m->frame + FL_FRAME_HEADER_BYTES;
    take(from, payload + (sealed ? FL_SESSION_NONCE_BYTES : 0), plain_len);
    if (sealed)
        r = fl_session_seal_seal(s->seal, payload, plain_len);
    f.payload = (const char *)payload;
    f.payload_len = len;
    next_id(s, f.message_id);
    if (r == 0)
        r = fl_frame_put_head(&f, m->frame);
    if (r == 0)
        r = fl_seqring_put(&s->out, s->next, m, SIZE_MAX);
    if (r < 0) {
        message_free(s, m);
        return r;
    }
    s->next++;
    s->out_bytes += len;
    return 0;
}

static bool is_data(uint32_t payload_type)
{
    return payload_type == FL_DATA_TYPE_OUTPUT || payload_type == FL_DATA_TYPE_STDERR;
}

static bool fits(const struct fl_stream *s, uint32_t payload_type, size_t len)
{
    if (is_data(payload_type))
        return len <= free_bytes(s);
    return len <= RESERVE_BYTES && s->out_bytes + len <= s->conf.max_bytes + RESERVE_BYTES &&
           (size_t)(s->next - s->out.base) < s->conf.max_messages + RESERVE_MESSAGES;
}

int fl_stream_writev(struct fl_stream *s, uint32_t payload_type, const struct iovec *iov,
                     size_t n_iov, int64_t wall_ms, int64_t mono_ms)
{
    struct source from = { .iov = iov };
    int64_t first = s->next;
    size_t len = 0, step;
    int r = 0;

    for (size_t i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    if (!fits(s, payload_type, len))
        return -ENOBUFS;
    step = is_data(payload_type) ? s->max_payload : len;
    for (size_t at = 0; at < len && r == 0; at += step)
        r = append(s, payload_type, &from, FL_MIN(step, len - at), wall_ms);
    while (r < 0 && s->next > first) {
        struct message *m = fl_seqring_take(&s->out, --s->next);

        s->out_bytes -= m->len;
        message_free(s, m);
    }
    if (r < 0)
        return r;
    s->spare_used_ms = mono_ms;
    note_room(s);
    flush(s, wall_ms, mono_ms);
    return 0;
}

int fl_stream_write(struct fl_stream *s, uint32_t payload_type, const void *data, size_t len,
                    int64_t wall_ms, int64_t mono_ms)
{
    const struct iovec iov = { (void *)data, len };

    return fl_stream_writev(s, payload_type, &iov, 1, wall_ms, mono_ms);
}

/* ---- acknowledgements that come ---- */

/* protocol 3 §5, exactly */
static void sample(struct fl_stream *s, double ms)
{
    double off = s->srtt > ms ? s->srtt - ms : ms - s->srtt;

    s->rttvar = 0.75 * s->rttvar + 0.25 * off;
    s->srtt = 0.875 * s->srtt + 0.125 * ms;
    s->rto = s->srtt + FL_MAX(VAR_MIN_MS, 4 * s->rttvar);
    s->rto = FL_MIN(s->rto, RTO_MAX_MS);
}

static void take_ack(struct fl_stream *s, const struct fl_frame *f, int64_t mono_ms)
{
    struct message *m;
    int64_t sequence;

    if (fl_data_ack_decode(f->payload, f->payload_len, &sequence) < 0) {
        s->counters.bad++;
        return;
    }
    m = fl_seqring_get(&s->out, sequence);
    if (!m || m->acked || m->last_sent_ms == NEVER_SENT)
        return;
    sample(s, (double)(mono_ms - m->last_sent_ms));
    m->acked = true;
    s->tries = 0; /* it hears us: what is missing is lost, or soon taken */
    s->last_acked = FL_MAX(s->last_acked, sequence);
    while (s->out.n > 0) {
        m = fl_seqring_get(&s->out, s->out.base);
        if (!m->acked)
            break;
        fl_seqring_take(&s->out, s->out.base);
        s->out_bytes -= m->len;
        message_free(s, m);
        fl_seqring_advance(&s->out, s->out.base + 1);
    }
    s->next_send = FL_MAX(s->next_send, s->out.base);
}

/* ---- data that comes ---- */

/* Opened each time it is offered: a message that is not taken is rare. */
static int open_sealed(struct fl_stream *s, const char **data, size_t *len)
{
    if (*len > s->opened_cap) {
        uint8_t *more = realloc(s->opened, *len);

        if (!more)
            return -EAGAIN;
        s->opened = more;
        s->opened_cap = *len;
    }
    if (fl_session_seal_open(s->seal, *data, *len, s->opened, len) < 0)
        return -EBADMSG;
    *data = (const char *)s->opened;
    return 0;
}

static int deliver(struct fl_stream *s, uint32_t payload_type, const char *data, size_t len)
{
    int r = 0;

    if (s->seal && fl_session_seal_covers(!s->conf.agent, payload_type))
        r = open_sealed(s, &data, &len);
    if (r < 0)
        return r;
    s->delivering = true;
    r = s->events.deliver(s->arg, payload_type, data, len);
    s->delivering = false;
    if (r == 0)
        s->counters.delivered++;
    return r;
}

/* Keeps a copy; false if there is no room or memory for it. */
static bool hold(struct fl_stream *s, const struct fl_frame *f, bool acked)
{
    struct message *m;

    if (s->early_bytes + f->payload_len + EARLY_COST_BYTES > s->conf.max_early_bytes)
        return false;
    m = malloc(sizeof(*m) + FL_FRAME_HEADER_BYTES + f->payload_len);
    if (!m)
        return false;
    *m = (struct message){ .payload_type = f->payload_type, .acked = acked, .len = f->payload_len };
    memcpy(m->frame, f->message_id, sizeof(f->message_id));
    memcpy(m->frame + FL_FRAME_HEADER_BYTES, f->payload, f->payload_len);
    if (fl_seqring_put(&s->early, f->sequence, m, MAX_EARLY_MESSAGES) < 0) {
        free(m);
        return false;
    }
    s->early_bytes += m->len + EARLY_COST_BYTES;
    return true;
}

/* Delivers what is held and next in order. */
static int drain(struct fl_stream *s)
{
    struct message *m;

    while (s->early.n > 0 && (m = fl_seqring_get(&s->early, s->early.base))) {
        int r = deliver(s, m->payload_type, (const char *)m->frame + FL_FRAME_HEADER_BYTES, m->len);

        if (r < 0)
            return r == -EAGAIN ? 0 : r;
        if (!m->acked)
            owe_ack(s, s->early.base, m->frame);
        s->early_bytes -= m->len + EARLY_COST_BYTES;
        free(fl_seqring_take(&s->early, s->early.base));
        fl_seqring_advance(&s->early, s->early.base + 1);
    }
    return 0;
}

static int take_data(struct fl_stream *s, const struct fl_frame *f)
{
    struct message *held = fl_seqring_get(&s->early, f->sequence);
    int r;

    if (f->sequence < s->early.base || (held && held->acked)) {
        s->counters.duplicates++;
        owe_ack(s, f->sequence, f->message_id);
        return 0;
    }
    if (held)
        return drain(s);
    if (f->sequence > s->early.base) {
        if (!hold(s, f, true)) {
            s->counters.dropped++;
            return 0;
        }
        s->counters.early++;
        owe_ack(s, f->sequence, f->message_id);
        return 0;
    }
    r = deliver(s, f->payload_type, f->payload, f->payload_len);
    if (r == -EAGAIN && !hold(s, f, false))
        s->counters.dropped++;
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    owe_ack(s, f->sequence, f->message_id);
    fl_seqring_advance(&s->early, s->early.base + 1);
    return drain(s);
}

/* ---- public ---- */

int fl_stream_new(const struct fl_stream_conf *conf, const struct fl_stream_events *events,
                  void *arg, struct fl_stream **ret_stream)
{
    struct fl_stream *s = calloc(1, sizeof(*s));
    char id[FL_UUID_BYTES];

    if (!s)
        return -ENOMEM;
    s->conf = *conf;
    s->conf.max_bytes = conf->max_bytes ? conf->max_bytes : MAX_BYTES;
    s->conf.max_messages = conf->max_messages ? conf->max_messages : MAX_MESSAGES;
    s->conf.max_early_bytes = conf->max_early_bytes ? conf->max_early_bytes : MAX_EARLY_BYTES;
    s->events = *events;
    s->arg = arg;
    s->out_type = conf->agent ? FL_DATA_OUTPUT : FL_DATA_INPUT;
    s->in_type = conf->agent ? FL_DATA_INPUT : FL_DATA_OUTPUT;
    s->max_payload = FL_DATA_PAYLOAD_BYTES;
    s->had_room = true;
    s->last_acked = -1;
    s->srtt = SRTT_FIRST_MS;
    s->rto = RTO_FIRST_MS;
    s->round_ms = INT64_MIN / 2;
    fl_uuid4(id);
    fl_uuid_parse(id, s->id);
    *ret_stream = s;
    return 0;
}

struct fl_stream *fl_stream_free(struct fl_stream *s)
{
    if (!s)
        return NULL;
    fl_seqring_done(&s->out, free);
    fl_seqring_done(&s->early, free);
    free_spare(s);
    free(s->owed);
    free(s->opened);
    free(s);
    return NULL;
}

static void set_max_payload(struct fl_stream *s, size_t bytes, struct fl_session_seal *seal)
{
    size_t most = FL_DATA_MAX_PAYLOAD_BYTES - (seal ? FL_SESSION_SEAL_BYTES : 0);

    free_spare(s);
    s->seal = seal;
    s->max_payload = FL_MIN(FL_MIN(FL_MAX(bytes, (size_t)1), most), s->conf.max_bytes);
    note_room(s);
}

void fl_stream_set_max_payload(struct fl_stream *s, size_t bytes)
{
    set_max_payload(s, bytes, s->seal);
}

void fl_stream_set_seal(struct fl_stream *s, struct fl_session_seal *seal)
{
    set_max_payload(s, s->max_payload, seal);
}

int fl_stream_input(struct fl_stream *s, const void *frame, size_t len, int64_t wall_ms,
                    int64_t mono_ms)
{
    struct fl_frame f;
    int r = fl_frame_parse(frame, len, &f, NULL);

    if (r < 0)
        return r;
    if (!fl_frame_intact(frame, &f)) {
        s->counters.bad++;
        return 0;
    }
    if (strcmp(f.type, s->in_type) == 0 && f.sequence >= 0) {
        s->paused = false;
        r = take_data(s, &f);
    } else if (strcmp(f.type, FL_DATA_ACK) == 0) {
        s->paused = false;
        take_ack(s, &f, mono_ms);
    } else if (strcmp(f.type, FL_DATA_PAUSE) == 0 || strcmp(f.type, FL_DATA_START) == 0) {
        fl_stream_set_paused(s, s->conf.agent && strcmp(f.type, FL_DATA_PAUSE) == 0);
    } else if (strcmp(f.type, FL_DATA_INPUT) == 0 || strcmp(f.type, FL_DATA_OUTPUT) == 0) {
        s->counters.bad++;
    } else if (s->events.other) {
        s->events.other(s->arg, &f);
    }
    flush(s, wall_ms, mono_ms);
    tell_room(s);
    return r;
}

/* A round: the oldest message, as official ends do it; and with it those of which a later one has
 * arrived, so that they are lost rather than late. What a slow peer merely has not come to is not
 * sent again. */
static void resend(struct fl_stream *s, struct message *oldest, int64_t mono_ms)
{
    size_t n = 1;

    if (!send_message(s, oldest, mono_ms))
        return;
    s->round_ms = mono_ms;
    if (s->rto * (1u << s->tries) < RTO_MAX_MS)
        s->tries++;
    for (int64_t seq = s->out.base + 1; seq < s->last_acked && n < MAX_ROUND; seq++) {
        struct message *m = fl_seqring_get(&s->out, seq);

        if (m->acked || (double)(mono_ms - m->last_sent_ms) <= s->rto)
            continue;
        if (!send_message(s, m, mono_ms))
            return;
        n++;
    }
}

int64_t fl_stream_tick(struct fl_stream *s, int64_t wall_ms, int64_t mono_ms)
{
    bool may_send = s->connected && !s->blocked && !s->paused;

    for (;;) {
        struct message *m;
        int64_t due;

        if (!may_send || s->next_send == s->out.base)
            break;
        m = fl_seqring_get(&s->out, s->out.base);
        due = m->last_sent_ms + 1 + (int64_t)FL_MIN(s->rto * (double)(1u << s->tries), RTO_MAX_MS);
        due = FL_MAX(due, s->round_ms + ROUND_MS);
        if (mono_ms < due)
            return due;
        resend(s, m, mono_ms);
        may_send = !s->blocked;
    }
    if (s->spare && s->out.n == 0) {
        if (mono_ms < s->spare_used_ms + SPARE_KEPT_MS)
            return s->spare_used_ms + SPARE_KEPT_MS;
        free_spare(s);
    }
    return INT64_MAX;
}

int fl_stream_kick(struct fl_stream *s, int64_t wall_ms, int64_t mono_ms)
{
    int r;

    s->blocked = false;
    r = s->delivering ? 0 : drain(s);
    flush(s, wall_ms, mono_ms);
    tell_room(s);
    return r;
}

void fl_stream_set_connected(struct fl_stream *s, bool connected)
{
    s->connected = connected;
    s->blocked = false;
    if (connected) {
        s->paused = false;
        s->next_send = s->out.base;
    }
}

void fl_stream_set_paused(struct fl_stream *s, bool paused)
{
    s->paused = paused;
    if (paused)
        note_room(s);
}

bool fl_stream_idle(const struct fl_stream *s)
{
    return s->out.n == 0;
}

size_t fl_stream_held(const struct fl_stream *s)
{
    return s->early_bytes;
}

const struct fl_stream_counters *fl_stream_counters(const struct fl_stream *s)
{
    return &s->counters;
}
