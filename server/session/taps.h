/* taps.h - the taps of one session: in front of them, its messages are put in order. */
#pragma once
#include <sys/queue.h>
#include "server/session/relay.h"
#include "server/session/tap.h"

#define FL_TAPS_EARLY_BYTES (1024 * 1024) /* that came before their turn, of each direction */

struct fl_tap_early {
    TAILQ_ENTRY(fl_tap_early) link;
    int64_t sequence, wall_ms;
    uint32_t type;
    size_t len;
    char data[];
};

struct fl_tapped {
    const struct fl_tap *taps[FL_TAPS_MAX];
    void *states[FL_TAPS_MAX];
    size_t n;
    struct fl_tap_lane {
        int64_t expected;                               /* -1: whatever comes first */
        TAILQ_HEAD(fl_tap_earlies, fl_tap_early) early; /* by sequence */
        size_t early_bytes;
    } from[FL_SIDE__N];
};

/* 0, or -EACCES: the session is to be ended. */
int fl_tapped_start(struct fl_tapped *t, struct fl_plane *plane, struct fl_loop *loop,
                    const struct fl_tap_session *session);
void fl_tapped_message(struct fl_tapped *t, enum fl_side from, int64_t sequence, uint32_t type,
                       const void *data, size_t len, int64_t wall_ms);
void fl_tapped_end(struct fl_tapped *t, const struct fl_tap_end *end);
