/* blobs.c - see blobs.h. */
#include "server/s3/blobs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "server/counts.h"

#define SHELVES   256
#define SWEEP_IDS 200

struct fl_blobs {
    char *dir;
    int dir_fd;
    uint64_t max_bytes, max_files;
    atomic_uint_fast64_t bytes, files;
    struct timespec start; /* by the clock of the file system */
    pthread_rwlock_t looking;
    pthread_mutex_t lock;
    struct fl_counts held;   /* id -> how often */
    struct fl_counts doomed; /* id -> bytes, of held ones that are to be removed */
};

static int full(const struct fl_blobs *b, struct fl_err *err)
{
    return fl_err_set(err, -ENOSPC, "InsufficientStorage",
                      "The control plane keeps no more than %llu bytes in %llu files.",
                      (unsigned long long)b->max_bytes, (unsigned long long)b->max_files);
}

static int failed(struct fl_err *err, const char *what)
{
    int r = -errno;

    return fl_err_set(err, r, NULL, "%s: %s", what, strerror(errno));
}

static void temp_path(const char *id, char out[64])
{
    snprintf(out, 64, "tmp/%s", id);
}

static void place_path(const char *id, char out[64])
{
    snprintf(out, 64, "%.2s/%s", id, id);
}

/* ---- start ---- */

