/* ipc_worker.h - what monitor and worker say to each other, as rows of ipc.h.
 *
 * The journal in the job folder is the truth. The socket only says "look at it" and carries a
 * cancel; losing it loses nothing. A worker gets one end of a socketpair as descriptor 3 when it is
 * started, and listens on <job folder>/sock for a monitor that was restarted.
 */
#pragma once
#include "common/ipc/ipc.h"

enum fl_worker_msg {
    FL_WORKER_CANCEL = 1, /* monitor -> worker, empty: end the document now */
    FL_WORKER_FETCH, /* monitor -> worker, struct fl_worker_fetch + 1 fd if ok: a socket to a fresh
                        fetch process that has its configuration */
    FL_WORKER_LOOK = 32,  /* worker -> monitor, empty: the journal has grown and is on disk */
    FL_WORKER_NEED_FETCH, /* worker -> monitor, empty: answer with FL_WORKER_FETCH */
};
struct fl_worker_fetch {
    bool ok;
    char *error;
};
extern const struct fl_shape fl_shape_worker_fetch;

/* Exit statuses of a worker; anything else is a crash. */
enum {
    FL_WORKER_EXIT_DONE = 0,  /* the document's end is in the journal */
    FL_WORKER_EXIT_BUSY = 73, /* another worker holds this job */
    FL_WORKER_EXIT_IO = 74,   /* the job folder cannot be read or written */
    FL_WORKER_EXIT_BOOT = 75, /* the document goes on after the next boot */
};

/* Types, names, shapes and phases (always 1); the ends add their handlers to a copy. */
#define FL_N_WORKER_ROWS 4
extern const struct fl_ipc_row fl_worker_rows[FL_N_WORKER_ROWS];

/* The listening end in a job folder (an open descriptor of it): made anew, non-blocking, 0600. */
int fl_worker_listen(int dir_fd, int *ret_fd);

/* Connects to it. -ENOENT or -ECONNREFUSED if no worker lives. */
int fl_worker_connect(int dir_fd, int *ret_fd);
