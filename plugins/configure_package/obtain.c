/* obtain.c - see obtain.h.
 *
 * Three files: what the network process writes to, the copy of it that is checked, which that
 * process does not know, and the folder that the unpacking process's records become.
 */
#include "plugins/configure_package/obtain.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "common/aws/digest.h"
#include "common/aws/sigv4.h"
#include "common/base/file.h"
#include "plugins/configure_package/unpack.h"

#define ARCHIVE_MAX_BYTES (2ull << 30)
#define DOWNLOAD_MS       (3600 * 1000)
#define UNPACK_MS         (1800 * 1000)
#define MAX_REDIRECTS     10
#define TURN_BYTES        (1u << 20) /* copied and hashed in one turn of the loop */
#define READ_BYTES        65536
#define READS_PER_WAKEUP  16
#define DOWNLOADED        "package.download"
#define CHECKED           "package.zip"

struct fl_obtain {
    struct fl_step *step;
    fl_obtain_fn done;
    void *arg;
    struct fl_arena arena;
    struct fl_obtain_source source;
    char *downloaded, *checked;
    int from_fd, archive_fd, dir_fd, pipe_fd;
    uint64_t archive_bytes;
    struct fl_digest *hash;
    struct fl_timer *turn, *limit;
    struct fl_unpack unpack;
    struct fl_child *child;
    struct fl_io *io;
    bool over, whole;
};

static void finish(struct fl_obtain *o, const struct fl_err *err)
{
    if (o->over)
        return;
    o->over = true;
    o->whole = !err;
    o->done(o->arg, err);
}

static void fail(struct fl_obtain *o, int code, const char *what)
{
    struct fl_err err = { 0 };

    fl_err_set(&err, code, NULL, "%s: %s", what, strerror(-code));
    finish(o, &err);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(FL_TAKE_FD(*fd));
}

/* ---- unpacking ---- */

static void end_stream(struct fl_obtain *o)
{
    struct fl_err err = { 0 };

    o->io = fl_io_free(o->io);
    close_fd(&o->pipe_fd);
    if (fl_unpack_end(&o->unpack, &err) < 0)
        finish(o, &err);
    else if (syncfs(o->dir_fd) < 0)
        fail(o, -errno, o->source.staging);
    else
        finish(o, NULL);
}

static void on_records(void *arg, unsigned events)
{
    struct fl_obtain *o = arg;
    static char chunk[READ_BYTES];
    struct fl_err err = { 0 };

    for (int i = 0; i < READS_PER_WAKEUP; i++) {
        ssize_t n = read(o->pipe_fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end_stream(o);
            return;
        }
        if (fl_unpack_feed(&o->unpack, chunk, (size_t)n, &err) < 0) {
            finish(o, &err);
            return;
        }
    }
}

static void on_limit(void *arg)
{
    fail(arg, -ETIMEDOUT, "archive");
}

