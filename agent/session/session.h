/* session.h - the session process: what its parts share.
 *
 * fairlead-agent-session carries one session between its data channel and the descriptors of the
 * node's side. It is unprivileged and confined as net is; its parent, the holder, starts what runs
 * for the user (agent/lib/ipc_holder.h).
 *
 * main.c owns it and talks to the holder; channel.c keeps the data channel; sess.c is the session
 * from handshake to end; each type of session is a row (types.c) with a file of its own.
 */
#pragma once
#include <sys/uio.h>
#include "agent/lib/ipc_holder.h"
#include "agent/lib/session_plan.h"
#include "agent/lib/sessiondir.h"
#include "common/net/ws.h"
#include "common/wire/datachannel.h"

struct fl_sess;
struct fl_data;
struct fl_conduit;

struct fl_sess_type {
    const char *name;
    bool handshake; /* always, as with the official agent (protocol 3 §6) */
    bool silent;    /* does not say that it is terminating (protocol 3 §8) */
    /* The client is there. 0, or -errno with words: the session fails. */
    int (*begin)(struct fl_sess *s, struct fl_err *err);
    /* The descriptors asked for, each to be taken by setting it to -1. NULL: it asks for none. */
    int (*child)(struct fl_sess *s, int *fds, size_t n, struct fl_err *err);
    void (*not_started)(struct fl_sess *s, const char *why);
    void (*exited)(struct fl_sess *s, int code);
    /* A message of the client. 0; -EAGAIN: not now, fl_sess_ready() tells. */
    int (*input)(struct fl_sess *s, uint32_t type, const char *data, size_t len);
    void (*room)(struct fl_sess *s); /* fl_sess_room() was 0 and is no more */
    void (*done)(struct fl_sess *s); /* gives up everything, also what was never begun */
};
extern const struct fl_sess_type *const fl_sess_types[]; /* NULL at the end */

enum fl_sess_phase {
    FL_SESS_WAITING,  /* for the first connection */
    FL_SESS_GREETING, /* handshake */
    FL_SESS_CARRYING, /* between client and node */
    FL_SESS_DRAINING, /* its last messages wait for acknowledgement */
    FL_SESS_ENDED,    /* nothing more is said */
};

struct fl_sess {
    struct fl_loop *loop;
    struct fl_ipc *holder;
    struct fl_ipc_row rows[FL_N_SESS_ROWS];

    struct fl_arena start_arena;
    struct fl_sess_start start; /* session_id NULL until FL_SESS_START came */
    const char *ca_path;        /* start.ca_file as it is opened here; NULL: the system's pool */
    struct fl_arena creds_arena;
    struct fl_holder_creds creds; /* access_key_id NULL: none yet */
    struct fl_proxy_conf proxy;
    struct fl_ws_client *ws_client;
    struct fl_data *data;

    const struct fl_sess_type *type;
    void *state; /* the type's */
    enum fl_sess_phase phase;
    struct fl_reliable *reliable;
    struct fl_greet *greet;    /* greet.c; NULL: none, or over */
    struct fl_timer *tick;     /* of `reliable` */
    struct fl_timer *deadline; /* of the phase */
    bool input_waits;          /* `input` said -EAGAIN */
    bool end_of_input;         /* agreed on */
    bool kept;                 /* on disk: the service may hear of it */
    struct fl_sess_run size;   /* of the client's terminal; 0: not known */
    char client_version[64];   /* "" without a handshake */
    char *status, *output;     /* what the holder will be told */
    int record_fd;             /* what is sent is kept there; -1: it is not */
    int64_t record_left;       /* so many bytes more */
};

/* ---- main.c ---- */
int64_t fl_sess_now_ms(const struct fl_sess *s); /* the service's time */
bool fl_sess_is_ours(const struct fl_sess *s);   /* the plane is fairlead's */
void fl_sess_run(struct fl_sess *s);             /* asks for a child of s->size */
void fl_sess_signal(struct fl_sess *s, int signo);
void fl_sess_over(struct fl_sess *s); /* the holder is told, and ends this process */

/* ---- sess.c, for main.c and channel.c ---- */
int fl_sess_new(struct fl_sess *s, struct fl_err *err);
void fl_sess_free(struct fl_sess *s);
void fl_sess_connected(struct fl_sess *s, bool first);
void fl_sess_lost(struct fl_sess *s);
void fl_sess_frame(struct fl_sess *s, const char *data, size_t len);
void fl_sess_drained(struct fl_sess *s); /* the socket has room */

/* ---- sess.c, for types ---- */
/* Bytes of data that can be sent now. */
size_t fl_sess_room(struct fl_sess *s);
/* Within the room. Output, stderr and exit code are encrypted if the session is. */
int fl_sess_send(struct fl_sess *s, uint32_t type, const void *data, size_t len);
int fl_sess_sendv(struct fl_sess *s, uint32_t type, const struct iovec *iov, size_t n);
/* For the node's side, which may have ended. Without memory for it the session fails. */
void fl_sess_give(struct fl_sess *s, struct fl_conduit *to, const void *data, size_t len);
/* `input` said -EAGAIN, and now it would not. */
void fl_sess_ready(struct fl_sess *s);
/* The session is over: what was sent is waited for, then the service and the holder are told. */
void fl_sess_finish(struct fl_sess *s, const char *status, const char *output);
/* At once, without a word on the channel: the service or the client ended it. */
void fl_sess_end(struct fl_sess *s, const char *status, const char *output);

/* ---- greet.c ---- */
/* The handshake, until fl_sess_greeted(). 0 or -errno with words. */
int fl_greet_start(struct fl_sess *s, struct fl_err *err);
int fl_greet_input(struct fl_sess *s, uint32_t type, const char *data, size_t len);
void fl_greet_free(struct fl_sess *s);
/* sess.c: it is done, and from now on the session is carried. */
void fl_sess_greeted(struct fl_sess *s);

/* ---- channel.c ---- */
int fl_data_new(struct fl_sess *s, struct fl_data **ret_data, struct fl_err *err);
/* Gives up a call that is under way, and makes no other. NULL is fine. */
void fl_data_stop(struct fl_data *d);
/* The WebSocket must be gone (fl_ws_client_free). */
struct fl_data *fl_data_free(struct fl_data *d);
/* Opens it, and again whenever it is lost. Once it does, further calls do nothing. */
void fl_data_start(struct fl_data *d);
void fl_data_fresh_creds(struct fl_data *d);
void fl_data_kept(struct fl_data *d); /* s->kept is set */
/* One binary frame. 0, or negative: not now (fl_sess_drained tells, or fl_sess_connected). */
int fl_data_send(struct fl_data *d, const void *frame, size_t len);
/* `done` runs when it is closed, soon, and not before this returns. */
void fl_data_close(struct fl_data *d, void (*done)(struct fl_sess *s));
