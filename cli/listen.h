/* listen.h - sockets to listen on, as a forward asks for them. */
#pragma once
#include "cli/forward_spec.h"

#define FL_LISTEN_MAX        8
#define FL_LISTEN_NAME_BYTES 300

struct fl_listen {
    int fds[FL_LISTEN_MAX]; /* non-blocking; all on one port */
    size_t n;
    uint16_t port;                   /* 0: a Unix socket */
    char name[FL_LISTEN_NAME_BYTES]; /* of the first: "127.0.0.1:5432" or a path */
};

/* Loopback of both families where the specification names no address; one of them is enough. A Unix
 * socket is the user's alone (0600), and takes the place of one that nobody listens on any more. */
int fl_listen_open(const struct fl_forward_spec *spec, struct fl_listen *ret, struct fl_err *err);

/* Closes the descriptors and removes a Unix socket. */
void fl_listen_done(struct fl_listen *l);
