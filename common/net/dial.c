/* dial.c - making outgoing connections. See dial.h.
 *
 * A dial walks through its states: LOOKUP, CONNECT (each address in turn), TUNNEL (CONNECT request
 * and its answer), TLS. `succeed` or `fail` ends it, once, from the loop.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/aws/crypto.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/net/dial_private.h"
#include "common/net/head.h"

#define ADDRESS_MS      10000 /* one address may take this long while others are left */
#define TUNNEL_HEAD_MAX 8192

/* The blocking part, on a pool thread. It outlives a dial that is cancelled meanwhile. */
struct lookup {
    char host[FL_HOST_BYTES], port[6];
    struct addrinfo *list;
    int r;
    struct fl_dial *dial; /* NULL: nobody waits any more */
};

enum state { LOOKUP, CONNECT, TUNNEL_SEND, TUNNEL_RECEIVE, TLS };

struct fl_dial {
    struct fl_dialer *dialer;
    struct fl_url target;
    struct fl_proxy proxy;
    bool proxied;
    fl_dial_fn done;
    void *arg;
    enum state state;
    struct fl_timer *deadline, *address_timer, *soon;
    struct lookup *lookup;
    struct addrinfo *list, *next;
    int last_error;
    int fd;
    struct fl_io *io;
    SSL *ssl;
    struct fl_buf buf; /* of the CONNECT exchange */
    size_t sent;
    int r; /* why it failed */
    struct fl_err err;
};

static void step(struct fl_dial *d);

/* ---- ends ---- */

static void close_socket(struct fl_dial *d)
{
    d->io = fl_io_free(d->io);
    if (d->fd >= 0)
        close(FL_TAKE_FD(d->fd));
}

static void dial_free(struct fl_dial *d)
{
    if (d->lookup)
        d->lookup->dial = NULL;
    SSL_free(d->ssl);
    close_socket(d);
    if (d->list)
        freeaddrinfo(d->list);
    fl_timer_free(d->deadline);
    fl_timer_free(d->address_timer);
    fl_timer_free(d->soon);
    fl_buf_done(&d->buf);
    fl_wipe(&d->proxy, sizeof(d->proxy));
    free(d);
}

static void fail(struct fl_dial *d)
{
    fl_dial_fn done = d->done;
    struct fl_err err = d->err;
    void *arg = d->arg;
    int r = d->r;

    dial_free(d);
    done(arg, NULL, r, &err);
}

static void on_soon(void *arg)
{
    step(arg);
}

static void succeed(struct fl_dial *d)
{
    fl_dial_fn done = d->done;
    struct fl_stream *s;
    void *arg = d->arg;

    d->io = fl_io_free(d->io);
    s = fl_dial_stream_new(d->dialer->loop, d->fd, d->ssl);
    if (!s) {
        d->r = fl_err_nomem(&d->err);
        fail(d);
        return;
    }
    d->fd = -1;
    d->ssl = NULL;
    dial_free(d);
    done(arg, s, 0, NULL);
}

/* "host:port", and through which proxy. */
static const char *where(const struct fl_dial *d, char out[640])
{
    if (d->proxied)
        snprintf(out, 640, "%s:%u (through the proxy %s:%u)", d->target.host, d->target.port,
                 d->proxy.host, d->proxy.port);
    else
        snprintf(out, 640, "%s:%u", d->target.host, d->target.port);
    return out;
}

/* ---- TLS ---- */

static void tls_failed(struct fl_dial *d)
{
    long verify = SSL_get_verify_result(d->ssl);
    unsigned long e = ERR_get_error();
    char at[640];

    if (verify != X509_V_OK)
        d->r = fl_err_set(&d->err, -EPROTO, NULL,
                          "%s: its certificate is not trusted (%s); trusted are %s", where(d, at),
                          X509_verify_cert_error_string(verify),
                          d->dialer->ca_file ? d->dialer->ca_file : "the system's CAs");
    else
        d->r = fl_err_set(&d->err, -EPROTO, NULL, "%s: TLS failed: %s", where(d, at),
                          e ? ERR_reason_error_string(e) : "the peer closed the connection");
    fail(d);
}

