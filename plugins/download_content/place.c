/* place.c - see place.h. */
#include "plugins/download_content/place.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/file.h"
#include "common/base/rand.h"

#define COPY_BYTES 65536
#define DIR_MODE   0700
#define FILE_MODE  0700

struct entry {
    char *dir; /* below the base, "" for itself */
    char temp[32];
    char *name;
    bool committed;
};

struct fl_place {
    int base_fd;
    char *path; /* to be shown */
    char *leaf; /* of the single file */
    struct entry *entries;
    size_t n_entries;
    char **made; /* folders, absolute or below the base, in the order they were made */
    size_t n_made, n_made_absolute;
};

bool fl_place_path_valid(const char *path)
{
    if (!*path)
        return false;
    for (const char *p = path; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
        size_t n = strcspn(p, "/");

        if (n == 0 || n > NAME_MAX || (n == 1 && p[0] == '.') ||
            (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
    }
    return strlen(path) < PATH_MAX;
}

static int note_made(struct fl_place *p, const char *path, size_t len)
{
    char **more = reallocarray(p->made, p->n_made + 1, sizeof(*more));

    if (!more)
        return -ENOMEM;
    p->made = more;
    p->made[p->n_made] = strndup(path, len);
    if (!p->made[p->n_made])
        return -ENOMEM;
    p->n_made++;
    return 0;
}

/* Opens the folder `path` below `at`, making what is missing. Links are followed only if `follow`.
 * A descriptor, or negative. */
static int walk(struct fl_place *p, int at, const char *path, bool follow)
{
    fl_autofd int dir = fcntl(at, F_DUPFD_CLOEXEC, 3);
    char part[NAME_MAX + 1];
    const char *s = path;

    if (dir < 0)
        return -errno;
    for (;;) {
        size_t n;
        int next;

        s += strspn(s, "/");
        n = strcspn(s, "/");
        if (n == 0)
            return FL_TAKE_FD(dir);
        if (n > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(part, s, n);
        part[n] = '\0';
        s += n;
        if (mkdirat(dir, part, DIR_MODE) == 0) {
            int r = note_made(p, path, (size_t)(s - path));

            if (r < 0)
                return r;
        } else if (errno != EEXIST) {
            return -errno;
        }
        next = openat(dir, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
        if (next < 0)
            return -errno;
        close(dir);
        dir = next;
    }
}

/* Splits "a/b/c" at its last slash. */
static int split(const char *path, char **ret_dir, char **ret_name)
{
    const char *slash = strrchr(path, '/');

    *ret_dir = slash ? strndup(path, (size_t)(slash - path)) : strdup("");
    *ret_name = strdup(slash ? slash + 1 : path);
    return *ret_dir && *ret_name ? 0 : -ENOMEM;
}

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder that holds everything, and the single file's name in it. */
static int find_base(struct fl_place *p, const char *downloads, const char *wanted,
                     const char *single, struct fl_err *err)
{
    bool absolute = wanted[0] == '/';
    fl_autofree char *whole = absolute ? strdup(wanted) : fl_path_join(downloads, wanted);
    fl_autofree char *base = NULL;
    fl_autofree char *below = NULL;
    fl_autofd int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t len = whole ? strlen(whole) : 0;
    bool into =
        single && (!*wanted || wanted[strlen(wanted) - 1] == '/' || (whole && is_folder(whole)));
    int r;

    if (!whole || root < 0)
        return -ENOMEM;
    while (len > 1 && whole[len - 1] == '/')
        whole[--len] = '\0';
    if (single && !into) {
        r = split(whole, &base, &p->leaf);
        p->path = strdup(whole);
    } else {
        base = strdup(whole);
        p->leaf = single ? strdup(single) : NULL;
        p->path = single ? fl_path_join(whole, single) : strdup(whole);
        r = 0;
    }
    if (r < 0 || !base || !p->path || (single && !p->leaf))
        return -ENOMEM;
    if (p->leaf && !fl_place_path_valid(p->leaf))
        return fl_err_set(err, -EINVAL, NULL, "%s: not the name of a file", p->leaf);
    p->base_fd = walk(p, root, absolute ? base : downloads, true);
    if (p->base_fd >= 0 && !absolute && strlen(base) > strlen(downloads)) {
        int fd;

        p->n_made_absolute = p->n_made;
        below = strdup(base + strlen(downloads) + 1);
        fd = below ? walk(p, p->base_fd, below, false) : -ENOMEM;
        close(p->base_fd);
        p->base_fd = fd;
        for (size_t i = p->n_made_absolute; i < p->n_made; i++) {
            char *from_root = fl_path_join(downloads, p->made[i]);

            free(p->made[i]);
            p->made[i] = from_root ? from_root : strdup("");
        }
    }
    p->n_made_absolute = p->n_made;
    return p->base_fd < 0 ? p->base_fd : 0;
}

int fl_place_open(const char *downloads, const char *wanted, const char *single,
                  struct fl_place **ret_place, struct fl_err *err)
{
    struct fl_place *p = calloc(1, sizeof(*p));
    fl_autofree char *plain = NULL;
    size_t len;
    int r;

    if (!p)
        return -ENOMEM;
    p->base_fd = -1;
    wanted = wanted ? wanted : "";
    if (*wanted && *wanted != '/') {
        plain = strdup(wanted);
        len = plain ? strlen(plain) : 0;
        while (len > 0 && plain[len - 1] == '/')
            plain[--len] = '\0';
        if (!plain || !fl_place_path_valid(plain)) {
            fl_place_free(p);
            return fl_err_set(err, -EINVAL, NULL, "destinationPath %.200s leads out of its folder",
                              wanted);
        }
    }
    r = find_base(p, downloads, wanted, single, err);
    if (r < 0) {
        if (err && err->code == 0)
            fl_err_set(err, r, NULL, "destinationPath %.200s: %s", wanted, strerror(-r));
        fl_place_free(p);
        return r;
    }
    *ret_place = p;
    return 0;
}

/* The folder of an entry, which exists. */
static int open_dir(struct fl_place *p, const struct entry *e)
{
    size_t n_made = p->n_made;
    int fd = walk(p, p->base_fd, e->dir, false);

    return n_made == p->n_made ? fd : -ESTALE;
}

struct fl_place *fl_place_free(struct fl_place *p)
{
    if (!p)
        return NULL;
    for (size_t i = 0; i < p->n_entries; i++) {
        struct entry *e = &p->entries[i];
        int dir = e->committed ? -1 : open_dir(p, e);

        if (dir >= 0) {
            unlinkat(dir, e->temp, 0);
            close(dir);
        }
        free(e->dir);
        free(e->name);
    }
    /* Those that hold something stay. */
    for (size_t i = p->n_made; i > 0; i--) {
        unlinkat(i > p->n_made_absolute ? p->base_fd : AT_FDCWD, p->made[i - 1], AT_REMOVEDIR);
        free(p->made[i - 1]);
    }
    if (p->base_fd >= 0)
        close(p->base_fd);
    free(p->made);
    free(p->entries);
    free(p->path);
    free(p->leaf);
    free(p);
    return NULL;
}

static int copy(int from, int to)
{
    fl_autofree char *data = malloc(COPY_BYTES);
    off_t at = 0;

    if (!data)
        return -ENOMEM;
    for (;;) {
        ssize_t n = pread(from, data, COPY_BYTES, at);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        r = fl_fd_write_all(to, data, (size_t)n);
        if (r < 0)
            return r;
        at += n;
    }
    return fsync(to) < 0 ? -errno : 0;
}

static int put(struct fl_place *p, const char *path, int from_fd)
{
    struct entry *more = reallocarray(p->entries, p->n_entries + 1, sizeof(*more));
    struct entry *e = more ? &more[p->n_entries] : NULL;
    fl_autofd int dir = -1;
    fl_autofd int to = -1;
    int r;

    if (!more)
        return -ENOMEM;
    p->entries = more;
    *e = (struct entry){ .dir = NULL };
    r = split(path, &e->dir, &e->name);
    if (r == 0)
        dir = walk(p, p->base_fd, e->dir, false);
    if (r == 0 && dir < 0)
        r = dir;
    snprintf(e->temp, sizeof(e->temp), ".fairlead-%08x%08x", fl_random_u32(), fl_random_u32());
    if (r == 0) {
        to = openat(dir, e->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
        r = to < 0 ? -errno : 0;
    }
    if (r < 0) {
        free(e->dir);
        free(e->name);
        return r;
    }
    p->n_entries++; /* from here on it is removed with the others */
    /* Whatever the umask. */
    return fchmod(to, FILE_MODE) < 0 ? -errno : copy(from_fd, to);
}

int fl_place_put(struct fl_place *p, const char *path, int from_fd, struct fl_err *err)
{
    const char *name = path ? path : p->leaf;
    int r;

    if (!name || !fl_place_path_valid(name))
        return fl_err_set(err, -EINVAL, NULL, "%.200s: a path that leads out of the destination",
                          name ? name : "");
    r = put(p, name, from_fd);
    return r < 0 ? fl_err_set(err, r, NULL, "%.200s: %s", name, strerror(-r)) : 0;
}

int fl_place_commit(struct fl_place *p, struct fl_err *err)
{
    for (size_t i = 0; i < p->n_entries; i++) {
        struct entry *e = &p->entries[i];
        fl_autofd int dir = open_dir(p, e);

        if (dir < 0 || renameat(dir, e->temp, dir, e->name) < 0) {
            int r = dir < 0 ? dir : -errno;

            return fl_err_set(err, r, NULL, "%.200s: %s", e->name, strerror(-r));
        }
        e->committed = true;
    }
    for (size_t i = 0; i < p->n_made; i++)
        free(p->made[i]);
    p->n_made = p->n_made_absolute = 0;
    return 0;
}

const char *fl_place_path(const struct fl_place *p)
{
    return p->path;
}
