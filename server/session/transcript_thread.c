/* transcript_thread.c - the thread that writes transcripts, in rounds: blocks, then fdatasync, then
 * rows. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/datachannel.h"
#include "server/audit.h"
#include "server/metrics.h"
#include "server/session/transcript_priv.h"

#define RETIRE_MS       (60 * 60 * 1000)
#define SYNC_ONE_BY_ONE 32 /* files; the whole file system is quicker for more */

void fl_rec_free(struct fl_rec *rec)
{
    fl_alarm_watch_done(&rec->watch);
    fl_text_done(&rec->text);
    fl_buf_done(&rec->body);
    fl_buf_done(&rec->lines);
    fl_arena_done(&rec->arena);
    if (rec->fd >= 0)
        close(rec->fd);
    free(rec);
}

/* With the lock held. */
void fl_rec_gap(struct fl_rec *rec, size_t len, const char *why)
{
    rec->gap_bytes += len;
    rec->gap_why = why;
}

/* What a round took from a session. */
struct batch {
    struct fl_rec *rec;
    struct fl_buf body;
    uint64_t gap;
    const char *gap_why;
    bool began, ended, end_it;
};

static void audit_file(struct fl_rec *rec, const char *operation, const char *what)
{
    const char *const resources[] = { rec->about.session_id, what };
    const struct fl_audit_entry entry = { .time_ms = fl_now_ms(),
                                          .operation = operation,
                                          .caller = rec->about.owner,
                                          .resources = resources,
                                          .n_resources = FL_ARRAY_LEN(resources) };

    fl_audit_write(rec->t->plane->audit, &entry);
}

/* It could not be written: what is lost of it stands in the transcript once it can be. */
static void failed(struct batch *b, const struct fl_err *err)
{
    struct fl_rec *rec = b->rec;
    struct fl_transcripts *t = rec->t;
    bool first = !t->full_disk;

    if (rec->broken && rec->note[0] == '\0') {
        snprintf(rec->note, sizeof(rec->note), "%.150s", fl_err_text(err));
        audit_file(rec, "fairlead:TranscriptBroken", rec->note);
        fl_log_error("a transcript does not go on", FL_S("session", rec->about.session_id),
                     FL_S("error", rec->note));
    } else if (!rec->broken && first) {
        t->full_disk = true;
        fl_log_error("transcripts cannot be written", FL_S("error", fl_err_text(err)));
    }
    pthread_mutex_lock(&t->lock);
    if (b->body.len)
        fl_rec_gap(rec, b->body.len, "it could not be written");
    if (t->required)
        fl_rec_end_it(rec, "The session must be recorded, and it cannot be: %.100s.",
                      err->code ? fl_err_text(err) : rec->note);
    pthread_mutex_unlock(&t->lock);
    b->gap = 0;
    fl_buf_reset(&b->body);
    b->end_it |= t->required;
}

static void append_gap(struct batch *b)
{
    char text[128];
    int n;

    if (!b->gap)
        return;
    n = snprintf(text, sizeof(text), "%llu bytes are not recorded: %s", (unsigned long long)b->gap,
                 b->gap_why);
    fl_tf_record(&b->body, FL_TF_GAP, fl_now_ms(), text, (size_t)n);
    fl_metrics_count(b->rec->t->plane->metrics, FL_CTR_TRANSCRIPT_GAPS);
}

static void write_batch(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    struct fl_err err = { 0 };
    int r;

    b->began = !rec->opened && !rec->broken;
    r = b->began ? fl_rec_open(rec, &err) : 0;
    if (rec->broken) {
        if (b->body.len || b->began)
            failed(b, &err);
        return;
    }
    if (r < 0) {
        failed(b, &err);
        return;
    }
    append_gap(b);
    if (!b->body.len)
        return;
    for (size_t at = 0, n; r >= 0 && at < b->body.len; at += n) {
        n = fl_tf_fit(b->body.data + at, b->body.len - at);
        r = fl_rec_append(rec, b->body.data + at, n, &err);
    }
    if (r < 0)
        failed(b, &err);
}

/* `whole` is what a sync of all of them gave, 1 without. */
static void sync_batch(struct batch *b, int whole)
{
    struct fl_rec *rec = b->rec;
    int r;

    if ((!b->body.len && !b->began) || rec->fd < 0)
        return;
    r = whole <= 0 ? whole : fdatasync(rec->fd) < 0 ? -errno : 0;
    if (r < 0) { /* what is on the disk is not known any more */
        struct fl_err err = { 0 };

        rec->broken = true;
        fl_err_set(&err, r, NULL, "fdatasync: %s", strerror(-r));
        failed(b, &err);
        return;
    }
    if (rec->t->full_disk)
        fl_log_info("transcripts can be written again");
    rec->t->full_disk = false;
    fl_rec_stream(rec, b->body.data, b->body.len);
}

