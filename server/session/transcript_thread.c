/* transcript_thread.c - the thread that syncs transcripts, in rounds: fdatasync of what the writer
 * has written, then rows. */
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
    fl_pass_unref(rec->pass);
    free(rec);
}

void fl_transcripts_wake(struct fl_transcripts *t, bool urgent)
{
    if ((t->dirty && !urgent) || t->urgent)
        return;
    t->dirty = true;
    t->urgent = urgent;
    pthread_cond_signal(&t->changed);
}

/* What a round does for a session. */
struct item {
    struct fl_rec *rec;
    size_t unsynced;
    bool row, ended, end_it; /* ended: and all of it is written */
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

void fl_rec_broken(struct fl_rec *rec, const struct fl_err *err)
{
    rec->broken = true;
    if (rec->note[0])
        return;
    snprintf(rec->note, sizeof(rec->note), "%.150s", fl_err_text(err));
    audit_file(rec, "fairlead:TranscriptBroken", rec->note);
    fl_log_error("a transcript does not go on", FL_S("session", rec->about.session_id),
                 FL_S("error", rec->note));
}

/* What is on the disk is not known any more. */
static void sync_failed(struct item *item, int r)
{
    struct fl_rec *rec = item->rec;
    struct fl_transcripts *t = rec->t;
    struct fl_err err = { 0 };

    fl_err_set(&err, r, NULL, "fdatasync: %s", strerror(-r));
    pthread_mutex_lock(&t->lock);
    fl_rec_broken(rec, &err);
    fl_rec_lose(rec, item->unsynced, "it could not be written");
    if (t->required)
        fl_rec_end_it(rec, "The session must be recorded, and it cannot be: %.100s.",
                      fl_err_text(&err));
    snprintf(rec->shown_note, sizeof(rec->shown_note), "%s", rec->note);
    item->end_it |= t->required;
    pthread_mutex_unlock(&t->lock);
}

/* `whole` is what a sync of all of them gave, 1 without. */
static void sync_item(struct item *item, int whole)
{
    struct fl_rec *rec = item->rec;
    int r;

    if (!item->unsynced)
        return;
    r = whole <= 0 ? whole : fdatasync(rec->fd) < 0 ? -errno : 0;
    if (r < 0)
        sync_failed(item, r);
    else
        fl_rec_stream(rec, &rec->shown.end);
}

/* With the lock held: nothing of it waits for the writer. */
static bool is_written(const struct fl_rec *rec)
{
    return !rec->queued && !rec->writing;
}

/* With the lock held. What is counted and what is in the file belong together, for who adds to
 * them after a kill. */
static void take(struct fl_rec *rec, struct item *item)
{
    bool over = rec->ended && is_written(rec);

    *item = (struct item){ .rec = rec,
                           .unsynced = rec->opened && !rec->broken ? rec->unsynced : 0,
                           .row = rec->opened || rec->broken,
                           .ended = over,
                           .end_it = rec->end_it };
    rec->shown = is_written(rec) ? rec->now : rec->put;
    rec->shown.end = rec->put.end;
    rec->shown_end_ms = over && rec->over ? rec->end_ms : 0;
    memcpy(rec->shown_note, rec->note, sizeof(rec->note));
    rec->unsynced = 0;
    rec->row_due = rec->end_it = false;
}

/* With the lock held: those for which there is something to do; NULL without memory. */
static struct item *take_items(struct fl_transcripts *t, size_t *ret_n)
{
    struct fl_rec *rec;
    struct item *v;
    size_t n = 0;

