/* holder_priv.h - what the parts of the holder share. */
#pragma once
#include "agent/calls/values.h"
#include "agent/holder/login.h"
#include "agent/holder/pam.h"
#include "agent/holder/record.h"
#include "agent/holder/utmp.h"
#include "agent/lib/ipc_holder.h"
#include "agent/lib/paths.h"
#include "agent/lib/sessiondir.h"
#include "common/base/child.h"

#define FL_HOLDER_MAX_FDS 3

struct holder {
    const char *path; /* of the session's folder */
    struct fl_paths paths;
    struct fl_arena arena;
    struct fl_session session;
    struct fl_session_plan plan;
    int dir_fd, listen_fd;
    struct fl_journal journal;
    struct fl_loop *loop;
    struct fl_signal *reap_signal;
    struct fl_timer *reap_timer;

    struct fl_ipc_row monitor_rows[FL_N_HOLDER_ROWS];
    struct fl_ipc *monitor;
    struct fl_io *listener;

    struct fl_calls *calls;
    struct fl_ssm_refs *refs;
    struct fl_values values;
    struct fl_record *record; /* NULL: nothing is kept */
    bool salvage;             /* it has ended; only its record is left */

    struct fl_ipc_row net_rows[FL_N_SESS_ROWS];
    struct fl_child *net_child; /* the session process */
    struct fl_ipc *net;

    struct fl_child *user_child;
    struct fl_pam *pam;
    struct fl_utmp utmp;
    bool started;
    bool kept; /* on disk, as far as it takes it */

    struct fl_timer *deadline; /* for the session process to say its last word */
    bool ending, ended;        /* the service ended it; it is over */
    int exit_status;
};

/* ---- start.c ---- */
/* Starts the user's process: *ret_n descriptors of this end (the caller's). */
int fl_holder_start_child(struct holder *h, const struct fl_sess_run *run,
                          int ret_fds[FL_HOLDER_MAX_FDS], size_t *ret_n, struct fl_err *err);

/* ---- net.c ---- */
/* Starts the session process. Its end is the session's. */
int fl_holder_start_net(struct holder *h, struct fl_err *err);

/* ---- holder.c ---- */
/* The session's end, once: on disk, then the monitor is told, then this process ends as soon as
 * what the session printed is where it should be. `output` may be NULL. */
void fl_holder_finish(struct holder *h, const char *status, const char *output);
void fl_holder_fail(struct holder *h, const char *why);
void fl_holder_child_ended(void *arg, int status); /* an fl_child_fn */
