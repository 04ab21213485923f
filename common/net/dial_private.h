/* dial_private.h - between dial.c (connecting) and dial_stream.c (the open connection). */
#pragma once
#include <openssl/ssl.h>
#include "common/net/dial.h"

/* A stream over a connected socket and, unless NULL, a TLS session whose handshake is done. Both
 * belong to it from now on, on success only. NULL without memory. */
struct fl_stream *fl_dial_stream_new(struct fl_loop *loop, int fd, SSL *ssl);
