/* transcript_priv.h - between transcript.c (taps), transcript_write.c (the thread that writes),
 * transcript_thread.c (the one that syncs), transcript_disk.c (files and rows) and transcript_out.c
 * (logs and objects). */
#pragma once
#include <pthread.h>
#include <sys/queue.h>
#include "server/session/alarm.h"
#include "server/session/pass.h"
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
    pthread_cond_t filled;  /* `work`, for the writer */
    pthread_cond_t changed; /* something is to be synced */
    pthread_cond_t written; /* the writer, or a round, is done */
    pthread_t writer, syncer;
    bool writes, syncs; /* they run */
    bool closing;       /* the writer ends when all is written, */
    bool last;          /* the syncer with this round */
    TAILQ_HEAD(, fl_rec) recs;
    TAILQ_HEAD(, fl_rec) work; /* those that have something to write */
    unsigned n_writing;
    bool dirty, urgent, new_files;
    size_t held_bytes;       /* of all bodies, those that are being written too */
    uint64_t asked, done;    /* rounds, for fl_transcripts_settle */
    bool full_disk;          /* the writer's */
    int64_t retire_at_ms;    /* the syncer's; monotonic */
    struct fl_log_put *puts; /* the syncer's: events on their way to log groups */
    size_t n_puts, puts_cap, puts_bytes;
};

/* What a row says. */
struct fl_rec_put {
    struct fl_tf_end end;
    int64_t bytes[2]; /* input, output */
    int64_t alarms;
};

/* A session that is recorded. */
struct fl_rec {
    TAILQ_ENTRY(fl_rec) link, waiting;
    struct fl_transcripts *t;
    struct fl_arena arena; /* the strings below */
    struct fl_tf_about about;
    int64_t started_ms;
    bool resumed, bytes_kept, input_kept;
    struct fl_pass *pass;  /* may be NULL */
    bool kept[FL_SIDE__N]; /* what this side sends waits until it is written */
    /* of the document's inputs; NULL: not wanted */
    char *bucket, *prefix, *log_group, *run_as;
    bool log_streams;

    /* the loop's own */
    struct fl_alarm_watch watch;

    /* under the lock */
    bool over_limit;
    uint64_t recorded_bytes; /* in the file or on their way */
    struct fl_buf body;      /* records that are not written yet */
    bool queued, writing;    /* in t->work; taken from there */
    bool shut;               /* not recorded from here on, and not sent on */
    uint64_t gap_bytes;      /* not recorded, not told yet */
    const char *gap_why;
    int64_t
        told[FL_SIDE__N]; /* numbers of a side's messages before this one are in it, or not to be */
    struct fl_rec_put now; /* but for `end`; with the body */
    struct fl_rec_put put; /* with what is written */
    size_t unsynced;
    bool opened, broken,
        row_due;    /* opened and broken: set by the writer, broken by the syncer, too */
    char note[160]; /* why it is broken */
    bool ended, over, end_it;
    char end_text[200]; /* why it is to be ended, for its user; set once, before end_it */
    int64_t end_ms;

    /* the writer's own; the fd is the syncer's too once it is opened */
    int fd;
    bool made;
    int64_t numbers[FL_SIDE__N]; /* as the file has them; -1: it does not */
    struct fl_tf_end end;

    /* the syncer's own */
    struct fl_rec_put shown; /* as it is to stand in the row */
    int64_t shown_end_ms;
    char shown_note[160];
    struct fl_tf_end
        streamed;        /* so far it is in the log stream; the writer's before it is opened */
    struct fl_text text; /* for that: */
    struct fl_buf lines; /* lines with NULs behind them */
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

/* ---- transcript_write.c ---- */

void *fl_transcripts_write(void *t); /* the thread */

/* With the lock held: it has something to be written, or its file to be opened. */
void fl_rec_queue(struct fl_rec *rec);

/* With the lock held: so many bytes are not recorded. A session that must be recorded ends there
 * for its user (rec->shut), else the transcript says so. */
void fl_rec_lose(struct fl_rec *rec, size_t len, const char *why);

/* ---- transcript_thread.c ---- */

void fl_rec_free(struct fl_rec *rec);

/* With the lock held: the syncer has something to do, at once or within its time. */
void fl_transcripts_wake(struct fl_transcripts *t, bool urgent);

/* With the lock held: its transcript ends here, for good. Only the first reason is told. */
void fl_rec_broken(struct fl_rec *rec, const struct fl_err *err);

/* ---- transcript_disk.c ---- */

char *fl_transcripts_dir(const char *data_dir); /* fresh memory */

/* The writer's: opens or makes the file; adds to `put` what is known of an earlier run. <0: it
 * cannot be recorded now (try again); with *ret_broken, perhaps with 0 and a note, for good. */
int fl_rec_open(struct fl_rec *rec, struct fl_rec_put *put, bool *ret_broken, struct fl_err *err);

/* The writer's: appends a block, not yet synced. On failure the file is as it was. */
int fl_rec_append(struct fl_rec *rec, const void *body, size_t len, struct fl_err *err);

/* The syncer's: the rows of all that are due, in one transaction. */
int fl_rec_put_rows(struct fl_transcripts *t, struct fl_rec **recs, size_t n);

void fl_transcripts_retire(struct fl_transcripts *t);

/* ---- transcript_left.c ---- */

/* Before a session is relayed: gives those a row that a plane was killed over, as it began them. */
void fl_transcripts_adopt(struct fl_transcripts *t);

/* The syncer's: ends those whose session ended without a relay. */
void fl_transcripts_end_left(struct fl_transcripts *t);

/* ---- transcript_out.c; the syncer ---- */

/* What was written up to there goes to the log stream of the session, if that is to happen as it
 * runs. */
void fl_rec_stream(struct fl_rec *rec, const struct fl_tf_end *end);
/* Once a round, for all sessions in one transaction. */
void fl_transcripts_send_events(struct fl_transcripts *t);
/* The session is over: what the document wants kept elsewhere goes there. */
void fl_rec_deliver(struct fl_rec *rec);

/* For rec->end_text. */
void fl_rec_end_session(struct fl_rec *rec);
