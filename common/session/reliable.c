/* reliable.c - see reliable.h: the sending half, and what users call.
 *
 * Every message has one block of memory, with its frame ready to be sent; it is filled once and
 * stays as it is however often it is sent. Blocks of full messages are used again.
 */
#include "common/session/reliable.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/base/rand.h"
#include "common/session/reliable_priv.h"

#define MAX_BYTES        ((size_t)1 << 20)
#define MAX_MESSAGES     8192
#define MAX_EARLY_BYTES  ((size_t)4 << 20)
#define RESERVE_BYTES    ((size_t)256 << 10) /* for what is not data */
#define RESERVE_MESSAGES 64
#define SPARE_KEPT_MS    1000 /* unused blocks are given back after so long */

/* protocol 3 §5 */
#define SRTT_FIRST_MS 100.0
#define RTO_FIRST_MS  200.0
#define RTO_MAX_MS    1000.0
#define VAR_MIN_MS    10.0
#define ROUND_MS      100 /* between two rounds of resending */
#define MAX_ROUND     256 /* messages sent again in one */

/* ---- memory of messages ---- */

/* Of a full message of data. */
static size_t full_payload(const struct fl_reliable *rel)
{
    return rel->max_payload + (rel->seal ? FL_SESSION_SEAL_BYTES : 0);
}

static size_t full_bytes(const struct fl_reliable *rel)
{
    return FL_FRAME_HEADER_BYTES + full_payload(rel);
}

static struct fl_reliable_message *message_new(struct fl_reliable *rel, size_t len)
{
    struct fl_reliable_message *m = rel->spare;

    if (m && len == full_payload(rel)) {
        rel->spare = m->next_spare;
        rel->spare_bytes -= full_bytes(rel);
    } else {
        m = malloc(sizeof(*m) + FL_FRAME_HEADER_BYTES + len);
        if (!m)
            return NULL;
    }
    *m = (struct fl_reliable_message){ .last_sent_ms = FL_NEVER_SENT, .len = len };
    return m;
}

static void message_free(struct fl_reliable *rel, struct fl_reliable_message *m)
{
    if (m->len != full_payload(rel) || rel->spare_bytes + full_bytes(rel) > rel->conf.max_bytes) {
        free(m);
        return;
    }
    m->next_spare = rel->spare;
    rel->spare = m;
    rel->spare_bytes += full_bytes(rel);
}

static void free_spare(struct fl_reliable *rel)
{
    while (rel->spare) {
        struct fl_reliable_message *m = rel->spare;

        rel->spare = m->next_spare;
        free(m);
    }
    rel->spare_bytes = 0;
}

/* ---- sending ---- */

/* Random bits make the ids of two ends differ, counting those of one; version and variant stay. */
void fl_reliable_next_id(struct fl_reliable *rel, uint8_t out[16])
{
    memcpy(out, rel->id, 16);
    for (size_t i = 16; i-- > 9;)
        if (++rel->id[i] != 0)
            break;
}

bool fl_reliable_send_frame(struct fl_reliable *rel, const void *frame, size_t len)
{
    rel->blocked = rel->events.send(rel->arg, frame, len) != 0;
    return !rel->blocked;
}

static bool send_message(struct fl_reliable *rel, struct fl_reliable_message *m, int64_t mono_ms)
{
    if (!fl_reliable_send_frame(rel, m->frame, FL_FRAME_HEADER_BYTES + m->len))
        return false;
    if (m->last_sent_ms == FL_NEVER_SENT)
        rel->counters.sent++;
    else
        rel->counters.resent++;
    m->last_sent_ms = mono_ms;
    return true;
}

/* Acknowledgements first: a peer must not see an answer before it knows that it was heard (protocol
 * 3 §5, race b). */
static void flush(struct fl_reliable *rel, int64_t wall_ms, int64_t mono_ms)
{
    if (!rel->connected || rel->blocked || rel->delivering)
        return;
    if (!fl_reliable_send_owed(rel, wall_ms))
        return;
    while (!rel->paused && rel->next_send < rel->next) {
        struct fl_reliable_message *m = fl_seqring_get(&rel->out, rel->next_send);

        if (!m->acked && !send_message(rel, m, mono_ms))
            return;
        rel->next_send++;
    }
}

/* ---- room ---- */

