/* server.c - see server.h: listening, limits by count, statistics. */
#include "common/net/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/net/server_lws.h"
#include "common/net/server_private.h"

#define BACKLOG         4096 /* the kernel's somaxconn caps it; fleets reconnect all at once */
#define ACCEPTS_A_TURN  64
#define ACCEPT_PAUSE_MS 100 /* with no descriptor left, until one may be free */
#define PEER_BUCKETS    4096

#define DEFAULT_MAX_BODY_BYTES   (2 * 1024 * 1024)
#define DEFAULT_MAX_HEADER_BYTES (16 * 1024)
#define DEFAULT_MAX_CONNECTIONS  65536
#define DEFAULT_HEADER_S         20
#define DEFAULT_IDLE_S           75

struct fl_peer {
    LIST_ENTRY(fl_peer) link;
    uint8_t key[8]; /* IPv4 address, or the /64 of an IPv6 one: that is what one host commands */
    unsigned connections;
};

/* ---- connections per address ---- */

static void peer_key(const struct sockaddr_storage *addr, uint8_t key[8])
{
    memset(key, 0, 8);
    if (addr->ss_family == AF_INET)
        memcpy(key, &((const struct sockaddr_in *)addr)->sin_addr, 4);
    else
        memcpy(key, &((const struct sockaddr_in6 *)addr)->sin6_addr, 8);
}

static size_t peer_bucket(const uint8_t key[8])
{
    uint64_t h = 1469598103934665603u;

    for (int i = 0; i < 8; i++)
        h = (h ^ key[i]) * 1099511628211u;
    return h % PEER_BUCKETS;
}

/* Counts one more connection. 0, -EMFILE over the limit, -ENOMEM. */
static int peer_ref(struct fl_server *server, const struct sockaddr_storage *addr,
                    struct fl_peer **ret_peer)
{
    struct fl_peer *peer;
    uint8_t key[8];
    size_t bucket;

    *ret_peer = NULL;
    if (!server->peers)
        return 0;
    peer_key(addr, key);
    bucket = peer_bucket(key);
    LIST_FOREACH (peer, &server->peers[bucket], link)
        if (!memcmp(peer->key, key, sizeof(key)))
            break;
    if (peer && peer->connections >= server->max_per_address)
        return -EMFILE;
    if (!peer) {
        peer = calloc(1, sizeof(*peer));
        if (!peer)
            return -ENOMEM;
        memcpy(peer->key, key, sizeof(key));
        LIST_INSERT_HEAD(&server->peers[bucket], peer, link);
    }
    peer->connections++;
    *ret_peer = peer;
    return 0;
}

static void peer_unref(struct fl_peer *peer)
{
    if (!peer || --peer->connections)
        return;
    LIST_REMOVE(peer, link);
    free(peer);
}

/* ---- accepting ---- */

static void peer_text(const struct sockaddr_storage *addr, socklen_t len,
                      char out[INET6_ADDRSTRLEN])
{
    static const char mapped[] = "::ffff:";

    if (getnameinfo((const struct sockaddr *)addr, len, out, INET6_ADDRSTRLEN, NULL, 0,
                    NI_NUMERICHOST) != 0)
        snprintf(out, INET6_ADDRSTRLEN, "?");
    /* An IPv4 peer of a socket that serves both. */
    if (!strncmp(out, mapped, sizeof(mapped) - 1) && strchr(out, '.'))
        memmove(out, out + sizeof(mapped) - 1, strlen(out + sizeof(mapped) - 1) + 1);
}

