/* transcript_index.c - the thread that indexes transcripts. */
#include "server/session/transcript_index.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/codec/utf8.h"
#include "server/session/transcript_lines.h"
#include "server/session/transcript_priv.h"

#define EVERY_MS      2000 /* between two looks, at least */
#define RETRY_MS      10000
#define REST_MAX_MS   250
#define DELETE_CHUNKS 4         /* of one transaction */
#define NOBODY        INT64_MAX /* a transcript's number */
#define TRIGRAM       3
#define TRIGRAMS_MAX  32 /* of an expression */

struct fl_transcript_index {
    struct fl_transcripts *t;
    pthread_mutex_t lock;
    pthread_cond_t changed, idle;
    pthread_t thread;
    bool woken, hurried, closing, resting;
    int64_t text_bytes; /* of all; the thread's */
};

/* ---- expressions ---- */

static int put_trigram(struct fl_buf *out, const char *text, size_t len)
{
    int r = fl_buf_puts(out, out->len ? " AND \"" : "\"");

    for (size_t i = 0; r >= 0 && i < len; i++)
        r = fl_buf_append(out, text[i] == '"' ? "\"\"" : text + i, text[i] == '"' ? 2 : 1);
    return r < 0 ? r : fl_buf_puts(out, "\"");
}

int fl_ti_match(const char *text, struct fl_buf *out)
{
    size_t n = fl_utf8_count(text), wanted, done = 0;
    int r = 0;

    if (n < TRIGRAM)
        return -ENOENT;
    n -= TRIGRAM - 1;
    wanted = FL_MIN(n, (size_t)TRIGRAMS_MAX);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        size_t len = 0;

        for (int c = 0; c < TRIGRAM; c++)
            len += FL_MAX(fl_utf8_len(text + len, strlen(text + len)), (size_t)1);
        if (i * wanted / n >= done) { /* spread over all of it */
            r = put_trigram(out, text, len);
            done++;
        }
        text += FL_MAX(fl_utf8_len(text, strlen(text)), (size_t)1);
    }
    return r;
}

/* ---- waiting ---- */

/* With the lock held: until that time, or there is no time. */
static void wait_until(struct fl_transcript_index *x, int64_t mono_ms)
{
    const struct timespec until = { mono_ms / 1000, mono_ms % 1000 * 1000000 };

    while (!x->closing && !x->hurried && fl_mono_ms() < mono_ms)
        pthread_cond_timedwait(&x->changed, &x->lock, &until);
}

/* As long as the work took, so that others come to the store, and to the disk. True: it ends. */
static bool rest(struct fl_transcript_index *x, int64_t since_ms)
{
    int64_t now_ms = fl_mono_ms();
    bool closing;

    pthread_mutex_lock(&x->lock);
    wait_until(x, now_ms + FL_MIN(now_ms - since_ms, (int64_t)REST_MAX_MS));
    closing = x->closing;
    pthread_mutex_unlock(&x->lock);
    return closing;
}

static int run(struct fl_transcript_index *x, enum fl_lane lane, fl_store_job_fn job, void *arg)
{
    return fl_store_run(x->t->plane->store, lane, job, arg);
}

/* ---- what is to go ---- */

struct range {
    int64_t first, last; /* ids */
    int64_t number;      /* of transcript_gone; 0: not from there */
};

/* 1: there may be more. */
static int delete_some(struct fl_tx *tx, void *arg)
{
    const struct range *g = arg;
    int r = fl_sql_exec(tx, FL_SQL_transcript_trigram_delete, NULL, FL_N(g->first), FL_N(g->last),
                        FL_N(DELETE_CHUNKS));

    if (r >= 0)
        r = fl_sql_exec(tx, FL_SQL_transcript_text_delete, NULL, FL_N(g->first), FL_N(g->last),
                        FL_N(DELETE_CHUNKS));
    if (r == 0 && g->number)
        return fl_sql_exec(tx, FL_SQL_transcript_gone_delete, NULL, FL_N(g->number)) < 0 ? -EIO : 0;
    return r;
}

struct step {
    struct fl_transcript_index *x;
    fl_store_job_fn fn;
    void *arg;
    int r;
};

/* What a job returns above 0 would roll it back. */
static int run_step(struct fl_tx *tx, void *arg)
{
    struct step *s = arg;

    s->r = s->fn(tx, s->arg);
    return FL_MIN(s->r, 0);
}

static int write_step(struct fl_transcript_index *x, fl_store_job_fn fn, void *arg)
{
    struct step s = { x, fn, arg, 0 };
    int64_t since_ms = fl_mono_ms();
    int r = run(x, FL_LANE_WRITE, run_step, &s);

    if (rest(x, since_ms))
        return -ECANCELED;
    return r < 0 ? r : s.r;
}