static size_t free_bytes(const struct fl_reliable *rel)
{
    size_t bytes = rel->conf.max_bytes > rel->out_bytes ? rel->conf.max_bytes - rel->out_bytes : 0;
    size_t n = (size_t)(rel->next - rel->out.base);
    size_t messages = rel->conf.max_messages > n ? rel->conf.max_messages - n : 0;

    return FL_MIN(bytes, messages * rel->max_payload);
}

size_t fl_reliable_room(const struct fl_reliable *rel)
{
    size_t bytes = free_bytes(rel);

    return rel->paused || bytes < rel->max_payload ? 0 : bytes;
}

/* After what may take room away. */
static void note_room(struct fl_reliable *rel)
{
    rel->had_room = fl_reliable_room(rel) > 0;
}

/* After what may give some. */
static void tell_room(struct fl_reliable *rel)
{
    bool had_room = rel->had_room;

    note_room(rel);
    if (!had_room && rel->had_room && rel->events.on_room)
        rel->events.on_room(rel->arg);
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

static int append(struct fl_reliable *rel, uint32_t payload_type, struct source *from,
                  size_t plain_len, int64_t wall_ms)
{
    bool sealed = rel->seal && fl_session_seal_covers(rel->conf.agent, payload_type);
    size_t len = plain_len + (sealed ? FL_SESSION_SEAL_BYTES : 0);
    struct fl_reliable_message *m = message_new(rel, len);
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = (uint64_t)wall_ms,
                          .sequence = rel->next,
                          .payload_type = payload_type };
    uint8_t *payload;
    int r = 0;

    if (!m)
        return -ENOMEM;
    /* the agent's first message only, as official programs do it (protocol 3 §4) */
    f.flags = rel->conf.agent && rel->next == 0 ? FL_FRAME_SYN : 0;
    snprintf(f.type, sizeof(f.type), "%s", rel->out_type);
    payload = m->frame + FL_FRAME_HEADER_BYTES;
    take(from, payload + (sealed ? FL_SESSION_NONCE_BYTES : 0), plain_len);
    if (sealed)
        r = fl_session_seal_seal(rel->seal, payload, plain_len);
    f.payload = (const char *)payload;
    f.payload_len = len;
    fl_reliable_next_id(rel, f.message_id);
    if (r == 0)
        r = fl_frame_put_head(&f, m->frame);
    if (r == 0)
        r = fl_seqring_put(&rel->out, rel->next, m, SIZE_MAX);
    if (r < 0) {
        message_free(rel, m);
        return r;
    }
    rel->next++;
    rel->out_bytes += len;
    return 0;
}

static bool is_data(uint32_t payload_type)
{
    return payload_type == FL_DATA_TYPE_OUTPUT || payload_type == FL_DATA_TYPE_STDERR;
}

static bool fits(const struct fl_reliable *rel, uint32_t payload_type, size_t len)
{
    if (is_data(payload_type))
        return len <= free_bytes(rel);
    return len <= RESERVE_BYTES && rel->out_bytes + len <= rel->conf.max_bytes + RESERVE_BYTES &&
           (size_t)(rel->next - rel->out.base) < rel->conf.max_messages + RESERVE_MESSAGES;
}

int fl_reliable_writev(struct fl_reliable *rel, uint32_t payload_type, const struct iovec *iov,
                       size_t n_iov, int64_t wall_ms, int64_t mono_ms)
{
    struct source from = { .iov = iov };
    int64_t first = rel->next;
    size_t len = 0, step;
    int r = 0;

    for (size_t i = 0; i < n_iov; i++)
        len += iov[i].iov_len;
    if (!fits(rel, payload_type, len))
        return -ENOBUFS;
    step = is_data(payload_type) ? rel->max_payload : len;
    for (size_t at = 0; at < len && r == 0; at += step)
        r = append(rel, payload_type, &from, FL_MIN(step, len - at), wall_ms);
    while (r < 0 && rel->next > first) {
        struct fl_reliable_message *m = fl_seqring_take(&rel->out, --rel->next);

        rel->out_bytes -= m->len;
        message_free(rel, m);
    }
    if (r < 0)
        return r;
    rel->spare_used_ms = mono_ms;
    note_room(rel);
    flush(rel, wall_ms, mono_ms);
    return 0;
}

int fl_reliable_write(struct fl_reliable *rel, uint32_t payload_type, const void *data, size_t len,
                      int64_t wall_ms, int64_t mono_ms)
{
    const struct iovec iov = { (void *)data, len };

    return fl_reliable_writev(rel, payload_type, &iov, 1, wall_ms, mono_ms);
}

