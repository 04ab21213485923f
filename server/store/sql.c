/* sql.c - named statements: binding, stepping, rows into structs. */
#include "server/store/db.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_ARGS       40
#define MAX_COLUMNS    64
#define JSON_MAX_BYTES (4 * 1024 * 1024) /* one column that holds JSON */

struct fl_cursor {
    struct fl_tx *tx;
    struct fl_cursor *next, **prev; /* on tx->cursors */
    enum fl_sql id;
    sqlite3_stmt *stmt;
    bool own; /* prepared for this cursor alone */
    /* columns -> fields of the shape that was asked for last */
    const struct fl_shape *shape;
    const struct fl_field *map[MAX_COLUMNS];
};

static int fail(struct fl_cursor *c, int rc, struct fl_err *err)
{
    struct fl_db *db = c->tx->db;

    return fl_err_set(err, fl_db_errno(db, rc), NULL, "database: %s: %s",
                      fl_sql_statements[c->id].name, sqlite3_errmsg(db->sql));
}

static int prepare(struct fl_cursor *c, struct fl_err *err)
{
    struct fl_db *db = c->tx->db;
    int rc;

    if (!db->cache[c->id].busy && db->cache[c->id].stmt) {
        c->stmt = db->cache[c->id].stmt;
        db->cache[c->id].busy = true;
        return 0;
    }
    rc = sqlite3_prepare_v3(db->sql, fl_sql_statements[c->id].sql, -1, SQLITE_PREPARE_PERSISTENT,
                            &c->stmt, NULL);
    if (rc != SQLITE_OK)
        return fail(c, rc, err);
    if (db->cache[c->id].busy) {
        c->own = true;
    } else {
        db->cache[c->id].stmt = c->stmt;
        db->cache[c->id].busy = true;
    }
    return 0;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct fl_sql_arg *a)
{
    switch (a->type) {
    case FL_SQL_NULL:
        return sqlite3_bind_null(stmt, at);
    case FL_SQL_TEXT:
        return sqlite3_bind_text(stmt, at, a->ptr, -1, SQLITE_STATIC);
    case FL_SQL_INT:
        return sqlite3_bind_int64(stmt, at, a->num);
    case FL_SQL_BLOB:
        return sqlite3_bind_blob64(stmt, at, a->ptr ? a->ptr : "", (sqlite3_uint64)a->num,
                                   SQLITE_STATIC);
    case FL_SQL_REAL:
        return sqlite3_bind_double(stmt, at, a->real);
    }
    return SQLITE_MISUSE;
}

/* SQLite numbers "$2" by where it stands in the text, PostgreSQL by what it says: so the place of
 * each argument is looked up by name, once a statement. */
static int find_places(struct fl_cursor *c, size_t n, const uint8_t **ret_places,
                       struct fl_err *err)
{
    struct fl_db *db = c->tx->db;
    fl_autofree uint8_t *places = NULL;

    if (sqlite3_bind_parameter_count(c->stmt) != (int)n || n > MAX_ARGS)
        return fl_err_set(err, -EINVAL, NULL, "database: %s: %zu arguments given, %d wanted",
                          fl_sql_statements[c->id].name, n, sqlite3_bind_parameter_count(c->stmt));
    *ret_places = db->cache[c->id].places;
    if (*ret_places || n == 0)
        return 0;
    places = malloc(n);
    if (!places)
        return fl_err_nomem(err);
    for (size_t i = 0; i < n; i++) {
        char name[8];

        snprintf(name, sizeof(name), "$%u", (unsigned)(i + 1) % 1000);
        places[i] = (uint8_t)sqlite3_bind_parameter_index(c->stmt, name);
        if (places[i] == 0)
            return fl_err_set(err, -EINVAL, NULL, "database: %s: no placeholder %s",
                              fl_sql_statements[c->id].name, name);
    }
    *ret_places = db->cache[c->id].places = FL_TAKE(places);
    return 0;
}

