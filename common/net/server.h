/* server.h - HTTP/1.1 and WebSocket server on one port, TLS or plain, one instance per loop thread.
 *
 * Several instances may listen on the same port (SO_REUSEPORT). A request is delivered when its
 * whole body is here, unless the caller takes it over when its head is: then the body comes in
 * pieces, as the caller has room for them. The answer may come later, from the loop's thread.
 * Everything a peer can grow has a limit in `struct fl_server_conf`, answered with a JSON error
 * where HTTP still allows one.
 */
#pragma once
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/net/ws.h"

struct fl_server;
struct fl_server_req; /* one HTTP exchange; valid until answered or, unanswered, until on_abort */

struct fl_server_stats {
    uint64_t connections; /* open now, WebSockets included */
    uint64_t websockets;  /* open now */
    uint64_t guests;      /* of the connections, those nobody has vouched for */
    uint64_t waiting;     /* accepted sockets that are not served yet */
    uint64_t guest_bytes; /* of guests' bodies, beyond what each may have anyway */
    uint64_t requests;    /* served since start */
    uint64_t refused;     /* by a limit, since start */
};

/* What a limit did; for counting and logging. */
enum fl_server_limit {
    FL_LIMIT_REFUSED, /* a connection or request over a limit was refused */
    FL_LIMIT_DROPPED, /* a connection was too slow, or gave way to one that waited */
    FL_LIMIT_ACCEPT,  /* accept() failed with `error`; it is tried again ten times a second */
    FL_LIMIT__N,
};

struct fl_server_events {
    /* May be NULL. A request's head is here. True: the caller has taken it over, by
     * fl_server_req_take, and perhaps answered it; on_request and on_abort do not follow. */
    bool (*on_head)(void *arg, struct fl_server_req *req);
    /* The whole request is here. Answer with fl_server_reply, now or later. */
    void (*on_request)(void *arg, struct fl_server_req *req);
    /* An upgrade request. Return 0 to accept (fill *ret_events, *ret_arg, *ret_limits; on_open of
     * those events follows) or an HTTP status to refuse with; a body may be left in `ret_body`
     * (text, up to 1 KiB, NUL-terminated, with *ret_type its static content type). Must not block.
     */
    int (*on_upgrade)(void *arg, struct fl_server_req *req, struct fl_ws_events *ret_events,
                      void **ret_arg, struct fl_ws_limits *ret_limits, char *ret_body,
                      const char **ret_type);
    /* The peer went away before the answer, or closed its sending side: forget `req`. */
    void (*on_abort)(void *arg, struct fl_server_req *req);
    /* May be NULL. A socket was accepted from `peer` (address without port). True: it is the
     * caller's now, for another server (fl_server_adopt). */
    bool (*on_accept)(void *arg, int fd, const char *peer);
    /* May be NULL. Only counts and logs. */
    void (*on_limit)(void *arg, enum fl_server_limit what, int error);
};

/* The limits that no setting changes. */
#define FL_SERVER_GUEST_BODY      (64 * 1024) /* of a guest's body, outside max_guest_bytes */
#define FL_SERVER_ACCEPT_PAUSE_MS 100         /* after accept() failed */

/* A connection is a guest until the caller has vouched for it with fl_server_req_trust. Anyone can
 * make guests, so few are served at once; who comes when all places are taken waits as a bare
 * socket (a descriptor, no TLS state) up to twice header_timeout_s. While one waits, the oldest
 * guests give way after guest_ms, save those whose request the caller has. So slow connections
 * cannot hold the places, and a fleet behind one address that returns all at once gets its turn.
 *
 * Handshakes begin a few in a turn of the loop, so that a herd does not keep those waiting who are
 * connected. Addresses take turns; one that nobody has come from lately goes first, once (as flows
 * do in RFC 8290). Of one address the first goes first, until so many wait that clients give up:
 * then the last, since the others are about to. Who has hung up meanwhile is not served. */

struct fl_server_conf {
    const char *bind;      /* address to listen on */
    uint16_t port;         /* 0: any free one, see fl_server_port */
    const char *cert_file; /* PEM chain; NULL for plain HTTP */
    const char *key_file;
    bool no_listener;         /* serves what fl_server_adopt brings, and nothing else */
    bool exclusive;           /* -EADDRINUSE if anyone listens on the port, sharing or not */
    size_t max_body_bytes;    /* 0: 2 MiB; more is answered 413 with a JSON error, then closed */
    size_t max_header_bytes;  /* 0: 16 KiB; more is answered 431 or closed */
    size_t max_guest_bytes;   /* of all guests' bodies beyond FL_SERVER_GUEST_BODY; 0: 64 MiB */
    unsigned max_connections; /* with those that wait; 0: 65536 */
    _Atomic unsigned *connections;   /* counts them together with other servers'; NULL: its own */
    unsigned max_guests;             /* 0: 2048 */
    unsigned max_guests_per_address; /* an IPv4 address or a /64 of IPv6; 0: half of max_guests */
    unsigned header_timeout_s;       /* TLS handshake and a request's head; 0: 20 */
    unsigned idle_timeout_s;         /* keep-alive without a request; 0: 75 */
    unsigned min_bytes_per_s;        /* bodies, and answers that are read; 0: 1024 */
    unsigned pace_ms;                /* over which that is judged; 0: 20000 */
    unsigned guest_ms;               /* then a guest gives way to one that waits; 0: 5000 */
    unsigned patience_ms; /* who waits longer goes after those that came last; 0: 10000 */
};

