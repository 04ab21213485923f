/* ipc_worker.c - see ipc_worker.h. */
#include "agent/lib/ipc_worker.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const struct fl_field fetch_fields[] = {
    FL_FIELD(struct fl_worker_fetch, ok, "ok", 0),
    FL_FIELD(struct fl_worker_fetch, error, "error", 0),
};
const struct fl_shape fl_shape_worker_fetch =
    FL_SHAPE(struct fl_worker_fetch, "worker_fetch", fetch_fields);

const struct fl_ipc_row fl_worker_rows[FL_N_WORKER_ROWS] = {
    { .type = FL_WORKER_CANCEL, .name = "cancel", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_WORKER_FETCH, .name = "fetch", .shape = &fl_shape_worker_fetch, .phases = 1 },
    { .type = FL_WORKER_LOOK, .name = "look", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_WORKER_NEED_FETCH, .name = "need-fetch", .shape = &fl_shape_empty, .phases = 1 },
};

/* Folder names may be longer than a socket address: the way leads through the open descriptor. */
static int make_socket(int dir_fd, struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/sock", dir_fd);
    return fd < 0 ? -errno : fd;
}

int fl_worker_listen(int dir_fd, int *ret_fd)
{
    struct sockaddr_un sa;
    fl_autofd int fd = make_socket(dir_fd, &sa);

    if (fd < 0)
        return fd;
    /* Before bind, so that the file never has wider rights than this. */
    if (fchmod(fd, 0600) < 0)
        return -errno;
    if (unlinkat(dir_fd, "sock", 0) < 0 && errno != ENOENT)
        return -errno;
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 4) < 0)
        return -errno;
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

int fl_worker_connect(int dir_fd, int *ret_fd)
{
    struct sockaddr_un sa;
    fl_autofd int fd = make_socket(dir_fd, &sa);

    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return -errno;
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}
