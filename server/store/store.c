/* store.c - the database's threads: reader lane, writer lane with group commit, exclusive lock. */
#include "server/store/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include "common/base/clock.h"
#include "common/base/log.h"

#define READERS_DEFAULT 4
#define READERS_MAX     64
#define QUEUE_DEFAULT   10000
#define BATCH_JOBS      512 /* jobs of one commit */
#define BATCH_MS        50  /* no more jobs join a commit that has worked this long */
#define POST_RETRY_US   10000
#define FIRST_IN_A_ROW  4 /* jobs that go first, while others wait too */

struct job {
    struct job *next;
    fl_store_job_fn fn;
    fl_store_done_fn done;
    void *arg;
    struct fl_loop *loop;
    int r;
};

struct queue {
    struct job *head, **tail;
    unsigned n;
};

struct lane {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct queue first, others;
    unsigned in_a_row; /* jobs of `first` taken since one of the others was, or could be */
    bool closing;
};

/* Whether a lane works; the readers share one. */
struct health {
    atomic_int trouble;           /* negative errno of the newest failure, 0: well */
    atomic_uint_fast64_t refused; /* jobs since it began */
};

struct worker {
    struct fl_store *store;
    struct fl_db *db;
    pthread_t thread;
    bool running;
};

struct fl_store {
    struct lane lanes[2]; /* enum fl_lane */
    struct health health[2];
    atomic_uint_fast64_t bad_commits;
    unsigned max_queue;
    int lock_fd;
    struct worker writer;
    struct worker readers[READERS_MAX];
    unsigned n_readers;
};

/* ---- lanes ---- */

static void lane_init(struct lane *l)
{
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->filled, NULL);
    l->first.tail = &l->first.head;
    l->others.tail = &l->others.head;
}

