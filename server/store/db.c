/* db.c - SQLite connections: pragmas, error numbers, schema steps. */
#include "server/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/clock.h"

#define CACHE_KIB 8192 /* page cache of one connection */

/* WAL with FULL: a commit is on disk when it returns. The WAL file is cut back after checkpoints
 * that follow a burst. */
static const char pragmas[] = "PRAGMA journal_mode = WAL;"
                              "PRAGMA synchronous = FULL;"
                              "PRAGMA foreign_keys = ON;"
                              "PRAGMA trusted_schema = OFF;"
                              "PRAGMA temp_store = MEMORY;"
                              "PRAGMA journal_size_limit = 67108864;";

static const char step_table[] = "CREATE TABLE IF NOT EXISTS schema_step ("
                                 " name TEXT PRIMARY KEY, applied_ms BIGINT NOT NULL)";

static const struct {
    int rc; /* extended or primary result code; extended ones stand first */
    int err;
} rc_errno[] = {
    { SQLITE_CONSTRAINT_UNIQUE, -EEXIST },
    { SQLITE_CONSTRAINT_PRIMARYKEY, -EEXIST },
    { SQLITE_IOERR_NOMEM, -ENOMEM },
    { SQLITE_FULL, -ENOSPC },
    { SQLITE_IOERR, -EIO },
    { SQLITE_CORRUPT, -EIO },
    { SQLITE_NOTADB, -EIO },
    { SQLITE_CANTOPEN, -EIO },
    { SQLITE_READONLY, -EROFS },
    { SQLITE_PERM, -EROFS },
    { SQLITE_BUSY, -EBUSY },
    { SQLITE_LOCKED, -EBUSY },
    { SQLITE_PROTOCOL, -EBUSY },
    { SQLITE_NOMEM, -ENOMEM },
    { SQLITE_TOOBIG, -EMSGSIZE },
};

int fl_db_errno(struct fl_db *db, int rc)
{
    int ext = db ? sqlite3_extended_errcode(db->sql) : rc;

    if (db && (rc & 0xff) == SQLITE_IOERR) {
        int sys = sqlite3_system_errno(db->sql);

        if (sys == ENOSPC || sys == EDQUOT)
            return -ENOSPC;
        if (sys == EROFS)
            return -EROFS;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(rc_errno); i++)
        if (rc_errno[i].rc == ext || rc_errno[i].rc == (rc & 0xff))
            return rc_errno[i].err;
    return -EINVAL;
}

static int fail(struct fl_db *db, int rc, const char *what, struct fl_err *err)
{
    return fl_err_set(err, fl_db_errno(db, rc), NULL, "database: %s: %s", what,
                      sqlite3_errmsg(db->sql));
}

/* What a person can do about a database that does not open. */
static int cannot_open(struct fl_db *db, const char *path, int r, struct fl_err *err)
{
    static const struct {
        int rc;
        const char *next;
    } steps[] = {
        { SQLITE_NOTADB, "restore it from a backup" },
        { SQLITE_CORRUPT,
          "restore it from a backup, or save what is left with sqlite3's .recover" },
        { SQLITE_FULL, "the disk is full: make room" },
        { SQLITE_READONLY, "it must be writable: look at its owner, mode and file system" },
        { SQLITE_CANTOPEN, "it must be writable: look at its owner, mode and file system" },
        { SQLITE_BUSY, "another program holds it: end that one" },
    };
    int rc = sqlite3_errcode(db->sql) & 0xff;

    for (size_t i = 0; i < FL_ARRAY_LEN(steps); i++)
        if (steps[i].rc == rc)
            return fl_err_set(err, r, NULL, "%s: %s; %s", path, sqlite3_errmsg(db->sql),
                              steps[i].next);
    return r;
}

static int no_database(const char *path, struct fl_err *err)
{
    return fl_err_set(
        err, -ENOENT, NULL,
        "%s: the database is missing or empty; restore it from a backup, or begin anew "
        "with \"init\" in another folder",
        path);
}

