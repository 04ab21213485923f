/* audit.c - a buffer that callers append to and a thread that writes it out. */
#include "server/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define LINE_MAX_BYTES 8192
#define RESOURCES_MAX  16
#define FILE_NAME      "audit.log"

struct fl_audit {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t thread;
    bool running, closing;
    struct fl_buf queue;
    uint64_t dropped; /* since the last line that said so */
    /* the thread's own */
    char *dir;
    int fd;
    size_t file_bytes;
    bool broken; /* a failure was logged; the next success says so */
};

struct line {
    char *time;
    char *request_id;
    char *operation;
    char *caller;
    char *access_key_id;
    char *source_ip;
    struct fl_strs resources;
    int32_t status;
    char *error;
    int64_t lost;
};

#define F(member, key, flags) FL_FIELD(struct line, member, key, flags)
static const struct fl_field line_fields[] = {
    F(time, "time", 0),
    F(request_id, "requestId", 0),
    F(operation, "operation", 0),
    F(caller, "caller", 0),
    F(access_key_id, "accessKeyId", 0),
    F(source_ip, "sourceIp", 0),
    F(resources, "resources", 0),
    F(status, "status", FL_OMIT_ZERO),
    F(error, "error", 0),
    F(lost, "lostLines", FL_OMIT_ZERO),
};
#undef F
static const struct fl_shape line_shape = FL_SHAPE(struct line, "AuditLine", line_fields);

/* ---- the thread's side ---- */

static int file_path(const struct fl_audit *a, int number, char **ret_path)
{
    int n = number ? asprintf(ret_path, "%s/" FILE_NAME ".%d", a->dir, number)
                   : asprintf(ret_path, "%s/" FILE_NAME, a->dir);

    return n < 0 ? -ENOMEM : 0;
}

static int file_open(struct fl_audit *a)
{
    fl_autofree char *path = NULL;
    struct stat st;
    int fd;

    if (file_path(a, 0, &path) < 0)
        return -ENOMEM;
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0) {
        close(fd);
        return -errno;
    }
    a->fd = fd;
    a->file_bytes = (size_t)st.st_size;
    return 0;
}

static void rotate(struct fl_audit *a)
{
    fsync(a->fd);
    close(FL_TAKE_FD(a->fd));
    for (int i = FL_AUDIT_KEEP - 1; i >= 0; i--) {
        char *from = NULL, *to = NULL;

        if (file_path(a, i, &from) == 0 && file_path(a, i + 1, &to) == 0)
            rename(from, to);
        free(from);
        free(to);
    }
}

static int write_out(struct fl_audit *a, const struct fl_buf *b)
{
    int r = 0;

    if (a->fd >= 0 && a->file_bytes + b->len > FL_AUDIT_FILE_BYTES && a->file_bytes > 0)
        rotate(a);
    if (a->fd < 0)
        r = file_open(a);
    if (r >= 0)
        r = fl_fd_write_all(a->fd, b->data, b->len);
    if (r < 0) {
        if (!a->broken)
            fl_log_error("audit log cannot be written", FL_S("error", strerror(-r)));
        a->broken = true;
        return r;
    }
    if (a->broken)
        fl_log_warn("audit log can be written again");
    a->broken = false;
    a->file_bytes += b->len;
    return 0;
}

static size_t count_lines(const struct fl_buf *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->len; i++)
        n += b->data[i] == '\n';
    return n;
}

static void *audit_main(void *arg)
{
    struct fl_audit *a = arg;
    bool closing;

    do {
        struct fl_buf out;

        pthread_mutex_lock(&a->lock);
        while (a->queue.len == 0 && !a->closing)
            pthread_cond_wait(&a->filled, &a->lock);
        out = a->queue;
        fl_buf_init(&a->queue, FL_AUDIT_QUEUE_BYTES);
        closing = a->closing;
        pthread_mutex_unlock(&a->lock);

        if (out.len > 0 && write_out(a, &out) < 0) {
            pthread_mutex_lock(&a->lock);
            a->dropped += count_lines(&out);
            pthread_mutex_unlock(&a->lock);
        }
        fl_buf_done(&out);
    } while (!closing);
    return NULL;
}

/* ---- the callers' side ---- */

/* Called with the lock held. */
static int append(struct fl_audit *a, const struct line *l)
{
    fl_autobuf struct fl_buf text = { 0 };
    int r;

    fl_buf_init(&text, LINE_MAX_BYTES);
    r = fl_json_encode(&line_shape, l, &text);
    if (r >= 0)
        r = fl_buf_puts(&text, "\n");
    return r < 0 ? r : fl_buf_append(&a->queue, text.data, text.len);
}

void fl_audit_write(struct fl_audit *audit, const struct fl_audit_entry *entry)
{
    char time_text[FL_ISO_BYTES];
    struct line l = {
        .time = time_text,
        .request_id = (char *)entry->request_id,
        .operation = (char *)entry->operation,
        .caller = (char *)entry->caller,
        .access_key_id = (char *)entry->access_key_id,
        .source_ip = (char *)entry->source_ip,
        .resources = { .v = (char **)entry->resources,
                       .n = FL_MIN(entry->n_resources, (size_t)RESOURCES_MAX) },
        .status = entry->status,
        .error = (char *)entry->error,
    };

    if (!audit)
        return;
    fl_time_iso(entry->time_ms, false, time_text);
    pthread_mutex_lock(&audit->lock);
    if (audit->dropped > 0) {
        struct line lost = { .time = time_text, .lost = (int64_t)audit->dropped };

        if (append(audit, &lost) == 0)
            audit->dropped = 0;
    }
    if (append(audit, &l) < 0) {
        l.resources.n = 0; /* a line is never too long without them, save for the queue's limit */
        if (append(audit, &l) < 0)
            audit->dropped++;
    }
    pthread_cond_signal(&audit->filled);
    pthread_mutex_unlock(&audit->lock);
}

int fl_audit_new(const char *dir, struct fl_audit **ret_audit, struct fl_err *err)
{
    struct fl_audit *a = calloc(1, sizeof(*a));
    int r;

    if (!a)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    a->fd = -1;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->filled, NULL);
    fl_buf_init(&a->queue, FL_AUDIT_QUEUE_BYTES);
    a->dir = strdup(dir);
    r = a->dir ? fl_dir_make(dir, 0700, err) : fl_err_set(err, -ENOMEM, NULL, "out of memory");
    if (r >= 0) {
        r = file_open(a);
        if (r < 0)
            fl_err_set(err, r, NULL, "%s/" FILE_NAME ": %s", dir, strerror(-r));
    }
    if (r >= 0) {
        r = -pthread_create(&a->thread, NULL, audit_main, a);
        a->running = r == 0;
        if (r < 0)
            fl_err_set(err, r, NULL, "cannot start the audit thread: %s", strerror(-r));
    }
    if (r < 0) {
        fl_audit_free(a);
        return r;
    }
    *ret_audit = a;
    return 0;
}

struct fl_audit *fl_audit_free(struct fl_audit *audit)
{
    if (!audit)
        return NULL;
    if (audit->running) {
        pthread_mutex_lock(&audit->lock);
        audit->closing = true;
        pthread_cond_signal(&audit->filled);
        pthread_mutex_unlock(&audit->lock);
        pthread_join(audit->thread, NULL);
    }
    if (audit->fd >= 0) {
        fsync(audit->fd);
        close(audit->fd);
    }
    fl_buf_done(&audit->queue);
    free(audit->dir);
    pthread_cond_destroy(&audit->filled);
    pthread_mutex_destroy(&audit->lock);
    free(audit);
    return NULL;
}