static int delete_range(struct fl_transcript_index *x, struct range *g)
{
    int r;

    do
        r = write_step(x, delete_some, g);
    while (r > 0);
    return r;
}

static int find_gone(struct fl_tx *tx, void *arg)
{
    *(int64_t *)arg = fl_sql_scalar(tx, FL_SQL_transcript_gone_next, 0, NULL);
    return 0;
}

static int sum_text(struct fl_tx *tx, void *arg)
{
    *(int64_t *)arg = fl_sql_scalar(tx, FL_SQL_transcript_text_bytes, -1, NULL);
    return *(int64_t *)arg < 0 ? -EIO : 0;
}

static int delete_gone(struct fl_transcript_index *x)
{
    bool any = false;
    int r;

    for (;;) {
        int64_t number = 0;
        struct range g;

        r = run(x, FL_LANE_READ, find_gone, &number);
        if (r < 0 || number == 0)
            break;
        any = true;
        g = (struct range){ fl_ti_id(number, FL_TI_CHUNKS_MAX - 1), fl_ti_id(number, 0), number };
        r = delete_range(x, &g);
        if (r < 0)
            break;
    }
    return r >= 0 && any ? run(x, FL_LANE_READ, sum_text, &x->text_bytes) : r;
}

/* ---- what is to come ---- */

/* A transcript, as its row has it; from `indexed` on they go on with the work. */
struct todo {
    char *session_id;
    int64_t number, file, indexed, lines[2], chunks, text;
    struct fl_time ended;
};
#define F(member, key) FL_FIELD(struct todo, member, key, 0)
static const struct fl_field todo_fields[] = {
    F(session_id, "SessionId"),  F(number, "number"),         F(file, "file_bytes"),
    F(indexed, "indexed_bytes"), F(lines[0], "output_bytes"), F(lines[1], "errors_bytes"),
    F(chunks, "chunks"),         F(text, "text_bytes"),       F(ended, "ended_ms"),
};
#undef F
static const struct fl_shape todo_shape = FL_SHAPE(struct todo, "todo", todo_fields);

struct find {
    struct fl_arena arena;
    struct todo todo;
    int found;
};

static int find_todo(struct fl_tx *tx, void *arg)
{
    struct find *f = arg;

    f->found = fl_sql_one(tx, FL_SQL_transcript_to_index, &todo_shape, &f->arena, &f->todo, NULL,
                          FL_N(FL_TI_LIVE_BYTES));
    return FL_MIN(f->found, 0);
}

/* -ESTALE: it is not there any more. */
static int set_row(struct fl_tx *tx, void *arg)
{
    const struct todo *d = arg;
    int r = fl_sql_exec(tx, FL_SQL_transcript_indexed_set, NULL, FL_N(d->number), FL_N(d->indexed),
                        FL_N(d->lines[0]), FL_N(d->lines[1]), FL_N(d->chunks), FL_N(d->text));

    return r == 0 ? -ESTALE : FL_MIN(r, 0);
}

struct chunk {
    int64_t number, id, start_ms;
    struct fl_buf lines, times;
};

static int put_chunk(struct fl_tx *tx, void *arg)
{
    const struct chunk *c = arg;
    int r = fl_sql_exec(tx, FL_SQL_transcript_text_put, NULL, FL_N(c->id), FL_N(c->start_ms),
                        FL_T(c->lines.data), FL_B(c->times.data, c->times.len), FL_N(c->number));

    if (r == 0)
        return -ESTALE;
    if (r >= 0)
        r = fl_sql_exec(tx, FL_SQL_transcript_trigram_put, NULL, FL_N(c->id), FL_T(c->lines.data));
    return FL_MIN(r, 0);
}

struct work {
    struct fl_transcript_index *x;
    struct todo *todo;
    struct chunk chunk;
    int64_t chunks, text; /* put, not in the row yet */
};

static int flush_chunk(struct work *w)
{
    struct chunk *c = &w->chunk;
    int r;

    if (!c->lines.len)
        return 0;
    c->number = w->todo->number;
    c->id = fl_ti_id(w->todo->number, w->todo->chunks + w->chunks);
    r = write_step(w->x, put_chunk, c);
    if (r < 0)
        return r;
    w->chunks++;
    w->text += (int64_t)(c->lines.len + c->times.len);
    fl_buf_reset(&c->lines);
    fl_buf_reset(&c->times);
    return 0;
}

