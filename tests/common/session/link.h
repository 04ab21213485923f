/* link.h - two ends of a data channel and what lies between them, for tests: a clock of its own,
 * and a link that loses, doubles, reorders and holds back frames as a seed says.
 *
 * Each end sends a pattern of so many bytes as its peer's window allows, and checks each byte that
 * comes. No real time passes.
 */
#pragma once
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/session/reliable.h"

#define LINK_FRAMES  16384
#define LINK_WALL_MS 1700000000000
#define LINK_QUEUE   262144 /* bytes in one direction after which a socket is full */
#define LINK_CHUNK   50000  /* what a source reads at most */

struct link_faults {
    unsigned lose, twice, shuffle; /* of 1000 frames */
    unsigned unready;              /* of 1000 messages: the receiver says -EAGAIN */
    unsigned stall;                /* of 1000 frames: nothing more arrives for up to a second */
    unsigned cut;                  /* of 10000 frames: the connection is lost, and made again */
    unsigned slow_ms;              /* time on the way */
    bool sealed;
};

struct link_frame {
    int64_t at_ms;
    uint64_t order;
    size_t len;
    uint8_t *data;
};

struct link_end {
    struct fl_reliable *reliable;
    struct fl_session_seal *seal;
    struct link *link;
    struct link_end *peer;
    struct link_frame frames[LINK_FRAMES]; /* heap, to this end */
    size_t n_frames, queued_bytes;
    bool full; /* the socket to this end refused a frame */
    int64_t stalled_until_ms;
    size_t to_send, sent, received, to_receive;
    unsigned refused; /* messages not taken, in a row */
};

struct link {
    struct link_end ends[2]; /* agent, client */
    struct link_faults faults;
    uint64_t random, order;
    int64_t now_ms;
};

static inline uint32_t link_random(struct link *l)
{
    l->random = l->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(l->random >> 33);
}

static inline bool link_chance(struct link *l, unsigned of, unsigned n)
{
    return n > 0 && link_random(l) % of < n;
}

/* Byte `at` of what the end `from` sends. */
static inline char link_byte(bool agent, size_t at)
{
    return (char)((at * 2654435761u + (at >> 9) + agent) >> 7);
}

