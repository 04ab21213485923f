/* net_fixture.h - what the tests of common/net share: a certificate made on the spot, a server on
 * its own thread, a blocking client that sends exactly what it is told, a CONNECT proxy.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "common/net/server.h"

/* ---- certificates ---- */

struct test_certs {
    char cert[128], key[128]; /* self-signed, for localhost, plane.test, 127.0.0.1 and ::1 */
    char other[128];          /* another CA, which signed nothing */
};

/* Makes them in $TMPDIR, once a program. */
const struct test_certs *test_certs(void);

/* ---- a server on its own thread ---- */

struct test_server {
    struct fl_loop *loop;
    struct fl_server *server;
    struct fl_server_conf conf;
    uint16_t port;
    unsigned long thread;
    _Atomic int aborts;              /* on_abort so far */
    _Atomic int handled;             /* requests that reached this instance */
    _Atomic int limits[FL_LIMIT__N]; /* on_limit so far */
};

/* What it serves:
 *   /echo     "METHOD PATH ?QUERY [X-Echo header] BODY"
 *   /late     the same, from the loop, after the callback returned
 *   /never    no answer
 *   /trust    as /echo; the connection is no guest from then on
 *   /big?N    N bytes
 *   /ws…      upgrade: messages come back; "close" makes it close with 4001, "abort" drop,
 *             "trust" take the connection for no guest
 *   /ws-100   the same, but no more than 100 messages a second are read
 *   /deny     upgrade refused with 403 and a body */
void test_server_start(struct test_server *s);
void test_server_stop(struct test_server *s);

/* ---- a blocking client ---- */

int test_connect(uint16_t port);
void test_send(int fd, const char *text);

/* Reads until `until` has appeared (NULL: until the peer closes) or 5 s are over. */
const char *test_read(int fd, const char *until);

/* All of it: connect, send, read to the end. */
const char *test_exchange(uint16_t port, const char *text);

/* ---- a CONNECT proxy on its own thread ---- */

struct test_proxy {
    uint16_t port;
    const char *want_auth; /* "Basic …", NULL: open to all */
    int status;            /* not 0: the answer to every CONNECT */
    int target;            /* port on 127.0.0.1 that all CONNECTs lead to */
    int connects;          /* CONNECTs that succeeded */
    int fd;
    unsigned long thread;
    char last_head[2048]; /* of the last request */
};

void test_proxy_start(struct test_proxy *p);
void test_proxy_stop(struct test_proxy *p);