int fl_server_new(struct fl_loop *loop, const struct fl_server_conf *conf,
                  const struct fl_server_events *events, void *arg, struct fl_server **ret_server,
                  struct fl_err *err);

/* Drops every connection (on_close / on_abort run) and stops listening. Not from inside a callback
 * of the server or one of its WebSockets. */
struct fl_server *fl_server_free(struct fl_server *server);

/* Reads the certificate and key again, for connections that come from now on. The old ones stay in
 * use if the new ones are not usable. On the loop's thread. */
int fl_server_reload(struct fl_server *server, const char *cert_file, const char *key_file,
                     struct fl_err *err);

/* Serves an accepted socket, which is the server's from now on. On the loop's thread. */
void fl_server_adopt(struct fl_server *server, int fd);

/* Stops accepting; open connections stay. Keep-alive answers say Connection: close from now on. */
void fl_server_drain(struct fl_server *server);

uint16_t fl_server_port(const struct fl_server *server);
void fl_server_get_stats(const struct fl_server *server, struct fl_server_stats *ret_stats);

/* What the request said. Strings live as long as `req`. Header names in any letter case; several
 * headers of one name are joined by ",". NULL when absent. The raw path and query are as they came
 * on the wire (still percent-encoded), query without '?' and "" when there is none. */
const char *fl_server_req_method(const struct fl_server_req *req);
const char *fl_server_req_path(const struct fl_server_req *req);
const char *fl_server_req_query(const struct fl_server_req *req);
const char *fl_server_req_header(const struct fl_server_req *req, const char *name);
/* The headers one by one, names as they were written; false behind the last. */
bool fl_server_req_header_at(const struct fl_server_req *req, size_t i,
                             struct fl_http_header *ret_header);
const char *fl_server_req_body(const struct fl_server_req *req, size_t *ret_len);
const char *fl_server_req_peer(const struct fl_server_req *req); /* address without port */
void *fl_server_req_tag(const struct fl_server_req *req);        /* a pointer of the caller's */
void fl_server_req_set_tag(struct fl_server_req *req, void *tag);

/* The peer is known: its connection is no guest any more. */
void fl_server_req_trust(struct fl_server_req *req);

/* Its answer is the last of its connection. */
void fl_server_req_last(struct fl_server_req *req);

/* The body, owned by the caller from now on (free), NUL-terminated; NULL without memory. */
char *fl_server_req_take_body(struct fl_server_req *req);

/* Answers and ends `req`. `headers` are extra ones; Content-Length, Date and Connection are added
 * here. HEAD answers drop the body. */
void fl_server_reply(struct fl_server_req *req, int status, const char *content_type,
                     const struct fl_http_header *headers, size_t n_headers, const void *body,
                     size_t body_len);

/* ---- requests that were taken over (on_head) ---- */

struct fl_server_taker {
    /* A piece of the body, gone after the return; with `end` the last (len may be 0). False: no
     * more until fl_server_req_more. The request may be answered here. */
    bool (*on_body)(void *arg, const void *data, size_t len, bool end);
    /* After fl_server_reply_begin: there is room for a piece of the answer. */
    void (*on_room)(void *arg);
    /* The peer is gone, or too slow, or its body malformed; so is `req`. Not after the answer. */
    void (*on_gone)(void *arg);
};

/* In on_head only. `taker` lives as long as `req`. */
void fl_server_req_take(struct fl_server_req *req, const struct fl_server_taker *taker, void *arg);

/* What is left of the body, as announced; UINT64_MAX for a chunked one. No limit of the server's
 * applies to it. */
uint64_t fl_server_req_length(const struct fl_server_req *req);

/* Brings the body, or more of it: on_body is called, perhaps before this returns. The first time
 * the peer is told to go on if it waits for that. An answer before the end of the body ends the
 * connection. */
void fl_server_req_more(struct fl_server_req *req);

/* Answers with `body_len` > 0 bytes that follow by fl_server_reply_data, a piece after each
 * on_room, then or later. `req` is gone after the last byte. */
void fl_server_reply_begin(struct fl_server_req *req, int status, const char *content_type,
                           const struct fl_http_header *headers, size_t n_headers,
                           uint64_t body_len);
void fl_server_reply_data(struct fl_server_req *req, const void *data, size_t len);

/* The rest of the answer cannot be had: drops the connection, and `req`. No on_gone follows. */
void fl_server_reply_abort(struct fl_server_req *req);
