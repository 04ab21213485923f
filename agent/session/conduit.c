/* conduit.c - see conduit.h. */
#include "agent/session/conduit.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "common/base/buf.h"

#define QUEUE_MAX_BYTES (8u << 20) /* owners stop long before */

struct fl_conduit {
    struct fl_io *io;
    int fd; /* -1: a pipe whose writing was ended */
    struct fl_conduit_events events;
    void *arg;
    struct fl_buf out;
    bool reads, ended;       /* there is something to read at all; it has ended */
    bool closing, no_writes; /* after the queue; from now on */
    bool busy, gone;         /* a callback may run; it was freed in one */
};

static char scratch[FL_CONDUIT_READ_BYTES]; /* of whoever reads: one loop, one reader at a time */

static void watch(struct fl_conduit *c)
{
    bool wants = c->reads && !c->ended && c->events.room(c->arg) > 0;

    if (c->fd >= 0)
        fl_io_set(c->io, (wants ? FL_IO_READ : 0) | (c->out.len > 0 ? FL_IO_WRITE : 0));
}

static void finish_reading(struct fl_conduit *c, int r)
{
    c->ended = true;
    c->events.on_end(c->arg, r);
}

static void stop_writing(struct fl_conduit *c)
{
    struct stat st;

    fl_buf_done(&c->out);
    if (c->no_writes)
        return;
    c->no_writes = true;
    if (fstat(c->fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
        shutdown(c->fd, SHUT_WR);
    } else if (!c->reads) {
        c->io = fl_io_free(c->io);
        close(FL_TAKE_FD(c->fd));
    }
}

static void flush(struct fl_conduit *c)
{
    size_t done = 0;

    while (done < c->out.len) {
        ssize_t n = write(c->fd, c->out.data + done, c->out.len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            /* Who reads nothing any more may still have something to say. */
            stop_writing(c);
            return;
        }
        done += (size_t)n;
    }
    fl_buf_consume(&c->out, done);
    if (c->out.len > 0)
        return;
    fl_buf_done(&c->out);
    if (c->closing)
        stop_writing(c);
}

static void read_some(struct fl_conduit *c)
{
    size_t room = FL_MIN(c->events.room(c->arg), sizeof(scratch));
    ssize_t n;

    if (room == 0)
        return;
    n = read(c->fd, scratch, room);
    if (n > 0)
        c->events.on_data(c->arg, scratch, (size_t)n);
    else if (n == 0 || errno == EIO) /* EIO: a terminal that nobody has open */
        finish_reading(c, 0);
    else if (errno != EAGAIN && errno != EINTR)
        finish_reading(c, -errno);
}

static void on_io(void *arg, unsigned events)
{
    struct fl_conduit *c = arg;

    c->busy = true;
    if (events & FL_IO_WRITE && c->out.len > 0) {
        flush(c);
        if (c->out.len == 0 && c->events.on_drain)
            c->events.on_drain(c->arg);
    }
    if (!c->gone && events & FL_IO_READ && c->reads && !c->ended && c->fd >= 0)
        read_some(c);
    c->busy = false;
    if (c->gone)
        free(c);
    else
        watch(c);
}

int fl_conduit_new(struct fl_loop *loop, int fd, const struct fl_conduit_events *events, void *arg,
                   struct fl_conduit **ret_conduit)
{
    struct fl_conduit *c = calloc(1, sizeof(*c));
    int flags = fcntl(fd, F_GETFL);

    if (c && flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
        c->io = fl_io_new(loop, fd, on_io, c);
    if (!c || !c->io) {
        close(fd);
        free(c);
        return -ENOMEM;
    }
    c->fd = fd;
    c->events = *events;
    c->arg = arg;
    c->reads = (flags & O_ACCMODE) != O_WRONLY;
    c->no_writes = (flags & O_ACCMODE) == O_RDONLY;
    fl_buf_init(&c->out, QUEUE_MAX_BYTES);
    watch(c);
    *ret_conduit = c;
    return 0;
}

struct fl_conduit *fl_conduit_free(struct fl_conduit *c)
{
    if (!c)
        return NULL;
    c->gone = true;
    c->io = fl_io_free(c->io);
    if (c->fd >= 0)
        close(FL_TAKE_FD(c->fd));
    fl_buf_done(&c->out);
    if (!c->busy)
        free(c);
    return NULL;
}

void fl_conduit_kick(struct fl_conduit *c)
{
    watch(c);
}

int fl_conduit_write(struct fl_conduit *c, const void *data, size_t len)
{
    int r;

    if (c->no_writes || c->closing)
        return -EPIPE;
    if (c->out.len == 0) {
        ssize_t n = write(c->fd, data, len);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            stop_writing(c);
            return -EPIPE;
        }
        if (n > 0) {
            data = (const char *)data + n;
            len -= (size_t)n;
        }
    }
    if (len == 0)
        return 0;
    r = fl_buf_append(&c->out, data, len);
    watch(c);
    return r;
}

size_t fl_conduit_queued(const struct fl_conduit *c)
{
    return c->out.len;
}

void fl_conduit_end_writing(struct fl_conduit *c)
{
    c->closing = true;
    if (c->out.len == 0)
        stop_writing(c);
}

bool fl_conduit_ended(const struct fl_conduit *c)
{
    return c->ended;
}

int fl_conduit_fd(const struct fl_conduit *c)
{
    return c->fd;
}