static int bind(struct fl_cursor *c, const struct fl_sql_arg *args, size_t n, struct fl_err *err)
{
    const uint8_t *places = NULL;
    int r = find_places(c, n, &places, err);

    for (size_t i = 0; r == 0 && i < n; i++) {
        int rc = bind_one(c->stmt, places[i], &args[i]);

        if (rc != SQLITE_OK)
            r = fail(c, rc, err);
    }
    return r;
}

struct fl_cursor *fl_sql_close(struct fl_cursor *c)
{
    if (!c)
        return NULL;
    if (c->next)
        c->next->prev = c->prev;
    *c->prev = c->next;
    if (c->own) {
        sqlite3_finalize(c->stmt);
    } else if (c->stmt) {
        sqlite3_reset(c->stmt);
        sqlite3_clear_bindings(c->stmt);
        c->tx->db->cache[c->id].busy = false;
    }
    free(c);
    return NULL;
}

void fl_sql_cleanup(struct fl_cursor **c)
{
    *c = fl_sql_close(*c);
}

bool fl_tx_close_cursors(struct fl_tx *tx)
{
    bool any = tx->cursors != NULL;

    while (tx->cursors)
        fl_sql_close(tx->cursors);
    return any;
}

int fl_sql_open_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                  struct fl_cursor **ret_cursor, struct fl_err *err)
{
    struct fl_cursor *c;
    int r;

    assert((unsigned)id < FL_SQL__N);
    c = calloc(1, sizeof(*c));
    if (!c)
        return fl_err_nomem(err);
    c->tx = tx;
    c->id = id;
    c->next = tx->cursors;
    c->prev = &tx->cursors;
    if (c->next)
        c->next->prev = &c->next;
    tx->cursors = c;

    r = prepare(c, err);
    if (r >= 0)
        r = bind(c, args, n, err);
    if (r < 0) {
        fl_sql_close(c);
        return r;
    }
    *ret_cursor = c;
    return 0;
}

int fl_sql_next(struct fl_cursor *c, struct fl_err *err)
{
    int rc = sqlite3_step(c->stmt);

    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    return fail(c, rc, err);
}

int fl_sql_exec_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                  struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open_v(tx, id, args, n, &c, err);

    if (r < 0)
        return r;
    while ((r = fl_sql_next(c, err)) > 0)
        ;
    return r < 0 ? r : sqlite3_changes(tx->db->sql);
}

const char *fl_sql_text(struct fl_cursor *c, int col)
{
    return (const char *)sqlite3_column_text(c->stmt, col);
}

int64_t fl_sql_int(struct fl_cursor *c, int col)
{
    return sqlite3_column_int64(c->stmt, col);
}

const void *fl_sql_blob(struct fl_cursor *c, int col, size_t *ret_len)
{
    const void *data = sqlite3_column_blob(c->stmt, col);

    *ret_len = (size_t)sqlite3_column_bytes(c->stmt, col);
    return data;
}

bool fl_sql_is_null(struct fl_cursor *c, int col)
{
    return sqlite3_column_type(c->stmt, col) == SQLITE_NULL;
}

/* ---- rows into structs ---- */

static size_t kind_size(uint16_t kind)
{
    static const size_t sizes[FL_KIND__N] = {
        [FL_KIND_STRS] = sizeof(struct fl_strs),
        [FL_KIND_STRMAP] = sizeof(struct fl_strmap),
        [FL_KIND_LISTMAP] = sizeof(struct fl_listmap),
        [FL_KIND_INTMAP] = sizeof(struct fl_intmap),
        [FL_KIND_STRUCT] = sizeof(void *),
        [FL_KIND_LIST] = sizeof(void *),
    };

    return sizes[kind];
}

/* A list, map or structure from JSON text: decoded as the only member of an object, into a spare
 * struct because decoding clears what it writes to. */
