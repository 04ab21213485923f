/* server_http_priv.h - one connection, between the file that reads requests (server_http.c), the
 * one that answers (server_answer.c) and the one that makes a WebSocket of it (server_upgrade.c).
 */
#pragma once
#include "common/net/chunked.h"
#include "common/net/head.h"
#include "common/net/server_lws.h"
#include "common/net/server_private.h"

struct fl_server_req {
    struct fl_conn *conn;
    struct fl_arena arena;
    struct fl_head head;
    struct fl_buf body;
    void *tag;
    const struct fl_server_taker *taker; /* NULL: the caller gets the request when it is whole */
    void *taker_arg;
    uint64_t unsent; /* of an answer's body, what its maker has not given yet */
    bool keep_alive;
};

struct fl_conn {
    struct fl_server *server;
    struct fl_stream *stream;
    struct fl_guest guest;
    char *peer_text;
    enum {
        CONN_HEAD,      /* reading a request's head */
        CONN_BODY,      /* of known length */
        CONN_CHUNKS,    /* a chunked body */
        CONN_PASSING,   /* a body that was taken over, and is asked for */
        CONN_ANSWERING, /* the caller has the request */
        CONN_POURING,   /* an answer that its maker gives piece by piece */
        CONN_SENDING,   /* the answer is in the queue */
        CONN_UPGRADED,  /* a WebSocket; the stream is no longer ours */
        CONN_LEAVING,   /* the last answer is in the queue */
    } state;
    struct fl_buf in;    /* bytes not used yet */
    size_t searched;     /* of them, seen without the end of a head */
    size_t body_left;    /* not read yet; SIZE_MAX: until the chunks end */
    uint64_t moved;      /* bytes of the body that have come, or of the answer that were queued */
    uint64_t moved_then; /* the same, less what was in the queue, when the pace was last judged */
    struct fl_chunked chunked;
    struct fl_server_req *req;
    bool served_before, keep_alive, paused;
};

struct fl_answer {
    int status;
    const char *content_type; /* NULL: none */
    const struct fl_http_header *headers;
    size_t n_headers;
    const void *body;
    uint64_t body_len;
    bool head_only, keep_alive;
};

/* Faults of a request that the caller never sees. */
enum fl_fault_kind {
    FL_FAULT_MALFORMED,
    FL_FAULT_LENGTH,
    FL_FAULT_TIMEOUT,
    FL_FAULT_BODY,
    FL_FAULT_EXPECT,
    FL_FAULT_HEAD,
    FL_FAULT_MEMORY,
    FL_FAULT_GUESTS,
    FL_FAULT_CODING,
    FL_FAULT_VERSION,
};
struct fl_fault {
    int status;
    const char *type;
    const char *message;
};
extern const struct fl_fault fl_faults[]; /* by kind */

/* ---- server_http.c ---- */
void fl_conn_free(struct fl_conn *c);
void fl_conn_read(struct fl_conn *c); /* goes on with what has come */
/* Leave to send the body, if it is waited for; or the fault. */
const struct fl_fault *fl_conn_expect(struct fl_conn *c);
bool fl_conn_stays(const struct fl_conn *c); /* open after this answer */

/* ---- server_answer.c ---- */
/* Queues the answer; without memory for it the connection ends. */
void fl_conn_answer(struct fl_conn *c, const struct fl_answer *a);
void fl_conn_refuse(struct fl_conn *c, const struct fl_fault *fault); /* and closes */
void fl_conn_leave(struct fl_conn *c);
void fl_conn_drop_req(struct fl_conn *c);
void fl_req_free(struct fl_server_req *req);

/* ---- server_upgrade.c ---- */
bool fl_wants_websocket(const struct fl_head *head);
void fl_conn_upgrade(struct fl_conn *c);
