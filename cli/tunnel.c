/* tunnel.c - see tunnel.h. */
#include "cli/tunnel.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include "cli/conn.h"
#include "cli/listen.h"
#include "common/base/clock.h"
#include "common/session/smux.h"

#define KEPT_BYTES (256 * 1024) /* for a local reader that is slow; then its stream waits */
#define TURN       16           /* connections taken at a time */
#define FULL_MS    200          /* out of descriptors: so long nobody is let in */
#define LINGER_MS  10000        /* behind a local end of input, without a word from the node */
#define SLEEP_MS   1000
#define SINGLE_MS  1000 /* the same as LINGER_MS where the next connection waits meanwhile */
#define SETTLE_MS  20

struct link {
    LIST_ENTRY(link) entry;
    struct fl_tunnel *tunnel;
    struct fl_conn *conn;
    /* NULL: the node has closed it, what came is still written; or there are none (`single`) */
    struct fl_smux_stream *stream;
    bool paused;
    bool input_ended; /* of the local end; an official node is not told, as it would not answer */
    bool node_ended;  /* the node says nothing more, but listens */
    int64_t heard_ms;
};

struct door {
    struct fl_tunnel *tunnel;
    struct fl_io *io;
    int fd;
};

struct fl_tunnel {
    struct fl_loop *loop;
    struct fl_session *session;
    struct fl_smux *smux; /* NULL: before the session is ready, and with `single` */
    /* The session's bytes are those of one connection at a time (protocol 3 §8, basic). */
    bool single;
    struct fl_timer *turn; /* until the node has let the connection before go */
    struct fl_listen listen;
    struct door doors[FL_LISTEN_MAX];
    struct fl_timer *linger;
    struct fl_timer *tick; /* of `smux` */
    LIST_HEAD(, link) links;
    void (*on_accept)(void *arg);
    void *arg;
};

/* When the session must wait for slow readers, and when no more. What a single connection's node
 * says before there is one waits for it; what it still says to one that has gone is nobody's. */
static void check_full(struct fl_tunnel *t)
{
    const struct link *l = LIST_FIRST(&t->links);

    if (!t->single)
        fl_session_hold(t->session, fl_smux_full(t->smux));
    else if (fl_timer_active(t->turn))
        fl_session_hold(t->session, false);
    else
        fl_session_hold(t->session, !l || fl_conn_queued(l->conn) > KEPT_BYTES);
}

static void open_doors(struct fl_tunnel *t, bool open)
{
    for (size_t i = 0; i < t->listen.n; i++)
        if (t->doors[i].io)
            fl_io_set(t->doors[i].io, open ? FL_IO_READ : 0);
}

/* The node has acknowledged that the connection is gone: what it said to it has come. */
static void on_turn(void *arg)
{
    struct fl_tunnel *t = arg;

    if (!fl_session_settled(t->session)) {
        fl_timer_start(t->turn, SETTLE_MS);
        return;
    }
    open_doors(t, true);
    check_full(t);
}

static void link_free(struct link *l)
{
    struct fl_tunnel *t = l->tunnel;

    if (l->stream)
        fl_smux_stream_close(l->stream);
    fl_conn_free(l->conn);
    LIST_REMOVE(l, entry);
    free(l);
    if (t->single && t->turn) {
        fl_session_flag(t->session, FL_DATA_FLAG_DISCONNECT);
        fl_timer_start(t->turn, SETTLE_MS);
    }
}

/* ---- the local side ---- */

static size_t conn_room(void *arg)
{
    const struct link *l = arg;

    if (l->tunnel->single)
        return fl_session_room(l->tunnel->session);
    return l->stream ? fl_smux_room(l->tunnel->smux) : 0;
}

static void conn_data(void *arg, const char *data, size_t len)
{
    struct link *l = arg;

    if (l->stream)
        fl_smux_stream_write(l->stream, data, len);
    else if (l->tunnel->single)
        fl_session_write(l->tunnel->session, data, len);
}

/* Both directions are over; what came is still written. */
static void finish(struct link *l)
{
    fl_smux_stream_close(l->stream);
    l->stream = NULL;
    if (fl_conn_queued(l->conn) == 0)
        link_free(l);
}

