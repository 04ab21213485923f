/* conn.c - see conn.h. */
#include "cli/conn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define READ_BYTES  65536
#define TURN_BYTES  (512 * 1024) /* then others get a turn */
#define CHUNK_BYTES 65536

struct chunk {
    TAILQ_ENTRY(chunk) link;
    size_t at, len;
    char data[CHUNK_BYTES];
};

struct fl_conn {
    int fd;
    bool is_socket, is_file;
    int flags;             /* to be set again: of a descriptor that others share; -1: none */
    struct fl_io *io;      /* NULL: a file, which no poll knows */
    struct fl_timer *soon; /* reads on, or tells */
    struct fl_conn_events events;
    void *arg;
    TAILQ_HEAD(chunks, chunk) out;
    size_t queued;
    int broken; /* -errno; told by `soon` */
    bool reading, eof, finishing, told_broken;
    bool busy, gone; /* freed while a callback runs */
};

static char shared[READ_BYTES]; /* one loop, one read at a time */

static void watch(struct fl_conn *c)
{
    unsigned events = 0;

    if (!c->io)
        return;
    if (c->reading)
        events |= FL_IO_READ;
    if (!TAILQ_EMPTY(&c->out))
        events |= FL_IO_WRITE;
    fl_io_set(c->io, events);
}

static void drop_queue(struct fl_conn *c)
{
    struct chunk *k;

    while ((k = TAILQ_FIRST(&c->out))) {
        TAILQ_REMOVE(&c->out, k, link);
        free(k);
    }
    c->queued = 0;
}

/* ---- reading ---- */

