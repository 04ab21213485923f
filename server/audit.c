/* audit.c - a buffer that callers append to and a thread that writes it out. */
#include "server/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "server/audit_flood.h"

#define LINE_MAX_BYTES 8192
#define RESOURCES_MAX  16
#define FILE_NAME      "audit.log"
#define COUNTED_LOOK_S 5 /* how often what was only counted is looked at */

struct fl_audit {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t thread;
    bool running, closing;
    struct fl_buf queue;
    struct fl_flood flood;
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
    int64_t count;
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
    F(count, "count", FL_OMIT_ZERO),
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

/* ---- lines ---- */

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

/* What was only counted, once its minute is over. Called with the lock held. */
static void append_counted(struct fl_audit *a)
{
    struct fl_flood_row row;
    int64_t now_ms = fl_now_ms();
    char time_text[FL_ISO_BYTES];

    while (fl_flood_next(&a->flood, now_ms, a->closing, &row)) {
        struct line l = { .time = time_text,
                          .operation = *row.operation ? row.operation : NULL,
                          .source_ip = *row.source ? row.source : NULL,
                          .status = row.status,
                          .error = *row.error ? row.error : NULL,
                          .count = (int64_t)row.seen };

        fl_time_iso(now_ms, false, time_text);
        if (append(a, &l) < 0)
            a->dropped++;
    }
}

/* Called with the lock held; comes back with lines, with the end, or to look at what was counted.
 */
static void wait_for_lines(struct fl_audit *a)
{
    struct timespec until;

    if (a->queue.len > 0 || a->closing)
        return;
    if (a->flood.n == 0) {
        pthread_cond_wait(&a->filled, &a->lock);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += COUNTED_LOOK_S;
    pthread_cond_timedwait(&a->filled, &a->lock, &until);
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
        wait_for_lines(a);
        append_counted(a);
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
static bool admit(struct fl_audit *a, const struct fl_audit_entry *e)
{
    struct fl_flood_row row = { .status = e->status };

    snprintf(row.source, sizeof(row.source), "%s", e->source_ip ? e->source_ip : "");
    snprintf(row.error, sizeof(row.error), "%s", e->error ? e->error : "");
    snprintf(row.operation, sizeof(row.operation), "%s", e->operation ? e->operation : "");
    return fl_flood_admit(&a->flood, &row, e->time_ms);
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
    if (entry->nobody && !admit(audit, entry)) {
        pthread_mutex_unlock(&audit->lock);
        return;
    }
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
        return fl_err_nomem(err);
    a->fd = -1;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->filled, NULL);
    fl_buf_init(&a->queue, FL_AUDIT_QUEUE_BYTES);
    a->dir = strdup(dir);
    r = a->dir ? fl_dir_make(dir, 0700, err) : fl_err_nomem(err);
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
