/* db.h - private to server/store/: one SQLite connection with its prepared statements.
 *
 * A connection belongs to one thread at a time.
 */
#pragma once
#include <sqlite3.h>
#include "server/store/store.h"

#define FL_DB_BUSY_MS 10000 /* wait for another process (admin command) that is writing */

struct fl_db {
    sqlite3 *sql;
    bool read_only;
    struct {
        sqlite3_stmt *stmt; /* prepared at first use */
        bool busy;          /* a cursor is on it: nested use gets one of its own */
        uint8_t *places;    /* SQLite's number of each argument; found at the first use */
    } cache[FL_SQL__N + 1];
};

struct fl_tx {
    struct fl_db *db;
    struct fl_cursor *cursors; /* still open */
};

/* `create`: makes an empty database where there is none; else -ENOENT. */
int fl_db_open(const char *path, bool read_only, bool create, struct fl_db **ret_db,
               struct fl_err *err);
struct fl_db *fl_db_free(struct fl_db *db);

/* Applies the missing schema steps. -EINVAL if the database knows steps this program does not;
 * -ENOENT if it has none and `create` is false. */
int fl_db_migrate(struct fl_db *db, bool create, struct fl_err *err);

/* Plain statements without rows: BEGIN, COMMIT, SAVEPOINT. 0 or a negative errno. */
int fl_db_exec(struct fl_db *db, const char *sql, struct fl_err *err);

/* The errno for what the connection just answered: -ENOSPC, -EIO, -EROFS, -EBUSY, -EEXIST, -EINVAL.
 */
int fl_db_errno(struct fl_db *db, int rc);

/* Closes what a job left open; true if there was any. */
bool fl_tx_close_cursors(struct fl_tx *tx);
