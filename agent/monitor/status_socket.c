/* status_socket.c - see status_socket.h. */
#include "agent/monitor/status_socket.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define ACCEPT_PAUSE_MS 1000

struct fl_status_socket {
    int fd, dir_fd;
    struct fl_io *io;
    fl_status_fill_fn fill;
    void *arg;
};

static void on_connection(void *arg, unsigned events)
{
    struct fl_status_socket *s = arg;
    fl_autobuf struct fl_buf text = FL_BUF(FL_STATUS_MAX_BYTES);
    struct fl_agent_status status = { 0 };
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_STATUS_MAX_BYTES);
    fl_autofd int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        fl_io_pause(s->io, ACCEPT_PAUSE_MS); /* no descriptor left: it would ask again at once */
        return;
    }
    s->fill(s->arg, &arena, &status);
    if (fl_json_encode(&fl_shape_agent_status, &status, &text) < 0 || fl_buf_puts(&text, "\n") < 0)
        return;
    /* The object is far smaller than a socket's buffer: one write takes it. */
    send(fd, text.data, text.len, MSG_NOSIGNAL);
}

/* The way leads through a descriptor: the runtime folder of a user may be too long for an address.
 */
static int open_socket(struct fl_status_socket *s, const char *runtime_dir)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    s->dir_fd = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->dir_fd < 0 || s->fd < 0)
        return -errno;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/" FL_STATUS_SOCKET, s->dir_fd);
    if (fchmod(s->fd, 0600) < 0 ||
        (unlinkat(s->dir_fd, FL_STATUS_SOCKET, 0) < 0 && errno != ENOENT) ||
        bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(s->fd, 16) < 0)
        return -errno;
    return 0;
}

int fl_status_socket_new(struct fl_loop *loop, const char *runtime_dir, fl_status_fill_fn fill,
                         void *arg, struct fl_status_socket **ret_sock, struct fl_err *err)
{
    struct fl_status_socket *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    *s = (struct fl_status_socket){ .fd = -1, .dir_fd = -1, .fill = fill, .arg = arg };
    r = open_socket(s, runtime_dir);
    if (r == 0) {
        s->io = fl_io_new(loop, s->fd, on_connection, s);
        r = s->io ? fl_io_set(s->io, FL_IO_READ) : -ENOMEM;
    }
    if (r < 0) {
        fl_status_socket_free(s);
        return fl_err_set(err, r, NULL, "%s/" FL_STATUS_SOCKET ": %s", runtime_dir, strerror(-r));
    }
    *ret_sock = s;
    return 0;
}

struct fl_status_socket *fl_status_socket_free(struct fl_status_socket *s)
{
    if (!s)
        return NULL;
    s->io = fl_io_free(s->io);
    if (s->dir_fd >= 0) {
        unlinkat(s->dir_fd, FL_STATUS_SOCKET, 0);
        close(s->dir_fd);
    }
    if (s->fd >= 0)
        close(s->fd);
    free(s);
    return NULL;
}
