/* forward_spec.h - what a forward is on the command line: LOCAL:REMOTE and the forms of ssh -L.
 * Pure. */
#pragma once
#include "common/base/err.h"

struct fl_forward_spec {
    char bind[256]; /* address or name to listen on; "" for loopback, "*" for all */
    char path[108]; /* a Unix socket in place of an address and a port; "" for none */
    char host[256]; /* reached from the node; "" for the node itself */
    uint16_t local; /* 0: the kernel picks one */
    uint16_t remote;
};

/*     PORT                         the same port at both ends
 *     LOCAL:REMOTE                 LOCAL is a port (0: any), or the path of a Unix socket (has a /)
 *     LOCAL:HOST:REMOTE
 *     BIND:LOCAL:REMOTE            BIND is no number: an address, [address], a name or *
 *     BIND:LOCAL:HOST:REMOTE
 * -EINVAL. */
int fl_forward_spec_parse(const char *text, struct fl_forward_spec *ret, struct fl_err *err);

/* Where to listen as a node says it: the path of a Unix socket, or, without (NULL), a port of
 * loopback, any if it is empty. Nothing else, whatever stands there: -EINVAL. `remote` is 0. */
int fl_forward_spec_said(const char *port, const char *path, struct fl_forward_spec *ret,
                         struct fl_err *err);
