/* doclimit.c - see doclimit.h. */
#include "agent/monitor/doclimit.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include "common/base/file.h"
#include "common/base/log.h"

#define MOUNT_POINT    "/sys/fs/cgroup"
#define DOCUMENTS      "documents"
#define SMALL_BYTES    65536
#define MIN_TASKS_EACH 64 /* with less, scripts would fail that now work */

/* Our group as a directory; -1 without cgroup v2. */
static int open_own(void)
{
    fl_autofree char *text = NULL;
    fl_autofree char *path = NULL;
    struct statfs fs;
    char *at, *end;

    if (fl_file_read("/proc/self/cgroup", SMALL_BYTES, &text, NULL, NULL) < 0 ||
        statfs(MOUNT_POINT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
        return -1;
    at = strstr(text, "0::/");
    if (!at || (at != text && at[-1] != '\n'))
        return -1;
    end = strchr(at, '\n');
    if (end)
        *end = '\0';
    path = fl_path_join(MOUNT_POINT, at + strlen("0::/"));
    return path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* systemd marks what it has handed over; groups of others are not ours to divide. */
static bool is_delegated(int fd)
{
    static const char *const marks[] = { "user.delegate", "trusted.delegate" };
    char value[8];

    for (size_t i = 0; i < FL_ARRAY_LEN(marks); i++)
        if (fgetxattr(fd, marks[i], value, sizeof(value)) == 1 && value[0] == '1')
            return true;
    return false;
}

static int put(int dir_fd, const char *name, const char *text)
{
    fl_autofd int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fl_fd_write_all(fd, text, strlen(text));
}

static int put_number(int dir_fd, const char *name, int64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)n);
    return put(dir_fd, name, text);
}

/* -ENODATA for "max". */
static int get_number(int dir_fd, const char *name, int64_t *ret)
{
    fl_autofd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    fl_autofree char *text = NULL;
    long long n;
    int r = fd < 0 ? -errno : fl_fd_read_all(fd, SMALL_BYTES, &text, NULL);

    if (r < 0)
        return r;
    if (sscanf(text, "%lld", &n) != 1)
        return -ENODATA;
    *ret = n;
    return 0;
}

/* A threaded group `name` below `dir_fd`, open. */
static int make_group(int dir_fd, const char *name)
{
    fl_autofd int fd = -1;
    int r;

    if (mkdirat(dir_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    r = fd < 0 ? -errno : put(fd, "cgroup.type", "threaded");
    return r < 0 ? r : FL_TAKE_FD(fd);
}

static int set_up(struct fl_doclimit *d, int own_fd, int64_t all)
{
    fl_autofd int fd = make_group(own_fd, DOCUMENTS);
    int r = fd < 0 ? fd : put(own_fd, "cgroup.subtree_control", "+pids");

    if (r == 0)
        r = put_number(fd, "pids.max", all);
    if (r == 0)
        r = put(fd, "cgroup.subtree_control", "+pids");
    if (r < 0)
        return r;
    d->dir_fd = FL_TAKE_FD(fd);
    d->each = all / 2;
    return 0;
}

/* Groups with processes refuse to go. */
static void remove_empty(struct fl_doclimit *d)
{
    int fd = openat(d->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            unlinkat(d->dir_fd, e->d_name, AT_REMOVEDIR);
    if (dir)
        closedir(dir);
}

void fl_doclimit_open(struct fl_doclimit *d)
{
    fl_autofd int own_fd = open_own();
    int64_t all;
    int r;

    *d = (struct fl_doclimit){ .dir_fd = -1 };
    if (own_fd < 0 || !is_delegated(own_fd))
        return;
    r = get_number(own_fd, "pids.max", &all);
    all -= FL_DOCLIMIT_RESERVE;
    if (r == -ENODATA || (r == 0 && all / 2 < MIN_TASKS_EACH))
        return;
    if (r == 0)
        r = set_up(d, own_fd, all);
    if (r < 0) {
        fl_log_warn("processes of documents are not limited", FL_S("error", strerror(-r)));
        return;
    }
    fl_log_info("processes of documents are limited", FL_I("all", all), FL_I("each", d->each));
    remove_empty(d);
}

void fl_doclimit_close(struct fl_doclimit *d)
{
    if (d->dir_fd >= 0)
        close(FL_TAKE_FD(d->dir_fd));
}

int fl_doclimit_join(struct fl_doclimit *d, const char *command_id)
{
    fl_autofd int fd = d->dir_fd < 0 ? -1 : make_group(d->dir_fd, command_id);
    int r = fd < 0 ? fd : put_number(fd, "pids.max", d->each);

    if (d->dir_fd >= 0 && r < 0)
        fl_log_warn("processes of a document are not limited", FL_S("command", command_id),
                    FL_S("error", strerror(-r)));
    return r < 0 ? -1 : openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
}

void fl_doclimit_sweep(struct fl_doclimit *d)
{
    if (d->dir_fd >= 0)
        remove_empty(d);
}