/* Half the numbers of 32 bits: 24 days. A clock that went back begins another chunk. */
static bool time_fits(const struct chunk *c, int64_t wall_ms)
{
    return wall_ms >= c->start_ms && wall_ms - c->start_ms <= INT32_MAX;
}

static int add_line(void *arg, const struct fl_tl_line *line)
{
    struct work *w = arg;
    struct chunk *c = &w->chunk;
    uint32_t time;
    int r = 0;

    if (c->lines.len >= FL_TI_CHUNK_BYTES || (c->lines.len && !time_fits(c, line->wall_ms)))
        r = flush_chunk(w);
    if (r < 0)
        return r;
    if (!c->lines.len)
        c->start_ms = line->wall_ms;
    time = htole32((uint32_t)(line->wall_ms - c->start_ms) << 1 | line->errors);
    r = fl_buf_append(&c->times, &time, sizeof(time));
    if (r >= 0)
        r = fl_buf_append(&c->lines, line->text, line->len);
    return r < 0 ? r : fl_buf_puts(&c->lines, "\n");
}

static int commit(struct work *w, struct fl_tl_place place)
{
    struct todo next = *w->todo;
    int r = flush_chunk(w);

    next.indexed = (int64_t)place.bytes;
    for (int i = 0; i < 2; i++)
        next.lines[i] = (int64_t)place.line[i];
    next.chunks += w->chunks;
    next.text += w->text;
    if (r >= 0)
        r = write_step(w->x, set_row, &next);
    if (r < 0)
        return r;
    w->x->text_bytes += w->text;
    w->chunks = w->text = 0;
    *w->todo = next;
    return 0;
}

static int read_lines(struct work *w, struct fl_tl_reader *rd, struct fl_err *err)
{
    const struct todo *d = w->todo;
    int r, committed;

    do {
        r = fl_tl_read(rd, (uint64_t)d->file, FL_TI_COMMIT_BYTES, err);
        if (r == 0 && d->ended.ms)
            r = fl_tl_flush(rd);
        committed = r >= 0 ? commit(w, fl_tl_where(rd)) : 0;
        if (committed < 0)
            r = committed;
    } while (r > 0);
    return r;
}

static bool of_the_file(int r)
{
    return r == -EBADMSG || r == -ENODATA || r == -ENOENT;
}

/* What was put and is not in the row goes first. */
static int index_one(struct fl_transcript_index *x, struct todo *d)
{
    struct work w = { .x = x, .todo = d };
    struct range left = { fl_ti_id(d->number, FL_TI_CHUNKS_MAX - 1), fl_ti_id(d->number, d->chunks),
                          0 };
    const struct fl_tl_place from = { (uint64_t)d->indexed,
                                      { (uint64_t)d->lines[0], (uint64_t)d->lines[1] } };
    struct fl_tl_reader rd = { 0 };
    struct fl_err err = { 0 };
    fl_autofd int fd = fl_transcript_fd(x->t, d->session_id);
    int r;

    fl_buf_init(&w.chunk.lines, SIZE_MAX);
    fl_buf_init(&w.chunk.times, SIZE_MAX);
    r = delete_range(x, &left);
    if (r >= 0)
        r = fd < 0 ? fd
                   : fl_tl_open(&rd, fd, fl_transcript_key(x->t), d->session_id, &from, add_line,
                                &w, &err);
    if (r >= 0)
        r = read_lines(&w, &rd, &err);
    if (of_the_file(r)) { /* what is wrong with it, fl_tf_read will say again to who verifies */
        fl_log_warn("a transcript cannot be read for searching", FL_S("session", d->session_id),
                    FL_S("error", err.code ? fl_err_text(&err) : strerror(-r)));
        r = commit(&w, (struct fl_tl_place){ (uint64_t)d->file, { 0 } });
    }
    fl_tl_done(&rd);
    fl_buf_done(&w.chunk.lines);
    fl_buf_done(&w.chunk.times);
    return r;
}

/* ---- how much there is ---- */

static int find_oldest(struct fl_tx *tx, void *arg)
{
    struct todo *d = arg;
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_sql_open(tx, FL_SQL_transcript_oldest_indexed, &row, NULL);

    *d = (struct todo){ 0 };
    if (r >= 0 && (r = fl_sql_next(row, NULL)) > 0) {
        d->number = fl_sql_int(row, 0);
        d->text = fl_sql_int(row, 1);
    }
    return FL_MIN(r, 0);
}

static int drop_row(struct fl_tx *tx, void *arg)
{
    struct todo out = { .number = *(int64_t *)arg, .indexed = -1 };
    int r = fl_sql_exec(tx, FL_SQL_transcript_gone_add, NULL, FL_N(out.number));

    return r < 0 ? r : set_row(tx, &out);
}

