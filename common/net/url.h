/* url.h - what a connection needs of a URL: whether TLS, which host and port. Pure: no I/O.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FL_HOST_BYTES 256

struct fl_url {
    bool tls;
    char host[FL_HOST_BYTES]; /* name or address, without brackets, as it was written */
    uint16_t port;            /* the scheme's, if the URL has none */
};

/* An http, https, ws or wss URL; user and password are skipped, an IPv6 address needs its brackets.
 * 0 or -EINVAL. */
int fl_url_parse(const char *url, struct fl_url *ret_url);

/* `len` bytes of "host", "host:port", "[v6]", "[v6]:port" or a bare IPv6 address. `*port` stays
 * without a port. 0 or -EINVAL. */
int fl_url_host_port(const char *text, size_t len, char host[FL_HOST_BYTES], uint16_t *port);

/* All `len` bytes as a decimal number of at most `max`, which has five digits. 0 or -EINVAL. */
int fl_url_number(const char *text, size_t len, unsigned max, unsigned *ret_number);