int fl_db_exec(struct fl_db *db, const char *sql, struct fl_err *err)
{
    int rc = sqlite3_exec(db->sql, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : fail(db, rc, "cannot execute", err);
}

struct fl_db *fl_db_free(struct fl_db *db)
{
    if (!db)
        return NULL;
    for (int i = 0; i < FL_SQL__N; i++) {
        sqlite3_finalize(db->cache[i].stmt);
        free(db->cache[i].places);
    }
    sqlite3_close(db->sql);
    free(db);
    return NULL;
}

/* SQLite would create the file with the umask's mode, and gives -wal and -shm the mode of the file.
 * An existing file is never opened here: POSIX locks go with the first descriptor of a file that a
 * process closes, so that would take away the locks of connections that are open, and another
 * process would then delete the -wal under them. */
static int create_file(const char *path, struct fl_err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0 && errno != EEXIST)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return 0;
}

int fl_db_open(const char *path, bool read_only, bool create, struct fl_db **ret_db,
               struct fl_err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    char busy[64];
    struct fl_db *db;
    int rc, r;

    if (!create && access(path, F_OK) < 0 && errno == ENOENT)
        return no_database(path, err);
    r = create ? create_file(path, err) : 0;
    if (r < 0)
        return r;
    db = calloc(1, sizeof(*db));
    if (!db)
        return fl_err_nomem(err);

    rc = sqlite3_open_v2(path, &db->sql, flags, NULL);
    if (rc != SQLITE_OK) {
        r = fl_err_set(err, -EIO, NULL, "%s: %s", path, sqlite3_errstr(rc));
        fl_db_free(db);
        return r;
    }
    sqlite3_busy_timeout(db->sql, FL_DB_BUSY_MS);
    snprintf(busy, sizeof(busy), "PRAGMA cache_size = -%d;%s", CACHE_KIB,
             read_only ? "PRAGMA query_only = ON;" : "");
    r = fl_db_exec(db, pragmas, err);
    if (r >= 0)
        r = fl_db_exec(db, busy, err);
    if (r < 0) {
        r = cannot_open(db, path, r, err);
        fl_db_free(db);
        return r;
    }
    db->read_only = read_only;
    *ret_db = db;
    return 0;
}

static bool step_known(const char *name)
{
    for (size_t i = 0; i < fl_sql_n_steps; i++)
        if (strcmp(fl_sql_steps[i].name, name) == 0)
            return true;
    return false;
}

/* Marks in `done` the steps that were applied. */
static int steps_read(struct fl_tx *tx, bool *done, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(tx, FL_SQL_schema_step_list, &c, err);

    if (r < 0)
        return r;
    while ((r = fl_sql_next(c, err)) > 0) {
        const char *name = fl_sql_text(c, 0);

        if (!step_known(name))
            return fl_err_set(err, -EINVAL, NULL,
                              "the database was made by a newer fairlead-server (schema step %s): "
                              "start that version, or restore a backup of before",
                              name);
        for (size_t i = 0; i < fl_sql_n_steps; i++)
            if (strcmp(fl_sql_steps[i].name, name) == 0)
                done[i] = true;
    }
    return r;
}

static int steps_apply(struct fl_db *db, bool create, struct fl_err *err)
{
    struct fl_tx tx = { .db = db };
    fl_autofree bool *done = calloc(fl_sql_n_steps + 1, sizeof(bool));
    int r;

    if (!done)
        return fl_err_nomem(err);
    r = fl_db_exec(db, step_table, err);
    if (r < 0)
        return r;
    r = steps_read(&tx, done, err);
    if (r < 0)
        return r;
    if (!create && !done[0])
        return no_database(sqlite3_db_filename(db->sql, "main"), err);

    for (size_t i = 0; i < fl_sql_n_steps; i++) {
        int rc;

        if (done[i])
            continue;
        rc = sqlite3_exec(db->sql, fl_sql_steps[i].sql, NULL, NULL, NULL);
        if (rc != SQLITE_OK)
            return fl_err_set(err, fl_db_errno(db, rc), NULL, "database: schema step %s: %s",
                              fl_sql_steps[i].name, sqlite3_errmsg(db->sql));
        r = fl_sql_exec(&tx, FL_SQL_schema_step_add, err, FL_T(fl_sql_steps[i].name),
                        FL_N(fl_now_ms()));
        if (r < 0)
            return r;
    }
    return 0;
}

int fl_db_migrate(struct fl_db *db, bool create, struct fl_err *err)
{
    int r = fl_db_exec(db, "BEGIN IMMEDIATE", err);

    if (r >= 0)
        r = steps_apply(db, create, err);
    if (r >= 0)
        r = fl_db_exec(db, "COMMIT", err);
    if (r < 0) {
        r = cannot_open(db, sqlite3_db_filename(db->sql, "main"), r, err);
        sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    }
    return r;
}