static int spawn_unpacker(struct fl_obtain *o, struct fl_err *err)
{
    fl_autofd int write_fd = -1;
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return fl_err_set(err, -errno, NULL, "cannot make a pipe: %s", strerror(errno));
    o->pipe_fd = fds[0];
    write_fd = fds[1];
    r = fcntl(o->pipe_fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    o->io = r == 0 ? fl_io_new(fl_step_loop(o->step), o->pipe_fd, on_records, o) : NULL;
    if (!o->io || fl_io_set(o->io, FL_IO_READ) < 0)
        return fl_err_nomem(err);
    return fl_step_spawn_confined(
        o->step, "fairlead-agent-unpack",
        (const struct fl_child_fd[]){ { STDOUT_FILENO, write_fd }, { 3, o->archive_fd } }, 2, NULL,
        NULL, &o->child, err);
}

static void begin_unpack(struct fl_obtain *o)
{
    struct fl_err err = { 0 };
    int r = fl_dir_remove(o->source.staging, &err);

    if (r == 0)
        r = fl_dir_make(o->source.staging, 0700, &err);
    if (r == 0) {
        o->dir_fd = open(o->source.staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fl_unpack_init(&o->unpack, o->dir_fd, fl_unpack_limit(o->archive_bytes));
        r = spawn_unpacker(o, &err);
    }
    if (r < 0)
        finish(o, &err);
    else
        fl_timer_start(o->limit, UNPACK_MS);
}

/* ---- checking ---- */

static void judge(struct fl_obtain *o)
{
    char sum[FL_DIGEST_MAX_HEX_BYTES];
    struct fl_err err = { 0 };

    fl_digest_end_hex(o->hash, sum);
    if (strcmp(sum, o->source.sha256) == 0) {
        /* For reading, from its beginning: the process that gets it shall not write. */
        close_fd(&o->archive_fd);
        o->archive_fd = open(o->checked, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (o->archive_fd < 0)
            fail(o, -errno, o->checked);
        else
            begin_unpack(o);
        return;
    }
    fl_err_set(&err, -EBADMSG, NULL, "checksum of the archive is %s, the manifest says %s", sum,
               o->source.sha256);
    finish(o, &err);
}

static void on_turn(void *arg)
{
    struct fl_obtain *o = arg;
    static char chunk[TURN_BYTES];
    ssize_t n = fl_fd_pread_upto(o->from_fd, chunk, sizeof(chunk), o->archive_bytes);
    int r = n < 0 ? (int)n : fl_fd_write_all(o->archive_fd, chunk, (size_t)n);

    if (r < 0) {
        fail(o, r, o->checked);
        return;
    }
    fl_digest_add(o->hash, chunk, (size_t)n);
    o->archive_bytes += (uint64_t)n;
    if (o->archive_bytes > ARCHIVE_MAX_BYTES)
        fail(o, -EFBIG, o->checked);
    else if ((size_t)n < sizeof(chunk))
        judge(o);
    else
        fl_timer_start(o->turn, 0);
}

/* ---- downloading ---- */

static void on_downloaded(void *arg, const struct fl_step_answer *answer)
{
    struct fl_obtain *o = arg;
    struct fl_err err = { 0 };
    int shown = (int)FL_MIN(strcspn(o->source.url, "?"), 200u); /* the rest may be a secret */

    if (answer->error)
        fl_err_set(&err, answer->error, NULL, "%.*s: %s", shown, o->source.url, answer->error_text);
    else if (answer->status != 200)
        fl_err_set(&err, -EREMOTEIO, NULL, "%.*s: HTTP status %d", shown, o->source.url,
                   answer->status);
    if (err.code) {
        finish(o, &err);
        return;
    }
    o->from_fd = open(o->downloaded, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    o->hash = fl_digest_new(FL_DIGEST_SHA256);
    if (o->from_fd < 0 || !o->hash)
        fail(o, o->hash ? -errno : -ENOMEM, o->downloaded);
    else
        fl_timer_start(o->turn, 0);
}

static int create(const char *path)
{
    int fd;

    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

/* s3://bucket/key: a call that is signed as the node's. */
static int name_object(struct fl_obtain *o, struct fl_step_request *request, struct fl_err *err)
{
    fl_autobuf struct fl_buf path = FL_BUF(8192);
    const char *object = o->source.url + strlen("s3://");
    int r = fl_buf_puts(&path, "/");
    if (r == 0)
        r = fl_uri_encode(object, strlen(object), true, &path);
    request->service = "s3";
    request->url = NULL;
    request->max_redirects = 0;
    request->path = r == 0 ? fl_arena_strdup(&o->arena, path.data) : NULL;
    return request->path ? 0 : fl_err_set(err, -EINVAL, NULL, "%.200s: too long", o->source.url);
}

static int begin_download(struct fl_obtain *o, struct fl_err *err)
{
    fl_autofd int fd = create(o->downloaded);
    const struct fl_step_download to = { .fd = fd, .max_bytes = ARCHIVE_MAX_BYTES };
    struct fl_step_request request = {
        .method = "GET",
        .url = o->source.url,
        .download = &to,
        .max_redirects = MAX_REDIRECTS,
        .timeout_ms = DOWNLOAD_MS,
    };
    int r = FL_MIN(fd, 0);

    if (r == 0)
        o->archive_fd = create(o->checked);
    if (r < 0 || o->archive_fd < 0)
        return fl_err_set(err, r < 0 ? r : o->archive_fd, NULL, "cannot make a file: %s",
                          strerror(-(r < 0 ? r : o->archive_fd)));
    if (strncmp(o->source.url, "s3://", 5) == 0)
        r = name_object(o, &request, err);
    return r < 0 ? r : fl_step_call(o->step, &request, on_downloaded, o, NULL, err);
}

/* ---- its life ---- */

int fl_obtain_new(struct fl_step *step, const struct fl_obtain_source *source, fl_obtain_fn done,
                  void *arg, struct fl_obtain **ret_obtain, struct fl_err *err)
{
    struct fl_obtain *o = calloc(1, sizeof(*o));
    const char *dir = fl_step_context(step)->dir;
    int r;

    if (!o)
        return fl_err_nomem(err);
    *o = (struct fl_obtain){ .step = step, .done = done, .arg = arg };
    o->from_fd = o->archive_fd = o->dir_fd = o->pipe_fd = o->unpack.file_fd = -1;
    fl_arena_init(&o->arena, 65536);
    o->source.url = fl_arena_strdup(&o->arena, source->url);
    o->source.sha256 = fl_arena_strdup(&o->arena, source->sha256);
    o->source.staging = fl_arena_strdup(&o->arena, source->staging);
    o->downloaded = fl_arena_printf(&o->arena, "%s/" DOWNLOADED, dir);
    o->checked = fl_arena_printf(&o->arena, "%s/" CHECKED, dir);
    o->turn = fl_timer_new(fl_step_loop(step), on_turn, o);
    o->limit = fl_timer_new(fl_step_loop(step), on_limit, o);
    r = o->source.url && o->source.sha256 && o->source.staging && o->downloaded && o->checked &&
                o->turn && o->limit
            ? begin_download(o, err)
            : fl_err_nomem(err);
    if (r < 0)
        fl_obtain_free(o);
    else
        *ret_obtain = o;
    return r;
}

struct fl_obtain *fl_obtain_free(struct fl_obtain *o)
{
    if (!o)
        return NULL;
    o->over = true;
    if (o->child)
        fl_child_kill(o->child, SIGKILL);
    o->child = fl_child_free(o->child);
    o->io = fl_io_free(o->io);
    o->turn = fl_timer_free(o->turn);
    o->limit = fl_timer_free(o->limit);
    o->hash = fl_digest_free(o->hash);
    fl_unpack_done(&o->unpack);
    close_fd(&o->from_fd);
    close_fd(&o->archive_fd);
    close_fd(&o->dir_fd);
    close_fd(&o->pipe_fd);
    if (o->downloaded)
        unlink(o->downloaded);
    if (o->checked)
        unlink(o->checked);
    if (!o->whole && o->source.staging)
        fl_dir_remove(o->source.staging, NULL);
    fl_arena_done(&o->arena);
    free(o);
    return NULL;
}
