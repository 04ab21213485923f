/* service.h - work of the whole plane that belongs to no request: deadlines, retries, clearing up.
 *
 * A service is one const struct; its state begins with a struct fl_duty. All of it runs on the loop
 * it was started on, but for `begin`. server/http/routes.c lists them.
 */
#pragma once
#include "server/bus/bus.h"
#include "server/command/job.h"

struct fl_duty {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_timer *timer; /* NULL once it is stopped */
    unsigned refs;          /* work that is on its way, and one for the owner */
    bool stopped;
};

struct fl_service_hint {
    const char *subject;
    fl_bus_fn fn; /* `arg` is the state */
};

struct fl_service {
    const char *name;
    size_t state_bytes;
    /* Before the loop runs and before any hint; may wait for the store. Negative: the plane does
     * not start. NULL: there is nothing to do. */
    int (*begin)(void *state);
    uint32_t first_ms; /* until the timer's first turn */
    void (*on_timer)(void *state);
    const struct fl_service_hint *hints; /* what it listens to; ended by a NULL subject, or NULL */
};

/* *ret_state is zeroed but for its duty. Before the threads run. */
int fl_service_start(const struct fl_service *service, struct fl_plane *plane, struct fl_loop *loop,
                     void **ret_state, struct fl_err *err);

/* Takes NULL, too. What is on its way still comes back, and frees the state with the last of it. */
void fl_service_stop(void *state);

/* One for each piece of work that was handed out, one unref when it is back; the last frees the
 * state that `duty` begins. */
void fl_duty_ref(struct fl_duty *duty);
void fl_duty_unref(struct fl_duty *duty);

/* A call of the engine about one node or command, and more of them while it says `again`. */
typedef int (*fl_errand_fn)(struct fl_engine *e, const char *key, struct fl_err *err);

/* `what` (static) stands in the log line of a failure. 0, or negative: it is not on its way. */
int fl_duty_errand(struct fl_duty *duty, const char *what, fl_errand_fn fn, const char *key);

extern const struct fl_service *const fl_services[]; /* ended by NULL; server/http/routes.c */

extern const struct fl_service fl_service_commands; /* server/command/service.c */
extern const struct fl_service fl_service_objects;  /* server/s3/service.c */
extern const struct fl_service fl_service_sessions; /* server/session/service.c */
