/* server_private.h - between server.c (listening, limits) and server_http.c (one connection). */
#pragma once
#include <netinet/in.h>
#include <sys/queue.h>
#include "common/net/server.h"
#include "common/net/stream.h"

struct fl_peer; /* how many connections an address has */
struct fl_conn;

struct fl_server {
    struct fl_loop *loop;
    struct fl_lws *lws;
    struct fl_server_events events;
    void *arg;
    size_t max_body_bytes;
    size_t max_header_bytes;
    unsigned max_connections;
    unsigned max_per_address;
    uint32_t header_ms;
    uint32_t idle_ms;
    int listen_fd;
    struct fl_io *listen_io;
    uint16_t port;
    bool draining;
    struct fl_server_stats stats;
    LIST_HEAD(, fl_peer) * peers; /* hash table; NULL without a limit per address */
};

/* Serves an accepted socket (taken over). `peer_text` is copied; `peer` may be NULL and is given
 * back through fl_server_conn_gone. */
int fl_conn_new(struct fl_server *server, int fd, const char *peer_text, struct fl_peer *peer);

/* A connection is over. */
void fl_server_conn_gone(struct fl_server *server, struct fl_peer *peer);
