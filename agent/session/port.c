/* port.c - port forwarding: where to, whether that is allowed, and in which way (protocol 3 §8). */
#include "agent/session/port.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/session/gate.h"

#define ARENA_BYTES    65536
#define HOST_MAX_BYTES 255

struct properties {
    char *port, *type, *host;
};
#define F(member, key) FL_FIELD(struct properties, member, key, 0)
static const struct fl_field properties_fields[] = {
    F(port, "portNumber"),
    F(type, "type"),
    F(host, "host"),
};
#undef F
static const struct fl_shape properties_shape =
    FL_SHAPE(struct properties, "properties", properties_fields);

static int parse_port(const char *text, uint16_t *ret)
{
    unsigned long n = text && strlen(text) <= 5 ? strtoul(text, NULL, 10) : 0;

    if (!text || text[strspn(text, "0123456789")] || n == 0 || n > UINT16_MAX)
        return -EINVAL;
    *ret = (uint16_t)n;
    return 0;
}

static int choose_way(struct fl_port *p, const char *type, struct fl_err *err)
{
    if (!type || !*type)
        p->way = &fl_port_ssh;
    else if (strcmp(type, "LocalPortForwarding") == 0)
        p->way =
            fl_gate_open(FL_GATE_CLIENT_MUX, p->s->client_version) ? &fl_port_mux : &fl_port_basic;
    else
        return fl_err_set(err, -EINVAL, NULL, "properties.type: \"%.40s\" is unknown", type);
    return 0;
}

static void go(struct fl_port *p)
{
    struct fl_err err = { 0 };

    if (p->way->begin(p, &err) < 0)
        fl_sess_finish(p->s, FL_SESSION_FAILED, fl_err_text(&err));
    else
        fl_sess_ready(p->s);
}

static void on_found(void *arg)
{
    struct fl_port *p = arg;
    char address[64], text[128];

    p->lookup = NULL;
    if (fl_tcp_is_denied(&p->target, &p->s->start.denied_ips, address)) {
        snprintf(text, sizeof(text), "Forwarding to IP address %s is forbidden.", address);
        fl_sess_finish(p->s, FL_SESSION_FAILED, text);
        return;
    }
    go(p);
}

static int begin(struct fl_sess *s, struct fl_err *err)
{
    struct fl_port *p = calloc(1, sizeof(*p));
    struct properties in;
    uint16_t port = 0;
    int r;

    s->state = p;
    if (!p)
        return fl_err_nomem(err);
    p->s = s;
    fl_arena_init(&p->arena, ARENA_BYTES);
    r = fl_json_decode(&properties_shape, s->start.properties ? s->start.properties : "{}",
                       s->start.properties ? strlen(s->start.properties) : 2, FL_DECODE_NOCASE,
                       &p->arena, &in, err);
    if (r == 0 && parse_port(in.port, &port) < 0)
        r = fl_err_set(err, -EINVAL, NULL, "properties.portNumber: must be 1 to 65535");
    if (r == 0)
        r = choose_way(p, in.type, err);
    if (r < 0)
        return r;
    if (!in.host || !*in.host) {
        fl_tcp_local(port, &p->target);
        go(p);
        return 0;
    }
    if (strlen(in.host) > HOST_MAX_BYTES)
        return fl_err_set(err, -EINVAL, NULL, "properties.host: too long");
    return fl_tcp_find(s->loop, in.host, port, &p->target, on_found, p, &p->lookup);
}

static int input(struct fl_sess *s, uint32_t type, const char *data, size_t len)
{
    struct fl_port *p = s->state;

    if (type != FL_DATA_TYPE_OUTPUT && type != FL_DATA_TYPE_FLAG)
        return 0;
    return p->state ? p->way->input(p, type, data, len) : -EAGAIN;
}

static void on_room(struct fl_sess *s)
{
    struct fl_port *p = s->state;

    if (p->state)
        p->way->room(p);
}

static void done(struct fl_sess *s)
{
    struct fl_port *p = s->state;

    fl_tcp_forget(p->lookup);
    if (p->state)
        p->way->done(p);
    fl_arena_done(&p->arena);
    free(p);
}

const struct fl_sess_type fl_sess_port = {
    .name = FL_SESSION_TYPE_PORT,
    .handshake = true,
    .silent = true,
    .begin = begin,
    .input = input,
    .room = on_room,
    .done = done,
};