static ssize_t receive(const struct fl_conn *c, size_t max)
{
    ssize_t n;

    do
        n = read(c->fd, shared, max);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void end_reading(struct fl_conn *c, int r)
{
    c->reading = false;
    c->eof = true;
    watch(c);
    if (c->events.on_eof)
        c->events.on_eof(c->arg, r);
}

/* What there is, as far as there is room. */
static void read_on(struct fl_conn *c)
{
    size_t budget = TURN_BYTES;

    while (c->reading && budget) {
        size_t room = c->events.room ? c->events.room(c->arg) : sizeof(shared);
        size_t max = FL_MIN(room, sizeof(shared));
        ssize_t n = max ? receive(c, max) : -EAGAIN;

        if (!max)
            c->reading = false;
        if (n == -EAGAIN)
            break;
        if (n <= 0) {
            end_reading(c, (int)n);
            return;
        }
        budget -= FL_MIN(budget, (size_t)n);
        c->events.on_data(c->arg, shared, (size_t)n);
        if (c->gone)
            return;
        if ((size_t)n < max && !c->is_file)
            break; /* that was all */
    }
    if (c->reading && c->is_file)
        fl_timer_start(c->soon, 0);
    watch(c);
}

void fl_conn_kick(struct fl_conn *c)
{
    if (c->eof || c->reading || !c->events.on_data)
        return;
    c->reading = true;
    if (c->is_file)
        fl_timer_start(c->soon, 0);
    else
        watch(c);
}

/* ---- writing ---- */

static ssize_t give(const struct fl_conn *c, const void *data, size_t len)
{
    ssize_t n;

    do
        n = c->is_socket ? send(c->fd, data, len, MSG_NOSIGNAL) : write(c->fd, data, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void set_broken(struct fl_conn *c, int r)
{
    const struct linger now = { .l_onoff = 1 };

    /* Not as if that had been all. */
    if (c->is_socket)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    drop_queue(c);
    c->broken = r;
    fl_timer_start(c->soon, 0);
}

static void flush(struct fl_conn *c)
{
    struct chunk *k;

    while ((k = TAILQ_FIRST(&c->out))) {
        ssize_t n = give(c, k->data + k->at, k->len - k->at);

        if (n == -EAGAIN)
            return;
        if (n < 0) {
            set_broken(c, (int)n);
            return;
        }
        k->at += (size_t)n;
        c->queued -= (size_t)n;
        if (k->at == k->len) {
            TAILQ_REMOVE(&c->out, k, link);
            free(k);
        }
    }
}

static int keep(struct fl_conn *c, const char *data, size_t len)
{
    while (len) {
        struct chunk *k = TAILQ_LAST(&c->out, chunks);
        size_t n;

        if (!k || k->len == sizeof(k->data)) {
            k = malloc(sizeof(*k));
            if (!k)
                return -ENOMEM;
            k->at = k->len = 0;
            TAILQ_INSERT_TAIL(&c->out, k, link);
        }
        n = FL_MIN(len, sizeof(k->data) - k->len);
        memcpy(k->data + k->len, data, n);
        k->len += n;
        c->queued += n;
        data += n;
        len -= n;
    }
    return 0;
}

int fl_conn_write(struct fl_conn *c, const void *data, size_t len)
{
    const char *at = data;
    int r;

    if (c->broken || c->finishing)
        return -EPIPE;
    while (len && TAILQ_EMPTY(&c->out)) {
        ssize_t n = give(c, at, len);

        if (n == -EAGAIN)
            break;
        if (n < 0) {
            set_broken(c, (int)n);
            return -EPIPE;
        }
        at += n;
        len -= (size_t)n;
    }
    if (!len)
        return 0;
    r = keep(c, at, len);
    if (r < 0)
        set_broken(c, r);
    watch(c);
    return r;
}

size_t fl_conn_queued(const struct fl_conn *c)
{
    return c->queued;
}

void fl_conn_finish(struct fl_conn *c)
{
    c->finishing = true;
    if (TAILQ_EMPTY(&c->out) && c->is_socket)
        shutdown(c->fd, SHUT_WR);
}

static void after_flush(struct fl_conn *c)
{
    if (!TAILQ_EMPTY(&c->out) || c->broken)
        return;
    if (c->finishing && c->is_socket)
        shutdown(c->fd, SHUT_WR);
    if (c->events.on_drain)
        c->events.on_drain(c->arg);
}

/* ---- what the loop calls ---- */

static void leave(struct fl_conn *c)
{
    c->busy = false;
    if (c->gone)
        free(c);
}

static void on_io(void *arg, unsigned events)
{
    struct fl_conn *c = arg;

    c->busy = true;
    if ((events & FL_IO_WRITE) && !TAILQ_EMPTY(&c->out)) {
        flush(c);
        watch(c);
        after_flush(c);
    }
    if (!c->gone && (events & FL_IO_READ) && c->reading)
        read_on(c);
    leave(c);
}

static void on_soon(void *arg)
{
    struct fl_conn *c = arg;

    c->busy = true;
    if (c->broken && !c->told_broken) {
        c->told_broken = true;
        watch(c);
        if (c->events.on_broken)
            c->events.on_broken(c->arg, c->broken);
    }
    if (!c->gone && c->reading)
        read_on(c);
    leave(c);
}

/* ---- making and ending ---- */

struct fl_conn *fl_conn_free(struct fl_conn *c)
{
    if (!c)
        return NULL;
    drop_queue(c);
    fl_io_free(c->io);
    fl_timer_free(c->soon);
    if (c->flags >= 0)
        fcntl(c->fd, F_SETFL, c->flags);
    if (c->fd > STDERR_FILENO)
        close(c->fd);
    c->reading = false;
    c->gone = true;
    if (!c->busy)
        free(c);
    return NULL;
}

int fl_conn_new(struct fl_loop *loop, int fd, const struct fl_conn_events *events, void *arg,
                struct fl_conn **ret_conn)
{
    struct fl_conn *c = calloc(1, sizeof(*c));
    struct stat st;

    if (!c) {
        if (fd > STDERR_FILENO)
            close(fd);
        return -ENOMEM;
    }
    c->fd = fd;
    c->flags = -1;
    c->events = *events;
    c->arg = arg;
    TAILQ_INIT(&c->out);
    c->is_socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
    c->soon = fl_timer_new(loop, on_soon, c);
    c->io = fl_io_new(loop, fd, on_io, c);
    c->is_file = !c->io;
    if (!c->soon) {
        fl_conn_free(c);
        return -ENOMEM;
    }
    *ret_conn = c;
    return 0;
}

int fl_conn_std(struct fl_loop *loop, int fd, const struct fl_conn_events *events, void *arg,
                struct fl_conn **ret_conn)
{
    int flags = fcntl(fd, F_GETFL), own = -1, r;
    struct stat st;
    char path[32];

    if (flags < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path,
                   (fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    r = fl_conn_new(loop, own >= 0 ? own : fd, events, arg, ret_conn);
    /* The loop has made it non-blocking; a terminal of another user cannot be opened, a socket not
     * at all. */
    if (r == 0 && own < 0 && !(flags & O_NONBLOCK))
        (*ret_conn)->flags = flags;
    return r;
}
