/* server.c - see server.h: listening, limits by count, statistics. */
#include "common/net/server.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include "common/net/server_lws.h"
#include "common/net/server_private.h"

#define BACKLOG       4096 /* the kernel's somaxconn caps it; fleets reconnect all at once */
#define ACCEPTS       64   /* in a turn of the loop: a millisecond */
#define LOCK_TRIES    50   /* a second in all */
#define LOCK_PAUSE_NS (20 * 1000 * 1000)

#define DEFAULT_MAX_BODY_BYTES   (2 * 1024 * 1024)
#define DEFAULT_MAX_HEADER_BYTES (16 * 1024)
#define DEFAULT_MAX_GUEST_BYTES  (64 * 1024 * 1024)
#define DEFAULT_MAX_CONNECTIONS  65536
#define DEFAULT_MAX_GUESTS       2048
#define DEFAULT_MIN_BYTES_PER_S  1024
#define DEFAULT_PACE_MS          20000
#define DEFAULT_GUEST_MS         5000
#define DEFAULT_PATIENCE_MS      10000
#define DEFAULT_HEADER_S         20
#define DEFAULT_IDLE_S           75

/* ---- accepting ---- */

void fl_server_limit(struct fl_server *server, enum fl_server_limit what, int error)
{
    if (what == FL_LIMIT_REFUSED)
        server->stats.refused++;
    if (server->events.on_limit)
        server->events.on_limit(server->arg, what, error);
}

/* Into our own queue, where nobody is kept waiting for whoever came before him. */
static void on_listen(void *arg, unsigned events)
{
    struct fl_server *server = arg;

    for (unsigned i = 0; i < ACCEPTS; i++) {
        char text[INET6_ADDRSTRLEN];
        struct sockaddr_storage addr = { 0 };
        socklen_t len = sizeof(addr);
        int fd = accept4(server->listen_fd, (struct sockaddr *)&addr, &len,
                         SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            fl_peer_text(&addr, len, text);
            if (!server->events.on_accept || !fl_guests_have_room(server) ||
                !server->events.on_accept(server->arg, fd, text))
                fl_guests_arrive(server, fd, &addr, text);
            continue;
        }
        if (errno == ECONNABORTED || errno == EINTR)
            continue;
        if (errno != EAGAIN) {
            /* No descriptor or memory left, most likely: the socket would stay ready. */
            fl_server_limit(server, FL_LIMIT_ACCEPT, errno);
            fl_io_pause(server->listen_io, FL_SERVER_ACCEPT_PAUSE_MS);
        }
        break;
    }
    fl_guests_serve(server);
}

void fl_server_adopt(struct fl_server *server, int fd)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_storage addr = { 0 };
    socklen_t len = sizeof(addr);

    if (server->draining || getpeername(fd, (struct sockaddr *)&addr, &len) < 0) {
        close(fd); /* he has left */
        return;
    }
    fl_peer_text(&addr, len, text);
    fl_guests_arrive(server, fd, &addr, text);
    fl_guests_serve(server);
}

/* ---- listening ---- */

/* Sharing a port is refused by the kernel only to another user's processes, and a socket that does
 * not share is refused only once another one listens. So whoever wants the port for himself takes
 * this lock from before his bind until after his listen: a name that no two sockets of the machine
 * (network namespace) can have, and that ends with its process. -1 without it: another has it too
 * long to be starting up. */
static int lock_port(uint16_t port)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int n = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "fairlead-listen-%u", port);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
        if (bind(fd, (struct sockaddr *)&name, len) == 0)
            return fd;
        nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_NS }, NULL);
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static int share(int fd)
{
    int on = 1;

    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ? -errno : 0;
}

static int bind_socket(int fd, const struct addrinfo *ai, bool exclusive)
{
    int on = 1, off = 0, r;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -errno;
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)); /* "::" serves IPv4 too */
    r = exclusive ? 0 : share(fd);
    if (r < 0)
        return r;
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0)
        return -errno;
    /* Bound alone, it may share with those that follow. */
    r = exclusive ? share(fd) : 0;
    return r < 0 ? r : listen(fd, BACKLOG) < 0 ? -errno : 0;
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
    fl_autofd FL_UNUSED int lock = conf->exclusive && conf->port ? lock_port(conf->port) : -1;
    int r;

    snprintf(port, sizeof(port), "%u", conf->port);
    if (getaddrinfo(address, port, &hints, &ai) != 0)
        return fl_err_set(err, -EINVAL, NULL, "%s: not a numeric address to listen on", address);
    server->listen_fd =
        socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
    r = server->listen_fd < 0 ? -errno : bind_socket(server->listen_fd, ai, conf->exclusive);
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

/* What waits to be served goes with it. */
static void close_socket(struct fl_server *server)
{
    server->listen_io = fl_io_free(server->listen_io);
    if (server->listen_fd >= 0)
        close(FL_TAKE_FD(server->listen_fd));
    if (server->guest_timer)
        fl_guests_close(server);
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
    r = fl_guests_init(server);
    if (r < 0 || conf->no_listener)
        return r;
    r = open_socket(server, conf, err);
    if (r < 0)
        return r;
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
    server->connections = conf->connections ? conf->connections : &server->own_connections;
    server->max_guests = (unsigned)or_default(conf->max_guests, DEFAULT_MAX_GUESTS);
    server->max_guests_per_address =
        (unsigned)or_default(conf->max_guests_per_address, (server->max_guests + 1) / 2);
    server->max_guest_bytes = or_default(conf->max_guest_bytes, DEFAULT_MAX_GUEST_BYTES);
    server->guest_ms = (uint32_t)or_default(conf->guest_ms, DEFAULT_GUEST_MS);
    server->patience_ms = (uint32_t)or_default(conf->patience_ms, DEFAULT_PATIENCE_MS);
    server->pace_ms = (uint32_t)or_default(conf->pace_ms, DEFAULT_PACE_MS);
    server->pace_bytes =
        or_default(conf->min_bytes_per_s, DEFAULT_MIN_BYTES_PER_S) * server->pace_ms / 1000;
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
    fl_guests_done(server);
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
    ret_stats->guest_bytes = server->guest_bytes;
}

int fl_server_reload(struct fl_server *server, const char *cert_file, const char *key_file,
                     struct fl_err *err)
{
    return fl_lws_reload(server->lws, cert_file, key_file, err);
}
