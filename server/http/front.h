/* front.h - the plane's loop threads: each has a loop, a server, and the per-thread state of every
 * route. The first one is the thread that calls fl_front_run.
 *
 * There are as many of two kinds. Those for people accept every connection, on the shared port, and
 * keep those from addresses of known users (server/auth/known.h); all others go to the threads for
 * nodes, in turn. So a fleet that loses its connections, comes back or reports all at once makes
 * only nodes wait for each other.
 */
#pragma once
#include "server/plane.h"

struct fl_front;

struct fl_front_conf {
    const char *cert_file; /* PEM chain; NULL: plain HTTP (tests). Both must outlive the front */
    const char *key_file;
};

/* Binds the port on every loop and starts routes and services; nothing is served before
 * fl_front_run. Sets plane->conf.port to the real one. */
int fl_front_new(struct fl_plane *plane, const struct fl_front_conf *conf,
                 struct fl_front **ret_front, struct fl_err *err);

/* The loop of the calling thread-to-be, for signals and the like. */
struct fl_loop *fl_front_loop(struct fl_front *front);

/* Serves until a stop has been asked for and is complete. */
int fl_front_run(struct fl_front *front, struct fl_err *err);

/* Reads the certificate and its key again, from the first loop's thread. No connection ends. */
void fl_front_reload(struct fl_front *front);

/* Starts a graceful stop, from the first loop's thread: no new connections, channels are closed
 * spread over two seconds, requests get ten seconds to finish. A second call stops at once. */
void fl_front_stop(struct fl_front *front);

/* Ends what is left, closes the store (its last callbacks run here), frees. */
struct fl_front *fl_front_free(struct fl_front *front);