static int lane_push(struct lane *l, bool first, struct job *j, unsigned max)
{
    struct queue *q = first ? &l->first : &l->others;
    int r = 0;

    pthread_mutex_lock(&l->lock);
    if (l->closing) {
        r = -ECANCELED;
    } else if (q->n >= max) {
        r = -EAGAIN;
    } else {
        *q->tail = j;
        q->tail = &j->next;
        q->n++;
        pthread_cond_signal(&l->filled);
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

/* Whose turn it is; `first` cannot keep the others waiting for good. */
static struct queue *lane_choose(struct lane *l)
{
    if (!l->others.head)
        l->in_a_row = 0;
    if (l->first.head && (!l->others.head || l->in_a_row < FIRST_IN_A_ROW)) {
        l->in_a_row++;
        return &l->first;
    }
    l->in_a_row = 0;
    return &l->others;
}

/* The next job; NULL when the lane is closing and empty, or empty and `wait` is false. */
static struct job *lane_pop(struct lane *l, bool wait)
{
    struct queue *q;
    struct job *j;

    pthread_mutex_lock(&l->lock);
    while (wait && !l->first.head && !l->others.head && !l->closing)
        pthread_cond_wait(&l->filled, &l->lock);
    q = lane_choose(l);
    j = q->head;
    if (j) {
        q->head = j->next;
        if (!q->head)
            q->tail = &q->head;
        q->n--;
        j->next = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return j;
}

static void lane_close(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->filled);
    pthread_mutex_unlock(&l->lock);
}

/* ---- trouble ---- */

bool fl_store_trouble(int r)
{
    return r == -ENOSPC || r == -EIO || r == -EROFS || r == -EBUSY;
}

/* Once when it begins: a full disk must not be filled with lines that say so. */
static void note_trouble(struct fl_store *s, enum fl_lane lane, int r, unsigned jobs,
                         const char *text)
{
    struct health *h = &s->health[lane];

    atomic_fetch_add(&h->refused, jobs);
    if (atomic_exchange(&h->trouble, r) == 0)
        fl_log_error(lane == FL_LANE_WRITE
                         ? "store: cannot be written: what writes is refused until it can"
                         : "store: cannot be read: what reads is refused until it can",
                     FL_S("error", text));
}

static void note_well(struct fl_store *s, enum fl_lane lane)
{
    struct health *h = &s->health[lane];

    if (atomic_load(&h->trouble) == 0 || atomic_exchange(&h->trouble, 0) == 0)
        return;
    fl_log_warn(lane == FL_LANE_WRITE ? "store: can be written again" : "store: can be read again",
                FL_I("refused", (int64_t)atomic_exchange(&h->refused, 0)));
}

/* ---- ends of jobs ---- */

static void run_done(void *arg)
{
    struct job *j = arg;

    if (j->done)
        j->done(j->arg, j->r);
    free(j);
}

static void finish(struct job *j)
{
    if (!j->loop || !j->done) {
        run_done(j);
        return;
    }
    /* Whoever waits owns memory that only the callback frees: it must not be lost. */
    while (fl_loop_post(j->loop, run_done, j) < 0)
        usleep(POST_RETRY_US);
}

static int run_job(struct fl_db *db, struct job *j)
{
    struct fl_tx tx = { .db = db };
    int r = j->fn(&tx, j->arg);

    fl_tx_close_cursors(&tx);
    return r;
}

/* ---- readers ---- */

static void read_one(struct fl_store *s, struct fl_db *db, struct job *j)
{
    struct fl_err err = { 0 };
    int r = fl_db_exec(db, "BEGIN", &err);

    if (r >= 0) {
        r = run_job(db, j);
        if (fl_store_trouble(r))
            fl_err_set(&err, r, NULL, "%s", sqlite3_errmsg(db->sql));
        if (fl_db_exec(db, "COMMIT", NULL) < 0)
            fl_db_exec(db, "ROLLBACK", NULL);
    }
    if (err.code)
        note_trouble(s, FL_LANE_READ, r, 1, fl_err_text(&err));
    else
        note_well(s, FL_LANE_READ);
    j->r = r;
    finish(j);
}

static void *reader_main(void *arg)
{
    struct worker *w = arg;
    struct job *j;

    while ((j = lane_pop(&w->store->lanes[FL_LANE_READ], true)))
        read_one(w->store, w->db, j);
    return NULL;
}

/* ---- writer ---- */

/* One job in its savepoint. A failure that ended the whole transaction (disk full, I/O) is
 * returned; the job's own failure is in j->r. */
static int write_one(struct fl_store *s, struct job *j, struct fl_err *err)
{
    struct fl_db *db = s->writer.db;
    int r = fl_db_exec(db, "SAVEPOINT job", err);

    if (r < 0)
        return r;
    j->r = run_job(db, j);
    if (fl_store_trouble(j->r))
        note_trouble(s, FL_LANE_WRITE, j->r, 1, sqlite3_errmsg(db->sql));
    if (sqlite3_get_autocommit(db->sql)) /* SQLite has rolled everything back by itself */
        return fl_err_set(err, j->r < 0 ? j->r : -EIO, NULL, "the transaction was rolled back");
    if (j->r != 0) {
        r = fl_db_exec(db, "ROLLBACK TO job", err);
        if (r < 0)
            return r;
    }
    return fl_db_exec(db, "RELEASE job", err);
}

/* Runs `first` and what else waits, commits once, then tells everyone. */
static void write_batch(struct fl_store *s, struct job *first)
{
    struct fl_db *db = s->writer.db;
    struct job *done = NULL, **tail = &done;
    int64_t stop_ms = fl_mono_ms() + BATCH_MS;
    struct fl_err err = { 0 };
    int changes = sqlite3_total_changes(db->sql);
    bool well = true;
    unsigned n = 0;
    int r = fl_db_exec(db, "BEGIN IMMEDIATE", &err);

    for (struct job *j = first; j; j = lane_pop(&s->lanes[FL_LANE_WRITE], false)) {
        *tail = j;
        tail = &j->next;
        if (r >= 0)
            r = write_one(s, j, &err);
        well = well && !fl_store_trouble(j->r);
        n++;
        if (r < 0 || n >= BATCH_JOBS || fl_mono_ms() >= stop_ms)
            break;
    }
    if (r >= 0)
        r = fl_db_exec(db, "COMMIT", &err);
    if (r < 0) {
        if (!sqlite3_get_autocommit(db->sql))
            fl_db_exec(db, "ROLLBACK", NULL);
        atomic_fetch_add(&s->bad_commits, 1);
        note_trouble(s, FL_LANE_WRITE, r, n, fl_err_text(&err));
    } else if (well && sqlite3_total_changes(db->sql) != changes) {
        note_well(s, FL_LANE_WRITE); /* a commit of nothing needs no disk */
    }
    while (done) {
        struct job *j = done;

        done = j->next;
        if (r < 0)
            j->r = r;
        finish(j);
    }
}

static void *writer_main(void *arg)
{
    struct worker *w = arg;
    struct job *j;

    while ((j = lane_pop(&w->store->lanes[FL_LANE_WRITE], true)))
        write_batch(w->store, j);
    return NULL;
}

/* ---- open and close ---- */

static int lock_data(const char *path, int *ret_fd, struct fl_err *err)
{
    fl_autofree char *lock = NULL;
    fl_autofd int fd = -1;

    if (asprintf(&lock, "%s.lock", path) < 0) {
        lock = NULL;
        return fl_err_nomem(err);
    }
    fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", lock, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return fl_err_set(err, -EEXIST, NULL, "another fairlead-server runs on this data (%s)",
                              path);
        return fl_err_set(err, -errno, NULL, "%s: %s", lock, strerror(errno));
    }
    *ret_fd = FL_TAKE_FD(fd);
    return 0;
}

static int worker_start(struct fl_store *s, struct worker *w, void *(*fn)(void *),
                        struct fl_err *err)
{
    int r;

    w->store = s;
    r = pthread_create(&w->thread, NULL, fn, w);
    if (r != 0)
        return fl_err_set(err, -r, NULL, "cannot start a store thread: %s", strerror(r));
    w->running = true;
    return 0;
}

static int store_start(struct fl_store *s, const struct fl_store_conf *conf, bool exclusive,
                       struct fl_err *err)
{
    int r;

