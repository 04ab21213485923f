/* sessions_priv.h - what sessions.c and session_holder.c share. */
#pragma once
#include <sys/queue.h>
#include "agent/lib/ipc_holder.h"
#include "agent/lib/judge.h"
#include "agent/lib/sessiondir.h"
#include "agent/monitor/seen.h"
#include "agent/monitor/sessions.h"
#include "common/base/backoff.h"
#include "common/base/child.h"

enum session_state {
    SESSION_NEW,     /* being decided about */
    SESSION_RUNNING, /* a holder lives, or is looked for */
    SESSION_ENDED,   /* its report is left, and perhaps a holder that takes its record away */
};

struct session {
    TAILQ_ENTRY(session) entry;
    struct fl_sessions *all;
    const char *dir; /* one of all->dirs */
    char *id, *document_name, *owner;
    char nonce[FL_SESSION_NONCE_DIGITS + 1];
    int64_t accepted_ms;
    enum session_state state;
    bool end_asked; /* the service ended it */

    struct fl_child *child; /* NULL: not ours, attached to */
    struct fl_ipc *ipc;
    struct fl_timer *timer; /* next look at a holder that is not our child */
    struct fl_backoff backoff;
    struct fl_judge *judge;

    const char *status;             /* how it ended */
    char *output;                   /* NULL: no words */
    char *bucket, *key, *log_group; /* where what it showed goes; NULL: not there */
    int64_t ended_ms;
    unsigned sends;  /* on this opening of the channel */
    int64_t sent_ms; /* monotonic */
    bool settled;    /* its end is acknowledged, or was given up */
    bool salvaged;   /* a holder was started for what an earlier one left */
};

struct fl_sessions {
    struct fl_sessions_conf conf;
    char *dirs[2]; /* on disk, and in memory for when the disk takes nothing */
    struct fl_seen seen;
    TAILQ_HEAD(session_list, session) list;
    size_t n, n_ended;
    struct fl_ipc_row holder_rows[FL_N_HOLDER_ROWS];
    struct fl_timer *timer; /* next send */
    bool online, closed;
};

/* ---- sessions.c ---- */
/* It is over, as its journal says or (`keep`: to be written there first) as is said here. */
void fl_session_ended(struct session *session, const char *status, const char *output, bool keep);
/* The same as the journal has it. */
void fl_session_ended_by_journal(struct session *session, const struct fl_session_log *log);
int fl_session_open_dir(const struct session *session); /* descriptor or negative errno */
/* It has ended, and no holder lives: it may be gone after this. */
void fl_session_left(struct session *session);

/* ---- session_holder.c ---- */
void fl_session_start(struct session *session); /* decided about, then held */
/* Starts a holder for the record of one that ended. */
int fl_session_salvage(struct session *session, struct fl_err *err);
/* Of one that ended: a holder lives, or may. */
bool fl_session_is_held(const struct session *session);
void fl_session_attach_or_probe(struct session *session);
void fl_session_tell_end(struct session *session);
void fl_session_tell_creds(struct session *session);
void fl_session_detach(struct session *session);