static inline bool link_before(const struct link_frame *a, const struct link_frame *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static inline void link_push(struct link_end *to, struct link_frame f)
{
    size_t i = to->n_frames++;

    assert(to->n_frames < LINK_FRAMES);
    to->queued_bytes += f.len;
    for (; i > 0 && link_before(&f, &to->frames[(i - 1) / 2]); i = (i - 1) / 2)
        to->frames[i] = to->frames[(i - 1) / 2];
    to->frames[i] = f;
}

static inline struct link_frame link_pop(struct link_end *to)
{
    struct link_frame first = to->frames[0], last = to->frames[--to->n_frames];
    size_t i = 0, child;

    to->queued_bytes -= first.len;
    for (; (child = 2 * i + 1) < to->n_frames; i = child) {
        if (child + 1 < to->n_frames && link_before(&to->frames[child + 1], &to->frames[child]))
            child++;
        if (!link_before(&to->frames[child], &last))
            break;
        to->frames[i] = to->frames[child];
    }
    to->frames[i] = last;
    return first;
}

static inline void link_carry(struct link *l, struct link_end *to, const void *frame, size_t len)
{
    struct link_frame f = { .at_ms = l->now_ms + l->faults.slow_ms, .order = l->order++ };

    if (link_chance(l, 1000, l->faults.shuffle))
        f.at_ms += link_random(l) % 50;
    if (link_chance(l, 1000, l->faults.stall))
        to->stalled_until_ms = l->now_ms + link_random(l) % 1000;
    f.at_ms = FL_MAX(f.at_ms, to->stalled_until_ms);
    f.len = len;
    f.data = malloc(len); /* exactly, so that sanitizers see what is read beyond */
    memcpy(f.data, frame, len);
    link_push(to, f);
}

static int link_send(void *arg, const void *frame, size_t len)
{
    struct link_end *from = arg, *to = from->peer;
    struct link *l = from->link;

    if (to->queued_bytes > LINK_QUEUE) {
        to->full = true;
        return -ENOBUFS;
    }
    if (!link_chance(l, 1000, l->faults.lose))
        link_carry(l, to, frame, len);
    if (link_chance(l, 1000, l->faults.twice))
        link_carry(l, to, frame, len);
    return 0;
}

static int link_deliver(void *arg, uint32_t type, const char *data, size_t len)
{
    struct link_end *e = arg;

    if (e->refused < 20 && link_chance(e->link, 1000, e->link->faults.unready)) {
        e->refused++;
        return -EAGAIN;
    }
    e->refused = 0;
    assert(type == FL_DATA_TYPE_OUTPUT && len > 0 && len <= FL_DATA_MAX_PAYLOAD_BYTES);
    for (size_t i = 0; i < len; i++)
        if (data[i] != link_byte(e->peer == &e->link->ends[0], e->received + i)) {
            fprintf(stderr, "wrong byte at %zu\n", e->received + i);
            abort();
        }
    e->received += len;
    return 0;
}

static void link_fill(void *arg)
{
    struct link_end *e = arg;
    char chunk[LINK_CHUNK];
    size_t n;

    while (
        (n = FL_MIN(FL_MIN(fl_reliable_room(e->reliable), sizeof(chunk)), e->to_send - e->sent))) {
        for (size_t i = 0; i < n; i++)
            chunk[i] = link_byte(e == &e->link->ends[0], e->sent + i);
        if (fl_reliable_write(e->reliable, FL_DATA_TYPE_OUTPUT, chunk, n,
                              LINK_WALL_MS + e->link->now_ms, e->link->now_ms) < 0)
            abort();
        e->sent += n;
    }
}

/* `bytes`: what the agent sends, and the client. */
static inline void link_init(struct link *l, uint64_t seed, const struct link_faults *faults,
                             size_t max_payload, const size_t bytes[2])
{
    static const struct fl_reliable_events events = { .send = link_send,
                                                      .deliver = link_deliver,
                                                      .on_room = link_fill };

    *l = (struct link){ .faults = *faults, .random = seed * 7919 + 1, .now_ms = 1000 };
    for (size_t i = 0; i < 2; i++) {
        struct link_end *e = &l->ends[i];

        e->link = l;
        e->peer = &l->ends[1 - i];
        e->to_send = bytes[i];
        e->to_receive = bytes[1 - i];
        if (fl_reliable_new(&(struct fl_reliable_conf){ .agent = i == 0 }, &events, e,
                            &e->reliable) < 0)
            abort();
        fl_reliable_set_max_payload(e->reliable, max_payload);
        if (faults->sealed) {
            static const uint8_t key[FL_SESSION_KEY_BYTES] = { 7 };

            e->seal = fl_session_seal_new(i == 0, key);
            fl_reliable_set_seal(e->reliable, e->seal);
        }
        fl_reliable_set_connected(e->reliable, true);
    }
}

static inline void link_done(struct link *l)
{
    for (size_t i = 0; i < 2; i++) {
        while (l->ends[i].n_frames > 0)
            free(link_pop(&l->ends[i]).data);
        fl_reliable_free(l->ends[i].reliable);
        fl_session_seal_free(l->ends[i].seal);
    }
}

/* Both sockets die with all that is on the way. */
static inline void link_cut(struct link *l)
{
    for (size_t i = 0; i < 2; i++) {
        fl_reliable_set_connected(l->ends[i].reliable, false);
        while (l->ends[i].n_frames > 0)
            free(link_pop(&l->ends[i]).data);
        l->ends[i].full = false;
    }
    l->now_ms += link_random(l) % 200;
    for (size_t i = 0; i < 2; i++) {
        fl_reliable_set_connected(l->ends[i].reliable, true);
        if (fl_reliable_kick(l->ends[i].reliable, LINK_WALL_MS + l->now_ms, l->now_ms) < 0)
            abort();
    }
}

static inline bool link_finished(const struct link *l)
{
    for (size_t i = 0; i < 2; i++)
        if (l->ends[i].received < l->ends[i].to_receive || l->ends[i].sent < l->ends[i].to_send ||
            !fl_reliable_idle(l->ends[i].reliable))
            return false;
    return true;
}

/* The next thing that happens. False if nothing ever will. */
static inline bool link_step(struct link *l)
{
    int64_t next_ms = INT64_MAX;
    struct link_end *busy = NULL;

    for (size_t i = 0; i < 2; i++) {
        struct link_end *e = &l->ends[i];
        int64_t at = fl_reliable_tick(e->reliable, LINK_WALL_MS + l->now_ms, l->now_ms);

        if (fl_reliable_held(e->reliable) > 0) /* what was not ready may be soon */
            at = FL_MIN(at, l->now_ms + 1);
        next_ms = FL_MIN(next_ms, at);
    }
    for (size_t i = 0; i < 2; i++) {
        struct link_end *e = &l->ends[i];

        if (e->n_frames > 0 && e->frames[0].at_ms <= next_ms) {
            next_ms = e->frames[0].at_ms;
            busy = e;
        }
    }
    if (next_ms == INT64_MAX)
        return false;
    l->now_ms = FL_MAX(l->now_ms, next_ms);
    for (size_t i = 0; i < 2; i++)
        if (fl_reliable_held(l->ends[i].reliable) > 0 &&
            fl_reliable_kick(l->ends[i].reliable, LINK_WALL_MS + l->now_ms, l->now_ms) < 0)
            abort();
    if (!busy)
        return true;
    struct link_frame f = link_pop(busy);
    if (fl_reliable_input(busy->reliable, f.data, f.len, LINK_WALL_MS + l->now_ms, l->now_ms) < 0)
        abort();
    free(f.data);
    if (busy->full && busy->queued_bytes <= LINK_QUEUE / 2) {
        busy->full = false;
        fl_reliable_kick(busy->peer->reliable, LINK_WALL_MS + l->now_ms, l->now_ms);
    }
    if (link_chance(l, 10000, l->faults.cut))
        link_cut(l);
    return true;
}

/* Until all has arrived and is acknowledged; false if it does not within `limit_ms` of the link's
 * time. */
static inline bool link_run(struct link *l, int64_t limit_ms)
{
    for (size_t i = 0; i < 2; i++)
        link_fill(&l->ends[i]);
    while (!link_finished(l))
        if (l->now_ms > limit_ms || !link_step(l))
            return false;
    return true;
}