    if (exclusive) {
        r = lock_data(conf->path, &s->lock_fd, err);
        if (r < 0)
            return r;
    }
    r = fl_db_open(conf->path, false, !conf->must_exist, &s->writer.db, err);
    if (r >= 0)
        r = fl_db_migrate(s->writer.db, !conf->must_exist, err);
    if (r >= 0)
        r = worker_start(s, &s->writer, writer_main, err);
    for (unsigned i = 0; r >= 0 && i < s->n_readers; i++) {
        r = fl_db_open(conf->path, true, false, &s->readers[i].db, err);
        if (r >= 0)
            r = worker_start(s, &s->readers[i], reader_main, err);
    }
    return r;
}

int fl_store_open(const struct fl_store_conf *conf, bool exclusive, struct fl_store **ret_store,
                  struct fl_err *err)
{
    struct fl_store *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return fl_err_nomem(err);
    s->lock_fd = -1;
    s->n_readers = FL_MIN(conf->readers ? conf->readers : READERS_DEFAULT, READERS_MAX);
    s->max_queue = conf->max_queue ? conf->max_queue : QUEUE_DEFAULT;
    lane_init(&s->lanes[FL_LANE_READ]);
    lane_init(&s->lanes[FL_LANE_WRITE]);

    r = store_start(s, conf, exclusive, err);
    if (r < 0) {
        fl_store_free(s);
        return r;
    }
    *ret_store = s;
    return 0;
}

static void worker_stop(struct worker *w)
{
    if (w->running)
        pthread_join(w->thread, NULL);
    w->running = false;
    w->db = fl_db_free(w->db);
}

void fl_store_close(struct fl_store *store)
{
    lane_close(&store->lanes[FL_LANE_READ]);
    for (unsigned i = 0; i < store->n_readers; i++)
        worker_stop(&store->readers[i]);
    lane_close(&store->lanes[FL_LANE_WRITE]);
    worker_stop(&store->writer);
    if (store->lock_fd >= 0)
        close(FL_TAKE_FD(store->lock_fd));
}

struct fl_store *fl_store_free(struct fl_store *store)
{
    if (!store)
        return NULL;
    fl_store_close(store);
    for (int i = 0; i < 2; i++) {
        pthread_mutex_destroy(&store->lanes[i].lock);
        pthread_cond_destroy(&store->lanes[i].filled);
    }
    free(store);
    return NULL;
}

/* ---- submitting ---- */

static int submit(struct fl_store *store, enum fl_lane lane, bool first, unsigned max,
                  fl_store_job_fn fn, fl_store_done_fn done, void *arg, struct fl_loop *loop)
{
    struct job *j = calloc(1, sizeof(*j));
    int r;

    if (!j)
        return -EAGAIN;
    *j = (struct job){ .fn = fn, .done = done, .arg = arg, .loop = loop };
    r = lane_push(&store->lanes[lane], first, j, max);
    if (r < 0)
        free(j);
    return r;
}

int fl_store_submit(struct fl_store *store, enum fl_lane lane, fl_store_job_fn job,
                    fl_store_done_fn done, void *arg, struct fl_loop *loop)
{
    return submit(store, lane, false, store->max_queue, job, done, arg, loop);
}

int fl_store_submit_first(struct fl_store *store, enum fl_lane lane, fl_store_job_fn job,
                          fl_store_done_fn done, void *arg, struct fl_loop *loop)
{
    return submit(store, lane, true, store->max_queue, job, done, arg, loop);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    fl_store_job_fn fn;
    void *arg;
    bool done;
    int r;
};

static int wait_job(struct fl_tx *tx, void *arg)
{
    struct waiter *w = arg;

    return w->fn(tx, w->arg);
}

static void wait_done(void *arg, int r)
{
    struct waiter *w = arg;

    pthread_mutex_lock(&w->lock);
    w->r = r;
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int fl_store_run(struct fl_store *store, enum fl_lane lane, fl_store_job_fn job, void *arg)
{
    struct waiter w = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .fn = job, .arg = arg
    };
    int r = submit(store, lane, false, UINT32_MAX, wait_job, wait_done, &w, NULL);

    if (r < 0)
        return r;
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    return w.r;
}

void fl_store_get_stats(struct fl_store *store, struct fl_store_stats *out)
{
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&store->lanes[i].lock);
        out->queued[i] = store->lanes[i].first.n + store->lanes[i].others.n;
        pthread_mutex_unlock(&store->lanes[i].lock);
    }
    out->writable = atomic_load(&store->health[FL_LANE_WRITE].trouble) == 0;
    out->bad_commits = atomic_load(&store->bad_commits);
}

static int ping_job(struct fl_tx *tx, void *arg)
{
    char now[FL_ISO_BYTES];
    int r;

    fl_time_iso(fl_now_ms(), false, now);
    r = fl_sql_exec(tx, FL_SQL_meta_put, arg, FL_T("ping"), FL_T(now));
    return r < 0 ? r : 0;
}

int fl_store_ping(struct fl_store *store, struct fl_err *err)
{
    int r = fl_store_run(store, FL_LANE_WRITE, ping_job, err);

    if (r < 0 && err && !err->code)
        fl_err_set(err, r, NULL, "the store cannot be written: %s", strerror(-r));
    return r;
}
