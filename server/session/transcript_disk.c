/* transcript_disk.c - files of transcripts, their rows, and what becomes of old ones. */
#include "server/session/transcript_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "server/audit.h"
#include "server/conf.h"

#define PER_RUN 200
#define DAY_MS  (24 * 60 * 60 * 1000ll)

char *fl_transcripts_dir(const char *data_dir)
{
    return fl_path_join(data_dir, FL_DATA_TRANSCRIPTS);
}

/* ---- the file ---- */

static int file_failed(struct fl_err *err, int r)
{
    return fl_err_set(err, r, NULL, "transcript: %s", strerror(-r));
}

int fl_rec_append(struct fl_rec *rec, const void *body, size_t len, struct fl_err *err)
{
    fl_autobuf struct fl_buf block = FL_BUF(FL_TF_BODY_MAX_BYTES + 1024);
    struct fl_tf_end end = rec->end;
    int r = fl_tf_block(rec->t->key, fl_now_ms(), body, len, &block, &end);

    if (r >= 0)
        r = fl_fd_pwrite_all(rec->fd, block.data, block.len, rec->end.bytes);
    if (r < 0) {
        if (ftruncate(rec->fd, (off_t)rec->end.bytes) < 0) {
        } /* the next try writes over it */
        return file_failed(err, r);
    }
    rec->end = end;
    return 0;
}

/* The first line, and who and what. */
static int begin_file(struct fl_rec *rec, struct fl_err *err)
{
    fl_autobuf struct fl_buf about = FL_BUF(64 * 1024), body = FL_BUF(FL_TF_BODY_MAX_BYTES),
                             start = FL_BUF(64);
    int r = fl_json_encode(&fl_tf_about_shape, &rec->about, &about);

    if (r >= 0)
        r = fl_tf_record(&body, FL_TF_BEGIN, rec->started_ms, about.data, about.len);
    if (r >= 0)
        r = fl_tf_start(rec->about.session_id, &start, &rec->end);
    if (r >= 0)
        r = fl_fd_pwrite_all(rec->fd, start.data, start.len, 0);
    if (r < 0)
        return file_failed(err, r);
    return fl_rec_append(rec, body.data, body.len, err);
}