static void tls_step(struct fl_dial *d)
{
    int r;

    ERR_clear_error();
    r = SSL_do_handshake(d->ssl);
    if (r == 1) {
        succeed(d);
        return;
    }
    switch (SSL_get_error(d->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        fl_io_set(d->io, FL_IO_READ);
        break;
    case SSL_ERROR_WANT_WRITE:
        fl_io_set(d->io, FL_IO_WRITE);
        break;
    default:
        tls_failed(d);
    }
}

/* The bytes reach the target: what is left is TLS. */
static void tunnel_open(struct fl_dial *d)
{
    if (!d->target.tls) {
        succeed(d);
        return;
    }
    d->state = TLS;
    d->ssl = fl_dialer_ssl(d->dialer, &d->target, d->fd);
    if (!d->ssl) {
        d->r = fl_err_nomem(&d->err);
        fail(d);
        return;
    }
    tls_step(d);
}

/* ---- CONNECT through a proxy ---- */

static int tunnel_request(struct fl_dial *d)
{
    bool v6 = strchr(d->target.host, ':') != NULL;
    char authority[300];
    int r;

    snprintf(authority, sizeof(authority), v6 ? "[%s]:%u" : "%s:%u", d->target.host,
             d->target.port);
    r = fl_buf_printf(&d->buf, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority, authority);
    if (r == 0 && d->proxy.user[0]) {
        char plain[sizeof(d->proxy.user) + sizeof(d->proxy.password) + 1];
        char *basic;

        snprintf(plain, sizeof(plain), "%s:%s", d->proxy.user, d->proxy.password);
        basic = fl_base64_encode(plain, strlen(plain));
        r = basic ? fl_buf_printf(&d->buf, "Proxy-Authorization: Basic %s\r\n", basic) : -ENOMEM;
        fl_wipe(plain, sizeof(plain));
        if (basic)
            fl_free_secret(basic, strlen(basic));
    }
    return r == 0 ? fl_buf_puts(&d->buf, "\r\n") : r;
}

static void tunnel_send(struct fl_dial *d)
{
    ssize_t n = send(d->fd, d->buf.data + d->sent, d->buf.len - d->sent, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        d->r = fl_err_set(&d->err, -EIO, NULL, "proxy %s:%u: the connection broke", d->proxy.host,
                          d->proxy.port);
        fail(d);
        return;
    }
    d->sent += n > 0 ? (size_t)n : 0;
    if (d->sent < d->buf.len)
        return;
    fl_wipe(d->buf.data, d->buf.len); /* it held the password */
    fl_buf_reset(&d->buf);
    d->state = TUNNEL_RECEIVE;
    fl_io_set(d->io, FL_IO_READ);
}

static int refused(struct fl_dial *d, int status)
{
    char proxy[300], target[300];

    snprintf(proxy, sizeof(proxy), "%s:%u", d->proxy.host, d->proxy.port);
    snprintf(target, sizeof(target), "%s:%u", d->target.host, d->target.port);
    return fl_proxy_refused(proxy, target, status, &d->err);
}

static void tunnel_answered(struct fl_dial *d, size_t head_len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(TUNNEL_HEAD_MAX * 4);
    struct fl_head head = { 0 };
    int r = fl_head_parse_response(d->buf.data, head_len, &arena, &head);

    if (r == 0 && head.status >= 200 && head.status < 300) {
        tunnel_open(d);
        return;
    }
    if (r < 0)
        d->r = fl_err_set(&d->err, -EPROTO, NULL, "proxy %s:%u: did not answer in HTTP",
                          d->proxy.host, d->proxy.port);
    else
        d->r = refused(d, head.status);
    fail(d);
}

/* Takes bytes off the socket that were seen there. */
static bool take(int fd, char *data, size_t n)
{
    while (n > 0) {
        ssize_t got = recv(fd, data, n, 0);

        if (got > 0)
            n -= (size_t)got;
        else if (got == 0 || (errno != EINTR && errno != EAGAIN))
            return false;
    }
    return true;
}

/* What stands behind the head belongs to the target: only the head is taken off the socket. */
static void tunnel_receive(struct fl_dial *d)
{
    char peeked[1024];
    ssize_t n = recv(d->fd, peeked, sizeof(peeked), MSG_PEEK);
    size_t before = d->buf.len, head;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || fl_buf_append(&d->buf, peeked, (size_t)n) < 0) {
        d->r = fl_err_set(&d->err, -EPROTO, NULL, "proxy %s:%u: %s", d->proxy.host, d->proxy.port,
                          n <= 0 ? "closed the connection" : "its answer is too long");
        fail(d);
        return;
    }
    head = fl_head_length(d->buf.data, d->buf.len, before > 3 ? before - 3 : 0);
    n = head ? (ssize_t)(head - before) : n;
    if (!take(d->fd, peeked, (size_t)n)) {
        d->r = fl_err_set(&d->err, -EIO, NULL, "proxy %s:%u: the connection broke", d->proxy.host,
                          d->proxy.port);
        fail(d);
        return;
    }
    if (head)
        tunnel_answered(d, head);
}

