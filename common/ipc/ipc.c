/* ipc.c - see ipc.h.
 *
 * Descriptors travel with the first byte of their frame. Reading stops at a frame that brings more
 * than the limit: the peer is broken or hostile, and memory is what it would take.
 */
#include "common/ipc/ipc.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define READ_BYTES        65536
#define FRAMES_PER_WAKEUP 64 /* then the loop gets a turn */

struct header {
    uint32_t len; /* of the packed struct */
    uint16_t type;
    uint16_t n_fds;
    uint32_t id;
};

struct out_frame {
    STAILQ_ENTRY(out_frame) entry;
    size_t len, sent;
    int fds[FL_IPC_MAX_FDS];
    size_t n_fds;
    char data[];
};

struct fl_ipc {
    struct fl_loop *loop;
    struct fl_io *io;
    int fd;
    const struct fl_ipc_row *rows;
    size_t n_rows;
    fl_ipc_close_fn on_close;
    void *arg;
    unsigned phase;
    bool in_callback, doomed, closed;
    struct fl_buf in;
    int in_fds[FL_IPC_MAX_FDS * 4]; /* arrived, not yet claimed by a frame */
    size_t n_in_fds;
    STAILQ_HEAD(, out_frame) out;
    size_t queued;
};

static void close_fds(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void free_frame(struct out_frame *f)
{
    close_fds(f->fds, f->n_fds);
    free(f);
}

static void release(struct fl_ipc *ipc)
{
    struct out_frame *f;

    while ((f = STAILQ_FIRST(&ipc->out))) {
        STAILQ_REMOVE_HEAD(&ipc->out, entry);
        free_frame(f);
    }
    close_fds(ipc->in_fds, ipc->n_in_fds);
    fl_buf_done(&ipc->in);
    free(ipc);
}

static void shut(struct fl_ipc *ipc)
{
    ipc->closed = true;
    ipc->io = fl_io_free(ipc->io);
    if (ipc->fd >= 0)
        close(FL_TAKE_FD(ipc->fd));
}

static void end(struct fl_ipc *ipc, int why, const struct fl_err *err)
{
    if (ipc->closed)
        return;
    shut(ipc);
    if (!ipc->doomed)
        ipc->on_close(ipc->arg, why, err);
}

static const struct fl_ipc_row *find_row(const struct fl_ipc *ipc, uint16_t type)
{
    for (size_t i = 0; i < ipc->n_rows; i++)
        if (ipc->rows[i].type == type)
            return &ipc->rows[i];
    return NULL;
}

/* One frame to its handler. 0, or the reason to end the peer. */
static int deliver(struct fl_ipc *ipc, const struct header *h, const char *data, struct fl_err *err)
{
    const struct fl_ipc_row *row = find_row(ipc, h->type);
    struct fl_ipc_msg msg = { .id = h->id };
    int fds[FL_IPC_MAX_FDS];
    struct fl_arena arena;
    void *in;
    int r;

    if (!row || !row->handler)
        return fl_err_set(err, -EPROTO, NULL, "ipc: message type %u is not for this end", h->type);
    if (!(row->phases & ipc->phase))
        return fl_err_set(err, -EPROTO, NULL, "ipc: %s is not allowed now", row->name);
    if (h->n_fds > ipc->n_in_fds)
        return fl_err_set(err, -EPROTO, NULL, "ipc: %s came without its descriptors", row->name);

    memcpy(fds, ipc->in_fds, h->n_fds * sizeof(int));
    ipc->n_in_fds -= h->n_fds;
    memmove(ipc->in_fds, ipc->in_fds + h->n_fds, ipc->n_in_fds * sizeof(int));

    /* Structs of lists are larger than their packed form; eight times covers every shape in use. */
    fl_arena_init(&arena, (size_t)h->len * 8 + row->shape->size + 65536);
    in = fl_arena_alloc(&arena, row->shape->size);
    r = in ? fl_pack_decode(row->shape, data, h->len, &arena, in) : -ENOMEM;
    if (r < 0) {
        fl_err_set(err, r, NULL, "ipc: %s is malformed", row->name);
    } else {
        msg.in = in;
        msg.fds = fds;
        msg.n_fds = h->n_fds;
        r = row->handler(ipc->arg, &msg, err);
        if (r != 0 && err->code == 0)
            fl_err_set(err, r, NULL, "ipc: %s was refused", row->name);
    }
    close_fds(fds, h->n_fds);
    fl_arena_done(&arena);
    return r;
}

static int take_fds(struct fl_ipc *ipc, struct msghdr *mh)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        int fds[FL_IPC_MAX_FDS];

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        if (n > FL_IPC_MAX_FDS)
            return -EPROTO;
        memcpy(fds, CMSG_DATA(c), n * sizeof(int));
        if (n > FL_ARRAY_LEN(ipc->in_fds) - ipc->n_in_fds) {
            close_fds(fds, n);
            return -EPROTO;
        }
        memcpy(ipc->in_fds + ipc->n_in_fds, fds, n * sizeof(int));
        ipc->n_in_fds += n;
    }
    return mh->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
}

