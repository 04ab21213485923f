/* server_private.h - between server.c (listening), server_guests.c (who is served) and
 * server_http.c (one connection). */
#pragma once
#include <netinet/in.h>
#include <sys/queue.h>
#include "common/net/server.h"
#include "common/net/stream.h"

struct fl_peer; /* guests of one address, and those of it that wait */

enum fl_turn { FL_TURN_NEW, FL_TURN_OLD, FL_TURN_NONE }; /* of an address */

/* Part of every connection. */
struct fl_guest {
    TAILQ_ENTRY(fl_guest) link; /* oldest first */
    struct fl_peer *peer;       /* NULL: vouched for */
    int64_t since_ms;
    size_t bytes; /* of its body, counted in guest_bytes */
    bool busy;    /* its request is with the caller */
};

struct fl_server {
    struct fl_loop *loop;
    struct fl_lws *lws;
    struct fl_server_events events;
    void *arg;
    size_t max_body_bytes;
    size_t max_header_bytes;
    size_t max_guest_bytes;
    unsigned max_connections;
    _Atomic unsigned *connections, own_connections; /* open or waiting; of all that share it */
    unsigned max_guests;
    unsigned max_guests_per_address;
    uint32_t header_ms;
    uint32_t idle_ms;
    uint32_t guest_ms;
    uint32_t patience_ms;
    uint32_t pace_ms;
    size_t pace_bytes; /* at least, in pace_ms */
    int listen_fd;
    struct fl_io *listen_io;
    uint16_t port;
    bool draining;
    struct fl_server_stats stats;
    TAILQ_HEAD(, fl_guest) guests;
    TAILQ_HEAD(fl_hungry, fl_peer) hungry[2]; /* by enum fl_turn: whose sockets are served next */
    LIST_HEAD(fl_peers, fl_peer) * peers;     /* hash table by address */
    struct fl_timer *guest_timer;             /* runs while a socket waits */
    struct fl_timer *turn_timer;              /* in the next turn of the loop more are served */
    unsigned quota;                           /* handshakes to begin in this turn */
    int64_t turn_ms;                          /* monotonic: when the last ones began */
    int64_t looked_ms;                        /* monotonic: for sockets whose peers have left */
    size_t guest_bytes;
};

/* ---- server.c ---- */

void fl_server_limit(struct fl_server *server, enum fl_server_limit what, int error);

/* ---- server_guests.c ---- */

int fl_guests_init(struct fl_server *server);

/* Closes what waits. */
void fl_guests_close(struct fl_server *server);
void fl_guests_done(struct fl_server *server);

/* Room for one more, counted with all that share the limit: sockets whose peers have left, then
 * guests that have had their time, make it. */
bool fl_guests_have_room(struct fl_server *server);

/* Takes over an accepted socket: to be served by fl_guests_serve, or refused. */
void fl_guests_arrive(struct fl_server *server, int fd, const struct sockaddr_storage *addr,
                      const char *text);

/* Begins as many handshakes as this turn of the loop may have, and sees to the next. */
void fl_guests_serve(struct fl_server *server);

/* An address without its port. */
void fl_peer_text(const struct sockaddr_storage *addr, socklen_t len, char out[INET6_ADDRSTRLEN]);

/* It is vouched for, or gone. Again is nothing. */
void fl_guest_leave(struct fl_server *server, struct fl_guest *guest);

/* A guest holds so many bytes of body now. False if that is too much for all of them together. */
bool fl_guest_holds(struct fl_server *server, struct fl_guest *guest, size_t bytes);

/* ---- server_http.c ---- */

/* Serves an accepted socket, taken over also on failure. `peer_text` is copied; `ret_guest` is part
 * of the connection. */
int fl_conn_new(struct fl_server *server, int fd, const char *peer_text,
                struct fl_guest **ret_guest);

/* Ends a guest's connection, later. */
void fl_conn_drop(struct fl_guest *guest);
