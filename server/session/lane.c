/* lane.c - see lane.h. */
#include "server/session/lane.h"

#include <string.h>

/* Senders repeat their oldest message, and receivers acknowledge the oldest first: so far is looked
 * from either end. What is not found there is at worst sent or kept once more. */
#define LOOK_MESSAGES 256

struct fl_msg *fl_msg_new(const void *data, size_t len)
{
    struct fl_msg *m = malloc(sizeof(*m) + len);

    if (!m)
        return NULL;
    memset(m, 0, sizeof(*m));
    atomic_init(&m->refs, 1);
    m->sequence = -1;
    m->len = len;
    memcpy(m->data, data, len);
    return m;
}

struct fl_msg *fl_msg_ref(struct fl_msg *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

struct fl_msg *fl_msg_unref(struct fl_msg *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1)
        free(m);
    return NULL;
}

void fl_lane_init(struct fl_lane *lane)
{
    memset(lane, 0, sizeof(*lane));
    TAILQ_INIT(&lane->list);
    lane->newest = -1;
}

void fl_lane_done(struct fl_lane *lane)
{
    struct fl_msg *m;

    while ((m = TAILQ_FIRST(&lane->list))) {
        TAILQ_REMOVE(&lane->list, m, link);
        fl_msg_unref(m);
    }
    fl_lane_init(lane);
}

static void drop(struct fl_lane *lane, struct fl_msg *m)
{
    *(m->sent ? &lane->sent_bytes : &lane->unsent_bytes) -= m->len;
    if (lane->next == m)
        lane->next = TAILQ_NEXT(m, link);
    TAILQ_REMOVE(&lane->list, m, link);
    fl_msg_unref(m);
}

static struct fl_msg *look(const struct fl_lane *lane, int64_t sequence)
{
    struct fl_msg *m = TAILQ_FIRST(&lane->list);
    int n;

    for (n = 0; m && n < LOOK_MESSAGES; n++, m = TAILQ_NEXT(m, link))
        if (m->sequence == sequence)
            return m;
    if (!m)
        return NULL;
    m = TAILQ_LAST(&lane->list, fl_msgs);
    for (n = 0; m && n < LOOK_MESSAGES; n++, m = TAILQ_PREV(m, fl_msgs, link))
        if (m->sequence == sequence)
            return m;
    return NULL;
}

static bool is_acked(const struct fl_lane *lane, int64_t sequence)
{
    uint64_t bit = (uint64_t)sequence % FL_LANE_ACKS;

    return sequence < lane->top && sequence >= lane->top - FL_LANE_ACKS &&
           (lane->acks[bit / 64] >> bit % 64 & 1);
}

static void set_acked(struct fl_lane *lane, int64_t sequence)
{
    uint64_t bit = (uint64_t)sequence % FL_LANE_ACKS;

    if (sequence < lane->top - FL_LANE_ACKS)
        return;
    if (sequence - lane->top >= FL_LANE_ACKS)
        memset(lane->acks, 0, sizeof(lane->acks));
    else
        for (int64_t s = lane->top; s < sequence; s++)
            lane->acks[(uint64_t)s % FL_LANE_ACKS / 64] &= ~(1ull << (uint64_t)s % 64);
    lane->acks[bit / 64] |= 1ull << bit % 64;
    lane->top = FL_MAX(lane->top, sequence + 1);
}

enum fl_lane_known fl_lane_find(const struct fl_lane *lane, int64_t sequence)
{
    const struct fl_msg *m;

    if (is_acked(lane, sequence))
        return FL_LANE_ACKED;
    m = sequence <= lane->newest ? look(lane, sequence) : NULL;
    if (!m)
        return FL_LANE_NEW;
    return m->sent ? FL_LANE_SENT : FL_LANE_WAITS;
}

void fl_lane_put(struct fl_lane *lane, struct fl_msg *m, struct fl_msg *before)
{
    if (before)
        TAILQ_INSERT_BEFORE(before, m, link);
    else
        TAILQ_INSERT_TAIL(&lane->list, m, link);
    if (!lane->next || lane->next == before)
        lane->next = m;
    lane->unsent_bytes += m->len;
    lane->newest = FL_MAX(lane->newest, m->sequence);
}

void fl_lane_sent(struct fl_lane *lane)
{
    struct fl_msg *m = lane->next;

    if (m->sequence < 0 || lane->sent_bytes + m->len > FL_LANE_KEEP_BYTES) {
        drop(lane, m);
        return;
    }
    lane->next = TAILQ_NEXT(m, link);
    lane->unsent_bytes -= m->len;
    lane->sent_bytes += m->len;
    m->sent = true;
}

void fl_lane_ack(struct fl_lane *lane, int64_t sequence)
{
    struct fl_msg *m = look(lane, sequence);

    set_acked(lane, sequence);
    if (m)
        drop(lane, m);
}

void fl_lane_rewind(struct fl_lane *lane)
{
    struct fl_msg *m;

    for (m = TAILQ_FIRST(&lane->list); m && m->sent; m = TAILQ_NEXT(m, link))
        m->sent = false;
    lane->unsent_bytes += lane->sent_bytes;
    lane->sent_bytes = 0;
    lane->next = TAILQ_FIRST(&lane->list);
}
