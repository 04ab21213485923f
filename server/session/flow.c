/* flow.c - see flow.h. */
#include "server/session/flow.h"

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

void fl_flow_init(struct fl_flow *flow)
{
    memset(flow, 0, sizeof(*flow));
    TAILQ_INIT(&flow->list);
    TAILQ_INIT(&flow->gone);
    flow->newest = -1;
}

static struct fl_flow_gone *look_gone(const struct fl_flow *flow, int64_t sequence)
{
    struct fl_flow_gone *g;

    TAILQ_FOREACH (g, &flow->gone, link)
        if (g->sequence == sequence)
            return g;
    return NULL;
}

static void forget(struct fl_flow *flow, int64_t sequence)
{
    struct fl_flow_gone *g = look_gone(flow, sequence);

    if (!g)
        return;
    TAILQ_REMOVE(&flow->gone, g, link);
    flow->n_gone--;
    free(g);
}

void fl_flow_done(struct fl_flow *flow)
{
    struct fl_msg *m;

    while ((m = TAILQ_FIRST(&flow->list))) {
        TAILQ_REMOVE(&flow->list, m, link);
        fl_msg_unref(m);
    }
    while (!TAILQ_EMPTY(&flow->gone))
        forget(flow, TAILQ_FIRST(&flow->gone)->sequence);
    fl_flow_init(flow);
}

static void drop(struct fl_flow *flow, struct fl_msg *m)
{
    *(m->sent ? &flow->sent_bytes : &flow->unsent_bytes) -= m->len;
    if (flow->next == m)
        flow->next = TAILQ_NEXT(m, link);
    TAILQ_REMOVE(&flow->list, m, link);
    fl_msg_unref(m);
}

static struct fl_msg *look(const struct fl_flow *flow, int64_t sequence)
{
    struct fl_msg *m = TAILQ_FIRST(&flow->list);
    int n;

    for (n = 0; m && n < LOOK_MESSAGES; n++, m = TAILQ_NEXT(m, link))
        if (m->sequence == sequence)
            return m;
    if (!m)
        return NULL;
    m = TAILQ_LAST(&flow->list, fl_msgs);
    for (n = 0; m && n < LOOK_MESSAGES; n++, m = TAILQ_PREV(m, fl_msgs, link))
        if (m->sequence == sequence)
            return m;
    return NULL;
}

static bool is_acked(const struct fl_flow *flow, int64_t sequence)
{
    uint64_t bit = (uint64_t)sequence % FL_FLOW_ACKS;

    return sequence < flow->top && sequence >= flow->top - FL_FLOW_ACKS &&
           (flow->acks[bit / 64] >> bit % 64 & 1);
}

static void set_acked(struct fl_flow *flow, int64_t sequence)
{
    uint64_t bit = (uint64_t)sequence % FL_FLOW_ACKS;

    if (sequence < flow->top - FL_FLOW_ACKS)
        return;
    if (sequence - flow->top >= FL_FLOW_ACKS)
        memset(flow->acks, 0, sizeof(flow->acks));
    else
        for (int64_t s = flow->top; s < sequence; s++)
            flow->acks[(uint64_t)s % FL_FLOW_ACKS / 64] &= ~(1ull << (uint64_t)s % 64);
    flow->acks[bit / 64] |= 1ull << bit % 64;
    flow->top = FL_MAX(flow->top, sequence + 1);
}

enum fl_flow_known fl_flow_find(const struct fl_flow *flow, const struct fl_msg *m,
                                struct fl_msg **ret_kept)
{
    uint8_t digest[FL_SHA256_BYTES];
    const struct fl_flow_gone *gone;
    struct fl_msg *kept;

    if (is_acked(flow, m->sequence))
        return FL_FLOW_ACKED;
    if (m->sequence > flow->newest)
        return FL_FLOW_NEW;
    kept = look(flow, m->sequence);
    if (kept && ret_kept)
        *ret_kept = kept;
    if (kept)
        return kept->sent ? FL_FLOW_SENT : FL_FLOW_WAITS;
    gone = look_gone(flow, m->sequence);
    if (!gone)
        return FL_FLOW_NEW;
    fl_sha256(m->data + m->payload_at, m->len - m->payload_at, digest);
    return memcmp(digest, gone->digest, sizeof(digest)) == 0 ? FL_FLOW_LOST : FL_FLOW_OTHER;
}

void fl_flow_put(struct fl_flow *flow, struct fl_msg *m, struct fl_msg *before)
{
    if (m->sequence >= 0 && m->sequence <= flow->newest)
        forget(flow, m->sequence); /* it was lost */
    if (before)
        TAILQ_INSERT_BEFORE(before, m, link);
    else
        TAILQ_INSERT_TAIL(&flow->list, m, link);
    if (!flow->next || flow->next == before)
        flow->next = m;
    flow->unsent_bytes += m->len;
    flow->newest = FL_MAX(flow->newest, m->sequence);
}

static bool is_over(const struct fl_flow *flow, const struct fl_msg *m)
{
    return m->sequence >= 0 && flow->sent_bytes + m->len > FL_FLOW_KEEP_BYTES;
}

bool fl_flow_full(const struct fl_flow *flow)
{
    return flow->n_gone >= FL_FLOW_GONE && is_over(flow, flow->next);
}

/* Without memory for that it is kept. */
static bool note_gone(struct fl_flow *flow, const struct fl_msg *m)
{
    struct fl_flow_gone *g = malloc(sizeof(*g));

    if (!g)
        return false;
    g->sequence = m->sequence;
    fl_sha256(m->data + m->payload_at, m->len - m->payload_at, g->digest);
    TAILQ_INSERT_TAIL(&flow->gone, g, link);
    flow->n_gone++;
    return true;
}

void fl_flow_sent(struct fl_flow *flow)
{
    struct fl_msg *m = flow->next;

    if (m->sequence < 0 || (is_over(flow, m) && note_gone(flow, m))) {
        drop(flow, m);
        return;
    }
    flow->next = TAILQ_NEXT(m, link);
    flow->unsent_bytes -= m->len;
    flow->sent_bytes += m->len;
    m->sent = true;
}

void fl_flow_skip(struct fl_flow *flow)
{
    drop(flow, flow->next);
}

void fl_flow_ack(struct fl_flow *flow, int64_t sequence)
{
    struct fl_msg *m = look(flow, sequence), *p = m && m->sent ? m : NULL;

    set_acked(flow, sequence);
    while (p && (p = TAILQ_PREV(p, fl_msgs, link)) && !p->passed)
        p->passed = true;
    if (m)
        drop(flow, m);
    else
        forget(flow, sequence);
}

bool fl_flow_repeat(struct fl_flow *flow, int64_t sequence)
{
    struct fl_msg *m = look(flow, sequence);
    bool again = m && m->repeated;

    if (m)
        m->repeated = m->passed;
    return again;
}

struct fl_msg *fl_flow_silent(const struct fl_flow *flow)
{
    struct fl_msg *m = TAILQ_FIRST(&flow->list);

    return m && m->passed ? m : NULL;
}

void fl_flow_rewind(struct fl_flow *flow)
{
    struct fl_msg *m;

    for (m = TAILQ_FIRST(&flow->list); m && m->sent; m = TAILQ_NEXT(m, link))
        m->sent = m->passed = m->repeated = false;
    flow->unsent_bytes += flow->sent_bytes;
    flow->sent_bytes = 0;
    flow->next = TAILQ_FIRST(&flow->list);
}
