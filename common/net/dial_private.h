/* dial_private.h - between dialer.c (what all share), dial.c (connecting) and dial_stream.c (the
 * open connection). */
#pragma once
#include <openssl/ssl.h>
#include "common/net/dial.h"

struct fl_dialer {
    struct fl_loop *loop;
    const struct fl_proxy_conf *proxy;
    char *ca_file;
    SSL_CTX *tls;
    struct fl_url first;  /* the target of the first TLS connection, */
    SSL_SESSION *session; /* and the last session with it, to go on with; NULL: none */
};

/* A session for `fd`, ready for its handshake with `target`, whose certificate it checks; the
 * caller's. NULL without memory. */
SSL *fl_dialer_ssl(struct fl_dialer *d, const struct fl_url *target, int fd);

/* A stream over a connected socket and, unless NULL, a TLS session whose handshake is done. Both
 * belong to it from now on, on success only. NULL without memory. */
struct fl_stream *fl_dial_stream_new(struct fl_loop *loop, int fd, SSL *ssl);
