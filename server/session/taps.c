/* taps.c - the list of those who watch sessions, and putting messages in order for them. */
#include "server/session/taps.h"
#include "common/base/log.h"
#include "server/session/transcript.h"

#include <errno.h>
#include <string.h>

const struct fl_tap *const fl_taps[] = { &fl_tap_transcript, NULL };

int fl_tapped_start(struct fl_tapped *t, struct fl_plane *plane, struct fl_loop *loop,
                    const struct fl_tap_session *session)
{
    int must = 0;

    *t = (struct fl_tapped){ 0 };
    for (int side = 0; side < FL_SIDE__N; side++) {
        TAILQ_INIT(&t->from[side].early);
        t->from[side].expected = session->resumed ? -1 : 0;
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
    return must;
}

static void tell(struct fl_tapped *t, enum fl_side from, struct fl_tap_message *m)
{
    struct fl_tap_lane *lane = &t->from[from];

    m->lost = m->sequence - lane->expected;
    for (size_t i = 0; i < t->n; i++)
        t->taps[i]->message(t->states[i], m);
    lane->expected = m->sequence + 1;
}

/* Those whose turn it is; with `all` also those that have others missing before them. */
static void drain(struct fl_tapped *t, enum fl_side from, bool all)
{
    struct fl_tap_lane *lane = &t->from[from];
    struct fl_tap_early *e;

    while ((e = TAILQ_FIRST(&lane->early)) && (all || e->sequence <= lane->expected)) {
        struct fl_tap_message m = { .input = from == FL_SIDE_CLIENT,
                                    .type = e->type,
                                    .sequence = e->sequence,
                                    .data = e->data,
                                    .len = e->len,
                                    .wall_ms = e->wall_ms };

        TAILQ_REMOVE(&lane->early, e, link);
        lane->early_bytes -= e->len;
        if (e->sequence >= lane->expected)
            tell(t, from, &m);
        free(e);
    }
}

static void keep(struct fl_tap_lane *lane, const struct fl_tap_message *m)
{
    struct fl_tap_early *e, *after = TAILQ_LAST(&lane->early, fl_tap_earlies);

    while (after && after->sequence > m->sequence)
        after = TAILQ_PREV(after, fl_tap_earlies, link);
    if (after && after->sequence == m->sequence)
        return;
    e = malloc(sizeof(*e) + m->len);
    if (!e)
        return; /* it is missing, then */
    e->sequence = m->sequence;
    e->wall_ms = m->wall_ms;
    e->type = m->type;
    e->len = m->len;
    memcpy(e->data, m->data, m->len);
    lane->early_bytes += m->len;
    if (after)
        TAILQ_INSERT_AFTER(&lane->early, after, e, link);
    else
        TAILQ_INSERT_HEAD(&lane->early, e, link);
}

void fl_tapped_message(struct fl_tapped *t, enum fl_side from, int64_t sequence, uint32_t type,
                       const void *data, size_t len, int64_t wall_ms)
{
    struct fl_tap_lane *lane = &t->from[from];
    struct fl_tap_message m = { .input = from == FL_SIDE_CLIENT,
                                .type = type,
                                .sequence = sequence,
                                .data = data,
                                .len = len,
                                .wall_ms = wall_ms };

    if (t->n == 0 || sequence < lane->expected)
        return;
    if (lane->expected < 0)
        lane->expected = sequence;
    if (sequence == lane->expected) {
        tell(t, from, &m);
        drain(t, from, false);
        return;
    }
    keep(lane, &m);
    if (lane->early_bytes > FL_TAPS_EARLY_BYTES)
        drain(t, from, true);
}

void fl_tapped_end(struct fl_tapped *t, const struct fl_tap_end *end)
{
    for (int side = 0; side < FL_SIDE__N; side++)
        drain(t, (enum fl_side)side, true);
    for (size_t i = 0; i < t->n; i++)
        t->taps[i]->end(t->states[i], end);
    t->n = 0;
}
