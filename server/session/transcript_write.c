/* transcript_write.c - the thread that writes: what loops put down goes to the files as it comes,
 * and then may be sent on. It waits for no sync and for nothing else of the store, but where a
 * session goes on in another run of the plane. */
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/metrics.h"
#include "server/session/transcript_priv.h"

void fl_rec_queue(struct fl_rec *rec)
{
    struct fl_transcripts *t = rec->t;

    if (rec->queued)
        return;
    rec->queued = true;
    TAILQ_INSERT_TAIL(&t->work, rec, waiting);
    pthread_cond_signal(&t->filled);
}

void fl_rec_lose(struct fl_rec *rec, size_t len, const char *why)
{
    if (rec->t->required) {
        rec->shut = true;
        if (rec->pass)
            fl_pass_shut(rec->pass);
        return;
    }
    rec->gap_bytes += len;
    rec->gap_why = why;
}

/* What was taken from a session. */
struct batch {
    struct fl_rec *rec;
    struct fl_buf body;
    uint64_t gap;
    const char *gap_why;
    size_t held;
    struct fl_rec_put put; /* how it stands then */
    int64_t told[FL_SIDE__N];
    bool broken, failed, over;
};

/* It could not be written: what is lost of it stands in the transcript once it can be. */
static void failed(struct batch *b, const struct fl_err *err)
{
    struct fl_rec *rec = b->rec;
    struct fl_transcripts *t = rec->t;

    b->failed = true;
    rec->numbers[0] = rec->numbers[1] = -1; /* to be written again */
    if (!b->broken && !t->full_disk) {
        t->full_disk = true;
        fl_log_error("transcripts cannot be written", FL_S("error", fl_err_text(err)));
    }
    pthread_mutex_lock(&t->lock);
    if (b->broken)
        fl_rec_broken(rec, err);
    if (b->body.len || b->gap || t->required)
        fl_rec_lose(rec, b->body.len + b->gap, "it could not be written");
    if (t->required)
        fl_rec_end_it(rec, "The session must be recorded, and it cannot be: %.100s.",
                      err->code ? fl_err_text(err) : rec->note);
    pthread_mutex_unlock(&t->lock);
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
}

/* So that the next run of the plane knows which message is next. */
static void append_numbers(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    const int64_t now[2] = { b->told[FL_SIDE_AGENT],
                             rec->kept[FL_SIDE_CLIENT] ? b->told[FL_SIDE_CLIENT] : -1 };
    uint8_t data[FL_TF_NUMBERS_BYTES];

    if (!rec->kept[FL_SIDE_AGENT] || b->over ||
        (now[0] == rec->numbers[0] && now[1] == rec->numbers[1]))
        return;
    fl_tf_record(&b->body, FL_TF_NUMBERS, fl_now_ms(), data, fl_tf_numbers(now, data));
    memcpy(rec->numbers, now, sizeof(now));
}

/* What the file says of an earlier run; without that, whatever comes first. */
static void know_first(struct batch *b)
{
    struct fl_rec *rec = b->rec;

    for (int side = 0; side < FL_SIDE__N; side++) {
        b->told[side] = FL_MAX(b->told[side], rec->numbers[side]);
        if (rec->pass && rec->kept[side] && rec->resumed)
            fl_pass_begin(rec->pass, (enum fl_side)side, rec->numbers[side]);
    }
}

static int append_blocks(struct batch *b, struct fl_err *err)
{
    int r = 0;

    for (size_t at = 0, n; r >= 0 && at < b->body.len; at += n) {
        n = fl_tf_fit(b->body.data + at, b->body.len - at);
        r = fl_rec_append(b->rec, b->body.data + at, n, err);
    }
    return r;
}

static void write_batch(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    struct fl_err err = { 0 };
    bool begins = !rec->opened && !b->broken;
    int r = begins ? fl_rec_open(rec, &b->put, &b->broken, &err) : 0;

    if (begins)
        know_first(b);
    if (b->broken) {
        if (b->body.len || begins)
            failed(b, &err);
        return;
    }
    if (r >= 0) {
        append_gap(b);
        append_numbers(b);
        r = append_blocks(b, &err);
    }
    if (r < 0) {
        failed(b, &err);
        return;
    }
    if (b->gap)
        fl_metrics_count(rec->t->plane->metrics, FL_CTR_TRANSCRIPT_GAPS);
    if (rec->t->full_disk)
        fl_log_info("transcripts can be written again");
    rec->t->full_disk = false;
}

/* With the lock held. */
static void take(struct fl_rec *rec, struct batch *b)
{
    *b = (struct batch){ .rec = rec,
                         .body = rec->body,
                         .gap = rec->body.len || rec->ended ? rec->gap_bytes : 0,
                         .gap_why = rec->gap_why,
                         .held = rec->body.len,
                         .put = rec->now,
                         .told = { rec->told[0], rec->told[1] },
                         .over = rec->ended && rec->over,
                         .broken = rec->broken };
    fl_buf_init(&rec->body, FL_TRANSCRIPT_HELD_ONE);
    if (b->gap)
        rec->gap_bytes = 0;
    rec->queued = false;
    rec->writing = true;
}

/* With the lock held: the file has it, and so others may. */
static void give_back(struct batch *b)
{
    struct fl_rec *rec = b->rec;
    struct fl_transcripts *t = rec->t;

    rec->writing = false;
    rec->unsynced += b->failed ? 0 : b->body.len + (size_t)rec->made;
    rec->row_due = true;
    t->new_files |= rec->made;
    rec->made = false;
    rec->put = b->put;
    rec->put.end = rec->end;
    rec->opened = rec->fd >= 0 && !b->broken;
    rec->broken |= b->broken;
    t->held_bytes -= b->held;
    for (int side = 0; side < FL_SIDE__N; side++) {
        rec->told[side] = FL_MAX(rec->told[side], b->told[side]);
        /* What was told meanwhile and queued nothing has nothing to wait for. */
        if (rec->pass && rec->kept[side] && !rec->shut)
            fl_pass_set(rec->pass, (enum fl_side)side,
                        rec->queued ? b->told[side] : rec->told[side], true);
    }
    fl_transcripts_wake(t, rec->ended || rec->end_it || rec->unsynced > FL_TRANSCRIPT_FLUSH_BYTES);
}

void *fl_transcripts_write(void *arg)
{
    struct fl_transcripts *t = arg;
    struct fl_rec *rec;
    struct batch b;

    pthread_mutex_lock(&t->lock);
    for (;;) {
        while ((rec = TAILQ_FIRST(&t->work))) {
            TAILQ_REMOVE(&t->work, rec, waiting);
            take(rec, &b);
            t->n_writing = 1;
            pthread_mutex_unlock(&t->lock);
            write_batch(&b);
            pthread_mutex_lock(&t->lock);
            give_back(&b);
            t->n_writing = 0;
            fl_buf_done(&b.body);
        }
        pthread_cond_broadcast(&t->written);
        if (t->closing)
            break;
        pthread_cond_wait(&t->filled, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}
