/* retire.c - see retire.h. */
#include "server/s3/retire.h"

#include <errno.h>

#define DAY_MS (24 * 60 * 60 * 1000ll)

static int retire_objects(struct fl_s3_call *c, const char *bucket, int64_t before_ms,
                          bool *ret_more)
{
    char *keys[FL_S3_RETIRE_MAX], *ids[FL_S3_RETIRE_MAX];
    fl_autocursor struct fl_cursor *row = NULL;
    size_t n = 0;
    int r = fl_sql_open(c->call.tx, FL_SQL_object_older, &row, NULL, FL_T(c->call.account),
                        FL_T(bucket), FL_N(before_ms), FL_N(FL_S3_RETIRE_MAX));

    while (r >= 0 && (r = fl_sql_next(row, NULL)) > 0) {
        keys[n] = fl_arena_strdup(c->call.arena, fl_sql_text(row, 0));
        ids[n] = fl_arena_strdup(c->call.arena, fl_sql_text(row, 1));
        if (!keys[n] || !ids[n])
            return -ENOMEM;
        n++;
    }
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = fl_s3_forget(c, ids[i], NULL);
        if (r >= 0)
            r = fl_sql_exec(c->call.tx, FL_SQL_object_delete, NULL, FL_T(c->call.account),
                            FL_T(bucket), FL_T(keys[i]));
    }
    *ret_more |= n == FL_S3_RETIRE_MAX;
    return r;
}

static int retire_uploads(struct fl_s3_call *c, int64_t before_ms, bool *ret_more)
{
    char *ids[FL_S3_RETIRE_MAX];
    fl_autocursor struct fl_cursor *row = NULL;
    size_t n = 0;
    int r = fl_sql_open(c->call.tx, FL_SQL_upload_older, &row, NULL, FL_N(before_ms),
                        FL_N(FL_S3_RETIRE_MAX));

    while (r >= 0 && (r = fl_sql_next(row, NULL)) > 0) {
        ids[n] = fl_arena_strdup(c->call.arena, fl_sql_text(row, 0));
        if (!ids[n++])
            return -ENOMEM;
    }
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = fl_s3_forget(c, ids[i], NULL);
        if (r >= 0)
            r = fl_sql_exec(c->call.tx, FL_SQL_upload_delete, NULL, FL_T(ids[i]));
    }
    *ret_more |= n == FL_S3_RETIRE_MAX;
    return r;
}

int fl_s3_retire(struct fl_s3_call *c, const struct fl_intmap *bucket_days, bool *ret_more)
{
    int64_t now_ms = c->call.now_ms;
    bool more = false;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < bucket_days->n; i++)
        r = retire_objects(c, bucket_days->v[i].key, now_ms - bucket_days->v[i].value * DAY_MS,
                           &more);
    if (r >= 0)
        r = retire_uploads(c, now_ms - FL_S3_UPLOAD_DAYS * DAY_MS, &more);
    if (r >= 0) {
        r = fl_sql_exec(c->call.tx, FL_SQL_log_event_retire, NULL, FL_N(now_ms),
                        FL_N(FL_LOG_RETIRE_MAX));
        more |= r == FL_LOG_RETIRE_MAX;
    }
    *ret_more = more;
    return r < 0 ? r : 0;
}
