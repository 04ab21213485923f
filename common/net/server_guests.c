/* server_guests.c - see server.h: connections that nobody has vouched for, and sockets that wait to
 * become one. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/net/server_private.h"

#define PEER_BUCKETS 4096
#define TICK_MS      250 /* looks for guests that must give way, while a socket waits */

/* An accepted socket that is not served yet. */
struct waiting {
    TAILQ_ENTRY(waiting) link;
    int fd;
    int64_t since_ms;
    char text[INET6_ADDRSTRLEN];
};

struct fl_peer {
    LIST_ENTRY(fl_peer) link;
    TAILQ_ENTRY(fl_peer) hungry_link;
    uint8_t key[8]; /* IPv4 address, or the /64 of an IPv6 one: that is what one host commands */
    unsigned guests;
    TAILQ_HEAD(, waiting) waiting;
};

/* ---- addresses ---- */

static void peer_key(const struct sockaddr_storage *addr, uint8_t key[8])
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)addr)->sin6_addr;

    memset(key, 0, 8);
    if (addr->ss_family == AF_INET)
        memcpy(key, &((const struct sockaddr_in *)addr)->sin_addr, 4);
    else if (IN6_IS_ADDR_V4MAPPED(v6))
        memcpy(key, v6->s6_addr + 12, 4);
    else
        memcpy(key, v6, 8);
}

static struct fl_peers *peer_bucket(struct fl_server *server, const uint8_t key[8])
{
    uint64_t h = 1469598103934665603u;

    for (int i = 0; i < 8; i++)
        h = (h ^ key[i]) * 1099511628211u;
    return &server->peers[h % PEER_BUCKETS];
}

static struct fl_peer *peer_get(struct fl_server *server, const struct sockaddr_storage *addr)
{
    struct fl_peers *bucket;
    struct fl_peer *peer;
    uint8_t key[8];

    peer_key(addr, key);
    bucket = peer_bucket(server, key);
    LIST_FOREACH (peer, bucket, link)
        if (!memcmp(peer->key, key, sizeof(key)))
            return peer;
    peer = calloc(1, sizeof(*peer));
    if (!peer)
        return NULL;
    memcpy(peer->key, key, sizeof(key));
    TAILQ_INIT(&peer->waiting);
    LIST_INSERT_HEAD(bucket, peer, link);
    return peer;
}

/* Forgets an address that has neither guests nor sockets that wait. */
static void peer_put(struct fl_peer *peer)
{
    if (peer->guests || !TAILQ_EMPTY(&peer->waiting))
        return;
    LIST_REMOVE(peer, link);
    free(peer);
}

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

/* ---- waiting ---- */

static void wait_end(struct fl_server *server, struct fl_peer *peer, struct waiting *w)
{
    TAILQ_REMOVE(&peer->waiting, w, link);
    if (TAILQ_EMPTY(&peer->waiting))
        TAILQ_REMOVE(&server->hungry, peer, hungry_link);
    server->stats.waiting--;
    free(w);
}

static int wait_begin(struct fl_server *server, struct fl_peer *peer, int fd, const char *text)
{
    struct waiting *w = calloc(1, sizeof(*w));

    if (!w)
        return -ENOMEM;
    w->fd = fd;
    w->since_ms = fl_mono_ms();
    memcpy(w->text, text, sizeof(w->text));
    if (TAILQ_EMPTY(&peer->waiting))
        TAILQ_INSERT_TAIL(&server->hungry, peer, hungry_link);
    TAILQ_INSERT_TAIL(&peer->waiting, w, link);
    server->stats.waiting++;
    if (!fl_timer_active(server->guest_timer))
        fl_timer_start(server->guest_timer, TICK_MS);
    return 0;
}

/* ---- serving ---- */

static bool has_place(const struct fl_server *server, const struct fl_peer *peer)
{
    return server->stats.guests < server->max_guests &&
           peer->guests < server->max_guests_per_address;
}

/* 0, or a negative errno and the socket is closed. */
static int serve(struct fl_server *server, struct fl_peer *peer, int fd, const char *text)
{
    struct fl_guest *guest;
    int r = fl_conn_new(server, fd, text, &guest);

    if (r < 0) {
        fl_server_limit(server, FL_LIMIT_REFUSED, -r);
        return r;
    }
    guest->peer = peer;
    guest->since_ms = fl_mono_ms();
    peer->guests++;
    server->stats.guests++;
    TAILQ_INSERT_TAIL(&server->guests, guest, link);
    return 0;
}

/* One socket of each address in turn, as long as there are places. */
static void serve_waiting(struct fl_server *server)
{
    bool progress = true;

    while (progress) {
        struct fl_peer *peer, *next, *last = TAILQ_LAST(&server->hungry, fl_hungry);

        progress = false;
        for (peer = TAILQ_FIRST(&server->hungry); peer; peer = next) {
            struct waiting *w = TAILQ_FIRST(&peer->waiting);

            next = peer == last ? NULL : TAILQ_NEXT(peer, hungry_link);
            if (!has_place(server, peer))
                continue;
            TAILQ_REMOVE(&server->hungry, peer, hungry_link);
            TAILQ_INSERT_TAIL(&server->hungry, peer, hungry_link);
            serve(server, peer, w->fd, w->text);
            wait_end(server, peer, w);
            peer_put(peer);
            progress = true;
        }
    }
}

