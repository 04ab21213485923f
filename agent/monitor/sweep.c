/* sweep.c - see sweep.h. */
#include "agent/monitor/sweep.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define MAX_FOLDERS 1000000
#define MAX_DEPTH   32

struct folder {
    char *name;
    int64_t ended_ms, bytes, files;
};

struct list {
    struct folder *v;
    size_t n, room;
};

static void list_done(struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i].name);
    free(l->v);
}

/* Adds up what lies below; takes the descriptor. */
static void measure(int dir_fd, int depth, struct folder *f)
{
    DIR *dir = fdopendir(dir_fd);
    struct stat st;

    if (!dir) {
        close(dir_fd);
        return;
    }
    for (struct dirent *e; (e = readdir(dir));) {
        int fd;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        f->files++;
        f->bytes += (int64_t)st.st_blocks * 512;
        /* The journal is the last thing a job writes to. */
        if (depth == 0 && strcmp(e->d_name, "journal") == 0)
            f->ended_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
        if (!S_ISDIR(st.st_mode) || depth == MAX_DEPTH)
            continue;
        fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            measure(fd, depth + 1, f);
    }
    closedir(dir);
}

static int add(struct list *l, int parent_fd, const char *name)
{
    struct folder f = { .name = strdup(name), .files = 1 };
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd >= 0)
        measure(fd, 0, &f);
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        struct folder *grown = realloc(l->v, room * sizeof(*grown));

        if (!grown) {
            free(f.name);
            return -ENOMEM;
        }
        l->v = grown;
        l->room = room;
    }
    if (!f.name)
        return -ENOMEM;
    l->v[l->n++] = f;
    return 0;
}

static int oldest_first(const void *a, const void *b)
{
    const struct folder *x = a, *y = b;

    return x->ended_ms < y->ended_ms ? -1 : x->ended_ms > y->ended_ms;
}

static int read_all(const char *done_dir, struct list *l, struct fl_err *err)
{
    DIR *dir = opendir(done_dir);
    int r = 0;

    if (!dir)
        return fl_err_set(err, -errno, NULL, "%s: %s", done_dir, strerror(errno));
    for (struct dirent *e; r == 0 && l->n < MAX_FOLDERS && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = add(l, dirfd(dir), e->d_name);
    closedir(dir);
    return r < 0 ? fl_err_set(err, r, NULL, "%s: out of memory", done_dir) : 0;
}

int fl_sweep(const char *done_dir, const struct fl_sweep_limits *limits, int64_t now_ms,
             struct fl_err *err)
{
    struct list l FL_CLEANUP(list_done) = { 0 };
    int64_t bytes = 0, files = 0;
    int r = read_all(done_dir, &l, err);

    if (r < 0)
        return r;
    if (l.n > 0)
        qsort(l.v, l.n, sizeof(*l.v), oldest_first);
    for (size_t i = 0; i < l.n; i++) {
        bytes += l.v[i].bytes;
        files += l.v[i].files;
    }
    for (size_t i = 0; i < l.n; i++) {
        fl_autofree char *path = NULL;
        int removed;

        if (bytes <= limits->max_bytes && files <= limits->max_files &&
            now_ms - l.v[i].ended_ms <= limits->max_age_ms)
            break; /* all that follow are younger */
        path = fl_path_join(done_dir, l.v[i].name);
        removed = path ? fl_dir_remove(path, err) : -ENOMEM;
        if (removed < 0)
            r = removed;
        bytes -= l.v[i].bytes;
        files -= l.v[i].files;
    }
    return r;
}

int fl_sweep_main(int argc, char **argv)
{
    struct fl_sweep_limits limits;
    struct fl_err err = { 0 };

    if (argc != 5)
        return 2;
    limits = (struct fl_sweep_limits){ .max_bytes = strtoll(argv[2], NULL, 10),
                                       .max_files = strtoll(argv[3], NULL, 10),
                                       .max_age_ms = strtoll(argv[4], NULL, 10) * 3600 * 1000 };
    setpriority(PRIO_PROCESS, 0, 19); /* nobody waits for this */
    if (fl_sweep(argv[1], &limits, fl_now_ms(), &err) < 0) {
        fl_log_warn("old job folder not removed", FL_S("error", fl_err_text(&err)));
        return 1;
    }
    return 0;
}
