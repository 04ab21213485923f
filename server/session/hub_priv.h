/* hub_priv.h - between hub.c (threads, mailboxes, the plane's table) and live.c (one session). */
#pragma once
#include <pthread.h>
#include "server/counts.h"
#include "server/session/hub.h"
#include "server/session/pass.h"
#include "server/session/taps.h"

#define FL_LIVE_TICK_MS 1000

struct fl_hub {
    struct fl_plane *plane;
    struct fl_loop *loop;
    struct fl_timer *timer; /* runs while there is a relay */
    struct fl_live *first;
    struct fl_counts lives; /* session id -> struct fl_live * */
    unsigned refs;          /* work on its way, and one for the owner */
    bool stopped;
    /* the mailbox */
    pthread_mutex_t lock;
    struct fl_mail *mail;
    size_t n_mail, cap_mail;
    bool posted;
};

struct fl_live {
    struct fl_hub *hub;
    struct fl_live *prev, *next;
    struct fl_session_info *info;
    struct fl_relay relay;
    struct fl_end *ends[FL_SIDE__N];
    struct fl_tapped taps;
    struct fl_pass *pass;
    int64_t waits_ms; /* monotonic: since then messages wait for a tap; 0: none do */
    bool waited;      /* too long: they pass until the tap has all of them */
    unsigned n_ends;  /* attached, or not released yet */
    bool noting, note_again;
    bool joined; /* both sides have been here since the last note */
    bool loading, load_again;
    bool asked;        /* to be terminated by us: on its way to the store */
    bool agent_ends;   /* the agent has said so */
    bool agent_silent; /* its last connection was given up for its silence */
    bool ending, over;
    int64_t close_ms;  /* monotonic: the client is told by then; 0: not waiting */
    int64_t linger_ms; /* monotonic: over, and kept until then for a late client */
    int64_t ponged_ms; /* monotonic */
    char why[256];     /* it is to be terminated; "" */
};

/* ---- live.c: on the relay's thread ---- */
struct fl_live *fl_live_new(struct fl_hub *hub, struct fl_session_info *info);
void fl_live_free(struct fl_live *live, bool over);
void fl_live_attach(struct fl_live *live, struct fl_end *end);
void fl_live_input(struct fl_live *live, struct fl_end *end, struct fl_msg *m);
void fl_live_drained(struct fl_live *live, struct fl_end *end, size_t bytes);
void fl_live_gone(struct fl_live *live, struct fl_end *end);
void fl_live_changed(struct fl_live *live);               /* the store knows something new of it */
bool fl_live_tick(struct fl_live *live, int64_t mono_ms); /* false: it is to be freed */

/* ---- hub.c ---- */
void fl_hub_ref(struct fl_hub *hub);
void fl_hub_unref(struct fl_hub *hub);
struct fl_live *fl_hub_find(struct fl_hub *hub, const char *session_id);
void fl_hub_set_agent(struct fl_hub *hub, const char *session_id, bool there);

/* What the relay's thread asks of a socket's: by mailbox, or at once on the same thread. */
void fl_hub_send(struct fl_end *end, struct fl_msg *m);
void fl_hub_pause(struct fl_end *end, bool paused);
void fl_hub_pong(struct fl_end *end);
void fl_hub_close(struct fl_end *end, int code);
void fl_hub_release(struct fl_end *end);