/* Bytes read, 0 at end of file, -EAGAIN, or an error. */
static ssize_t receive(struct fl_ipc *ipc)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FL_IPC_MAX_FDS * sizeof(int))];
    } control;
    struct iovec iov;
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes) };
    ssize_t n;
    int r;

    r = fl_buf_reserve(&ipc->in, READ_BYTES);
    if (r < 0)
        return r;
    iov = (struct iovec){ .iov_base = ipc->in.data + ipc->in.len, .iov_len = READ_BYTES };
    do
        n = recvmsg(ipc->fd, &mh, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    r = take_fds(ipc, &mh);
    if (r < 0)
        return r;
    ipc->in.len += (size_t)n;
    return n;
}

static int handle_frames(struct fl_ipc *ipc, struct fl_err *err)
{
    size_t done = 0;
    int r = 0;

    while (!ipc->closed && !ipc->doomed && ipc->in.len - done >= sizeof(struct header)) {
        struct header h;

        memcpy(&h, ipc->in.data + done, sizeof(h));
        if (h.len > FL_IPC_MAX_FRAME_BYTES || h.n_fds > FL_IPC_MAX_FDS)
            return fl_err_set(err, -EMSGSIZE, NULL, "ipc: a frame of %u bytes is over the limit",
                              h.len);
        if (ipc->in.len - done < sizeof(h) + h.len)
            break;
        r = deliver(ipc, &h, ipc->in.data + done + sizeof(h), err);
        if (r != 0)
            return r;
        done += sizeof(h) + h.len;
    }
    fl_buf_consume(&ipc->in, done);
    /* One large message must not keep its memory for the life of the process. */
    if (ipc->in.len == 0 && ipc->in.cap > 2 * READ_BYTES)
        fl_buf_done(&ipc->in);
    return 0;
}

static int flush(struct fl_ipc *ipc)
{
    struct out_frame *f;

    while ((f = STAILQ_FIRST(&ipc->out))) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(FL_IPC_MAX_FDS * sizeof(int))];
        } control = { .bytes = { 0 } };
        struct iovec iov = { .iov_base = f->data + f->sent, .iov_len = f->len - f->sent };
        struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        if (f->n_fds && f->sent == 0) {
            struct cmsghdr *c;

            mh.msg_control = control.bytes;
            mh.msg_controllen = CMSG_SPACE(f->n_fds * sizeof(int));
            c = CMSG_FIRSTHDR(&mh);
            c->cmsg_level = SOL_SOCKET;
            c->cmsg_type = SCM_RIGHTS;
            c->cmsg_len = CMSG_LEN(f->n_fds * sizeof(int));
            memcpy(CMSG_DATA(c), f->fds, f->n_fds * sizeof(int));
        }
        n = sendmsg(ipc->fd, &mh, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
        ipc->queued -= (size_t)n;
        f->sent += (size_t)n;
        if (f->sent == f->len) {
            STAILQ_REMOVE_HEAD(&ipc->out, entry);
            free_frame(f);
        }
    }
    return 0;
}

static void watch(struct fl_ipc *ipc)
{
    if (ipc->io)
        fl_io_set(ipc->io, FL_IO_READ | (STAILQ_EMPTY(&ipc->out) ? 0 : FL_IO_WRITE));
}