/* With the lock held: what sessions have, or NULL without memory. A session whose end is told stays
 * until all of it is taken. */
static struct batch *take_batches(struct fl_transcripts *t, size_t *ret_n)
{
    struct fl_rec *rec;
    struct batch *v;
    size_t n = 0;

    TAILQ_FOREACH (rec, &t->recs, link)
        n++;
    v = calloc(n + 1, sizeof(*v));
    *ret_n = 0;
    if (!v)
        return NULL;
    TAILQ_FOREACH (rec, &t->recs, link) {
        struct batch *b = &v[*ret_n];
        bool begins = !rec->opened && !rec->broken;

        if (!rec->body.len && !rec->ended && !rec->row_due && !begins && !rec->end_it)
            continue;
        *b = (struct batch){ .rec = rec,
                             .body = rec->body,
                             .gap = rec->body.len || rec->ended ? rec->gap_bytes : 0,
                             .gap_why = rec->gap_why,
                             .ended = rec->ended,
                             .end_it = rec->end_it };
        t->held_bytes -= FL_MIN(t->held_bytes, rec->body.len);
        fl_buf_init(&rec->body, FL_TRANSCRIPT_HELD_ONE);
        if (b->gap)
            rec->gap_bytes = 0;
        rec->end_it = false;
        rec->row_due = true;
        rec->shown[0] = rec->bytes[0];
        rec->shown[1] = rec->bytes[1];
        rec->shown_alarms = rec->n_alarms;
        rec->shown_end_ms = rec->ended && rec->over ? rec->end_ms : 0;
        ++*ret_n;
    }
    return v;
}

/* Rows that could not be put are due again. */
static bool put_rows(struct fl_transcripts *t, struct batch *v, size_t n)
{
    struct fl_rec **due = calloc(n + 1, sizeof(struct fl_rec *));
    size_t n_due = 0;
    int r = due ? 0 : -ENOMEM;

    for (size_t i = 0; due && i < n; i++)
        if (v[i].rec->opened || v[i].rec->broken)
            due[n_due++] = v[i].rec;
    if (r == 0 && n_due)
        r = fl_rec_put_rows(t, due, n_due);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; r == 0 && i < n_due; i++)
        if (due[i]->shown[0] == due[i]->bytes[0] && due[i]->shown[1] == due[i]->bytes[1])
            due[i]->row_due = false;
    pthread_mutex_unlock(&t->lock);
    free(due);
    if (r == 0 && n_due)
        fl_transcript_index_wake(t->index);
    return r == 0;
}

static void finish(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    char head[FL_SHA256_HEX_BYTES];

    if (rec->opened && !rec->broken && rec->over) {
        fl_hex_encode(rec->end.mac, sizeof(rec->end.mac), head);
        audit_file(rec, "fairlead:TranscriptEnded", head);
        fl_rec_deliver(rec);
    }
    pthread_mutex_lock(&rec->t->lock);
    TAILQ_REMOVE(&rec->t->recs, rec, link);
    pthread_mutex_unlock(&rec->t->lock);
    fl_rec_free(rec);
}

/* True: something is left that can be done later. */
static bool run_round(struct fl_transcripts *t, struct batch *v, size_t n)
{
    int whole = 1;
    bool rows;

    for (size_t i = 0; i < n; i++)
        write_batch(&v[i]);
    if (n > SYNC_ONE_BY_ONE)
        whole = syncfs(t->dir_fd) < 0 ? -errno : 0;
    else if (t->new_files && fsync(t->dir_fd) < 0)
        whole = -errno;
    t->new_files = false;
    for (size_t i = 0; i < n; i++)
        sync_batch(&v[i], whole);
    fl_transcripts_send_events(t);
    rows = put_rows(t, v, n);
    for (size_t i = 0; i < n; i++) {
        if (v[i].end_it && !v[i].ended)
            fl_rec_end_session(v[i].rec);
        fl_buf_done(&v[i].body);
        if (v[i].ended && (rows || t->closing))
            finish(&v[i]);
    }
    return !rows;
}

/* With the lock held, until there is something to write, or the time has come. */
static void wait_for_work(struct fl_transcripts *t)
{
    struct timespec until;
    bool waited = false;

    while (!t->urgent && !t->closing && !(t->dirty && waited)) {
        int64_t ms =
            t->dirty ? FL_TRANSCRIPT_FLUSH_MS : FL_MAX(t->retire_at_ms - fl_mono_ms(), (int64_t)1);

        waited = t->dirty;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += ms / 1000;
        until.tv_nsec += ms % 1000 * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        if (pthread_cond_timedwait(&t->changed, &t->lock, &until) == ETIMEDOUT && !t->dirty)
            return;
    }
}

