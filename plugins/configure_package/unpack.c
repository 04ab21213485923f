/* unpack.c - see unpack.h. */
#include "plugins/configure_package/unpack.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/file.h"
#include "plugins/download_content/place.h"

#define MAX_BYTES  (4ull << 30)
#define FREE_BYTES (256ull << 20) /* whatever the archive's own size */
#define MAX_RATIO  100

void fl_unpack_init(struct fl_unpack *u, int dir_fd, uint64_t max_bytes)
{
    *u = (struct fl_unpack){ .dir_fd = dir_fd, .file_fd = -1, .left_bytes = max_bytes };
}

uint64_t fl_unpack_limit(uint64_t archive_bytes)
{
    uint64_t ratio = archive_bytes > MAX_BYTES / MAX_RATIO ? MAX_BYTES : archive_bytes * MAX_RATIO;

    return FL_MIN(FL_MAX(ratio, FREE_BYTES), MAX_BYTES);
}

static void close_file(struct fl_unpack *u)
{
    if (u->file_fd >= 0)
        close(u->file_fd);
    u->file_fd = -1;
}

void fl_unpack_done(struct fl_unpack *u)
{
    close_file(u);
}

/* ---- records ---- */

/* The folders that the name stands in, and itself if it is one. */
static int make_dirs(struct fl_unpack *u, bool whole)
{
    for (char *slash = strchr(u->name, '/'); slash; slash = strchr(slash + 1, '/')) {
        int r;

        *slash = '\0';
        r = mkdirat(u->dir_fd, u->name, 0700) < 0 && errno != EEXIST ? -errno : 0;
        *slash = '/';
        if (r < 0)
            return r;
    }
    return whole && mkdirat(u->dir_fd, u->name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int begin_entry(struct fl_unpack *u, struct fl_err *err)
{
    mode_t mode = u->head.type == FL_UNPACK_PROGRAM ? 0700 : 0600;
    int r;

    close_file(u);
    u->name[u->head.len] = '\0';
    if (strlen(u->name) != u->head.len || !fl_place_path_valid(u->name))
        return fl_err_set(err, -EBADMSG, NULL, "archive: %.200s: a path that leads out of it",
                          u->name);
    if (++u->n_entries > FL_UNPACK_MAX_ENTRIES)
        return fl_err_set(err, -EFBIG, NULL, "archive: more than %d entries",
                          FL_UNPACK_MAX_ENTRIES);
    r = make_dirs(u, u->head.type == FL_UNPACK_DIR);
    if (r == 0 && u->head.type != FL_UNPACK_DIR) {
        u->file_fd =
            openat(u->dir_fd, u->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        r = u->file_fd < 0 ? -errno : 0;
    }
    return r < 0 ? fl_err_set(err, r, NULL, "archive: %.200s: %s", u->name, strerror(-r)) : 0;
}

static int take_data(struct fl_unpack *u, const char *data, size_t len, struct fl_err *err)
{
    int r;

    if (len > u->left_bytes)
        return fl_err_set(err, -EFBIG, NULL,
                          "archive: it holds more than a package of its size may");
    u->left_bytes -= len;
    r = fl_fd_write_all(u->file_fd, data, len);
    return r < 0 ? fl_err_set(err, r, NULL, "archive: %.200s: %s", u->name, strerror(-r)) : 0;
}

static int check_head(const struct fl_unpack *u, struct fl_err *err)
{
    static const uint32_t max[] = {
        [FL_UNPACK_DIR] = FL_UNPACK_NAME_MAX_BYTES,
        [FL_UNPACK_FILE] = FL_UNPACK_NAME_MAX_BYTES,
        [FL_UNPACK_PROGRAM] = FL_UNPACK_NAME_MAX_BYTES,
        [FL_UNPACK_DATA] = FL_UNPACK_DATA_MAX_BYTES,
        [FL_UNPACK_END] = 0,
        [FL_UNPACK_ERROR] = FL_UNPACK_NAME_MAX_BYTES,
    };

    if (u->ended || u->head.type < FL_UNPACK_DIR || u->head.type >= FL_ARRAY_LEN(max) ||
        u->head.len > max[u->head.type] || (u->head.type == FL_UNPACK_DATA && u->file_fd < 0))
        return fl_err_set(err, -EBADMSG, NULL, "archive: what was read of it makes no sense");
    return 0;
}

static int end_record(struct fl_unpack *u, struct fl_err *err)
{
    u->head_len = 0;
    switch (u->head.type) {
    case FL_UNPACK_END:
        close_file(u);
        u->ended = true;
        return 0;
    case FL_UNPACK_ERROR:
        u->name[u->head.len] = '\0';
        return fl_err_set(err, -EBADMSG, NULL, "archive: %s", u->name);
    case FL_UNPACK_DATA:
        return 0;
    default:
        return begin_entry(u, err);
    }
}

static int take_body(struct fl_unpack *u, const char *data, size_t len, struct fl_err *err)
{
    size_t at = u->body_len;

    u->body_len += len;
    if (u->head.type == FL_UNPACK_DATA)
        return take_data(u, data, len, err);
    memcpy(u->name + at, data, len);
    return 0;
}

int fl_unpack_feed(struct fl_unpack *u, const void *data, size_t len, struct fl_err *err)
{
    const char *at = data, *end = at + len;
    int r = 0;

    while (r == 0 && at < end) {
        size_t n;

        if (u->head_len < sizeof(u->head)) {
            n = FL_MIN(sizeof(u->head) - u->head_len, (size_t)(end - at));
            memcpy((char *)&u->head + u->head_len, at, n);
            u->head_len += n;
            if (u->head_len == sizeof(u->head)) {
                u->body_len = 0;
                r = check_head(u, err);
            }
        } else {
            n = FL_MIN(u->head.len - u->body_len, (size_t)(end - at));
            r = take_body(u, at, n, err);
        }
        at += n;
        if (r == 0 && u->head_len == sizeof(u->head) && u->body_len == u->head.len)
            r = end_record(u, err);
    }
    return r;
}

int fl_unpack_end(struct fl_unpack *u, struct fl_err *err)
{
    return u->ended ? 0
                    : fl_err_set(err, -EBADMSG, NULL, "archive: it could not be read to its end");
}