static void on_io(void *arg, unsigned events)
{
    struct fl_ipc *ipc = arg;
    struct fl_err err = { 0 };
    int r = 0;

    ipc->in_callback = true;
    if (events & FL_IO_WRITE) {
        r = flush(ipc);
        /* A peer that has gone may have left frames to read: reading finds the end of file. */
        if (r == -EPIPE || r == -ECONNRESET)
            r = 0;
    }
    for (int i = 0; r == 0 && (events & FL_IO_READ) && i < FRAMES_PER_WAKEUP; i++) {
        ssize_t n = receive(ipc);

        if (n == -EAGAIN)
            break;
        if (n <= 0) {
            r = n < 0 ? (int)n : 1;
            break;
        }
        r = handle_frames(ipc, &err);
        if (ipc->closed || ipc->doomed)
            break;
    }
    if (r != 0 && !ipc->closed && !ipc->doomed) {
        if (r < 0 && err.code == 0)
            fl_err_set(&err, r, NULL, "ipc: %s", strerror(-r));
        end(ipc, r < 0 ? r : 0, &err);
    }
    ipc->in_callback = false;
    if (ipc->doomed) {
        release(ipc);
        return;
    }
    watch(ipc);
}

int fl_ipc_new(struct fl_loop *loop, int fd, const struct fl_ipc_row *rows, size_t n_rows,
               fl_ipc_close_fn on_close, void *arg, struct fl_ipc **ret_ipc)
{
    fl_autofree struct fl_ipc *ipc = calloc(1, sizeof(*ipc));
    int r;

    if (!ipc) {
        close(fd);
        return -ENOMEM;
    }
    *ipc = (struct fl_ipc){ .loop = loop,
                            .fd = fd,
                            .rows = rows,
                            .n_rows = n_rows,
                            .on_close = on_close,
                            .arg = arg,
                            .phase = 1 };
    STAILQ_INIT(&ipc->out);
    fl_buf_init(&ipc->in, FL_IPC_MAX_FRAME_BYTES + sizeof(struct header) + READ_BYTES);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    ipc->io = fl_io_new(loop, fd, on_io, ipc);
    if (!ipc->io) {
        close(fd);
        return -ENOMEM;
    }
    r = fl_io_set(ipc->io, FL_IO_READ);
    if (r < 0) {
        shut(ipc);
        return r;
    }
    *ret_ipc = FL_TAKE(ipc);
    return 0;
}

struct fl_ipc *fl_ipc_free(struct fl_ipc *ipc)
{
    if (!ipc)
        return NULL;
    if (!ipc->closed)
        shut(ipc);
    ipc->doomed = true;
    if (!ipc->in_callback)
        release(ipc);
    return NULL;
}

void fl_ipc_set_phase(struct fl_ipc *ipc, unsigned phase_bit)
{
    ipc->phase = phase_bit;
}

static int dup_fds(struct out_frame *f, const int *fds, size_t n)
{
    for (; f->n_fds < n; f->n_fds++) {
        f->fds[f->n_fds] = fcntl(fds[f->n_fds], F_DUPFD_CLOEXEC, 3);
        if (f->fds[f->n_fds] < 0)
            return -errno;
    }
    return 0;
}

int fl_ipc_send(struct fl_ipc *ipc, uint16_t type, uint32_t id, const void *in, const int *fds,
                size_t n_fds)
{
    const struct fl_ipc_row *row = find_row(ipc, type);
    struct header h = { .type = type, .n_fds = (uint16_t)n_fds, .id = id };
    fl_autobuf struct fl_buf packed = FL_BUF(FL_IPC_MAX_FRAME_BYTES);
    struct out_frame *f;
    int r;

    if (ipc->closed)
        return -EPIPE;
    if (!row || n_fds > FL_IPC_MAX_FDS)
        return -EINVAL;
    r = fl_pack_encode(row->shape, in, &packed);
    if (r < 0)
        return r;
    if (ipc->queued + packed.len > FL_IPC_MAX_QUEUE_BYTES)
        return -ENOBUFS;

    f = calloc(1, sizeof(*f) + sizeof(h) + packed.len);
    if (!f)
        return -ENOMEM;
    r = dup_fds(f, fds, n_fds);
    if (r < 0) {
        free_frame(f);
        return r;
    }
    h.len = (uint32_t)packed.len;
    memcpy(f->data, &h, sizeof(h));
    if (packed.len)
        memcpy(f->data + sizeof(h), packed.data, packed.len);
    f->len = sizeof(h) + packed.len;
    STAILQ_INSERT_TAIL(&ipc->out, f, entry);
    ipc->queued += f->len;
    /* Written at once where the socket takes it: one wake-up less on the way of a job. A failure
     * shows on the next read. */
    flush(ipc);
    watch(ipc);
    return 0;
}

size_t fl_ipc_queued(const struct fl_ipc *ipc)
{
    return ipc->queued;
}
