/* server_guests.c - see server.h: connections that nobody has vouched for, and sockets that wait to
 * become one. */
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/net/server_private.h"

#define PEER_BUCKETS 4096
#define TICK_MS      250 /* looks for guests that must give way, while a socket waits */
#define TURN_MS      4   /* a longer turn of the loop lets those wait who are connected */
#define NEXT_TURN_MS 1   /* libuv would run 0 in this one */
#define QUOTA_FIRST  4   /* handshakes to begin in a turn: at first, */
#define QUOTA_MOST   16  /* and when turns stay short */
#define LOOKS_MOST   512 /* at sockets whose peers may have left, in a turn */

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
    bool keeps_out; /* its guests had all places it may have when others of it were to be served */
    enum fl_turn turn; /* FL_TURN_OLD with nothing waiting: it was here a moment ago */
    TAILQ_HEAD(fl_waiting, waiting) waiting;
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
    peer->turn = FL_TURN_NONE;
    TAILQ_INIT(&peer->waiting);
    LIST_INSERT_HEAD(bucket, peer, link);
    return peer;
}

/* Forgets an address that has neither guests nor sockets that wait, nor a turn. */
static void peer_put(struct fl_peer *peer)
{
    if (peer->guests || peer->turn != FL_TURN_NONE)
        return;
    LIST_REMOVE(peer, link);
    free(peer);
}

void fl_peer_text(const struct sockaddr_storage *addr, socklen_t len, char out[INET6_ADDRSTRLEN])
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

static void set_turn(struct fl_server *server, struct fl_peer *peer, enum fl_turn turn)
{
    if (peer->turn != FL_TURN_NONE)
        TAILQ_REMOVE(&server->hungry[peer->turn], peer, hungry_link);
    peer->turn = turn;
    if (turn != FL_TURN_NONE)
        TAILQ_INSERT_TAIL(&server->hungry[turn], peer, hungry_link);
}

static void wait_end(struct fl_server *server, struct fl_peer *peer, struct waiting *w)
{
    TAILQ_REMOVE(&peer->waiting, w, link);
    server->stats.waiting--;
    atomic_fetch_sub(server->connections, 1);
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
    if (peer->turn == FL_TURN_NONE)
        set_turn(server, peer, FL_TURN_NEW);
    TAILQ_INSERT_TAIL(&peer->waiting, w, link);
    server->stats.waiting++;
    atomic_fetch_add(server->connections, 1);
    if (!fl_timer_active(server->guest_timer))
        fl_timer_start(server->guest_timer, TICK_MS);
    return 0;
}

/* Addresses that were served a moment ago are new again once nobody waits. */
static void end_turns(struct fl_server *server)
{
    struct fl_peer *peer;

    for (int turn = 0; turn < FL_TURN_NONE; turn++)
        while ((peer = TAILQ_FIRST(&server->hungry[turn]))) {
            set_turn(server, peer, FL_TURN_NONE);
            peer_put(peer);
        }
}

/* ---- serving ---- */

/* How many handshakes may begin in this turn of the loop. One takes half a millisecond; when a
 * fleet comes back, thousands at once would make a turn of seconds, in which nobody who is
 * connected already is heard. So fewer begin after a long turn and one more after a short one. */
static void set_quota(struct fl_server *server)
{
    int64_t now = fl_mono_ms(), took = now - server->turn_ms;

    /* Only while the timer runs in every turn, the time since is that of a turn. */
    if (server->quota == 0)
        server->quota = QUOTA_FIRST;
    else if (took > TURN_MS)
        server->quota = FL_MAX(server->quota / 2, 1u);
    else
        server->quota = FL_MIN(server->quota + 1, (unsigned)QUOTA_MOST);
    server->turn_ms = now;
}

/* Whoever has waited so long that he gave up is in the queue all the same. Serving him would let
 * those behind him wait in vain too. */
