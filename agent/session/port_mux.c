/* port_mux.c - many connections in one session: smux's server (port.h). */
#include <errno.h>
#include <string.h>
#include <sys/queue.h>
#include "agent/session/port.h"
#include "common/base/clock.h"
#include "common/session/gate.h"
#include "common/session/smux.h"

#define CLOSE_MS 30000 /* a connection may take so long to take what is left for it */

struct mux {
    struct fl_port *p;
    struct fl_smux *smux;
    struct fl_timer *tick;
    LIST_HEAD(, link) links;
    bool input_waits;
};

struct link {
    LIST_ENTRY(link) entry;
    struct mux *mux;
    struct fl_smux_stream *stream; /* NULL: closed, and only its last bytes are written */
    struct fl_tcp_dial *dial;      /* while connecting */
    struct fl_conduit *connection; /* then */
    bool read_all, written_all;    /* one direction is over */
    struct fl_timer *closing;
};

static void free_link(struct link *l)
{
    LIST_REMOVE(l, entry);
    fl_tcp_cancel(l->dial);
    fl_conduit_free(l->connection);
    fl_timer_free(l->closing);
    free(l);
}

/* Smux cannot go on. */
static void check(struct mux *m, int r)
{
    if (r < 0)
        fl_sess_finish(m->p->s, FL_SESSION_FAILED,
                       r == -ETIMEDOUT ? "fairlead: the client is silent"
                                       : "fairlead: what the client sent is not smux");
}

static void offer_input(struct mux *m)
{
    if (m->input_waits && !fl_smux_full(m->smux)) {
        m->input_waits = false;
        fl_sess_ready(m->p->s);
    }
}

/* ---- a connection ---- */

static size_t room(void *arg)
{
    const struct link *l = arg;

    return l->stream ? fl_smux_room(l->mux->smux) : 0;
}

static void on_data(void *arg, const char *data, size_t len)
{
    struct link *l = arg;
    int r = fl_smux_stream_write(l->stream, data, len);

    if (r < 0 && r != -EPIPE)
        check(l->mux, r);
}

/* Both directions are over; what was sent before is still to be written. */
static void finish(struct link *l)
{
    fl_smux_stream_close(l->stream);
    l->stream = NULL;
    if (!l->connection || fl_conduit_queued(l->connection) == 0)
        free_link(l);
    else
        fl_timer_start(l->closing, CLOSE_MS);
}

static void on_end(void *arg, int r)
{
    struct link *l = arg;
    struct mux *m = l->mux;

    l->read_all = true;
    if (r < 0 || l->written_all || fl_smux_stream_end(l->stream) < 0)
        finish(l);
    offer_input(m);
}

static void on_drain(void *arg)
{
    struct link *l = arg;
    struct mux *m = l->mux;

    if (l->stream)
        fl_smux_stream_pause(l->stream, false);
    else
        free_link(l);
    offer_input(m);
}

static const struct fl_conduit_events events = {
    .room = room, .on_data = on_data, .on_end = on_end, .on_drain = on_drain
};

static void on_closing_over(void *arg)
{
    free_link(arg);
}

/* The client is told by a flag, then by the stream's end (protocol 3 §8); the others go on. */
static void on_not_dialled(struct link *l, const char *why)
{
    char reason[4 + FL_DATA_REASON_BYTES];
    struct mux *m = l->mux;
    uint8_t flag[4];

    if (m->p->s->end_of_input)
        fl_sess_send(m->p->s, FL_DATA_TYPE_FLAG, reason, fl_data_reason_encode(why, reason));
    fl_data_flag_encode(FL_DATA_FLAG_CONNECT_ERROR, flag);
    fl_sess_send(m->p->s, FL_DATA_TYPE_FLAG, flag, sizeof(flag));
    if (l->stream)
        fl_smux_stream_close(l->stream);
    free_link(l);
    offer_input(m);
}

static void on_dialled(void *arg, int fd, int r)
{
    struct link *l = arg;
    struct mux *m = l->mux;

    l->dial = NULL;
    if (fd >= 0)
        r = fl_conduit_new(m->p->s->loop, fd, &events, l, &l->connection);
    if (r < 0) {
        on_not_dialled(l, fl_tcp_why(&m->p->target, r));
        return;
    }
    fl_smux_stream_pause(l->stream, false);
    offer_input(m);
}

