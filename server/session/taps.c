/* taps.c - the list of those who watch sessions, and putting messages in order for them. */
#include "server/session/taps.h"
#include "common/base/log.h"
#include "common/wire/agentmessage.h"
#include "server/session/pass.h"
#include "server/session/transcript.h"

#include <errno.h>
#include <string.h>

#define EARLY_BYTES(len) ((len) + FL_FRAME_HEADER_BYTES) /* its frame waits in the relay, too */

const struct fl_tap *const fl_taps[] = { &fl_tap_transcript, NULL };

int fl_tapped_start(struct fl_tapped *t, struct fl_plane *plane, struct fl_loop *loop,
                    const struct fl_tap_session *session)
{
    int must = 0;

    *t = (struct fl_tapped){ .pass = session->pass };
    for (int side = 0; side < FL_SIDE__N; side++) {
        TAILQ_INIT(&t->from[side].early);
        t->from[side].expected = session->resumed ? FL_PASS_ANY : 0;
    }
    for (size_t i = 0; fl_taps[i] && i < FL_TAPS_MAX; i++) {
        int r = fl_taps[i]->start(plane, loop, session, &t->states[t->n]);

        if (r < 0)
            fl_log_warn("a session is not watched", FL_S("session", session->session_id),
                        FL_S("by", fl_taps[i]->name), FL_S("error", strerror(-r)));
        if (r == 0)
            t->taps[t->n++] = fl_taps[i];
        if (r == -EACCES)
            must = r;
    }
    for (int side = 0; session->resumed && session->pass && side < FL_SIDE__N; side++)
        t->from[side].expected = fl_pass_first(session->pass, (enum fl_side)side);
    return must;
}

static int tell(struct fl_tapped *t, enum fl_side from, struct fl_tap_message *m)
{
    struct fl_tap_lane *lane = &t->from[from];
    int r = 0;

    if (!lane->begun)
        lane->begin = m->sequence;
    lane->begun = true;
    m->lost = m->sequence - lane->expected;
    for (size_t i = 0; i < t->n; i++)
        r |= t->taps[i]->message(t->states[i], m);
    lane->expected = m->sequence + 1;
    return r;
}

/* Those whose turn it is; with `all` also those that have others missing before them. */
static int drain(struct fl_tapped *t, enum fl_side from, bool all)
{
    struct fl_tap_lane *lane = &t->from[from];
    struct fl_tap_early *e;
    int r = 0;

    while ((e = TAILQ_FIRST(&lane->early)) && (all || e->sequence <= lane->expected)) {
        struct fl_tap_message m = { .input = from == FL_SIDE_CLIENT,
                                    .type = e->type,
                                    .sequence = e->sequence,
                                    .data = e->data,
                                    .len = e->len,
                                    .wall_ms = e->wall_ms };

        TAILQ_REMOVE(&lane->early, e, link);
        lane->early_bytes -= EARLY_BYTES(e->len);
        if (e->sequence >= lane->expected)
            r |= tell(t, from, &m);
        free(e);
    }
    return r;
}

static int keep(struct fl_tap_lane *lane, const struct fl_tap_message *m)
{
    struct fl_tap_early *e, *after = TAILQ_LAST(&lane->early, fl_tap_earlies);

    while (after && after->sequence > m->sequence)
        after = TAILQ_PREV(after, fl_tap_earlies, link);
    if (after && after->sequence == m->sequence)
        return FL_RELAY_SEEN;
    e = malloc(sizeof(*e) + m->len);
    if (!e)
        return -ENOBUFS;
    e->sequence = m->sequence;
    e->wall_ms = m->wall_ms;
    e->type = m->type;
    e->len = m->len;
    memcpy(e->data, m->data, m->len);
    lane->early_bytes += EARLY_BYTES(m->len);
    if (after)
        TAILQ_INSERT_AFTER(&lane->early, after, e, link);
    else
        TAILQ_INSERT_HEAD(&lane->early, e, link);
    return 0;
}

/* What is sent on in whatever order can be told with a gap; what waits until it was told cannot. */
static bool is_waited_for(const struct fl_tapped *t, enum fl_side from)
{
    return t->pass && fl_pass_get(t->pass, from) != INT64_MAX;
}

int fl_tapped_message(struct fl_tapped *t, enum fl_side from, int64_t sequence, uint32_t type,
                      const void *data, size_t len, int64_t wall_ms)
{
    struct fl_tap_lane *lane = &t->from[from];
    struct fl_tap_message m = { .input = from == FL_SIDE_CLIENT,
                                .type = type,
                                .sequence = sequence,
                                .data = data,
                                .len = len,
                                .wall_ms = wall_ms };

    int r;

    if (t->n == 0)
        return 0;
    if (sequence < lane->expected)
        return lane->begun && sequence >= lane->begin && is_waited_for(t, from) ? FL_RELAY_SEEN : 0;
    if (lane->expected == FL_PASS_ANY)
        lane->expected = sequence;
    if (sequence == lane->expected) {
        r = tell(t, from, &m);
        return r | drain(t, from, false);
    }
    if (lane->early_bytes > FL_TAPS_EARLY_BYTES && is_waited_for(t, from))
        return -ENOBUFS;
    r = keep(lane, &m);
    if (is_waited_for(t, from))
        return r;
    return lane->early_bytes > FL_TAPS_EARLY_BYTES ? drain(t, from, true) : FL_MIN(r, 0);
}

void fl_tapped_moved(struct fl_tapped *t)
{
    for (int side = 0; t->pass && side < FL_SIDE__N; side++) {
        struct fl_tap_lane *lane = &t->from[side];
        int64_t first = fl_pass_first(t->pass, (enum fl_side)side);

        if (lane->expected != FL_PASS_ASKED || first == FL_PASS_ASKED)
            continue;
        if (first == FL_PASS_ANY && !TAILQ_EMPTY(&lane->early))
            first = TAILQ_FIRST(&lane->early)->sequence;
        lane->expected = first;
        drain(t, (enum fl_side)side, false);
    }
}

void fl_tapped_end(struct fl_tapped *t, const struct fl_tap_end *end)
{
    for (int side = 0; side < FL_SIDE__N; side++)
        drain(t, (enum fl_side)side, true);
    for (size_t i = 0; i < t->n; i++)
        t->taps[i]->end(t->states[i], end);
    t->n = 0;
}