static void conn_eof(void *arg, int r)
{
    struct link *l = arg;
    struct fl_tunnel *t = l->tunnel;

    if (r < 0) {
        link_free(l);
        check_full(t);
        return;
    }
    l->input_ended = true;
    l->heard_ms = fl_mono_ms();
    if (t->single && !fl_timer_active(t->linger))
        fl_timer_start(t->linger, SINGLE_MS);
    if (!l->stream)
        return;
    if (l->node_ended) {
        finish(l);
        check_full(t);
        return;
    }
    if (fl_smux_stream_end(l->stream) < 0 && !fl_timer_active(t->linger))
        fl_timer_start(t->linger, SLEEP_MS);
}

static void conn_drain(void *arg)
{
    struct link *l = arg;
    struct fl_tunnel *t = l->tunnel;

    if (!l->stream && !t->single)
        link_free(l);
    else if (l->paused) {
        l->paused = false;
        fl_smux_stream_pause(l->stream, false);
    }
    check_full(t);
}

static void conn_broken(void *arg, int r)
{
    struct link *l = arg;
    struct fl_tunnel *t = l->tunnel;

    if (r == -ENOMEM)
        fprintf(stderr, "fairlead: %s: a connection is cut off: %s\n", t->listen.name,
                strerror(-r));
    link_free(l);
    check_full(t);
}

static const struct fl_conn_events conn_events = {
    .room = conn_room,
    .on_data = conn_data,
    .on_eof = conn_eof,
    .on_drain = conn_drain,
    .on_broken = conn_broken,
};

/* A stream whose local end says nothing more is closed once the node has nothing to say either. */
static void on_linger(void *arg)
{
    struct fl_tunnel *t = arg;
    int64_t now = fl_mono_ms(), most = t->single ? SINGLE_MS : LINGER_MS;
    bool more = false;

    for (struct link *l = LIST_FIRST(&t->links), *next; l; l = next) {
        next = LIST_NEXT(l, entry);
        if (!l->input_ended || (!l->stream && !t->single))
            continue;
        if (now - l->heard_ms >= most && fl_conn_queued(l->conn) == 0)
            link_free(l);
        else
            more = true;
    }
    check_full(t);
    if (more)
        fl_timer_start(t->linger, SLEEP_MS);
}

/* ---- the node's side ---- */

static size_t smux_room(void *arg)
{
    const struct fl_tunnel *t = arg;

    return fl_session_room(t->session);
}

static int smux_write(void *arg, const struct iovec *iov, size_t n_iov)
{
    const struct fl_tunnel *t = arg;

    return fl_session_writev(t->session, iov, n_iov);
}

static void smux_data(void *arg, struct fl_smux_stream *stream, const char *data, size_t len)
{
    struct link *l = fl_smux_stream_arg(stream);

    (void)arg;
    l->heard_ms = fl_mono_ms();
    fl_conn_write(l->conn, data, len); /* a writing end that is gone is told by conn_broken */
    if (fl_conn_queued(l->conn) <= KEPT_BYTES || l->paused)
        return;
    l->paused = true;
    fl_smux_stream_pause(stream, true);
}

static void smux_end(void *arg, struct fl_smux_stream *stream)
{
    struct link *l = fl_smux_stream_arg(stream);

    (void)arg;
    l->node_ended = true;
    fl_conn_finish(l->conn);
    if (l->input_ended)
        finish(l);
}

static void smux_fin(void *arg, struct fl_smux_stream *stream)
{
    (void)arg;
    finish(fl_smux_stream_arg(stream));
}

static const struct fl_smux_events smux_events = {
    .room = smux_room,
    .write = smux_write,
    .on_data = smux_data,
    .on_end = smux_end,
    .on_fin = smux_fin,
};

/* Nodes of some times end the session of a client that says nothing for half a minute (protocol 3
 * §6). They are to be heard of as often themselves. */
static void on_tick(void *arg)
{
    struct fl_tunnel *t = arg;
    int64_t now = fl_mono_ms(), next = INT64_MAX;
    int r = fl_smux_tick(t->smux, now, &next);

    if (r < 0)
        fl_session_end(t->session, r, "the tunnel: %s",
                       r == -ETIMEDOUT ? "the node is silent" : strerror(-r));
    else if (next != INT64_MAX)
        fl_timer_start(t->tick, (uint64_t)FL_MAX(next - now, (int64_t)1));
}

/* ---- connections ---- */