static bool has_left(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           (info.tcpi_state == TCP_CLOSE_WAIT || info.tcpi_state == TCP_CLOSE);
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

/* The address whose turn it is. NULL: none that waits has a place. */
static struct fl_peer *next_peer(struct fl_server *server)
{
    struct fl_peer *peer, *next;

    if (server->stats.guests >= server->max_guests)
        return NULL;
    for (int turn = 0; turn < FL_TURN_NONE; turn++)
        for (peer = TAILQ_FIRST(&server->hungry[turn]); peer; peer = next) {
            next = TAILQ_NEXT(peer, hungry_link);
            if (TAILQ_EMPTY(&peer->waiting)) {
                set_turn(server, peer, FL_TURN_NONE);
                peer_put(peer);
                continue;
            }
            peer->keeps_out = peer->guests >= server->max_guests_per_address;
            if (!peer->keeps_out)
                return peer;
        }
    return NULL;
}

static struct waiting *next_of(const struct fl_server *server, const struct fl_peer *peer)
{
    struct waiting *first = TAILQ_FIRST(&peer->waiting);

    return fl_mono_ms() - first->since_ms < server->patience_ms
               ? first
               : TAILQ_LAST(&peer->waiting, fl_waiting);
}

void fl_guests_serve(struct fl_server *server)
{
    unsigned begun = 0, looks = 0;
    struct fl_peer *peer;

    if (fl_timer_active(server->turn_timer))
        return; /* this turn's are begun, or will be */
    set_quota(server);
    while (begun < server->quota && looks++ < LOOKS_MOST && (peer = next_peer(server))) {
        struct waiting *w = next_of(server, peer);

        if (has_left(w->fd)) {
            close(w->fd);
        } else {
            set_turn(server, peer, FL_TURN_OLD);
            serve(server, peer, w->fd, w->text);
            begun++;
        }
        wait_end(server, peer, w);
    }
    if (server->stats.waiting == 0)
        end_turns(server);
    if (server->stats.waiting && (begun == server->quota || looks > LOOKS_MOST))
        fl_timer_start(server->turn_timer, NEXT_TURN_MS);
    else
        server->quota = 0;
}

static void on_turn(void *arg)
{
    fl_guests_serve(arg);
}

/* Who has waited twice as long as a handshake may take is given up on. */
static void expire_waiting(struct fl_server *server, int64_t now)
{
    struct fl_peer *peer;

    for (int turn = 0; turn < FL_TURN_NONE; turn++)
        TAILQ_FOREACH (peer, &server->hungry[turn], hungry_link) {
            struct waiting *w;

            while ((w = TAILQ_FIRST(&peer->waiting)) &&
                   now - w->since_ms >= 2 * server->header_ms) {
                fl_server_limit(server, FL_LIMIT_REFUSED, ETIMEDOUT);
                close(w->fd);
                wait_end(server, peer, w);
            }
        }
}

/* Clients that give up leave their sockets here. Looking at all of them takes its time, and a place
 * that is free again a moment later is soon enough: once a tick at most. */
static void drop_left(struct fl_server *server)
{
    int64_t now = fl_mono_ms();

    if (now - server->looked_ms < TICK_MS)
        return;
    server->looked_ms = now;
    for (int turn = 0; turn < FL_TURN_NONE; turn++) {
        struct fl_peer *peer;

        TAILQ_FOREACH (peer, &server->hungry[turn], hungry_link)
            for (struct waiting *w = TAILQ_FIRST(&peer->waiting), *next; w; w = next) {
                next = TAILQ_NEXT(w, link);
                if (!has_left(w->fd))
                    continue;
                close(w->fd);
                wait_end(server, peer, w);
            }
    }
}

/* Drops up to `n` guests that have had their time, oldest first: any of them if `any`, else only
 * those of addresses that keep their own out. How many. */
static size_t make_places(struct fl_server *server, size_t n, bool any)
{
    int64_t now = fl_mono_ms();
    struct fl_guest *g, *next;
    size_t dropped = 0;

    for (g = TAILQ_FIRST(&server->guests); g && dropped < n; g = next) {
        next = TAILQ_NEXT(g, link);
        if (now - g->since_ms < server->guest_ms)
            break;
        if (g->busy || (!any && !g->peer->keeps_out))
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
    fl_guests_serve(server);
    if (server->stats.waiting)
        fl_timer_start(server->guest_timer, TICK_MS);
}

/* ---- for server.c and server_http.c ---- */

int fl_guests_init(struct fl_server *server)
{
    TAILQ_INIT(&server->guests);
    for (int turn = 0; turn < FL_TURN_NONE; turn++)
        TAILQ_INIT(&server->hungry[turn]);
    server->peers = calloc(PEER_BUCKETS, sizeof(*server->peers));
    server->guest_timer = fl_timer_new(server->loop, on_tick, server);
    server->turn_timer = fl_timer_new(server->loop, on_turn, server);
    return server->peers && server->guest_timer && server->turn_timer ? 0 : -ENOMEM;
}

void fl_guests_close(struct fl_server *server)
{
    for (int turn = 0; turn < FL_TURN_NONE; turn++) {
        struct fl_peer *peer;

        TAILQ_FOREACH (peer, &server->hungry[turn], hungry_link)
            while (!TAILQ_EMPTY(&peer->waiting)) {
                struct waiting *w = TAILQ_FIRST(&peer->waiting);

                close(w->fd);
                wait_end(server, peer, w);
            }
    }
    end_turns(server);
}

void fl_guests_done(struct fl_server *server)
{
    server->guest_timer = fl_timer_free(server->guest_timer);
    server->turn_timer = fl_timer_free(server->turn_timer);
    free(server->peers);
    server->peers = NULL;
}

bool fl_guests_have_room(struct fl_server *server)
{
    if (atomic_load(server->connections) < server->max_connections)
        return true;
    drop_left(server);
    return atomic_load(server->connections) < server->max_connections ||
           make_places(server, 1, true);
}

void fl_guests_arrive(struct fl_server *server, int fd, const struct sockaddr_storage *addr,
                      const char *text)
{
    struct fl_peer *peer = NULL;
    int on = 1, r = fl_guests_have_room(server) ? -ENOMEM : -EMFILE;

    if (r == -ENOMEM && (peer = peer_get(server, addr))) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        r = wait_begin(server, peer, fd, text);
        peer_put(peer);
    }
    if (r < 0) {
        fl_server_limit(server, FL_LIMIT_REFUSED, -r);
        close(fd);
    }
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
    if (server->stats.waiting && !fl_timer_active(server->turn_timer))
        fl_timer_start(server->turn_timer, 0);
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