/* Drops the oldest until there is room for so much more. 1: there is; 0: that of this number was
 * dropped, as all that is indexed is newer. */
static int make_room(struct fl_transcript_index *x, int64_t more, int64_t for_number)
{
    while (x->text_bytes + more > x->t->plane->conf.transcript_index_max_bytes) {
        struct todo oldest;
        int64_t number;
        int r = run(x, FL_LANE_READ, find_oldest, &oldest);

        if (r < 0)
            return r;
        number = oldest.number && oldest.number < for_number ? oldest.number : for_number;
        if (number == NOBODY)
            return 1;
        r = write_step(x, drop_row, &number);
        if (r < 0)
            return r;
        if (number == for_number)
            return 0;
        x->text_bytes -= oldest.text;
    }
    return 1;
}

/* ---- the thread ---- */

/* 0: all is done. */
static int work(struct fl_transcript_index *x)
{
    int r;

    for (;;) {
        struct find f = { 0 };

        r = make_room(x, 0, NOBODY);
        if (r >= 0)
            r = delete_gone(x);
        if (r < 0)
            return r;
        fl_arena_init(&f.arena, 4096);
        r = run(x, FL_LANE_READ, find_todo, &f);
        if (r >= 0 && f.found > 0) {
            r = make_room(x, f.todo.file - f.todo.indexed, f.todo.number);
            if (r > 0)
                r = index_one(x, &f.todo);
        }
        fl_arena_done(&f.arena);
        if (r < 0 && r != -ESTALE)
            return r;
        if (r >= 0 && f.found == 0)
            return 0;
    }
}

static void *thread_main(void *arg)
{
    struct fl_transcript_index *x = arg;
    int r = run(x, FL_LANE_READ, sum_text, &x->text_bytes);

    pthread_mutex_lock(&x->lock);
    while (!x->closing) {
        x->woken = x->resting = false;
        pthread_mutex_unlock(&x->lock);
        if (r < 0)
            r = run(x, FL_LANE_READ, sum_text, &x->text_bytes);
        if (r >= 0)
            r = work(x);
        pthread_mutex_lock(&x->lock);
        if (r < 0 && !x->closing) {
            fl_log_debug("transcripts are not indexed now", FL_S("error", strerror(-r)));
            wait_until(x, fl_mono_ms() + RETRY_MS);
            continue;
        }
        x->resting = true;
        pthread_cond_broadcast(&x->idle);
        wait_until(x, fl_mono_ms() + EVERY_MS);
        while (!x->closing && !x->woken)
            pthread_cond_wait(&x->changed, &x->lock);
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

void fl_transcript_index_wake(struct fl_transcript_index *x)
{
    pthread_mutex_lock(&x->lock);
    x->woken = true;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
}

void fl_transcript_index_settle(struct fl_transcript_index *x)
{
    pthread_mutex_lock(&x->lock);
    x->woken = x->hurried = true;
    pthread_cond_broadcast(&x->changed);
    while (x->woken || !x->resting)
        pthread_cond_wait(&x->idle, &x->lock);
    x->hurried = false;
    pthread_mutex_unlock(&x->lock);
}

int fl_transcript_index_new(struct fl_transcripts *t, struct fl_transcript_index **ret_index,
                            struct fl_err *err)
{
    struct fl_transcript_index *x = calloc(1, sizeof(*x));
    pthread_condattr_t attr;
    int r;

    if (!x)
        return fl_err_nomem(err);
    x->t = t;
    x->woken = true;
    pthread_mutex_init(&x->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&x->changed, &attr);
    pthread_cond_init(&x->idle, NULL);
    pthread_condattr_destroy(&attr);
    r = -pthread_create(&x->thread, NULL, thread_main, x);
    if (r < 0) {
        pthread_cond_destroy(&x->changed);
        pthread_cond_destroy(&x->idle);
        pthread_mutex_destroy(&x->lock);
        free(x);
        return fl_err_set(err, r, NULL, "transcripts: %s", strerror(-r));
    }
    *ret_index = x;
    return 0;
}

struct fl_transcript_index *fl_transcript_index_free(struct fl_transcript_index *x)
{
    if (!x)
        return NULL;
    pthread_mutex_lock(&x->lock);
    x->closing = true;
    pthread_cond_broadcast(&x->changed);
    pthread_mutex_unlock(&x->lock);
    pthread_join(x->thread, NULL);
    pthread_cond_destroy(&x->changed);
    pthread_cond_destroy(&x->idle);
    pthread_mutex_destroy(&x->lock);
    free(x);
    return NULL;
}