/* ---- acknowledgements that come ---- */

/* protocol 3 §5, exactly */
static void sample(struct fl_reliable *rel, double ms)
{
    double off = rel->srtt > ms ? rel->srtt - ms : ms - rel->srtt;

    rel->rttvar = 0.75 * rel->rttvar + 0.25 * off;
    rel->srtt = 0.875 * rel->srtt + 0.125 * ms;
    rel->rto = rel->srtt + FL_MAX(VAR_MIN_MS, 4 * rel->rttvar);
    rel->rto = FL_MIN(rel->rto, RTO_MAX_MS);
}

static void take_ack(struct fl_reliable *rel, const struct fl_frame *f, int64_t mono_ms)
{
    struct fl_reliable_message *m;
    int64_t sequence;

    if (fl_data_ack_decode(f->payload, f->payload_len, &sequence) < 0) {
        rel->counters.bad++;
        return;
    }
    m = fl_seqring_get(&rel->out, sequence);
    if (!m || m->acked || m->last_sent_ms == FL_NEVER_SENT)
        return;
    sample(rel, (double)(mono_ms - m->last_sent_ms));
    m->acked = true;
    rel->tries = 0; /* it hears us: what is missing is lost, or soon taken */
    rel->last_acked = FL_MAX(rel->last_acked, sequence);
    while (rel->out.n > 0) {
        m = fl_seqring_get(&rel->out, rel->out.base);
        if (!m->acked)
            break;
        fl_seqring_take(&rel->out, rel->out.base);
        rel->out_bytes -= m->len;
        message_free(rel, m);
        fl_seqring_advance(&rel->out, rel->out.base + 1);
    }
    rel->next_send = FL_MAX(rel->next_send, rel->out.base);
}

/* ---- public ---- */

int fl_reliable_new(const struct fl_reliable_conf *conf, const struct fl_reliable_events *events,
                    void *arg, struct fl_reliable **ret_reliable)
{
    struct fl_reliable *rel = calloc(1, sizeof(*rel));
    char id[FL_UUID_BYTES];

    if (!rel)
        return -ENOMEM;
    rel->conf = *conf;
    rel->conf.max_bytes = conf->max_bytes ? conf->max_bytes : MAX_BYTES;
    rel->conf.max_messages = conf->max_messages ? conf->max_messages : MAX_MESSAGES;
    rel->conf.max_early_bytes = conf->max_early_bytes ? conf->max_early_bytes : MAX_EARLY_BYTES;
    rel->events = *events;
    rel->arg = arg;
    rel->out_type = conf->agent ? FL_DATA_OUTPUT : FL_DATA_INPUT;
    rel->in_type = conf->agent ? FL_DATA_INPUT : FL_DATA_OUTPUT;
    rel->max_payload = FL_DATA_PAYLOAD_BYTES;
    rel->had_room = true;
    rel->last_acked = -1;
    rel->srtt = SRTT_FIRST_MS;
    rel->rto = RTO_FIRST_MS;
    rel->round_ms = INT64_MIN / 2;
    fl_uuid4(id);
    fl_uuid_parse(id, rel->id);
    *ret_reliable = rel;
    return 0;
}

struct fl_reliable *fl_reliable_free(struct fl_reliable *rel)
{
    if (!rel)
        return NULL;
    fl_seqring_done(&rel->out, free);
    fl_seqring_done(&rel->early, free);
    free_spare(rel);
    free(rel->owed);
    free(rel->opened);
    free(rel);
    return NULL;
}

static void set_max_payload(struct fl_reliable *rel, size_t bytes, struct fl_session_seal *seal)
{
    size_t most = FL_DATA_MAX_PAYLOAD_BYTES - (seal ? FL_SESSION_SEAL_BYTES : 0);

    free_spare(rel);
    rel->seal = seal;
    rel->max_payload = FL_MIN(FL_MIN(FL_MAX(bytes, (size_t)1), most), rel->conf.max_bytes);
    note_room(rel);
}

void fl_reliable_set_max_payload(struct fl_reliable *rel, size_t bytes)
{
    set_max_payload(rel, bytes, rel->seal);
}

void fl_reliable_set_seal(struct fl_reliable *rel, struct fl_session_seal *seal)
{
    set_max_payload(rel, rel->max_payload, seal);
}

