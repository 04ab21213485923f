/* session.h - a session with a node: started at the plane, connected, agreed on, taken up again
 * when the connection is lost, ended (protocol 3).
 *
 * Many may run on one loop. Nothing waits without an end: a connection that says nothing is
 * dropped, and one that cannot be made again in time ends the session.
 */
#pragma once
#include <sys/uio.h>
#include "cli/cli.h"
#include "common/wire/datachannel.h"

/* ---- session_api.c: the plane's operations ---- */

struct fl_session_wish {
    const char *node; /* id */
    const char *document;
    const char *reason;
    struct fl_raw parameters;
};
struct fl_session_grant {
    char *id, *token, *url;
    const char *node; /* not in the answer: the Target of the call; NULL: not known */
};

extern const struct fl_op fl_op_session_resume; /* struct fl_session_ref -> fl_session_grant */
struct fl_session_ref {
    const char *id;
};

int fl_session_start(struct fl_cli *cli, const struct fl_session_wish *wish, struct fl_arena *arena,
                     struct fl_session_grant *ret_grant, struct fl_err *err);

/* One call, a few seconds at most. */
int fl_session_terminate(struct fl_cli *cli, const char *id, struct fl_err *err);

extern const struct fl_shape fl_session_grant_shape;

/* ---- session.c: the data channel ---- */

struct fl_session;

enum fl_session_kind {
    FL_SESSION_SHELL,   /* a terminal on the node: Standard_Stream, InteractiveCommands */
    FL_SESSION_COMMAND, /* NonInteractiveCommands: outputs apart, and an exit code */
    FL_SESSION_PORT,
};

struct fl_session_port {
    char *port, *type, *host, *local_port, *local_type, *local_socket;
};

/* What the node said of the session. */
struct fl_session_info {
    enum fl_session_kind kind;
    struct fl_session_port port; /* FL_SESSION_PORT */
    bool mux;                    /* connections are smux streams, */
    bool keepalive;              /* and the node wants to hear of the client all the time */
    bool end_flag;               /* FL_DATA_FLAG_TERMINATE is understood */
    bool end_of_input;           /* FL_DATA_FLAG_END_OF_INPUT is understood */
};

/* Callbacks come from the loop, never before the call that causes them returns. */
struct fl_session_events {
    void (*on_ready)(void *arg, const struct fl_session_info *info);
    /* FL_DATA_TYPE_OUTPUT or _STDERR. */
    void (*on_output)(void *arg, uint32_t type, const char *data, size_t len);
    void (*on_exit_code)(void *arg, int code);
    /* `why` only with FL_DATA_FLAG_CONNECT_ERROR, "" if the node does not say. */
    void (*on_flag)(void *arg, uint32_t flag, const char *why);
    void (*on_room)(void *arg);
    /* For people: the connection is lost, is back; what the node has to say. */
    void (*on_note)(void *arg, const char *text);
    /* The last call, once; everything that came in order was handed out before. 0: the session has
     * ended, `text` is what the plane says to it, or "". Below 0: it could not go on; `text` tells
     * why. */
    void (*on_end)(void *arg, int r, const char *text);
};

/* Connects. `grant` is copied. */
int fl_session_new(struct fl_cli *cli, const struct fl_session_grant *grant,
                   const struct fl_session_events *events, void *arg,
                   struct fl_session **ret_session, struct fl_err *err);

/* Forgets the session, without a word to the plane. NULL is fine. */
struct fl_session *fl_session_free(struct fl_session *s);

const char *fl_session_id(const struct fl_session *s);

/* What on_end says, without the name that our agent has put before words of its own: for lines that
 * begin with it anyway. */
const char *fl_session_words(const char *text);

/* Bytes that fl_session_write takes now; on_room tells of more after 0. */
size_t fl_session_room(const struct fl_session *s);

/* What cannot be taken ends the session: on_end follows, and nobody has to look at the result. */
int fl_session_write(struct fl_session *s, const void *data, size_t len);
int fl_session_writev(struct fl_session *s, const struct iovec *iov, size_t n_iov);
void fl_session_size(struct fl_session *s, uint32_t cols, uint32_t rows);
void fl_session_flag(struct fl_session *s, uint32_t flag);

/* The session cannot go on: on_end comes from the loop, so that nobody frees what still runs. Only
 * the first call counts. */
void FL_PRINTF(3, 4) fl_session_end(struct fl_session *s, int r, const char *fmt, ...);

/* The user leaves: the node of a port is told, if it understands that; anything else the plane
 * ends (fl_session_terminate). */
void fl_session_leave(struct fl_session *s);

/* Everything written was acknowledged by the node. */
bool fl_session_settled(const struct fl_session *s);

/* Nothing more is handed out, and soon nothing more is taken from the node, until released. */
void fl_session_hold(struct fl_session *s, bool hold);
