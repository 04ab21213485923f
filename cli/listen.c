/* listen.c - see listen.h. */
#include "cli/listen.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 128

/* ---- Unix ---- */

/* True if somebody listens there, or it cannot be known; does not wait for one who is busy. */
static bool is_alive(const struct sockaddr_un *a)
{
    fl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 || connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 ||
           errno != ECONNREFUSED;
}

/* A file of another kind answers to connect() as a socket that nobody listens on any more does. */
static int remove_socket(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) ? unlink(path) : -1;
}

static int listen_unix(const char *path, struct fl_listen *l, struct fl_err *err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    fl_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask;
    int r;

    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "a socket: %s", strerror(errno));
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    mask = umask(0177);
    r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    if (r == -EADDRINUSE && !is_alive(&a) && remove_socket(path) == 0)
        r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
    umask(mask);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", path, strerror(-r));
    l->fds[l->n++] = FL_TAKE_FD(fd);
    snprintf(l->name, sizeof(l->name), "%s", path);
    return 0;
}

/* ---- TCP ---- */

static void set_port(struct sockaddr_storage *a, uint16_t port)
{
    if (a->ss_family == AF_INET)
        ((struct sockaddr_in *)a)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)a)->sin6_port = htons(port);
}

static int listen_at(const struct addrinfo *ai, struct fl_listen *l)
{
    fl_autofd int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage a = { 0 };
    socklen_t len = sizeof(a);
    int on = 1;

    if (fd < 0 || ai->ai_addrlen > sizeof(a))
        return -errno;
    memcpy(&a, ai->ai_addr, ai->ai_addrlen);
    set_port(&a, l->port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    if (l->n == 0) {
        char host[256], port[16];

        if (getsockname(fd, (struct sockaddr *)&a, &len) < 0 ||
            getnameinfo((struct sockaddr *)&a, len, host, sizeof(host), port, sizeof(port),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
            return -EADDRNOTAVAIL;
        snprintf(l->name, sizeof(l->name), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
        l->port = (uint16_t)strtoul(port, NULL, 10);
    }
    l->fds[l->n++] = FL_TAKE_FD(fd);
    return 0;
}

static int listen_tcp(const struct fl_forward_spec *spec, struct fl_listen *l, struct fl_err *err)
{
    static const int families[] = { AF_INET, AF_INET6 }; /* in this order on one port */
    bool any = strcmp(spec->bind, "*") == 0;
    const char *host = any || !spec->bind[0] ? NULL : spec->bind;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = any ? AI_PASSIVE : 0 };
    struct addrinfo *all;
    int r = getaddrinfo(host, "0", &hints, &all), first = 0;

    if (r != 0)
        return fl_err_set(err, -EADDRNOTAVAIL, NULL, "%s: %s", host ? host : "loopback",
                          gai_strerror(r));
    l->port = spec->local;
    for (size_t f = 0; f < FL_ARRAY_LEN(families); f++)
        for (const struct addrinfo *ai = all; ai && l->n < FL_LISTEN_MAX; ai = ai->ai_next) {
            if (ai->ai_family != families[f])
                continue;
            r = listen_at(ai, l);
            /* Somebody else's half of a port would take half of the connections. */
            if (r == -EADDRINUSE || !first)
                first = r;
            if (r == -EADDRINUSE)
                break;
        }
    freeaddrinfo(all);
    if (l->n > 0 && first != -EADDRINUSE)
        return 0;
    return fl_err_set(err, first ? first : -EADDRNOTAVAIL, NULL, "port %u: %s", spec->local,
                      strerror(first ? -first : EADDRNOTAVAIL));
}

int fl_listen_open(const struct fl_forward_spec *spec, struct fl_listen *ret, struct fl_err *err)
{
    int r;

    *ret = (struct fl_listen){ 0 };
    r = spec->path[0] ? listen_unix(spec->path, ret, err) : listen_tcp(spec, ret, err);
    if (r < 0)
        fl_listen_done(ret);
    return r;
}

void fl_listen_done(struct fl_listen *l)
{
    for (size_t i = 0; i < l->n; i++)
        close(l->fds[i]);
    if (l->n > 0 && l->port == 0)
        remove_socket(l->name);
    l->n = 0;
}