static int link_new(struct fl_tunnel *t, int fd)
{
    struct link *l = calloc(1, sizeof(*l));
    int on = 1, r;

    if (!l) {
        close(fd);
        return -ENOMEM;
    }
    l->tunnel = t;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* not of a Unix socket */
    r = fl_conn_new(t->loop, fd, &conn_events, l, &l->conn);
    if (r < 0) {
        free(l);
        return r;
    }
    LIST_INSERT_HEAD(&t->links, l, entry);
    if (t->single) {
        open_doors(t, false);
        check_full(t);
    } else {
        r = fl_smux_open(t->smux, l, &l->stream);
    }
    if (r < 0) {
        link_free(l);
        return r;
    }
    fl_conn_kick(l->conn);
    return 0;
}

static void on_door(void *arg, unsigned events)
{
    struct door *d = arg;
    struct fl_tunnel *t = d->tunnel;

    (void)events;
    for (int i = 0; i < TURN; i++) {
        int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                fl_io_pause(d->io, FULL_MS);
            return;
        }
        if (link_new(t, fd) == 0 && t->on_accept) {
            t->on_accept(t->arg);
            t->on_accept = NULL;
        }
        if (t->single && !LIST_EMPTY(&t->links))
            return;
    }
}

/* ---- public ---- */

int fl_tunnel_new(struct fl_loop *loop, const struct fl_forward_spec *spec,
                  struct fl_tunnel **ret_tunnel, struct fl_err *err)
{
    struct fl_tunnel *t = calloc(1, sizeof(*t));
    int r;

    if (!t)
        return -ENOMEM;
    t->loop = loop;
    LIST_INIT(&t->links);
    r = fl_listen_open(spec, &t->listen, err);
    if (r == 0) {
        t->linger = fl_timer_new(loop, on_linger, t);
        t->turn = fl_timer_new(loop, on_turn, t);
        t->tick = fl_timer_new(loop, on_tick, t);
        r = t->linger && t->turn && t->tick ? 0 : -ENOMEM;
    }
    if (r < 0) {
        fl_tunnel_free(t);
        return r;
    }
    *ret_tunnel = t;
    return 0;
}

struct fl_tunnel *fl_tunnel_free(struct fl_tunnel *t)
{
    if (!t)
        return NULL;
    t->turn = fl_timer_free(t->turn);
    for (struct link *l = LIST_FIRST(&t->links), *next; l; l = next) {
        next = LIST_NEXT(l, entry);
        link_free(l);
    }
    for (size_t i = 0; i < t->listen.n; i++)
        fl_io_free(t->doors[i].io);
    fl_smux_free(t->smux);
    fl_timer_free(t->linger);
    fl_timer_free(t->tick);
    fl_listen_done(&t->listen);
    free(t);
    return NULL;
}

int fl_tunnel_begin(struct fl_tunnel *t, struct fl_session *session,
                    const struct fl_session_info *info, void (*on_accept)(void *arg), void *arg)
{
    const struct fl_smux_conf conf = { .keepalive = info->keepalive,
                                       .half_close = info->end_of_input };
    int r = 0;

    t->session = session;
    t->on_accept = on_accept;
    t->arg = arg;
    t->single = !info->mux;
    if (t->single)
        fl_session_hold(session, true);
    else
        r = fl_smux_new(&conf, &smux_events, t, fl_mono_ms(), &t->smux);
    if (t->smux)
        on_tick(t);
    for (size_t i = 0; i < t->listen.n && r == 0; i++) {
        struct door *d = &t->doors[i];

        d->tunnel = t;
        d->fd = t->listen.fds[i];
        d->io = fl_io_new(t->loop, d->fd, on_door, d);
        r = d->io ? fl_io_set(d->io, FL_IO_READ) : -ENOMEM;
    }
    return r;
}

int fl_tunnel_input(struct fl_tunnel *t, const char *data, size_t len)
{
    struct link *l = LIST_FIRST(&t->links);
    int r = t->smux ? fl_smux_input(t->smux, data, len, fl_mono_ms()) : 0;

    if (t->single && l) {
        l->heard_ms = fl_mono_ms();
        fl_conn_write(l->conn, data, len);
    }
    if (r == 0 && (t->smux || t->single))
        check_full(t);
    return r;
}

void fl_tunnel_room(struct fl_tunnel *t)
{
    struct link *l;

    if (t->smux)
        fl_smux_kick(t->smux);
    LIST_FOREACH (l, &t->links, entry)
        if (l->stream || t->single)
            fl_conn_kick(l->conn);
}

const char *fl_tunnel_name(const struct fl_tunnel *t)
{
    return t->listen.name;
}

uint16_t fl_tunnel_port(const struct fl_tunnel *t)
{
    return t->listen.port;
}
