/* taps.h - the taps of one session: in front of them, its messages are put in order. */
#pragma once
#include <sys/queue.h>
#include "server/session/relay.h"
#include "server/session/tap.h"

/* That came before their turn, of each direction. Less than what pauses their sender: the message
 * that they wait for is to be read. */
#define FL_TAPS_EARLY_BYTES (256 * 1024)

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
    struct fl_pass *pass; /* the session's, or NULL */
    struct fl_tap_lane {
        int64_t expected;                               /* or FL_PASS_ANY, FL_PASS_ASKED */
        TAILQ_HEAD(fl_tap_earlies, fl_tap_early) early; /* by sequence */
        size_t early_bytes;                             /* with their frames */
        int64_t begin;                                  /* the first that was told */
        bool begun;
    } from[FL_SIDE__N];
};

/* 0, or -EACCES: the session is to be ended. The pass is to be asked after each message. */
int fl_tapped_start(struct fl_tapped *t, struct fl_plane *plane, struct fl_loop *loop,
                    const struct fl_tap_session *session);

/* What a tap gave for it, or for those behind it that it made way for: 0 or FL_RELAY_FULL;
 * FL_RELAY_SEEN: one with its number was told here, or waits for its turn, and is waited for
 * (pass.h); -ENOBUFS: it came before its turn, and there is no room for it. */
int fl_tapped_message(struct fl_tapped *t, enum fl_side from, int64_t sequence, uint32_t type,
                      const void *data, size_t len, int64_t wall_ms);

/* The pass has moved: those whose turn it is are told. */
void fl_tapped_moved(struct fl_tapped *t);
void fl_tapped_end(struct fl_tapped *t, const struct fl_tap_end *end);
