/* Every named statement prepares on a fresh database, keeps to SQL that two engines know, and
 * numbers its placeholders without gaps; rows become structs. */
#include "server/store/db.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

#include "common/base/file.h"

static struct fl_db *db;
static char dir[] = "/tmp/fl-sql-XXXXXX";

static int setup(void **state)
{
    char path[64];
    struct fl_err err = { 0 };

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/test.db", dir);
    if (fl_db_open(path, false, true, &db, &err) < 0 || fl_db_migrate(db, true, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
    return 0;
}

static int teardown(void **state)
{
    fl_db_free(db);
    fl_dir_remove(dir, NULL);
    return 0;
}

static void statements_prepare(void **state)
{
    for (int i = 0; i < FL_SQL__N; i++) {
        const struct fl_sql_text *s = &fl_sql_statements[i];
        sqlite3_stmt *stmt = NULL;
        const char *tail = "";

        if (sqlite3_prepare_v2(db->sql, s->sql, -1, &stmt, &tail) != SQLITE_OK)
            fail_msg("%s: %s", s->name, sqlite3_errmsg(db->sql));
        if (tail[strspn(tail, " \n;")])
            fail_msg("%s: more than one statement", s->name);
        for (int n = 1; n <= sqlite3_bind_parameter_count(stmt); n++) {
            char name[16];

            snprintf(name, sizeof(name), "$%d", n);
            if (!sqlite3_bind_parameter_index(stmt, name))
                fail_msg("%s: %s is missing", s->name, name);
        }
        sqlite3_finalize(stmt);
    }
}

/* What SQLite knows and PostgreSQL does not; trigrams.sql is SQLite's own. */
static void statements_are_portable(void **state)
{
    static const char *const words[] = { "INSERT OR ",    "REPLACE INTO", "rowid",
                                         "AUTOINCREMENT", "IFNULL(",      "GLOB ",
                                         "json_each(",    "strftime(" };

    for (int i = 0; i < FL_SQL__N; i++)
        for (size_t j = 0; j < FL_ARRAY_LEN(words); j++)
            if (strncmp(fl_sql_statements[i].name, "transcript_trigram_", 19) != 0 &&
                strcasestr(fl_sql_statements[i].sql, words[j]))
                fail_msg("%s: %s", fl_sql_statements[i].name, words[j]);
}

static void schema_is_applied_once(void **state)
{
    assert_true(fl_sql_n_steps >= 3);
    assert_int_equal(fl_db_migrate(db, true, NULL), 0);
}

struct row {
    char *name;
    struct fl_time created;
    int64_t missing;
};
static const struct fl_field row_fields[] = {
    FL_FIELD(struct row, name, "UserName", 0),
    FL_FIELD(struct row, created, "CreateDate", 0),
    FL_FIELD(struct row, missing, "NoSuchColumn", 0),
};
static const struct fl_shape row_shape = FL_SHAPE(struct row, "Row", row_fields);

static void rows_by_column_name(void **state)
{
    struct fl_tx tx = { .db = db };
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct row row = { .missing = 7 };
    int r;

    r = fl_sql_exec(&tx, FL_SQL_user_add, NULL, FL_T("1"), FL_T("ann"), FL_T("id"), FL_N(1234));
    assert_int_equal(r, 1);
    r = fl_sql_one(&tx, FL_SQL_user_get, &row_shape, &arena, &row, NULL, FL_T("1"), FL_T("ann"));
    assert_int_equal(r, 1);
    assert_string_equal(row.name, "ann");
    assert_int_equal(row.created.ms, 1234);
    assert_int_equal(row.missing, 0);
    r = fl_sql_one(&tx, FL_SQL_user_get, &row_shape, &arena, &row, NULL, FL_T("1"), FL_T("bob"));
    assert_int_equal(r, 0);
}

static void wrong_number_of_arguments(void **state)
{
    struct fl_tx tx = { .db = db };
    struct fl_err err = { 0 };

    assert_true(fl_sql_exec(&tx, FL_SQL_user_delete, &err, FL_T("1")) < 0);
    assert_non_null(strstr(fl_err_text(&err), "user_delete"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_prepare),        cmocka_unit_test(statements_are_portable),
        cmocka_unit_test(schema_is_applied_once),    cmocka_unit_test(rows_by_column_name),
        cmocka_unit_test(wrong_number_of_arguments),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
