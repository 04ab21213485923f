/* port_single.c - one connection: SSH's, or one after the other for old clients (port.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/session/port.h"

struct single {
    struct fl_port *p;
    struct fl_tcp_dial *dial;      /* while connecting */
    struct fl_conduit *connection; /* then; NULL: there is none */
    bool again;                    /* basic: it was lost, the next message makes another */
};

static size_t room(void *arg)
{
    struct single *one = arg;

    return fl_sess_room(one->p->s);
}

static void on_data(void *arg, const char *data, size_t len)
{
    struct single *one = arg;

    fl_sess_send(one->p->s, FL_DATA_TYPE_OUTPUT, data, len);
}

static void on_end(void *arg, int r)
{
    struct single *one = arg;

    if (one->p->way == &fl_port_ssh) {
        fl_sess_finish(one->p->s, FL_SESSION_SUCCESS, "");
        return;
    }
    one->connection = fl_conduit_free(one->connection);
    one->again = true;
    fl_sess_ready(one->p->s);
}

static void on_drain(void *arg)
{
    struct single *one = arg;

    fl_sess_ready(one->p->s);
}

static const struct fl_conduit_events events = {
    .room = room, .on_data = on_data, .on_end = on_end, .on_drain = on_drain
};

static void on_dialled(void *arg, int fd, int r)
{
    struct single *one = arg;
    char text[400];

    one->dial = NULL;
    if (fd >= 0)
        r = fl_conduit_new(one->p->s->loop, fd, &events, one, &one->connection);
    if (r < 0) {
        snprintf(text, sizeof(text), "dial tcp %s: connect: %s", one->p->target.name,
                 fl_tcp_why(&one->p->target, r));
        fl_sess_finish(one->p->s, FL_SESSION_FAILED, text);
        return;
    }
    fl_sess_ready(one->p->s);
}

static int dial(struct single *one)
{
    one->again = false;
    return fl_tcp_dial(one->p->s->loop, &one->p->target, on_dialled, one, &one->dial);
}

static int begin(struct fl_port *p, struct fl_err *err)
{
    struct single *one = calloc(1, sizeof(*one));

    p->state = one;
    if (!one)
        return fl_err_nomem(err);
    one->p = p;
    return dial(one) < 0 ? fl_err_nomem(err) : 0;
}

static int input(struct fl_port *p, uint32_t type, const char *data, size_t len)
{
    struct single *one = p->state;
    uint32_t flag;

    if (type == FL_DATA_TYPE_FLAG) {
        if (p->way == &fl_port_basic && fl_data_flag_decode(data, len, &flag) == 0 &&
            flag == FL_DATA_FLAG_DISCONNECT) {
            if (one->connection && fl_conduit_queued(one->connection) > 0)
                return -EAGAIN; /* what was said before is still to be written */
            one->dial = fl_tcp_cancel(one->dial);
            one->connection = fl_conduit_free(one->connection);
            one->again = true;
        }
        return 0;
    }
    if (one->again && dial(one) < 0)
        return -ENOMEM;
    if (!one->connection || fl_conduit_queued(one->connection) > FL_PORT_QUEUE_BYTES)
        return -EAGAIN;
    fl_sess_give(one->p->s, one->connection, data, len); /* if it broke, its end comes by reading */
    return 0;
}

static void on_room(struct fl_port *p)
{
    struct single *one = p->state;

    if (one->connection)
        fl_conduit_kick(one->connection);
}

static void done(struct fl_port *p)
{
    struct single *one = p->state;

    fl_tcp_cancel(one->dial);
    fl_conduit_free(one->connection);
    free(one);
}

const struct fl_port_way fl_port_ssh = { begin, input, on_room, done };
const struct fl_port_way fl_port_basic = { begin, input, on_room, done };