static void serve(struct fl_server *server, int fd, const struct sockaddr_storage *addr,
                  socklen_t len)
{
    char text[INET6_ADDRSTRLEN];
    struct fl_peer *peer = NULL;
    int on = 1;

    if (server->stats.connections >= server->max_connections || peer_ref(server, addr, &peer) < 0) {
        server->stats.refused++;
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    peer_text(addr, len, text);
    if (fl_conn_new(server, fd, text, peer) < 0) {
        peer_unref(peer);
        server->stats.refused++;
        return;
    }
    server->stats.connections++;
}

static void on_listen(void *arg, unsigned events)
{
    struct fl_server *server = arg;

    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage addr = { 0 };
        socklen_t len = sizeof(addr);
        int fd = accept4(server->listen_fd, (struct sockaddr *)&addr, &len,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            serve(server, fd, &addr, len);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            fl_io_pause(server->listen_io, ACCEPT_PAUSE_MS);
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* ---- listening ---- */

static int bind_socket(int fd, const struct addrinfo *ai)
{
    int on = 1, off = 0;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
        return -errno;
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)); /* "::" serves IPv4 too */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    return 0;
}

static int open_socket(struct fl_server *server, const struct fl_server_conf *conf,
                       struct fl_err *err)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM };
    const char *address = conf->bind && conf->bind[0] ? conf->bind : "127.0.0.1";
    struct sockaddr_storage bound = { 0 };
    socklen_t len = sizeof(bound);
    struct addrinfo *ai = NULL;
    char port[8];
    int r;

    snprintf(port, sizeof(port), "%u", conf->port);
    if (getaddrinfo(address, port, &hints, &ai) != 0)
        return fl_err_set(err, -EINVAL, NULL, "%s: not a numeric address to listen on", address);
    server->listen_fd =
        socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    r = server->listen_fd < 0 ? -errno : bind_socket(server->listen_fd, ai);
    freeaddrinfo(ai);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot listen on %s port %u: %s", address, conf->port,
                          strerror(-r));
    if (getsockname(server->listen_fd, (struct sockaddr *)&bound, &len) < 0)
        return -errno;
    server->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                     : ((struct sockaddr_in *)&bound)->sin_port);
    return 0;
}

static void close_socket(struct fl_server *server)
{
    server->listen_io = fl_io_free(server->listen_io);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    server->listen_fd = -1;
}

static size_t or_default(size_t value, size_t otherwise)
{
    return value ? value : otherwise;
}

static int start(struct fl_server *server, const struct fl_server_conf *conf, struct fl_err *err)
{
    int r = fl_lws_new(server->loop, conf->cert_file, conf->key_file, &server->lws, err);

    if (r < 0)
        return r;
    r = open_socket(server, conf, err);
    if (r < 0)
        return r;
    if (server->max_per_address) {
        server->peers = calloc(PEER_BUCKETS, sizeof(*server->peers));
        if (!server->peers)
            return -ENOMEM;
    }
    server->listen_io = fl_io_new(server->loop, server->listen_fd, on_listen, server);
    if (!server->listen_io)
        return -ENOMEM;
    return fl_io_set(server->listen_io, FL_IO_READ);
}

int fl_server_new(struct fl_loop *loop, const struct fl_server_conf *conf,
                  const struct fl_server_events *events, void *arg, struct fl_server **ret_server,
                  struct fl_err *err)
{
    struct fl_server *server = calloc(1, sizeof(*server));
    int r;

    if (!server)
        return -ENOMEM;
    server->loop = loop;
    server->events = *events;
    server->arg = arg;
    server->listen_fd = -1;
    server->max_body_bytes = or_default(conf->max_body_bytes, DEFAULT_MAX_BODY_BYTES);
    server->max_header_bytes = or_default(conf->max_header_bytes, DEFAULT_MAX_HEADER_BYTES);
    server->max_connections = (unsigned)or_default(conf->max_connections, DEFAULT_MAX_CONNECTIONS);
    server->max_per_address = conf->max_per_address;
    server->header_ms = (uint32_t)or_default(conf->header_timeout_s, DEFAULT_HEADER_S) * 1000;
    server->idle_ms = (uint32_t)or_default(conf->idle_timeout_s, DEFAULT_IDLE_S) * 1000;
    r = start(server, conf, err);
    if (r < 0) {
        fl_server_free(server);
        return r;
    }
    *ret_server = server;
    return 0;
}

struct fl_server *fl_server_free(struct fl_server *server)
{
    if (!server)
        return NULL;
    close_socket(server);
    fl_lws_free(server->lws);
    free(server->peers);
    free(server);
    return NULL;
}

void fl_server_drain(struct fl_server *server)
{
    server->draining = true;
    close_socket(server);
}

uint16_t fl_server_port(const struct fl_server *server)
{
    return server->port;
}

void fl_server_get_stats(const struct fl_server *server, struct fl_server_stats *ret_stats)
{
    *ret_stats = server->stats;
}

void fl_server_conn_gone(struct fl_server *server, struct fl_peer *peer)
{
    peer_unref(peer);
    server->stats.connections--;
}
