/* port.h - what the ways of port forwarding share (protocol 3 §8). */
#pragma once
#include "agent/session/conduit.h"
#include "agent/session/tcp.h"
#include "agent/session/types.h"

#define FL_PORT_QUEUE_BYTES (512u << 10) /* waiting for a connection to take it */

struct fl_port;

/* SSH: one connection, whose end is the session's. Basic: one at a time. Mux: many. */
struct fl_port_way {
    int (*begin)(struct fl_port *p, struct fl_err *err);
    int (*input)(struct fl_port *p, uint32_t type, const char *data, size_t len);
    void (*room)(struct fl_port *p);
    void (*done)(struct fl_port *p);
};
extern const struct fl_port_way fl_port_ssh, fl_port_basic; /* port_single.c */
extern const struct fl_port_way fl_port_mux;                /* port_mux.c */

struct fl_port {
    struct fl_sess *s;
    const struct fl_port_way *way;
    void *state; /* the way's; NULL until it has begun */
    struct fl_tcp_target target;
    struct fl_tcp_lookup *lookup;
    struct fl_arena arena;
};
