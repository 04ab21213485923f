/* transcript_priv.h - between transcript.c (taps and the thread), transcript_disk.c (files and
 * rows) and transcript_out.c (logs and objects). */
#pragma once
#include <pthread.h>
#include <sys/queue.h>
#include "server/session/alarm.h"
#include "server/session/transcript.h"
#include "server/session/transcript_index.h"

/* The data of FL_TF_BEGIN. */
struct fl_tf_about {
    char *session_id, *node_id, *owner, *document, *type;
    char *endpoint; /* Port: "host:port", the node's own host is "localhost" */
    char *started;
    char *kept; /* what is recorded: "output", "output and input", "counts", "counts, encrypted" */
};
extern const struct fl_shape fl_tf_about_shape;

struct fl_transcripts {
    struct fl_plane *plane;
    uint8_t key[FL_SEAL_KEY_BYTES];
    char *dir;
    int dir_fd;
    struct fl_alarms *alarms;
    bool required;
    struct fl_transcript_index *index;

    pthread_mutex_t lock;
    pthread_cond_t changed, written;
    pthread_t thread;
    bool running, closing, full_disk, new_files;
    TAILQ_HEAD(, fl_rec) recs;
    bool dirty, urgent;
    size_t held_bytes;
    uint64_t asked, done;    /* rounds, for fl_transcripts_settle */
    int64_t retire_at_ms;    /* the thread's; monotonic */
    struct fl_log_put *puts; /* the thread's: events on their way to log groups */
    size_t n_puts, puts_cap, puts_bytes;
};

/* A session that is recorded. */
struct fl_rec {
    TAILQ_ENTRY(fl_rec) link;
    struct fl_transcripts *t;
    struct fl_arena arena; /* the strings below */
    struct fl_tf_about about;
    int64_t started_ms;
    bool resumed, bytes_kept, input_kept;
    /* of the document's inputs; NULL: not wanted */
    char *bucket, *prefix, *log_group, *run_as;
    bool log_streams;

    /* the loop's own */
    struct fl_alarm_watch watch;

    /* under the lock */
    bool over_limit;
    uint64_t recorded_bytes; /* in the file or on their way */
    struct fl_buf body;      /* records that are not written yet */
    uint64_t gap_bytes;      /* not recorded, not told yet */
    const char *gap_why;
    int64_t bytes[2]; /* input, output */
    int64_t n_alarms;
    bool ended, over, end_it;
    char end_text[200]; /* why it is to be ended, for its user */
    int64_t end_ms;

    /* the thread's own */
    bool opened, broken, row_due;
    char note[160]; /* why it is broken */
    int fd;
    struct fl_tf_end end;
    int64_t shown[2], shown_alarms, shown_end_ms; /* as they stand in the row */
    struct fl_text text;                          /* for the log stream: */
    struct fl_buf lines;                          /* lines with NULs behind them */
    bool log_failed;
};

/* ---- transcript_about.c; a loop ---- */

/* What cannot be read is taken for what it most likely is: a shell. */
void fl_rec_about(struct fl_rec *rec, const char *content);

/* ---- transcript.c ---- */

/* The tap's start. */
int fl_transcript_begin(struct fl_transcripts *t, const struct fl_tap_session *session,
                        void **ret_state);

/* With the lock held: the session is to be ended; the first reason stands. */
void fl_rec_end_it(struct fl_rec *rec, const char *fmt, ...) FL_PRINTF(2, 3);

/* ---- transcript_thread.c ---- */

void fl_rec_free(struct fl_rec *rec);

/* With the lock held: so many bytes are not recorded. */
void fl_rec_gap(struct fl_rec *rec, size_t len, const char *why);

/* ---- transcript_disk.c; the thread ---- */

char *fl_transcripts_dir(const char *data_dir); /* fresh memory */

/* Opens or makes the file. <0: it cannot be recorded now (try again), or for good: rec->broken. */
int fl_rec_open(struct fl_rec *rec, struct fl_err *err);

/* Appends a block, not yet synced. On failure the file is as it was. */
int fl_rec_append(struct fl_rec *rec, const void *body, size_t len, struct fl_err *err);

/* The rows of all that are due, in one transaction. */
int fl_rec_put_rows(struct fl_transcripts *t, struct fl_rec **recs, size_t n);

void fl_transcripts_retire(struct fl_transcripts *t);

/* ---- transcript_out.c; the thread ---- */

/* What was written goes to the log stream of the session, if that is to happen as it runs. */
void fl_rec_stream(struct fl_rec *rec, const void *body, size_t len);
/* Once a round, for all sessions in one transaction. */
void fl_transcripts_send_events(struct fl_transcripts *t);
/* The session is over: what the document wants kept elsewhere goes there. */
void fl_rec_deliver(struct fl_rec *rec);

/* For rec->end_text. */
void fl_rec_end_session(struct fl_rec *rec);
