/* rows.c - reading and printing lists. */
#include "server/admin/rows.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "common/base/clock.h"

#define ROWS_MAX 100000
#define COLS_MAX 8

struct user_row {
    char *name;
    char *id;
    struct fl_time created;
};
static const struct fl_field user_fields[] = {
    FL_FIELD(struct user_row, name, "UserName", 0),
    FL_FIELD(struct user_row, id, "UserId", 0),
    FL_FIELD(struct user_row, created, "CreateDate", 0),
};
static const struct fl_shape user_shape = FL_SHAPE(struct user_row, "User", user_fields);

struct key_row {
    char *user;
    char *id;
    char *status;
    struct fl_time created;
};
static const struct fl_field key_fields[] = {
    FL_FIELD(struct key_row, user, "UserName", 0),
    FL_FIELD(struct key_row, id, "AccessKeyId", 0),
    FL_FIELD(struct key_row, status, "Status", 0),
    FL_FIELD(struct key_row, created, "CreateDate", 0),
};
static const struct fl_shape key_shape = FL_SHAPE(struct key_row, "AccessKey", key_fields);

struct role_row {
    char *name;
    char *id;
    struct fl_time created;
    struct fl_raw trust;
};
static const struct fl_field role_fields[] = {
    FL_FIELD(struct role_row, name, "RoleName", 0),
    FL_FIELD(struct role_row, id, "RoleId", 0),
    FL_FIELD(struct role_row, created, "CreateDate", 0),
    FL_FIELD(struct role_row, trust, "Trust", 0),
};
static const struct fl_shape role_shape = FL_SHAPE(struct role_row, "Role", role_fields);

struct policy_row {
    char *name;
    int64_t attached;
    struct fl_time updated;
    struct fl_raw document;
};
static const struct fl_field policy_fields[] = {
    FL_FIELD(struct policy_row, name, "PolicyName", 0),
    FL_FIELD(struct policy_row, attached, "AttachmentCount", FL_ALWAYS),
    FL_FIELD(struct policy_row, updated, "UpdateDate", 0),
    FL_FIELD(struct policy_row, document, "PolicyDocument", 0),
};
static const struct fl_shape policy_shape = FL_SHAPE(struct policy_row, "Policy", policy_fields);

struct clone_row {
    char *node_id, *evidence, *address, *other;
    int64_t times;
    struct fl_time first, last;
};
static const struct fl_field clone_fields[] = {
    FL_FIELD(struct clone_row, node_id, "InstanceId", 0),
    FL_FIELD(struct clone_row, evidence, "Evidence", 0),
    FL_FIELD(struct clone_row, address, "Address", 0),
    FL_FIELD(struct clone_row, other, "OtherAddress", 0),
    FL_FIELD(struct clone_row, times, "Times", FL_ALWAYS),
    FL_FIELD(struct clone_row, first, "FirstSeen", 0),
    FL_FIELD(struct clone_row, last, "LastSeen", 0),
};
static const struct fl_shape clone_shape = FL_SHAPE(struct clone_row, "Clone", clone_fields);

static const struct {
    enum fl_sql sql;
    bool arg;
    const struct fl_shape *shape;
} kinds[FL_ROWS__N] = {
    [FL_ROWS_USERS] = { FL_SQL_user_list, false, &user_shape },
    [FL_ROWS_KEYS] = { FL_SQL_key_list, true, &key_shape },
    [FL_ROWS_ROLES] = { FL_SQL_role_list, false, &role_shape },
    [FL_ROWS_POLICIES] = { FL_SQL_policy_list, false, &policy_shape },
    [FL_ROWS_CLONES] = { FL_SQL_clone_list, false, &clone_shape },
};

int fl_rows_read(struct fl_rows *rows, const struct fl_iam *iam, enum fl_rows_kind kind,
                 const char *arg, struct fl_arena *arena, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_T(iam->account), FL_T(arg) };
    const struct fl_shape *shape = kinds[kind].shape;
    fl_autocursor struct fl_cursor *c = NULL;
    size_t cap = 0;
    int r = fl_sql_open_v(iam->tx, kinds[kind].sql, args, kinds[kind].arg ? 2 : 1, &c, err);

    if (r < 0)
        return r;
    *rows = (struct fl_rows){ .shape = shape };
    while ((r = fl_sql_next(c, err)) > 0 && rows->n < ROWS_MAX) {
        if (rows->n == cap) {
            char *grown = fl_arena_calloc(arena, cap ? cap * 2 : 64, shape->size);

            if (!grown)
                return fl_err_nomem(err);
            if (cap)
                memcpy(grown, rows->v, rows->n * shape->size);
            rows->v = grown;
            cap = cap ? cap * 2 : 64;
        }
        r = fl_sql_row(c, shape, arena, rows->v + rows->n * shape->size, err);
        if (r < 0)
            return r;
        rows->n++;
    }
    return r < 0 ? r : 0;
}

/* A terminal obeys control characters, whoever wrote them. */
static void copy_plain(const char *text, char *out, size_t size)
{
    snprintf(out, size, "%s", text);
    for (; *out; out++)
        if (iscntrl((unsigned char)*out))
            *out = '?';
}

static void cell(const struct fl_field *f, const char *row, char *out, size_t size)
{
    const void *p = row + f->offset;
    char time[FL_ISO_BYTES];

    switch (f->kind) {
    case FL_KIND_STR:
        copy_plain(*(char *const *)p ? *(char *const *)p : "-", out, size);
        return;
    case FL_KIND_I64:
        snprintf(out, size, "%" PRId64, *(const int64_t *)p);
        return;
    case FL_KIND_TIME:
        fl_time_iso_seconds(((const struct fl_time *)p)->ms, time);
        snprintf(out, size, "%s", time);
        return;
    default:
        out[0] = '\0';
    }
}

static void print_table(const struct fl_rows *rows, FILE *out)
{
    int width[COLS_MAX] = { 0 };
    char text[160];

    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i <= rows->n; i++) {
            for (size_t j = 0; j < rows->shape->n_fields && j < COLS_MAX; j++) {
                const struct fl_field *f = &rows->shape->fields[j];

                if (f->kind == FL_KIND_RAW)
                    continue;
                if (i == 0)
                    snprintf(text, sizeof(text), "%s", f->key);
                else
                    cell(f, rows->v + (i - 1) * rows->shape->size, text, sizeof(text));
                if (pass == 0)
                    width[j] = FL_MAX(width[j], (int)strlen(text));
                else
                    fprintf(out, "%s%-*s", j ? "  " : "", width[j], text);
            }
            if (pass == 1)
                fputc('\n', out);
        }
}

static int print_json(const struct fl_rows *rows, FILE *out)
{
    fputc('[', out);
    for (size_t i = 0; i < rows->n; i++) {
        fl_autobuf struct fl_buf text = { 0 };
        int r;

        fl_buf_init(&text, 1024 * 1024);
        r = fl_json_encode(rows->shape, rows->v + i * rows->shape->size, &text);
        if (r < 0)
            return r;
        fprintf(out, "%s\n  %s", i ? "," : "", text.data);
    }
    fputs(rows->n ? "\n]\n" : "]\n", out);
    return 0;
}

int fl_rows_print(const struct fl_rows *rows, bool json, FILE *out)
{
    if (json)
        return print_json(rows, out);
    print_table(rows, out);
    return 0;
}
