/* file.c - see file.h. */
#include "common/base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/buf.h"
#include "common/base/rand.h"

#define READ_CHUNK_BYTES   16384
#define MAX_REMOVE_DEPTH   64
#define TEMP_SUFFIX_DIGITS 12

int fl_fd_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

size_t fl_fd_read_upto(int fd, void *out, size_t len)
{
    size_t got = 0;
    ssize_t n;

    while (got < len && (n = read(fd, (char *)out + got, len - got)) != 0)
        if (n > 0)
            got += (size_t)n;
        else if (errno != EINTR)
            break;
    return got;
}

int fl_fd_pwrite_all(int fd, const void *data, size_t len, uint64_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

ssize_t fl_fd_pread_upto(int fd, void *out, size_t len, uint64_t offset)
{
    size_t got = 0;

    while (got < len) {
        ssize_t n = pread(fd, (char *)out + got, len - got, (off_t)(offset + got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

int fl_fd_read_all(int fd, size_t max_bytes, char **ret_data, size_t *ret_len)
{
    /* One byte over the limit may be read, to tell a full file from one that goes on. */
    fl_autobuf struct fl_buf b = FL_BUF(max_bytes + 1 + READ_CHUNK_BYTES);
    int r;

    for (;;) {
        ssize_t n;

        r = fl_buf_reserve(&b, READ_CHUNK_BYTES);
        if (r < 0)
            return r;
        n = read(fd, b.data + b.len, READ_CHUNK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        b.len += (size_t)n;
        b.data[b.len] = '\0';
        if (b.len > max_bytes)
            return -EFBIG;
    }
    *ret_data = fl_buf_take(&b, ret_len);
    return *ret_data ? 0 : -ENOMEM;
}

int fl_file_read(const char *path, size_t max_bytes, char **ret_data, size_t *ret_len,
                 struct fl_err *err)
{
    fl_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int r;

    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    r = fl_fd_read_all(fd, max_bytes, ret_data, ret_len);
    if (r == -EFBIG)
        return fl_err_set(err, r, NULL, "%s: larger than %zu bytes", path, max_bytes);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: %s", path, strerror(-r));
    return 0;
}

static int sync_parent(const char *path)
{
    fl_autofree char *dir = strdup(path);
    char *slash;

    if (!dir)
        return -ENOMEM;
    slash = strrchr(dir, '/');
    if (!slash)
        return fl_dir_sync(".", NULL);
    slash[slash == dir] = '\0';
    return fl_dir_sync(dir, NULL);
}

/* `like`: whose owner and mode it gets; NULL: ours, and `mode`. */
static int replace(const char *path, const struct stat *like, mode_t mode, const void *data,
                   size_t len, struct fl_err *err)
{
    fl_autofree char *temp = NULL;
    fl_autofd int fd = -1;
    char suffix[TEMP_SUFFIX_DIGITS + 1];
    int r;

    fl_random_hex(suffix, TEMP_SUFFIX_DIGITS);
    if (asprintf(&temp, "%s.%s", path, suffix) < 0) {
        temp = NULL;
        return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", path);
    }
    fd =
        open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, like ? 0600 : mode & 0700);
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: cannot create: %s", path, strerror(errno));

    r = fl_fd_write_all(fd, data, len);
    if (r == 0 && like && (like->st_uid != geteuid() || like->st_gid != getegid()) &&
        fchown(fd, like->st_uid, like->st_gid) < 0)
        r = -errno;
    if (r == 0 && fchmod(fd, like ? like->st_mode & 0777 : mode) < 0)
        r = -errno;
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(temp, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(temp);
        return fl_err_set(err, r, NULL, "%s: cannot write: %s", path, strerror(-r));
    }
    r = sync_parent(path);
    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: cannot sync its directory: %s", path, strerror(-r));
    return 0;
}

int fl_file_replace(const char *path, mode_t mode, const void *data, size_t len, struct fl_err *err)
{
    return replace(path, NULL, mode, data, len, err);
}

int fl_file_replace_kept(const char *path, mode_t mode, const void *data, size_t len,
                         struct fl_err *err)
{
    struct stat st;
    bool exists = lstat(path, &st) == 0;

    /* Following a link would let its owner choose what we overwrite. */
    if (exists && !S_ISREG(st.st_mode))
        return fl_err_set(err, -EINVAL, NULL, "%s: not a regular file", path);
    return replace(path, exists ? &st : NULL, mode, data, len, err);
}

int fl_dir_make(const char *path, mode_t mode, struct fl_err *err)
{
    fl_autofree char *copy = strdup(path);

    if (!copy)
        return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", path);
    for (char *p = copy + 1;; p++) {
        bool last = *p == '\0';

        if (!last && *p != '/')
            continue;
        *p = '\0';
        if (mkdir(copy, mode) == 0) {
            /* What is written into it is only as durable as its own name. A parent that may not be
             * opened cannot be synced. */
            int r = sync_parent(copy);

            if (r < 0 && r != -EACCES)
                return fl_err_set(err, r, NULL, "%s: cannot sync its directory: %s", copy,
                                  strerror(-r));
            if (chmod(copy, mode) < 0)
                return fl_err_set(err, -errno, NULL, "%s: %s", copy, strerror(errno));
        } else if (errno != EEXIST) {
            return fl_err_set(err, -errno, NULL, "%s: cannot create: %s", copy, strerror(errno));
        }
        if (last)
            break;
        *p = '/';
    }
    return 0;
}

int fl_dir_sync(const char *path, struct fl_err *err)
{
    fl_autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    return 0;
}

static int remove_below(int dir_fd, int depth);

static int remove_entry(int dir_fd, const char *name, int depth)
{
    fl_autofd int fd = -1;

    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = remove_below(FL_TAKE_FD(fd), depth + 1);
    if (r < 0)
        return r;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

/* Takes the descriptor. */
static int remove_below(int dir_fd, int depth)
{
    DIR *d;
    int r = 0;

    if (depth > MAX_REMOVE_DEPTH) {
        close(dir_fd);
        return -ELOOP;
    }
    d = fdopendir(dir_fd);
    if (!d) {
        r = -errno;
        close(dir_fd);
        return r;
    }
    for (struct dirent *e; r == 0 && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = remove_entry(dirfd(d), e->d_name, depth);
    closedir(d);
    return r;
}

int fl_dir_remove(const char *path, struct fl_err *err)
{
    int r = remove_entry(AT_FDCWD, path, 0);

    if (r < 0)
        return fl_err_set(err, r, NULL, "%s: cannot remove: %s", path, strerror(-r));
    return 0;
}

char *fl_path_join(const char *a, const char *b)
{
    char *p = NULL;

    return asprintf(&p, "%s/%s", a, b) < 0 ? NULL : p;
}