    TAILQ_FOREACH (rec, &t->recs, link)
        n++;
    v = calloc(n + 1, sizeof(*v));
    *ret_n = 0;
    if (!v)
        return NULL;
    TAILQ_FOREACH (rec, &t->recs, link)
        if (rec->row_due || rec->end_it || (rec->ended && is_written(rec)))
            take(rec, &v[(*ret_n)++]);
    return v;
}

/* Rows that could not be put are due again. */
static bool put_rows(struct fl_transcripts *t, struct item *v, size_t n)
{
    struct fl_rec **due = calloc(n + 1, sizeof(struct fl_rec *));
    size_t n_due = 0;
    int r = due ? 0 : -ENOMEM;

    for (size_t i = 0; due && i < n; i++)
        if (v[i].row)
            due[n_due++] = v[i].rec;
    if (r == 0 && n_due)
        r = fl_rec_put_rows(t, due, n_due);
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; r < 0 && i < n; i++)
        v[i].rec->row_due = true;
    pthread_mutex_unlock(&t->lock);
    free(due);
    if (r == 0 && n_due)
        fl_transcript_index_wake(t->index);
    return r == 0;
}

static void finish(struct item *item)
{
    struct fl_rec *rec = item->rec;
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
static bool run_round(struct fl_transcripts *t, struct item *v, size_t n, bool new_files)
{
    size_t n_sync = 0;
    int whole = 1;
    bool rows;

    for (size_t i = 0; i < n; i++)
        n_sync += v[i].unsynced > 0;
    if (n_sync > SYNC_ONE_BY_ONE)
        whole = syncfs(t->dir_fd) < 0 ? -errno : 0;
    else if (new_files && fsync(t->dir_fd) < 0)
        whole = -errno;
    for (size_t i = 0; i < n; i++)
        sync_item(&v[i], whole);
    fl_transcripts_send_events(t);
    rows = put_rows(t, v, n);
    for (size_t i = 0; i < n; i++) {
        if (v[i].end_it && !v[i].ended)
            fl_rec_end_session(v[i].rec);
        if (v[i].ended && (rows || t->last))
            finish(&v[i]);
    }
    return !rows;
}

/* With the lock held, until there is something to write, or the time has come. */
static void wait_for_work(struct fl_transcripts *t)
{
    struct timespec until;
    bool waited = false;

    while (!t->urgent && !t->last && !(t->dirty && waited)) {
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

static void *sync_thread(void *arg)
{
    struct fl_transcripts *t = arg;
    bool last = false, again = false;

    while (!last) {
        struct item *v;
        uint64_t asked;
        bool new_files;
        size_t n;

        pthread_mutex_lock(&t->lock);
        if (again && !t->last) { /* the store is not there: what comes meanwhile waits */
            t->dirty = true;
            t->urgent = false;
        }
        wait_for_work(t);
        asked = t->asked;
        while (asked != t->done && (t->n_writing || !TAILQ_EMPTY(&t->work)))
            pthread_cond_wait(&t->written, &t->lock);
        last = t->last;
        v = take_items(t, &n);
        new_files = t->new_files;
        t->dirty = t->urgent = t->new_files = false;
        pthread_mutex_unlock(&t->lock);

        again = !v || run_round(t, v, n, new_files);
        free(v);
        if (fl_mono_ms() >= t->retire_at_ms && !last) {
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
        pthread_cond_signal(&t->changed);
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
    TAILQ_INIT(&t->work);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_cond_init(&t->filled, &attr);
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
                          : -pthread_create(&t->writer, NULL, fl_transcripts_write, t);
        t->writes = r == 0;
    }
    if (r >= 0)
        r = fl_transcript_index_new(t, &t->index, err);
    if (r >= 0) { /* the last: it wakes the index */
        r = -pthread_create(&t->syncer, NULL, sync_thread, t);
        t->syncs = r == 0;
    }
    if (r < 0) {
        fl_transcripts_free(t);
        return err && err->code ? r : fl_err_set(err, r, NULL, "transcripts: %s", strerror(-r));
    }
    fl_transcripts_adopt(t);
    plane->transcripts = t;
    return 0;
}

struct fl_transcripts *fl_transcripts_free(struct fl_transcripts *t)
{
    struct fl_rec *rec;

    if (!t)
        return NULL;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    pthread_cond_signal(&t->filled);
    pthread_mutex_unlock(&t->lock);
    if (t->writes)
        pthread_join(t->writer, NULL);
    pthread_mutex_lock(&t->lock);
    t->last = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (t->syncs)
        pthread_join(t->syncer, NULL);
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
    pthread_cond_destroy(&t->filled);
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
