/* tcp.c - see tcp.h. */
#include "agent/session/tcp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_MS 10000 /* one address may take so long */

/* ---- addresses ---- */

static void add(struct fl_tcp_target *t, const struct sockaddr *sa, socklen_t len)
{
    if (t->n < FL_TCP_MAX_ADDRESSES && len <= sizeof(t->addresses[0]))
        memcpy(&t->addresses[t->n++], sa, len);
}

void fl_tcp_local(uint16_t port, struct fl_tcp_target *ret_target)
{
    const struct sockaddr_in v4 = { .sin_family = AF_INET,
                                    .sin_port = htons(port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                                     .sin6_port = htons(port),
                                     .sin6_addr = IN6ADDR_LOOPBACK_INIT };

    *ret_target = (struct fl_tcp_target){ 0 };
    add(ret_target, (const struct sockaddr *)&v4, sizeof(v4));
    add(ret_target, (const struct sockaddr *)&v6, sizeof(v6));
    snprintf(ret_target->name, sizeof(ret_target->name), "localhost:%u", port);
}

/* Outlives a lookup that is forgotten. */
struct fl_tcp_lookup {
    char host[256], port[8];
    struct addrinfo *list;
    int error; /* of getaddrinfo */
    struct fl_tcp_target *target;
    fl_tcp_found_fn fn; /* NULL: forgotten */
    void *arg;
};

static void look_up(void *arg)
{
    struct fl_tcp_lookup *l = arg;
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG };

    l->error = getaddrinfo(l->host, l->port, &hints, &l->list);
    if (l->error)
        l->list = NULL;
}

static void looked_up(void *arg)
{
    fl_autofree struct fl_tcp_lookup *l = arg;
    fl_tcp_found_fn fn = l->fn;

    for (struct addrinfo *a = fn ? l->list : NULL; a; a = a->ai_next)
        add(l->target, a->ai_addr, a->ai_addrlen);
    if (fn && l->error)
        l->target->why = gai_strerror(l->error);
    if (l->list)
        freeaddrinfo(l->list);
    if (fn)
        fn(l->arg);
}

int fl_tcp_find(struct fl_loop *loop, const char *host, uint16_t port, struct fl_tcp_target *target,
                fl_tcp_found_fn fn, void *arg, struct fl_tcp_lookup **ret_lookup)
{
    struct fl_tcp_lookup *l = calloc(1, sizeof(*l));

    if (!l)
        return -ENOMEM;
    *target = (struct fl_tcp_target){ 0 };
    snprintf(target->name, sizeof(target->name), "%.255s:%u", host, port);
    snprintf(l->host, sizeof(l->host), "%s", host);
    snprintf(l->port, sizeof(l->port), "%u", port);
    l->target = target;
    l->fn = fn;
    l->arg = arg;
    if (fl_loop_work(loop, look_up, looked_up, l) < 0) {
        free(l);
        return -ENOMEM;
    }
    *ret_lookup = l;
    return 0;
}

void fl_tcp_forget(struct fl_tcp_lookup *l)
{
    if (l)
        l->fn = NULL;
}

/* ---- what is forbidden ---- */

/* As 16 bytes, IPv4 in its mapped form, so that both writings of an address are one. */
static bool parse(const char *text, struct in6_addr *ret)
{
    struct in_addr v4;

    if (inet_pton(AF_INET6, text, ret) == 1)
        return true;
    if (inet_pton(AF_INET, text, &v4) != 1)
        return false;
    *ret = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
    memcpy(&ret->s6_addr[12], &v4, sizeof(v4));
    return true;
}

static struct in6_addr address_of(const struct sockaddr_storage *sa)
{
    static const uint8_t nat64[12] = { 0x00, 0x64, 0xff, 0x9b }; /* RFC 6052: IPv4 behind it */
    struct in6_addr out = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