/* ---- connecting ---- */

static void connected(struct fl_dial *d)
{
    int one = 1;

    fl_timer_stop(d->address_timer);
    setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (!d->proxied) {
        tunnel_open(d);
        return;
    }
    if (tunnel_request(d) < 0) {
        d->r = fl_err_nomem(&d->err);
        fail(d);
        return;
    }
    d->state = TUNNEL_SEND;
    fl_io_set(d->io, FL_IO_WRITE);
}

static void on_io(void *arg, unsigned events)
{
    step(arg);
}

/* Starts on one address. False: it failed at once. */
static bool try_address(struct fl_dial *d, const struct addrinfo *a)
{
    d->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (d->fd < 0 || (connect(d->fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)) {
        d->last_error = errno;
        close_socket(d);
        return false;
    }
    d->io = fl_io_new(d->dialer->loop, d->fd, on_io, d);
    if (!d->io || fl_io_set(d->io, FL_IO_WRITE) < 0) {
        d->last_error = ENOMEM;
        close_socket(d);
        return false;
    }
    return true;
}

static void next_address(struct fl_dial *d)
{
    char at[640];

    while (d->next) {
        struct addrinfo *a = d->next;

        d->next = a->ai_next;
        if (!try_address(d, a))
            continue;
        if (d->next)
            fl_timer_start(d->address_timer, ADDRESS_MS);
        return;
    }
    d->r = d->last_error == ECONNREFUSED || d->last_error == ETIMEDOUT ? -d->last_error
                                                                       : -EHOSTUNREACH;
    fl_err_set(&d->err, d->r, NULL, "%s: %s", where(d, at), strerror(d->last_error));
    fail(d);
}

static void on_address_timeout(void *arg)
{
    struct fl_dial *d = arg;

    d->last_error = ETIMEDOUT;
    close_socket(d);
    next_address(d);
}

static void connect_step(struct fl_dial *d)
{
    socklen_t len = sizeof(d->last_error);

    getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &d->last_error, &len);
    if (d->last_error == 0) {
        connected(d);
        return;
    }
    close_socket(d);
    next_address(d);
}

static void step(struct fl_dial *d)
{
    switch (d->state) {
    case LOOKUP:
        d->state = CONNECT;
        next_address(d);
        break;
    case CONNECT:
        connect_step(d);
        break;
    case TUNNEL_SEND:
        tunnel_send(d);
        break;
    case TUNNEL_RECEIVE:
        tunnel_receive(d);
        break;
    case TLS:
        tls_step(d);
        break;
    }
}

