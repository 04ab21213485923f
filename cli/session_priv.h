/* session_priv.h - between session.c (what is said in a session) and session_link.c (its connection
 * to the plane, again and again). */
#pragma once
#include "cli/session.h"
#include "common/base/backoff.h"
#include "common/base/rand.h"
#include "common/net/ws.h"
#include "common/session/reliable.h"

/* Handshakes are one message. */
#define FL_SESSION_MAX_MESSAGE (FL_DATA_MAX_PAYLOAD_BYTES + 65536)

struct fl_session {
    struct fl_cli *cli;
    struct fl_session_events events;
    void *arg;
    char *id, *node, *token, *url;
    char client_id[FL_UUID_BYTES];
    struct fl_ws *ws;
    struct fl_reliable *reliable;
    struct fl_timer *resend; /* when `reliable` wants the time */
    struct fl_timer *pulse;  /* pings, silence, and how long it may take to begin */
    struct fl_timer *again;  /* the next try after a loss, or the end */
    struct fl_backoff backoff;
    struct fl_session_resume *resume; /* ResumeSession is under way */
    struct fl_session_hello *hello;   /* NULL until the node begins a handshake */
    struct fl_session_info info;
    int64_t begun_ms, lost_ms, heard_ms;
    bool lost, ready, hold;
    bool told_code; /* the command's exit code, the last word of its node */
    bool paused;    /* `ws` is */
    bool closed;    /* the plane said so; the end comes when everything was handed out */
    bool ended;     /* on_end is due, or was */
    int end_r;
    char end_text[FL_ERR_TEXT_BYTES];
    char reason[FL_DATA_REASON_BYTES + 1]; /* for the flag that follows; "": the node said none */
};

/* A call that may outlive the session. */
struct fl_session_resume {
    struct fl_session *session; /* NULL: it is gone */
};

/* ---- session.c ---- */

/* After whatever may have delivered something; `r` is what came of it. */
void fl_session_settle(struct fl_session *s, int r);

/* For people. */
void fl_session_tell(const struct fl_session *s, const char *text);

/* ---- session_link.c ---- */

int fl_session_connect(struct fl_session *s, struct fl_err *err);

/* Asks the plane for a token, and connects again. */
void fl_session_resume(struct fl_session *s);

void fl_session_set_pulse(struct fl_session *s);
void fl_session_on_pulse(void *arg); /* of the timer `pulse` */