static int make_file(struct fl_rec *rec, struct fl_err *err)
{
    int r;

    rec->fd = openat(rec->t->dir_fd, rec->about.session_id,
                     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (rec->fd < 0)
        return file_failed(err, -errno);
    r = begin_file(rec, err);
    rec->made = true;
    if (r < 0) { /* as if it had not been */
        unlinkat(rec->t->dir_fd, rec->about.session_id, 0);
        close(FL_TAKE_FD(rec->fd));
    }
    return r;
}

struct remembered {
    struct fl_rec *rec;
    struct fl_tf_end end;
    int64_t bytes[2], alarms;
    uint64_t recorded;
    char note[160];
    bool found;
};

static int read_row(struct fl_tx *tx, void *arg)
{
    struct remembered *m = arg;
    struct fl_rec *rec = m->rec;
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(tx, FL_SQL_transcript_end, &row, NULL, FL_T(rec->about.session_id));

    if (r >= 0)
        r = fl_sql_next(row, NULL);
    if (r <= 0)
        return r;
    m->found = true;
    m->end.bytes = (uint64_t)fl_sql_int(row, 0);
    m->end.blocks = (uint64_t)fl_sql_int(row, 1);
    m->bytes[0] = fl_sql_int(row, 3);
    m->bytes[1] = fl_sql_int(row, 4);
    m->alarms = fl_sql_int(row, 5);
    snprintf(m->note, sizeof(m->note), "%s", fl_sql_text(row, 6));
    return fl_hex_decode(fl_sql_text(row, 2), m->end.mac, sizeof(m->end.mac));
}

static int count_recorded(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct remembered *m = arg;

    (void)wall_ms;
    if (kind == FL_TF_NUMBERS)
        fl_tf_numbers_read(data, len, m->rec->numbers);
    if (kind == FL_TF_INPUT || kind == FL_TF_OUTPUT || kind == FL_TF_ERRORS)
        m->recorded += len;
    return 0;
}

/* What is typed counts only where it is kept: of the rest nothing is in the file. */
static int count_record(void *arg, char kind, int64_t wall_ms, const void *data, size_t len)
{
    struct remembered *m = arg;

    count_recorded(arg, kind, wall_ms, data, len);
    if (kind == FL_TF_INPUT)
        m->bytes[0] += (int64_t)len;
    else if (kind == FL_TF_OUTPUT || kind == FL_TF_ERRORS)
        m->bytes[1] += (int64_t)len;
    else if (kind == FL_TF_ALARM)
        m->alarms++;
    return 0;
}

/* All that the row remembers must be there, and right. */
static int check_file(struct fl_rec *rec, struct remembered *m, struct fl_err *err)
{
    struct fl_tf_end at = { 0 };
    int r = 1;

    while (r > 0 && at.bytes < m->end.bytes)
        r = fl_tf_read(rec->fd, rec->t->key, rec->about.session_id, &at, 1, count_recorded, m, err);
    if (r < 0)
        return r == -ENODATA ? -EBADMSG : r;
    if (m->found && (at.bytes != m->end.bytes || at.blocks != m->end.blocks ||
                     !fl_equal_secret(at.mac, sizeof(at.mac), m->end.mac, sizeof(m->end.mac))))
        return fl_err_set(err, -EBADMSG, NULL, "the file does not end where it did");
    /* Blocks whose row did not come to the store are as good as the others. */
    do {
        rec->end = at;
        r = fl_tf_read(rec->fd, rec->t->key, rec->about.session_id, &at, 1, count_record, m, err);
    } while (r > 0 && at.bytes > rec->end.bytes);
    if (r >= 0)
        rec->end = at;
    return r == -EBADMSG || r == -ENODATA ? 0 : FL_MIN(r, 0);
}

/* Cuts off what was being written when the plane was killed, and says that it goes on. */
static int go_on(struct fl_rec *rec, struct fl_err *err)
{
    fl_autobuf struct fl_buf body = FL_BUF(1024);
    char text[96];
    struct stat st;
    int n, r;

    if (fstat(rec->fd, &st) < 0)
        return file_failed(err, -errno);
    n = snprintf(text, sizeof(text), "the control plane was started again; %lld bytes cut off",
                 (long long)st.st_size - (long long)rec->end.bytes);
    if (ftruncate(rec->fd, (off_t)rec->end.bytes) < 0)
        return file_failed(err, -errno);
    r = fl_tf_record(&body, FL_TF_RESUMED, fl_now_ms(), text, (size_t)n);
    return r < 0 ? file_failed(err, r) : fl_rec_append(rec, body.data, body.len, err);
}

static int find_file(struct fl_rec *rec, struct remembered *m, bool *ret_broken, struct fl_err *err)
{
    int r;

    rec->end = m->end;
    if (m->note[0]) {
        *ret_broken = true;
        return 0;
    }
    rec->fd = openat(rec->t->dir_fd, rec->about.session_id, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (rec->fd < 0 && errno == ENOENT && !m->found)
        return make_file(rec, err);
    if (rec->fd < 0) {
        r = file_failed(err, -errno);
        *ret_broken = r == -ENOENT;
        return r;
    }
    r = check_file(rec, m, err);
    if (r >= 0)
        r = go_on(rec, err);
    *ret_broken = r == -EBADMSG;
    if (r < 0)
        close(FL_TAKE_FD(rec->fd));
    return r;
}

static void remember(struct fl_rec_put *put, const struct remembered *m)
{
    put->bytes[0] += m->bytes[0];
    put->bytes[1] += m->bytes[1];
    put->alarms += m->alarms;
}

static int reopen_file(struct fl_rec *rec, struct fl_rec_put *put, bool *ret_broken,
                       struct fl_err *err)
{
    struct remembered m = { .rec = rec };
    int r = fl_store_run(rec->t->plane->store, FL_LANE_READ, read_row, &m);

    if (r < 0)
        return file_failed(err, r);
    r = find_file(rec, &m, ret_broken, err);
    if (r < 0 && !*ret_broken) /* tried again: what is remembered would count twice */
        return r;
    pthread_mutex_lock(&rec->t->lock);
    remember(&rec->now, &m);
    remember(put, &m);
    rec->recorded_bytes += m.recorded;
    snprintf(rec->note, sizeof(rec->note), "%s", m.note);
    pthread_mutex_unlock(&rec->t->lock);
    return r;
}

int fl_rec_open(struct fl_rec *rec, struct fl_rec_put *put, bool *ret_broken, struct fl_err *err)
{
    int r = rec->resumed ? reopen_file(rec, put, ret_broken, err) : make_file(rec, err);

    if (r == -EEXIST) /* of a plane that was killed before both sides had come */
        r = reopen_file(rec, put, ret_broken, err);
    rec->streamed = rec->end;
    return r;
}

int fl_transcripts_ready(struct fl_transcripts *t, struct fl_err *err)
{
    static const char name[] = ".probe", some[4096];
    fl_autofd int fd = -1;
    int r;

    if (!t || !t->required)
        return 0;
    fd = openat(t->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    r = fd < 0 ? -errno : fl_fd_pwrite_all(fd, some, sizeof(some), 0);
    unlinkat(t->dir_fd, name, 0);
    return r >= 0 ? 0
                  : fl_err_set(err, -EINVAL, "InternalServerError",
                               "Sessions must be recorded, and transcripts cannot be written: %s.",
                               strerror(-r));
}

/* ---- rows ---- */

struct rows {
    struct fl_transcripts *t;
    struct fl_rec **v;
    size_t n;
};

static int put_rows(struct fl_tx *tx, void *arg)
{
    const struct rows *rows = arg;
    const struct fl_plane_conf *conf = &rows->t->plane->conf;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < rows->n; i++) {
        const struct fl_rec *rec = rows->v[i];
        const struct fl_tf_about *a = &rec->about;
        char mac[FL_SHA256_HEX_BYTES];

        fl_hex_encode(rec->shown.end.mac, sizeof(rec->shown.end.mac), mac);
        r = fl_sql_exec(tx, FL_SQL_transcript_put, NULL, FL_T(a->session_id), FL_T(conf->account),
                        FL_T(conf->region), FL_T(a->node_id), FL_T(a->owner), FL_T(a->document),
                        FL_T(a->type), FL_T(a->endpoint ? a->endpoint : ""), FL_T(a->kept),
                        FL_N(rec->started_ms),
                        rec->shown_end_ms ? FL_N(rec->shown_end_ms) : FL_NULL,
                        FL_N((int64_t)rec->shown.end.bytes), FL_N((int64_t)rec->shown.end.blocks),
                        FL_T(mac), FL_N(rec->shown.bytes[0]), FL_N(rec->shown.bytes[1]),
                        FL_N(rec->shown.alarms), FL_T(rec->shown_note));
    }
    return r < 0 ? r : 0;
}

int fl_rec_put_rows(struct fl_transcripts *t, struct fl_rec **recs, size_t n)
{
    struct rows rows = { t, recs, n };

    return fl_store_run(t->plane->store, FL_LANE_WRITE, put_rows, &rows);
}

/* ---- old ones ---- */

struct old {
    struct fl_transcripts *t;
    int64_t before_ms, over_bytes; /* as many as have so many bytes */
    struct old_one {
        char id[128], owner[256], head[FL_SHA256_HEX_BYTES];
    } v[PER_RUN];
    size_t n;
};

static int find_old(struct fl_tx *tx, void *arg)
{
    struct old *old = arg;
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(tx, FL_SQL_transcript_old, &row, NULL, FL_N(old->before_ms), FL_N(PER_RUN));

    old->n = 0;
    while (r >= 0 && old->n < PER_RUN && old->over_bytes > 0 && (r = fl_sql_next(row, NULL)) > 0) {
        struct old_one *one = &old->v[old->n++];

        snprintf(one->id, sizeof(one->id), "%s", fl_sql_text(row, 0));
        snprintf(one->owner, sizeof(one->owner), "%s", fl_sql_text(row, 2));
        snprintf(one->head, sizeof(one->head), "%s", fl_sql_text(row, 3));
        old->over_bytes -= fl_sql_int(row, 1);
    }
    return r < 0 ? r : 0;
}

static int delete_rows(struct fl_tx *tx, void *arg)
{
    struct old *old = arg;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < old->n; i++) {
        r = fl_sql_exec(tx, FL_SQL_transcript_gone_put, NULL, FL_T(old->v[i].id));
        if (r >= 0)
            r = fl_sql_exec(tx, FL_SQL_transcript_delete, NULL, FL_T(old->v[i].id));
    }
    return r < 0 ? r : 0;
}

static int usage(struct fl_tx *tx, void *arg)
{
    *(int64_t *)arg = fl_sql_scalar(tx, FL_SQL_transcript_usage, 0, NULL);
    return 0;
}

/* So that one that somebody else has removed stands out: it has ended, and was not. */
static void audit_removed(struct fl_transcripts *t, const struct old_one *one)
{
    const char *const resources[] = { one->id, one->head };
    const struct fl_audit_entry entry = { .time_ms = fl_now_ms(),
                                          .operation = "fairlead:TranscriptRemoved",
                                          .caller = one->owner,
                                          .resources = resources,
                                          .n_resources = FL_ARRAY_LEN(resources) };

    fl_audit_write(t->plane->audit, &entry);
}

/* The file goes first: a row without one says that something is missing, a file without a row would
 * stay for ever. */
static void remove_old(struct fl_transcripts *t, int64_t before_ms, int64_t over_bytes)
{
    struct old *old = calloc(1, sizeof(*old));
    struct fl_store *store = t->plane->store;
    size_t removed = 0;

    if (!old)
        return;
    old->before_ms = before_ms;
    old->over_bytes = over_bytes;
    do {
        if (fl_store_run(store, FL_LANE_READ, find_old, old) < 0)
            break;
        for (size_t i = 0; i < old->n; i++)
            unlinkat(t->dir_fd, old->v[i].id, 0);
        if (fl_store_run(store, FL_LANE_WRITE, delete_rows, old) < 0)
            break;
        for (size_t i = 0; i < old->n; i++)
            audit_removed(t, &old->v[i]);
        removed += old->n;
    } while (old->n == PER_RUN);
    if (removed)
        fl_log_info("old transcripts were removed", FL_I("sessions", (int64_t)removed));
    free(old);
}

void fl_transcripts_retire(struct fl_transcripts *t)
{
    const struct fl_plane_conf *conf = &t->plane->conf;
    int64_t used = 0, now_ms = fl_now_ms();

    fl_transcripts_end_left(t);
    remove_old(t, now_ms - conf->transcript_days * DAY_MS, INT64_MAX);
    if (fl_store_run(t->plane->store, FL_LANE_READ, usage, &used) == 0 &&
        used > conf->transcripts_max_bytes)
        remove_old(t, now_ms, used - conf->transcripts_max_bytes);
}
