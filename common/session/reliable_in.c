/* reliable_in.c - the receiving half of reliable.h: what comes is put in order, opened, delivered,
 * and acknowledged. */
#include <errno.h>
#include <string.h>
#include "common/session/reliable_priv.h"

#define MAX_EARLY_MESSAGES 16384
#define EARLY_COST_BYTES   64   /* what an early message takes besides its payload */
#define MAX_OWED           1024 /* acknowledgements that wait for room in the socket */
#define ACK_FRAME_BYTES    (FL_FRAME_HEADER_BYTES + FL_DATA_ACK_MAX_BYTES)

/* ---- acknowledgements of ours ---- */

static bool send_ack(struct fl_reliable *rel, const struct fl_reliable_owed *owed, int64_t wall_ms)
{
    struct fl_frame f = { .type = FL_DATA_ACK,
                          .schema_version = 1,
                          .created_ms = (uint64_t)wall_ms,
                          .flags = FL_FRAME_SYN | FL_FRAME_FIN };
    uint8_t frame[ACK_FRAME_BYTES];
    char *payload = (char *)frame + FL_FRAME_HEADER_BYTES;

    f.payload = payload;
    f.payload_len = fl_data_ack_encode(rel->in_type, owed->message_id, owed->sequence, payload);
    fl_reliable_next_id(rel, f.message_id);
    fl_frame_put_head(&f, frame);
    return fl_reliable_send_frame(rel, frame, FL_FRAME_HEADER_BYTES + f.payload_len);
}

/* One that does not fit is forgotten: the peer sends its message again, and that is acknowledged.
 */
static void owe_ack(struct fl_reliable *rel, int64_t sequence, const uint8_t message_id[16])
{
    struct fl_reliable_owed *owed;

    if (rel->n_owed == rel->owed_cap) {
        size_t cap = rel->owed_cap ? 2 * rel->owed_cap : 16;

        if (cap > MAX_OWED)
            return;
        owed = malloc(cap * sizeof(*owed));
        if (!owed)
            return;
        for (size_t i = 0; i < rel->n_owed; i++)
            owed[i] = rel->owed[(rel->owed_at + i) % rel->owed_cap];
        free(rel->owed);
        rel->owed = owed;
        rel->owed_cap = cap;
        rel->owed_at = 0;
    }
    owed = &rel->owed[(rel->owed_at + rel->n_owed++) % rel->owed_cap];
    owed->sequence = sequence;
    memcpy(owed->message_id, message_id, sizeof(owed->message_id));
}

bool fl_reliable_send_owed(struct fl_reliable *rel, int64_t wall_ms)
{
    while (rel->n_owed > 0) {
        if (!send_ack(rel, &rel->owed[rel->owed_at], wall_ms))
            return false;
        rel->owed_at = (rel->owed_at + 1) % rel->owed_cap;
        rel->n_owed--;
    }
    return true;
}

/* ---- data that comes ---- */

/* Opened each time it is offered: a message that is not taken is rare. */
static int open_sealed(struct fl_reliable *rel, const char **data, size_t *len)
{
    if (*len > rel->opened_cap) {
        uint8_t *more = realloc(rel->opened, *len);

        if (!more)
            return -EAGAIN;
        rel->opened = more;
        rel->opened_cap = *len;
    }
    if (fl_session_seal_open(rel->seal, *data, *len, rel->opened, len) < 0)
        return -EBADMSG;
    *data = (const char *)rel->opened;
    return 0;
}

static int deliver(struct fl_reliable *rel, uint32_t payload_type, const char *data, size_t len)
{
    int r = 0;

    if (rel->seal && fl_session_seal_covers(!rel->conf.agent, payload_type))
        r = open_sealed(rel, &data, &len);
    if (r < 0)
        return r;
    rel->delivering = true;
    r = rel->events.deliver(rel->arg, payload_type, data, len);
    rel->delivering = false;
    if (r == 0)
        rel->counters.delivered++;
    return r;
}

/* Keeps a copy; false if there is no room or memory for it. */
static bool hold(struct fl_reliable *rel, const struct fl_frame *f, bool acked)
{
    struct fl_reliable_message *m;

    if (rel->early_bytes + f->payload_len + EARLY_COST_BYTES > rel->conf.max_early_bytes)
        return false;
    m = malloc(sizeof(*m) + FL_FRAME_HEADER_BYTES + f->payload_len);
    if (!m)
        return false;
    *m = (struct fl_reliable_message){ .payload_type = f->payload_type,
                                       .acked = acked,
                                       .len = f->payload_len };
    memcpy(m->frame, f->message_id, sizeof(f->message_id));
    memcpy(m->frame + FL_FRAME_HEADER_BYTES, f->payload, f->payload_len);
    if (fl_seqring_put(&rel->early, f->sequence, m, MAX_EARLY_MESSAGES) < 0) {
        free(m);
        return false;
    }
    rel->early_bytes += m->len + EARLY_COST_BYTES;
    return true;
}

int fl_reliable_drain(struct fl_reliable *rel)
{
    struct fl_reliable_message *m;

    while (rel->early.n > 0 && (m = fl_seqring_get(&rel->early, rel->early.base))) {
        int r =
            deliver(rel, m->payload_type, (const char *)m->frame + FL_FRAME_HEADER_BYTES, m->len);

        if (r < 0)
            return r == -EAGAIN ? 0 : r;
        if (!m->acked)
            owe_ack(rel, rel->early.base, m->frame);
        rel->early_bytes -= m->len + EARLY_COST_BYTES;
        free(fl_seqring_take(&rel->early, rel->early.base));
        fl_seqring_advance(&rel->early, rel->early.base + 1);
    }
    return 0;
}

int fl_reliable_take(struct fl_reliable *rel, const struct fl_frame *f)
{
    struct fl_reliable_message *held = fl_seqring_get(&rel->early, f->sequence);
    int r;

    if (f->sequence < rel->early.base || (held && held->acked)) {
        rel->counters.duplicates++;
        owe_ack(rel, f->sequence, f->message_id);
        return 0;
    }
    if (held)
        return fl_reliable_drain(rel);
    if (f->sequence > rel->early.base) {
        if (!hold(rel, f, true)) {
            rel->counters.dropped++;
            return 0;
        }
        rel->counters.early++;
        owe_ack(rel, f->sequence, f->message_id);
        return 0;
    }
    r = deliver(rel, f->payload_type, f->payload, f->payload_len);
    if (r == -EAGAIN && !hold(rel, f, false))
        rel->counters.dropped++;
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    owe_ack(rel, f->sequence, f->message_id);
    fl_seqring_advance(&rel->early, rel->early.base + 1);
    return fl_reliable_drain(rel);
}