int fl_reliable_input(struct fl_reliable *rel, const void *frame, size_t len, int64_t wall_ms,
                      int64_t mono_ms)
{
    struct fl_frame f;
    int r = fl_frame_parse(frame, len, &f, NULL);

    /* Agents do not look at the digest, nor clients at that of nothing, and there are clients whose
     * is wrong (protocol 3 §4); what is on the way is TLS's to keep whole. */
    if (r < 0 || (!rel->conf.agent && f.payload_len > 0 && !fl_frame_intact(frame, &f))) {
        rel->counters.bad++;
        return 0;
    }
    if (strcmp(f.type, rel->in_type) == 0 && f.sequence >= 0) {
        rel->paused = false;
        r = fl_reliable_take(rel, &f);
    } else if (strcmp(f.type, FL_DATA_ACK) == 0) {
        rel->paused = false;
        take_ack(rel, &f, mono_ms);
    } else if (strcmp(f.type, FL_DATA_PAUSE) == 0 || strcmp(f.type, FL_DATA_START) == 0) {
        fl_reliable_set_paused(rel, rel->conf.agent && strcmp(f.type, FL_DATA_PAUSE) == 0);
    } else if (strcmp(f.type, FL_DATA_INPUT) == 0 || strcmp(f.type, FL_DATA_OUTPUT) == 0) {
        rel->counters.bad++;
    } else if (rel->events.other) {
        rel->events.other(rel->arg, &f);
    }
    flush(rel, wall_ms, mono_ms);
    tell_room(rel);
    return r;
}

/* A round: the oldest message, as official ends do it; and with it those of which a later one has
 * arrived, so that they are lost rather than late. What a slow peer merely has not come to is not
 * sent again. */
static void resend(struct fl_reliable *rel, struct fl_reliable_message *oldest, int64_t mono_ms)
{
    size_t n = 1;

    if (!send_message(rel, oldest, mono_ms))
        return;
    rel->round_ms = mono_ms;
    if (rel->rto * (1u << rel->tries) < RTO_MAX_MS)
        rel->tries++;
    for (int64_t seq = rel->out.base + 1; seq < rel->last_acked && n < MAX_ROUND; seq++) {
        struct fl_reliable_message *m = fl_seqring_get(&rel->out, seq);

        if (m->acked || (double)(mono_ms - m->last_sent_ms) <= rel->rto)
            continue;
        if (!send_message(rel, m, mono_ms))
            return;
        n++;
    }
}

int64_t fl_reliable_tick(struct fl_reliable *rel, int64_t wall_ms, int64_t mono_ms)
{
    bool may_send = rel->connected && !rel->blocked && !rel->paused;

    for (;;) {
        struct fl_reliable_message *m;
        int64_t due;

        if (!may_send || rel->next_send == rel->out.base)
            break;
        m = fl_seqring_get(&rel->out, rel->out.base);
        due = m->last_sent_ms + 1 +
              (int64_t)FL_MIN(rel->rto * (double)(1u << rel->tries), RTO_MAX_MS);
        due = FL_MAX(due, rel->round_ms + ROUND_MS);
        if (mono_ms < due)
            return due;
        resend(rel, m, mono_ms);
        may_send = !rel->blocked;
    }
    if (rel->spare && rel->out.n == 0) {
        if (mono_ms < rel->spare_used_ms + SPARE_KEPT_MS)
            return rel->spare_used_ms + SPARE_KEPT_MS;
        free_spare(rel);
    }
    return INT64_MAX;
}

int fl_reliable_kick(struct fl_reliable *rel, int64_t wall_ms, int64_t mono_ms)
{
    int r;

    rel->blocked = false;
    r = rel->delivering ? 0 : fl_reliable_drain(rel);
    flush(rel, wall_ms, mono_ms);
    tell_room(rel);
    return r;
}

void fl_reliable_set_connected(struct fl_reliable *rel, bool connected)
{
    rel->connected = connected;
    rel->blocked = false;
    if (connected) {
        rel->paused = false;
        rel->next_send = rel->out.base;
    }
}

void fl_reliable_set_paused(struct fl_reliable *rel, bool paused)
{
    rel->paused = paused;
    if (paused)
        note_room(rel);
}

bool fl_reliable_idle(const struct fl_reliable *rel)
{
    return rel->out.n == 0;
}

size_t fl_reliable_held(const struct fl_reliable *rel)
{
    return rel->early_bytes;
}

const struct fl_reliable_counters *fl_reliable_counters(const struct fl_reliable *rel)
{
    return &rel->counters;
}