    if (sa->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

        if (memcmp(v6, nat64, sizeof(nat64)) != 0)
            return *v6;
        memcpy(&out.s6_addr[12], &v6->s6_addr[12], 4);
        return out;
    }
    memcpy(&out.s6_addr[12], &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    return out;
}

bool fl_tcp_is_denied(const struct fl_tcp_target *target, const struct fl_strs *list, char out[64])
{
    struct in6_addr address;

    for (size_t i = 0; i < target->n; i++) {
        const struct in6_addr ours = address_of(&target->addresses[i]);

        for (size_t j = 0; j < list->n; j++)
            if (parse(list->v[j], &address) && memcmp(&address, &ours, sizeof(ours)) == 0) {
                snprintf(out, 64, "%s", list->v[j]);
                return true;
            }
    }
    return false;
}

/* ---- connecting ---- */

struct fl_tcp_dial {
    struct fl_loop *loop;
    struct fl_tcp_target target;
    size_t next;
    int fd, error; /* of the first address: it is what the user thinks of */
    struct fl_io *io;
    struct fl_timer *timer; /* of an address; or until the next turn of the loop */
    fl_tcp_dialled_fn fn;
    void *arg;
};

static void drop_socket(struct fl_tcp_dial *d)
{
    d->io = fl_io_free(d->io);
    if (d->fd >= 0)
        close(FL_TAKE_FD(d->fd));
}

struct fl_tcp_dial *fl_tcp_cancel(struct fl_tcp_dial *d)
{
    if (!d)
        return NULL;
    drop_socket(d);
    fl_timer_free(d->timer);
    free(d);
    return NULL;
}

static void finish(struct fl_tcp_dial *d)
{
    fl_tcp_dialled_fn fn = d->fn;
    int fd = FL_TAKE_FD(d->fd), error = d->error;
    void *arg = d->arg;

    d->io = fl_io_free(d->io);
    fl_tcp_cancel(d);
    fn(arg, fd, fd >= 0 ? 0 : error ? error : -EHOSTUNREACH);
}

const char *fl_tcp_why(const struct fl_tcp_target *target, int r)
{
    return target->n == 0 && target->why ? target->why : strerror(-r);
}

static void failed(struct fl_tcp_dial *d, int error)
{
    d->error = d->error ? d->error : error;
    drop_socket(d);
}

static void try_next(void *arg);

static void on_io(void *arg, unsigned events)
{
    struct fl_tcp_dial *d = arg;
    int error = 0, on = 1;
    socklen_t len = sizeof(error);

    if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error) {
        failed(d, -error);
        try_next(d);
        return;
    }
    setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    finish(d);
}

/* The next address, or the end: the last thing done with it. */
static void try_next(void *arg)
{
    struct fl_tcp_dial *d = arg;

    if (d->fd >= 0)
        failed(d, -ETIMEDOUT); /* this is its timer */
    while (d->next < d->target.n) {
        const struct sockaddr_storage *sa = &d->target.addresses[d->next++];
        socklen_t len =
            sa->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

        d->fd = socket(sa->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (d->fd >= 0 &&
            (connect(d->fd, (const struct sockaddr *)sa, len) == 0 || errno == EINPROGRESS))
            d->io = fl_io_new(d->loop, d->fd, on_io, d);
        if (d->io) {
            fl_io_set(d->io, FL_IO_WRITE);
            fl_timer_start(d->timer, ADDRESS_MS);
            return;
        }
        failed(d, -errno);
    }
    finish(d);
}

int fl_tcp_dial(struct fl_loop *loop, const struct fl_tcp_target *target, fl_tcp_dialled_fn fn,
                void *arg, struct fl_tcp_dial **ret_dial)
{
    struct fl_tcp_dial *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;
    *d = (struct fl_tcp_dial){ .loop = loop, .target = *target, .fd = -1, .fn = fn, .arg = arg };
    d->timer = fl_timer_new(loop, try_next, d);
    if (!d->timer) {
        free(d);
        return -ENOMEM;
    }
    fl_timer_start(d->timer, 0);
    *ret_dial = d;
    return 0;
}