/* ---- name lookup ---- */

static int look_up(const char *host, const char *port, int flags, struct addrinfo **ret)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV };

    return getaddrinfo(host, port, &hints, ret);
}

static void lookup_work(void *arg)
{
    struct lookup *l = arg;

    l->r = look_up(l->host, l->port, AI_ADDRCONFIG, &l->list);
}

static void lookup_done(void *arg)
{
    struct lookup *l = arg;
    struct fl_dial *d = l->dial;
    char at[640];

    if (!d) {
        if (l->list)
            freeaddrinfo(l->list);
        free(l);
        return;
    }
    d->lookup = NULL;
    d->list = d->next = l->list;
    if (l->r != 0) {
        d->r = fl_err_set(&d->err, -EHOSTUNREACH, NULL, "%s: cannot look up %s: %s", where(d, at),
                          l->host, gai_strerror(l->r));
        free(l);
        fail(d);
        return;
    }
    free(l);
    step(d);
}

static int start_lookup(struct fl_dial *d)
{
    char port[6];
    const char *host = d->proxied ? d->proxy.host : d->target.host;
    struct lookup *l;

    snprintf(port, sizeof(port), "%d", d->proxied ? d->proxy.port : d->target.port);
    if (look_up(host, port, AI_NUMERICHOST, &d->list) == 0) {
        d->next = d->list;
        fl_timer_start(d->soon, 0); /* an address needs no thread */
        return 0;
    }
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    snprintf(l->host, sizeof(l->host), "%s", host);
    snprintf(l->port, sizeof(l->port), "%s", port);
    l->dial = d;
    if (fl_loop_work(d->dialer->loop, lookup_work, lookup_done, l) < 0) {
        free(l);
        return -ENOMEM;
    }
    d->lookup = l;
    return 0;
}

/* ---- public ---- */

static void on_deadline(void *arg)
{
    struct fl_dial *d = arg;
    char at[640];

    d->r = fl_err_set(&d->err, -ETIMEDOUT, NULL, "%s: no connection in time", where(d, at));
    fail(d);
}

int fl_dial_start(struct fl_dialer *dialer, const char *url, uint32_t timeout_ms, fl_dial_fn done,
                  void *arg, struct fl_dial **ret_dial, struct fl_err *err)
{
    struct fl_dial *d = calloc(1, sizeof(*d));
    int r;

    if (!d)
        return fl_err_nomem(err);
    *d = (struct fl_dial){ .dialer = dialer, .done = done, .arg = arg, .fd = -1 };
    fl_buf_init(&d->buf, TUNNEL_HEAD_MAX);
    d->deadline = fl_timer_new(dialer->loop, on_deadline, d);
    d->address_timer = fl_timer_new(dialer->loop, on_address_timeout, d);
    d->soon = fl_timer_new(dialer->loop, on_soon, d);
    if (!d->deadline || !d->address_timer || !d->soon) {
        r = fl_err_nomem(err);
    } else {
        r = fl_url_parse(url, &d->target);
        if (r < 0)
            fl_err_set(err, r, NULL, "%s: not a URL with a host", url);
    }
    if (r == 0 && dialer->proxy) {
        r = fl_proxy_pick(dialer->proxy, url, &d->proxy, err);
        d->proxied = r == 1;
        r = FL_MIN(r, 0);
    }
    if (r == 0) {
        r = start_lookup(d);
        if (r < 0)
            fl_err_nomem(err);
    }
    if (r < 0) {
        dial_free(d);
        return r;
    }
    fl_timer_start(d->deadline, timeout_ms);
    *ret_dial = d;
    return 0;
}

void fl_dial_cancel(struct fl_dial *dial)
{
    if (dial)
        dial_free(dial);
}
