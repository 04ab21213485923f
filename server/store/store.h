/* store.h - the plane's database: numbered schema, named statements, read and write lanes.
 *
 * Statements live in server/store/queries/ *.sql, each under a line "-- :name node_by_id"; the
 * build turns them into `enum fl_sql` (FL_SQL_node_by_id) in gen/sql_table.h. Placeholders are $1,
 * $2, … SQL is kept to what SQLite and PostgreSQL both understand (ON CONFLICT, RETURNING; no
 * INSERT OR, no rowid, no AUTOINCREMENT), but for queries/trigrams.sql; only server/store/ sees
 * SQLite.
 *
 * Work runs on the store's own threads, never on a loop: any number of readers, one writer. The
 * writer takes whatever is queued, runs each job in its own savepoint and commits them together
 * (group commit): a job's `done` runs only after its commit is on disk.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/loop.h"
#include "common/codec/codec.h"
#include "gen/sql_table.h"

struct fl_store;
struct fl_tx;     /* a transaction (reader: a snapshot); lives during one job */
struct fl_cursor; /* rows of one statement; close before the job returns */

enum fl_lane { FL_LANE_READ, FL_LANE_WRITE };

/* Runs on a store thread. Non-zero: everything this job wrote is rolled back (others in the same
 * commit are not touched). The value is handed to `done`. */
typedef int (*fl_store_job_fn)(struct fl_tx *tx, void *arg);

/* Runs on `loop` (or, with loop NULL, on the store thread right after the commit). `r` is the job's
 * return, or the commit's failure: -ENOSPC, -EIO, -EROFS; -ECANCELED when the store is closing. */
typedef void (*fl_store_done_fn)(void *arg, int r);

struct fl_store_conf {
    const char *path;   /* database file; made 0600 */
    bool must_exist;    /* -ENOENT instead of a new, empty database */
    unsigned readers;   /* 0: 4 */
    unsigned max_queue; /* jobs waiting per lane, of those that go first and of the others each,
                           before submit says -EAGAIN; 0: 10000 */
};

/* Opens, or creates, and brings the schema up to date. -EEXIST with a clear text when another
 * process holds the data (`exclusive`), -EINVAL for a schema newer than this program. Texts name
 * the next step. */
int fl_store_open(const struct fl_store_conf *conf, bool exclusive, struct fl_store **ret_store,
                  struct fl_err *err);

/* Finishes what is queued and ends the threads; from now on nothing is accepted (-ECANCELED). Their
 * `done` callbacks may still be waiting on loops. */
void fl_store_close(struct fl_store *store);

/* Closes if that has not happened, then frees. */
struct fl_store *fl_store_free(struct fl_store *store);

/* 0, -EAGAIN when the lane's queue is full (the caller answers ThrottlingException), or -ECANCELED
 * after fl_store_close. */
int fl_store_submit(struct fl_store *store, enum fl_lane lane, fl_store_job_fn job,
                    fl_store_done_fn done, void *arg, struct fl_loop *loop);

/* The same, for people's calls: goes before the jobs of fl_store_submit that wait in the lane, of
 * which a fleet may bring ten thousand at once. Four of five times at most while both wait. */
int fl_store_submit_first(struct fl_store *store, enum fl_lane lane, fl_store_job_fn job,
                          fl_store_done_fn done, void *arg, struct fl_loop *loop);

/* Runs a job on the calling thread and waits; for start-up, admin commands and tests. */
int fl_store_run(struct fl_store *store, enum fl_lane lane, fl_store_job_fn job, void *arg);

/* What the disk, or another process at the database, answers; as opposed to what a job found. It
 * passes: a later try may succeed, with no restart. The store logs the first failure and the
 * recovery of each lane, so that callers need not log every job. */
bool fl_store_trouble(int r);

struct fl_store_stats {
    unsigned queued[2];   /* jobs that wait, by enum fl_lane */
    bool writable;        /* as the last write found it */
    uint64_t bad_commits; /* commits that failed */
};
void fl_store_get_stats(struct fl_store *store, struct fl_store_stats *out);

/* 0 if the store can be read and written right now (readyz). */
int fl_store_ping(struct fl_store *store, struct fl_err *err);