/* ---- smux ---- */

static size_t smux_room(void *arg)
{
    struct mux *m = arg;

    return fl_sess_room(m->p->s);
}

static int smux_write(void *arg, const struct iovec *iov, size_t n)
{
    struct mux *m = arg;

    return fl_sess_sendv(m->p->s, FL_DATA_TYPE_OUTPUT, iov, n);
}

static int on_open(void *arg, struct fl_smux_stream *stream)
{
    struct mux *m = arg;
    struct link *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    l->mux = m;
    l->stream = stream;
    l->closing = fl_timer_new(m->p->s->loop, on_closing_over, l);
    LIST_INSERT_HEAD(&m->links, l, entry);
    if (!l->closing || fl_tcp_dial(m->p->s->loop, &m->p->target, on_dialled, l, &l->dial) < 0) {
        free_link(l);
        return -ENOMEM;
    }
    fl_smux_stream_set_arg(stream, l);
    fl_smux_stream_pause(stream, true);
    return 0;
}

static void on_stream_data(void *arg, struct fl_smux_stream *stream, const char *data, size_t len)
{
    struct link *l = fl_smux_stream_arg(stream);

    fl_sess_give(l->mux->p->s, l->connection, data,
                 len); /* if it broke, its end comes by reading */
    if (fl_conduit_queued(l->connection) > FL_PORT_QUEUE_BYTES)
        fl_smux_stream_pause(stream, true);
}

static void on_stream_end(void *arg, struct fl_smux_stream *stream)
{
    struct link *l = fl_smux_stream_arg(stream);

    l->written_all = true;
    fl_conduit_end_writing(l->connection);
    if (l->read_all)
        finish(l);
}

static void on_fin(void *arg, struct fl_smux_stream *stream)
{
    finish(fl_smux_stream_arg(stream));
}

static const struct fl_smux_events smux_events = {
    .room = smux_room,
    .write = smux_write,
    .on_open = on_open,
    .on_data = on_stream_data,
    .on_end = on_stream_end,
    .on_fin = on_fin,
};

static void on_tick(void *arg)
{
    struct mux *m = arg;
    int64_t now = fl_mono_ms(), next = INT64_MAX;

    check(m, fl_smux_tick(m->smux, now, &next));
    if (next != INT64_MAX)
        fl_timer_start(m->tick, (uint64_t)FL_MAX(next - now, (int64_t)1));
}

/* ---- the way ---- */

static int begin(struct fl_port *p, struct fl_err *err)
{
    struct mux *m = calloc(1, sizeof(*m));
    const struct fl_smux_conf conf = {
        .server = true,
        .keepalive = !fl_gate_open(FL_GATE_CLIENT_NO_KEEPALIVE, p->s->client_version),
        .half_close = p->s->end_of_input,
    };

    p->state = m;
    if (m) {
        m->p = p;
        m->tick = fl_timer_new(p->s->loop, on_tick, m);
        LIST_INIT(&m->links);
    }
    if (!m || !m->tick || fl_smux_new(&conf, &smux_events, m, fl_mono_ms(), &m->smux) < 0)
        return fl_err_nomem(err);
    on_tick(m);
    return 0;
}

static int input(struct fl_port *p, uint32_t type, const char *data, size_t len)
{
    struct mux *m = p->state;
    int r;

    if (type != FL_DATA_TYPE_OUTPUT)
        return 0;
    if (fl_smux_full(m->smux)) {
        m->input_waits = true;
        return -EAGAIN;
    }
    r = fl_smux_input(m->smux, data, len, fl_mono_ms());
    check(m, r);
    return r;
}

static void on_room(struct fl_port *p)
{
    struct mux *m = p->state;
    struct link *l;

    check(m, fl_smux_kick(m->smux));
    LIST_FOREACH (l, &m->links, entry)
        if (l->connection)
            fl_conduit_kick(l->connection);
}

static void done(struct fl_port *p)
{
    struct mux *m = p->state;
    struct link *l;

    while ((l = LIST_FIRST(&m->links)))
        free_link(l);
    fl_smux_free(m->smux);
    fl_timer_free(m->tick);
    free(m);
}

const struct fl_port_way fl_port_mux = { begin, input, on_room, done };