static int clean_start(struct fl_blobs *b, struct fl_err *err)
{
    fl_autofree char *tmp = fl_path_join(b->dir, "tmp");
    struct stat st;
    int r = tmp ? fl_dir_remove(tmp, err) : fl_err_nomem(err);

    if (r >= 0)
        r = fl_dir_make(tmp, 0700, err);
    if (r < 0)
        return r;
    b->dir_fd = open(b->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (b->dir_fd < 0 || fstatat(b->dir_fd, "tmp", &st, 0) < 0)
        return failed(err, b->dir);
    b->start = st.st_ctim;
    return 0;
}

int fl_blobs_new(const struct fl_blobs_conf *conf, struct fl_blobs **ret_blobs, struct fl_err *err)
{
    struct fl_blobs *b = calloc(1, sizeof(*b));
    pthread_rwlockattr_t attr;
    int r;

    if (!b)
        return fl_err_nomem(err);
    b->dir_fd = -1;
    /* Those who come do not keep one waiting who removes. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&b->looking, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&b->lock, NULL);
    b->dir = strdup(conf->dir);
    b->max_bytes = conf->max_bytes;
    b->max_files = conf->max_files;
    r = b->dir ? clean_start(b, err) : fl_err_nomem(err);
    if (r < 0) {
        fl_blobs_free(b);
        return r;
    }
    *ret_blobs = b;
    return 0;
}

struct fl_blobs *fl_blobs_free(struct fl_blobs *b)
{
    if (!b)
        return NULL;
    if (b->dir_fd >= 0)
        close(b->dir_fd);
    fl_counts_done(&b->held);
    fl_counts_done(&b->doomed);
    pthread_mutex_destroy(&b->lock);
    pthread_rwlock_destroy(&b->looking);
    free(b->dir);
    free(b);
    return NULL;
}

void fl_blobs_count(struct fl_blobs *b, uint64_t bytes, uint64_t files)
{
    atomic_fetch_add(&b->bytes, bytes);
    atomic_fetch_add(&b->files, files);
}

int fl_blobs_fits(const struct fl_blobs *b, uint64_t bytes, struct fl_err *err)
{
    uint64_t used = atomic_load(&b->bytes);

    if (bytes > b->max_bytes || used > b->max_bytes - bytes ||
        atomic_load(&b->files) >= b->max_files)
        return full(b, err);
    return 0;
}

/* ---- writing ---- */

int fl_blob_begin(struct fl_blobs *b, struct fl_blob *blob, struct fl_err *err)
{
    char path[64];
    int fd;

    *blob = (struct fl_blob){ .blobs = b, .fd = -1 };
    if (atomic_fetch_add(&b->files, 1) >= b->max_files) {
        atomic_fetch_sub(&b->files, 1);
        return full(b, err);
    }
    fl_random_hex(blob->id, FL_BLOB_ID_BYTES - 1);
    temp_path(blob->id, path);
    fd = openat(b->dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        int r = failed(err, "an object's file");

        atomic_fetch_sub(&b->files, 1);
        return r;
    }
    blob->fd = fd;
    return 0;
}

int fl_blob_write(struct fl_blob *blob, const void *data, size_t len, struct fl_err *err)
{
    struct fl_blobs *b = blob->blobs;
    int r;

    if (atomic_fetch_add(&b->bytes, len) + len > b->max_bytes) {
        atomic_fetch_sub(&b->bytes, len);
        return full(b, err);
    }
    blob->bytes += len;
    r = fl_fd_write_all(blob->fd, data, len);
    return r < 0 ? fl_err_set(err, r, NULL, "an object's file: %s", strerror(-r)) : 0;
}

static int sync_shelf(const struct fl_blobs *b, const char *id)
{
    char name[3] = { id[0], id[1], '\0' };
    fl_autofd int fd = openat(b->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* A shelf is made with the first file that stands on it. */
static int move_to_shelf(const struct fl_blobs *b, const char *id, struct fl_err *err)
{
    char from[64], to[64], shelf[3] = { id[0], id[1], '\0' };

    temp_path(id, from);
    place_path(id, to);
    if (renameat(b->dir_fd, from, b->dir_fd, to) == 0)
        return 0;
    if (errno != ENOENT || (mkdirat(b->dir_fd, shelf, 0700) < 0 && errno != EEXIST))
        return failed(err, "an object's folder");
    if (renameat(b->dir_fd, from, b->dir_fd, to) < 0)
        return failed(err, "an object's file");
    return fl_dir_sync(b->dir, err);
}

int fl_blob_keep(struct fl_blob *blob, struct fl_err *err)
{
    const struct fl_blobs *b = blob->blobs;
    int r;

    if (fsync(blob->fd) < 0 || close(FL_TAKE_FD(blob->fd)) < 0)
        return failed(err, "an object's file");
    r = move_to_shelf(b, blob->id, err);
    if (r < 0)
        return r;
    blob->kept = true;
    if (sync_shelf(b, blob->id) < 0)
        return failed(err, "an object's folder");
    return 0;
}

void fl_blob_drop(struct fl_blob *blob)
{
    char path[64];

    if (!blob->blobs || !blob->id[0])
        return;
    if (blob->fd >= 0)
        close(FL_TAKE_FD(blob->fd));
    if (blob->kept)
        place_path(blob->id, path);
    else
        temp_path(blob->id, path);
    unlinkat(blob->blobs->dir_fd, path, 0);
    atomic_fetch_sub(&blob->blobs->bytes, blob->bytes);
    atomic_fetch_sub(&blob->blobs->files, 1);
    blob->id[0] = '\0';
}

static int make_shelf(const struct fl_blobs *b, const char *id, struct fl_err *err)
{
    char shelf[3] = { id[0], id[1], '\0' };

    if (mkdirat(b->dir_fd, shelf, 0700) == 0)
        return fl_dir_sync(b->dir, err);
    return errno == EEXIST ? 0 : failed(err, "an object's folder");
}

int fl_blob_link(struct fl_blobs *b, const char *id, uint64_t bytes, char ret_id[FL_BLOB_ID_BYTES],
                 struct fl_err *err)
{
    char from[64], to[64];
    int r = fl_blobs_fits(b, bytes, err);

    if (r < 0)
        return r;
    fl_random_hex(ret_id, FL_BLOB_ID_BYTES - 1);
    place_path(id, from);
    place_path(ret_id, to);
    r = make_shelf(b, ret_id, err);
    if (r < 0)
        return r;
    if (linkat(b->dir_fd, from, b->dir_fd, to, 0) < 0)
        return failed(err, "an object's file");
    fl_blobs_count(b, bytes, 1);
    if (sync_shelf(b, ret_id) == 0)
        return 0;
    r = failed(err, "an object's folder");
    fl_blob_remove(b, ret_id, bytes);
    return r;
}

/* ---- reading and removing ---- */

int fl_blob_open(const struct fl_blobs *b, const char *id)
{
    char path[64];
    int fd;

    place_path(id, path);
    fd = openat(b->dir_fd, path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void unlink_blob(struct fl_blobs *b, const char *id, uint64_t bytes)
{
    char path[64];

    place_path(id, path);
    if (unlinkat(b->dir_fd, path, 0) < 0 && errno != ENOENT)
        fl_log_warn("an object's file cannot be removed", FL_S("error", strerror(errno)));
    atomic_fetch_sub(&b->bytes, bytes);
    atomic_fetch_sub(&b->files, 1);
}

void fl_blobs_look(struct fl_blobs *b)
{
    pthread_rwlock_rdlock(&b->looking);
}

void fl_blobs_looked(struct fl_blobs *b)
{
    pthread_rwlock_unlock(&b->looking);
}

int fl_blob_hold(struct fl_blobs *b, const char *id)
{
    int64_t *n;

    pthread_mutex_lock(&b->lock);
    n = fl_counts_put(&b->held, id);
    if (n)
        ++*n;
    pthread_mutex_unlock(&b->lock);
    return n ? 0 : -ENOMEM;
}

void fl_blob_unhold(struct fl_blobs *b, const char *id)
{
    int64_t *n, *doomed = NULL;
    uint64_t bytes = 0;

    pthread_mutex_lock(&b->lock);
    n = fl_counts_get(&b->held, id);
    if (n && --*n == 0) {
        fl_counts_remove(&b->held, id);
        doomed = fl_counts_get(&b->doomed, id);
        bytes = doomed ? (uint64_t)*doomed : 0;
        if (doomed)
            fl_counts_remove(&b->doomed, id);
    }
    pthread_mutex_unlock(&b->lock);
    if (doomed)
        unlink_blob(b, id, bytes);
}

/* Without memory it stays, counted, until the next start. */
static bool doom_if_held(struct fl_blobs *b, const char *id, uint64_t bytes)
{
    int64_t *doomed;
    bool held;

    pthread_mutex_lock(&b->lock);
    held = fl_counts_get(&b->held, id);
    doomed = held ? fl_counts_put(&b->doomed, id) : NULL;
    if (doomed)
        *doomed = (int64_t)bytes;
    pthread_mutex_unlock(&b->lock);
    return held;
}

static bool is_held(struct fl_blobs *b, const char *id)
{
    bool held;

    pthread_mutex_lock(&b->lock);
    held = fl_counts_get(&b->held, id);
    pthread_mutex_unlock(&b->lock);
    return held;
}

void fl_blob_remove(struct fl_blobs *b, const char *id, uint64_t bytes)
{
    /* Who looks now may still see it named; who looks later does not. */
    pthread_rwlock_wrlock(&b->looking);
    pthread_rwlock_unlock(&b->looking);
    if (!doom_if_held(b, id, bytes))
        unlink_blob(b, id, bytes);
}

/* ---- what nothing names ---- */

static int remove_unknown(struct fl_blobs *b, fl_blobs_known_fn known, void *arg,
                          char (*ids)[FL_BLOB_ID_BYTES], size_t n, uint64_t *removed)
{
    char path[64];
    int r = n ? known(arg, ids, n) : 0;

    for (size_t i = 0; r >= 0 && i < n; i++) {
        if (!ids[i][0] || is_held(b, ids[i]))
            continue;
        place_path(ids[i], path);
        if (unlinkat(b->dir_fd, path, 0) == 0)
            ++*removed;
    }
    return r;
}

/* Not to the second: a plane that is killed is back in less. */
static bool before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

static bool is_old(const struct fl_blobs *b, int dir_fd, const char *name)
{
    struct stat st;

    return strlen(name) == FL_BLOB_ID_BYTES - 1 &&
           strspn(name, "0123456789abcdef") == strlen(name) &&
           fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && before(&st.st_ctim, &b->start);
}

static int sweep_shelf(struct fl_blobs *b, unsigned shelf, fl_blobs_known_fn known, void *arg,
                       uint64_t *removed)
{
    char name[8], ids[SWEEP_IDS][FL_BLOB_ID_BYTES];
    size_t n = 0;
    struct dirent *e;
    int fd, r = 0;
    DIR *d;

    snprintf(name, sizeof(name), "%02x", shelf);
    fd = openat(b->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        r = fd < 0 && errno == ENOENT ? 0 : -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (r >= 0 && (e = readdir(d))) {
        if (!is_old(b, dirfd(d), e->d_name))
            continue;
        memcpy(ids[n++], e->d_name, FL_BLOB_ID_BYTES);
        if (n == SWEEP_IDS) {
            r = remove_unknown(b, known, arg, ids, n, removed);
            n = 0;
        }
    }
    if (r >= 0)
        r = remove_unknown(b, known, arg, ids, n, removed);
    closedir(d);
    return r;
}

int fl_blobs_sweep(struct fl_blobs *b, fl_blobs_known_fn known, void *arg, uint64_t *ret_removed)
{
    int r = 0;

    *ret_removed = 0;
    for (unsigned i = 0; r >= 0 && i < SHELVES; i++)
        r = sweep_shelf(b, i, known, arg, ret_removed);
    return r < 0 ? r : 0;
}