static void *thread_main(void *arg)
{
    struct fl_transcripts *t = arg;
    bool closing = false, again = false;

    while (!closing) {
        struct batch *v;
        uint64_t asked;
        size_t n;

        pthread_mutex_lock(&t->lock);
        if (again && !t->closing) { /* the store is not there: what comes meanwhile waits */
            t->dirty = true;
            t->urgent = false;
        }
        wait_for_work(t);
        closing = t->closing;
        asked = t->asked;
        v = take_batches(t, &n);
        t->dirty = t->urgent = false;
        pthread_mutex_unlock(&t->lock);

        again = !v || run_round(t, v, n);
        free(v);
        if (fl_mono_ms() >= t->retire_at_ms && !closing) {
            fl_transcripts_retire(t);
            fl_transcript_index_wake(t->index);
            t->retire_at_ms = fl_mono_ms() + RETIRE_MS;
        }
        pthread_mutex_lock(&t->lock);
        t->done = asked;
        pthread_cond_broadcast(&t->written);
        pthread_mutex_unlock(&t->lock);
    }
    return NULL;
}

void fl_transcripts_settle(struct fl_transcripts *t)
{
    pthread_mutex_lock(&t->lock);
    for (uint64_t mine = ++t->asked; t->done < mine;) {
        t->dirty = t->urgent = true;
        pthread_cond_broadcast(&t->changed);
        pthread_cond_wait(&t->written, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- beginning and end ---- */

int fl_transcripts_open(struct fl_plane *plane, struct fl_err *err)
{
    const struct fl_plane_conf *conf = &plane->conf;
    static const char purpose[] = "fairlead transcripts 1";
    struct fl_transcripts *t;
    pthread_condattr_t attr;
    int r;

    if (conf->transcripts && strcmp(conf->transcripts, "off") == 0)
        return 0;
    t = calloc(1, sizeof(*t));
    if (!t)
        return fl_err_nomem(err);
    *t = (struct fl_transcripts){ .plane = plane,
                                  .dir_fd = -1,
                                  .required = conf->transcripts &&
                                              strcmp(conf->transcripts, "required") == 0 };
    TAILQ_INIT(&t->recs);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_cond_init(&t->written, &attr);
    pthread_condattr_destroy(&attr);
    t->retire_at_ms = fl_mono_ms() + FL_TRANSCRIPT_FLUSH_MS;
    fl_hmac_sha256(plane->seal_key, sizeof(plane->seal_key), purpose, sizeof(purpose) - 1, t->key);
    t->dir = fl_transcripts_dir(conf->data_dir);
    r = t->dir ? fl_dir_make(t->dir, 0700, err) : fl_err_nomem(err);
    if (r >= 0)
        r = fl_alarms_new(conf->alarms, conf->n_alarms, &t->alarms, err);
    if (r >= 0) {
        t->dir_fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = t->dir_fd < 0 ? fl_err_set(err, -errno, NULL, "%s: %s", t->dir, strerror(errno))
                          : -pthread_create(&t->thread, NULL, thread_main, t);
        t->running = r == 0;
    }
    if (r >= 0)
        r = fl_transcript_index_new(t, &t->index, err);
    if (r < 0) {
        fl_transcripts_free(t);
        return err && err->code ? r : fl_err_set(err, r, NULL, "transcripts: %s", strerror(-r));
    }
    plane->transcripts = t;
    return 0;
}

struct fl_transcripts *fl_transcripts_free(struct fl_transcripts *t)
{
    struct fl_rec *rec;

    if (!t)
        return NULL;
    if (t->running) {
        pthread_mutex_lock(&t->lock);
        t->closing = true;
        pthread_cond_broadcast(&t->changed);
        pthread_mutex_unlock(&t->lock);
        pthread_join(t->thread, NULL);
    }
    t->index = fl_transcript_index_free(t->index);
    while ((rec = TAILQ_FIRST(&t->recs))) {
        TAILQ_REMOVE(&t->recs, rec, link);
        fl_rec_free(rec);
    }
    fl_alarms_free(t->alarms);
    if (t->dir_fd >= 0)
        close(t->dir_fd);
    free(t->dir);
    fl_wipe(t->key, sizeof(t->key));
    pthread_cond_destroy(&t->changed);
    pthread_cond_destroy(&t->written);
    pthread_mutex_destroy(&t->lock);
    free(t);
    return NULL;
}

int fl_transcript_fd(const struct fl_transcripts *t, const char *session_id)
{
    int fd;

    if (!fl_session_id_valid(session_id))
        return -ENOENT;
    fd = openat(t->dir_fd, session_id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

const uint8_t *fl_transcript_key(const struct fl_transcripts *t)
{
    return t->key;
}
