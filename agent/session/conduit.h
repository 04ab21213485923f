/* conduit.h - one descriptor of the node's side of a session: a terminal, a pipe, a connection.
 *
 * Reads only as much as the owner has room for; what is written is queued, and the owner looks at
 * how much. Callbacks run from the loop; inside of them the object may be freed.
 */
#pragma once
#include "common/base/loop.h"

#define FL_CONDUIT_READ_BYTES 65536

struct fl_conduit;

struct fl_conduit_events {
    /* How many bytes may come now; 0: none until fl_conduit_kick. Does nothing else. */
    size_t (*room)(void *arg);
    /* At most so many. */
    void (*on_data)(void *arg, const char *data, size_t len);
    /* Nothing more is read: end of file (0) or a negative errno. Once. */
    void (*on_end)(void *arg, int r);
    /* All that was queued is written. May be NULL. */
    void (*on_drain)(void *arg);
};

/* Takes the descriptor (made non-blocking). 0 or -ENOMEM; the descriptor is closed then. */
int fl_conduit_new(struct fl_loop *loop, int fd, const struct fl_conduit_events *events, void *arg,
                   struct fl_conduit **ret_conduit);
struct fl_conduit *fl_conduit_free(struct fl_conduit *c);

/* There is room again. */
void fl_conduit_kick(struct fl_conduit *c);

/* Writes or queues all of it. 0, -EPIPE once writing has failed or was ended, -ENOMEM. */
int fl_conduit_write(struct fl_conduit *c, const void *data, size_t len);
size_t fl_conduit_queued(const struct fl_conduit *c);

/* No more is written after what is queued: whoever reads the other end is told. */
void fl_conduit_end_writing(struct fl_conduit *c);

bool fl_conduit_ended(const struct fl_conduit *c); /* on_end was called */
int fl_conduit_fd(const struct fl_conduit *c);