/* ---- statements ---- */
enum fl_sql_type { FL_SQL_NULL, FL_SQL_TEXT, FL_SQL_INT, FL_SQL_BLOB, FL_SQL_REAL };
struct fl_sql_arg {
    enum fl_sql_type type;
    const void *ptr; /* text (NUL-terminated) or blob; must outlive the cursor */
    int64_t num;     /* integer value, or blob length */
    double real;
};
static inline struct fl_sql_arg fl_sql_arg_text(const char *s)
{
    return (struct fl_sql_arg){ .type = s ? FL_SQL_TEXT : FL_SQL_NULL, .ptr = s };
}
/* clang-format off */
#define FL_T(s)      fl_sql_arg_text(s)
#define FL_N(i)      ((struct fl_sql_arg){ .type = FL_SQL_INT, .num = (i) })
#define FL_B(p, len) ((struct fl_sql_arg){ .type = FL_SQL_BLOB, .ptr = (p), .num = (int64_t)(len) })
#define FL_NULL      ((struct fl_sql_arg){ .type = FL_SQL_NULL })
/* clang-format on */

/* A statement that returns no rows: the number of rows it changed, or a negative errno with `err`
 * set
 * (-EEXIST for a uniqueness violation). Usage: fl_sql_exec(tx, FL_SQL_x, err, FL_T(id), FL_N(3)) */
#define fl_sql_exec(tx, id, err, ...)                                                      \
    fl_sql_exec_v(tx, id, (const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } },  \
                  sizeof((const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }) / \
                          sizeof(struct fl_sql_arg) -                                      \
                      1,                                                                   \
                  err)
int fl_sql_exec_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                  struct fl_err *err);

/* A statement with rows. */
#define fl_sql_open(tx, id, ret_cursor, err, ...)                                          \
    fl_sql_open_v(tx, id, (const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } },  \
                  sizeof((const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }) / \
                          sizeof(struct fl_sql_arg) -                                      \
                      1,                                                                   \
                  ret_cursor, err)
int fl_sql_open_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                  struct fl_cursor **ret_cursor, struct fl_err *err);
int fl_sql_next(struct fl_cursor *c, struct fl_err *err); /* 1: a row, 0: no more, <0: error */
struct fl_cursor *fl_sql_close(struct fl_cursor *c);
void fl_sql_cleanup(struct fl_cursor **c);
#define fl_autocursor FL_CLEANUP(fl_sql_cleanup)

/* Columns of the current row, by index; text and blobs live until the next fl_sql_next/close. */
const char *fl_sql_text(struct fl_cursor *c, int col); /* NULL for SQL NULL */
int64_t fl_sql_int(struct fl_cursor *c, int col);
const void *fl_sql_blob(struct fl_cursor *c, int col, size_t *ret_len);
bool fl_sql_is_null(struct fl_cursor *c, int col);

/* The current row into a struct: columns are matched by name (AS "InstanceId") with the shape's
 * keys; lists, maps and structures are read from JSON text, timestamps from integer ms. Columns
 * without a member, and members without a column, are left alone (zero). */
int fl_sql_row(struct fl_cursor *c, const struct fl_shape *shape, struct fl_arena *arena, void *out,
               struct fl_err *err);

/* Convenience: open, take the first row into `out`, close. 1 found, 0 not, <0 error. */
int fl_sql_one_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                 const struct fl_shape *shape, struct fl_arena *arena, void *out,
                 struct fl_err *err);
#define fl_sql_one(tx, id, shape, arena, out, err, ...)                                   \
    fl_sql_one_v(tx, id, (const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } },  \
                 sizeof((const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }) / \
                         sizeof(struct fl_sql_arg) -                                      \
                     1,                                                                   \
                 shape, arena, out, err)

/* First column of the first row; `missing` if there is none. */
int64_t fl_sql_scalar_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                        int64_t missing, struct fl_err *err);
#define fl_sql_scalar(tx, id, missing, err, ...)                                             \
    fl_sql_scalar_v(tx, id, (const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } },  \
                    sizeof((const struct fl_sql_arg[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }) / \
                            sizeof(struct fl_sql_arg) -                                      \
                        1,                                                                   \
                    missing, err)