/* Who has waited as long as a handshake may take is given up on. */
static void expire_waiting(struct fl_server *server, int64_t now)
{
    struct fl_peer *peer, *next;

    for (peer = TAILQ_FIRST(&server->hungry); peer; peer = next) {
        struct waiting *w;

        next = TAILQ_NEXT(peer, hungry_link);
        while ((w = TAILQ_FIRST(&peer->waiting)) && now - w->since_ms >= server->header_ms) {
            fl_server_limit(server, FL_LIMIT_REFUSED, ETIMEDOUT);
            close(w->fd);
            wait_end(server, peer, w);
        }
        peer_put(peer);
    }
}

/* Drops up to `n` guests that have had their time, oldest first: any of them if `any`, else only
 * those of addresses that have sockets waiting. How many. */
static size_t make_places(struct fl_server *server, size_t n, bool any)
{
    int64_t now = fl_mono_ms();
    struct fl_guest *g, *next;
    size_t dropped = 0;

    for (g = TAILQ_FIRST(&server->guests); g && dropped < n; g = next) {
        next = TAILQ_NEXT(g, link);
        if (now - g->since_ms < server->guest_ms)
            break;
        if (g->busy || (!any && TAILQ_EMPTY(&g->peer->waiting)))
            continue;
        fl_server_limit(server, FL_LIMIT_DROPPED, 0);
        fl_guest_leave(server, g);
        fl_conn_drop(g);
        dropped++;
    }
    return dropped;
}

static void on_tick(void *arg)
{
    struct fl_server *server = arg;

    expire_waiting(server, fl_mono_ms());
    make_places(server, server->stats.waiting, server->stats.guests >= server->max_guests);
    serve_waiting(server);
    if (server->stats.waiting)
        fl_timer_start(server->guest_timer, TICK_MS);
}

/* ---- for server.c and server_http.c ---- */

int fl_guests_init(struct fl_server *server)
{
    TAILQ_INIT(&server->guests);
    TAILQ_INIT(&server->hungry);
    server->peers = calloc(PEER_BUCKETS, sizeof(*server->peers));
    server->guest_timer = fl_timer_new(server->loop, on_tick, server);
    return server->peers && server->guest_timer ? 0 : -ENOMEM;
}

void fl_guests_close(struct fl_server *server)
{
    struct fl_peer *peer;

    while ((peer = TAILQ_FIRST(&server->hungry))) {
        struct waiting *w = TAILQ_FIRST(&peer->waiting);

        close(w->fd);
        wait_end(server, peer, w);
        peer_put(peer);
    }
}

void fl_guests_done(struct fl_server *server)
{
    server->guest_timer = fl_timer_free(server->guest_timer);
    free(server->peers);
    server->peers = NULL;
}

void fl_guests_arrive(struct fl_server *server, int fd, const struct sockaddr_storage *addr,
                      socklen_t len)
{
    struct fl_peer *peer = peer_get(server, addr);
    char text[INET6_ADDRSTRLEN] = "";
    int on = 1, r = -ENOMEM;

    if (peer && server->stats.connections + server->stats.waiting >= server->max_connections &&
        !make_places(server, 1, true)) {
        r = -EMFILE;
    } else if (peer) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        peer_text(addr, len, text);
        if (!has_place(server, peer) || !TAILQ_EMPTY(&peer->waiting)) {
            r = wait_begin(server, peer, fd, text);
        } else {
            serve(server, peer, fd, text);
            r = 0;
        }
    }
    if (r < 0) {
        fl_server_limit(server, FL_LIMIT_REFUSED, -r);
        close(fd);
    }
    if (peer)
        peer_put(peer);
}

void fl_guest_leave(struct fl_server *server, struct fl_guest *guest)
{
    struct fl_peer *peer = guest->peer;

    if (!peer)
        return;
    guest->peer = NULL;
    TAILQ_REMOVE(&server->guests, guest, link);
    server->guest_bytes -= guest->bytes;
    guest->bytes = 0;
    server->stats.guests--;
    peer->guests--;
    peer_put(peer);
    if (server->stats.waiting)
        fl_timer_start(server->guest_timer, 0);
}

bool fl_guest_holds(struct fl_server *server, struct fl_guest *guest, size_t bytes)
{
    size_t counted = bytes > FL_SERVER_GUEST_BODY ? bytes - FL_SERVER_GUEST_BODY : 0;
    size_t all = server->guest_bytes - guest->bytes + counted;

    if (!guest->peer)
        return true;
    if (counted > guest->bytes && all > server->max_guest_bytes)
        return false;
    server->guest_bytes = all;
    guest->bytes = counted;
    return true;
}