static int member_from_json(const struct fl_field *f, const struct fl_shape *shape,
                            const char *text, struct fl_arena *arena, void *out, struct fl_err *err)
{
    const struct fl_shape one = {
        .name = shape->name, .size = shape->size, .fields = f, .n_fields = 1
    };
    fl_autofree char *spare = malloc(shape->size);
    fl_autobuf struct fl_buf json = { 0 };
    int r;

    fl_buf_init(&json, JSON_MAX_BYTES);
    if (!spare || fl_buf_printf(&json, "{\"%s\":", f->key) < 0 || fl_buf_puts(&json, text) < 0 ||
        fl_buf_puts(&json, "}") < 0)
        return fl_err_set(err, -ENOMEM, NULL, "database: column %s is too large", f->key);

    r = fl_json_decode(&one, json.data, json.len, FL_DECODE_LAX, arena, spare, err);
    if (r < 0)
        return r;
    memcpy((char *)out + f->offset, spare + f->offset, kind_size(f->kind));
    if (f->kind == FL_KIND_LIST)
        memcpy((char *)out + f->count_offset, spare + f->count_offset, sizeof(size_t));
    return 0;
}

static int member_from_column(struct fl_cursor *c, int col, const struct fl_field *f,
                              struct fl_arena *arena, void *out, struct fl_err *err)
{
    void *p = (char *)out + f->offset;
    int64_t num = sqlite3_column_int64(c->stmt, col);

    switch (f->kind) {
    case FL_KIND_BOOL:
        *(bool *)p = num != 0;
        return 0;
    case FL_KIND_I32:
        *(int32_t *)p = (int32_t)num;
        return 0;
    case FL_KIND_I64:
        *(int64_t *)p = num;
        return 0;
    case FL_KIND_DOUBLE:
        *(double *)p = sqlite3_column_double(c->stmt, col);
        return 0;
    case FL_KIND_OPT_INT:
        *(struct fl_opt_int *)p = (struct fl_opt_int){ .set = true, .v = num };
        return 0;
    case FL_KIND_OPT_BOOL:
        *(struct fl_opt_bool *)p = (struct fl_opt_bool){ .set = true, .v = num != 0 };
        return 0;
    case FL_KIND_TIME:
        ((struct fl_time *)p)->ms = num;
        return 0;
    case FL_KIND_STR:
    case FL_KIND_RAW: /* struct fl_raw holds just the text */
        *(char **)p = fl_arena_strdup(arena, fl_sql_text(c, col));
        return *(char **)p ? 0 : fl_err_set(err, -ENOMEM, NULL, "database: the row is too large");
    default:
        return member_from_json(f, c->shape, fl_sql_text(c, col), arena, out, err);
    }
}

static void map_columns(struct fl_cursor *c, const struct fl_shape *shape, int n)
{
    for (int col = 0; col < n; col++) {
        const char *name = sqlite3_column_name(c->stmt, col);

        c->map[col] = NULL;
        for (size_t i = 0; name && i < shape->n_fields; i++)
            if (strcmp(shape->fields[i].key, name) == 0)
                c->map[col] = &shape->fields[i];
    }
    c->shape = shape;
}

int fl_sql_row(struct fl_cursor *c, const struct fl_shape *shape, struct fl_arena *arena, void *out,
               struct fl_err *err)
{
    int n = FL_MIN(sqlite3_column_count(c->stmt), MAX_COLUMNS);

    if (c->shape != shape)
        map_columns(c, shape, n);
    memset(out, 0, shape->size);
    for (int col = 0; col < n; col++) {
        int r;

        if (!c->map[col] || fl_sql_is_null(c, col))
            continue;
        r = member_from_column(c, col, c->map[col], arena, out, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int fl_sql_one_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                 const struct fl_shape *shape, struct fl_arena *arena, void *out,
                 struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open_v(tx, id, args, n, &c, err);

    if (r < 0)
        return r;
    r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    r = fl_sql_row(c, shape, arena, out, err);
    return r < 0 ? r : 1;
}

int64_t fl_sql_scalar_v(struct fl_tx *tx, enum fl_sql id, const struct fl_sql_arg *args, size_t n,
                        int64_t missing, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;

    if (fl_sql_open_v(tx, id, args, n, &c, err) < 0 || fl_sql_next(c, err) <= 0 ||
        fl_sql_is_null(c, 0))
        return missing;
    return fl_sql_int(c, 0);
}
