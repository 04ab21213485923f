/* What is too old goes, at its time and no sooner, in pieces that fit a transaction. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/s3/retire.h"
#include "server/store/store.h"
#include "tests/server/fixture.h"

#define DAY_MS (24 * 60 * 60 * 1000ll)

static int setup(void **state)
{
    static struct fl_fixture f;

    fl_fixture_open(&f);
    f.plane.conf.logs_max_bytes = 1 << 30;
    *state = &f;
    return 0;
}

/* ---- what is there ---- */

struct object {
    const char *bucket, *key;
    bool upload; /* that is not complete */
};

static int add_object(struct fl_call *call, void *arg)
{
    const struct object *o = arg;
    char id[64], blob[64];
    int r;

    snprintf(id, sizeof(id), "id-%s-%s", o->bucket, o->key);
    snprintf(blob, sizeof(blob), "blob-%s-%s", o->bucket, o->key);
    r = o->upload ? fl_sql_exec(call->tx, FL_SQL_upload_add, &(struct fl_err){ 0 }, FL_T(id),
                                FL_T(call->account), FL_T(o->bucket), FL_T(o->key),
                                FL_N(call->now_ms), FL_T("{}"))
                  : fl_sql_exec(call->tx, FL_SQL_object_put, &(struct fl_err){ 0 },
                                FL_T(call->account), FL_T(o->bucket), FL_T(o->key), FL_T(id),
                                FL_N(7), FL_T("etag"), FL_N(call->now_ms), FL_T("{}"));
    assert_true(r >= 0);
    r = fl_sql_exec(call->tx, FL_SQL_blob_put, &(struct fl_err){ 0 }, FL_T(id), FL_N(1), FL_T(blob),
                    FL_N(7), FL_T("etag"), FL_N(call->now_ms));
    assert_true(r >= 0);
    return 0;
}

static void add(struct fl_fixture *f, const char *bucket, const char *key, bool upload)
{
    struct object o = { bucket, key, upload };

    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, add_object, &o), 0);
}

static int has_object(struct fl_call *call, void *arg)
{
    const struct object *o = arg;
    char id[64], blob[64];
    fl_autocursor struct fl_cursor *row = NULL;
    int64_t known;
    int r;

    snprintf(id, sizeof(id), "id-%s-%s", o->bucket, o->key);
    snprintf(blob, sizeof(blob), "blob-%s-%s", o->bucket, o->key);
    r = o->upload ? fl_sql_open(call->tx, FL_SQL_upload_get, &row, NULL, FL_T(id),
                                FL_T(call->account), FL_T(o->bucket), FL_T(o->key))
                  : fl_sql_open(call->tx, FL_SQL_object_get, &row, NULL, FL_T(call->account),
                                FL_T(o->bucket), FL_T(o->key));
    assert_true(r >= 0);
    r = fl_sql_next(row, NULL);
    known = fl_sql_scalar(call->tx, FL_SQL_blob_known, 0, NULL, FL_T(blob));
    assert_int_equal(known, r); /* its files go with it */
    return r;
}

static bool has(struct fl_fixture *f, const char *bucket, const char *key, bool upload)
{
    struct object o = { bucket, key, upload };

    return fl_fixture_run(f, FL_LANE_READ, has_object, &o) == 1;
}

/* ---- the sweep ---- */

struct sweep {
    struct fl_intmap days;
    bool more;
    size_t n_gone;
};

static int retire(struct fl_call *call, void *arg)
{
    struct sweep *s = arg;
    struct fl_s3_call c = { .call = *call };
    int r = fl_s3_retire(&c, &s->days, &s->more);

    s->n_gone = c.gone.n;
    return r;
}

static void sweep(struct fl_fixture *f, size_t n_gone, bool more)
{
    static struct fl_intmap_entry days[] = { { (char *)"week", 7 }, { (char *)"day", 1 } };
    struct sweep s = { .days = { days, FL_ARRAY_LEN(days) } };

    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, retire, &s), 0);
    assert_int_equal(s.n_gone, n_gone);
    assert_int_equal(s.more, more);
}

static void objects_go_by_their_buckets_days(void **state)
{
    struct fl_fixture *f = *state;

    add(f, "week", "a", false);
    add(f, "day", "a", false);
    add(f, "ever", "a", false);
    f->now_ms += DAY_MS;
    add(f, "day", "b", false);
    sweep(f, 0, false); /* to the millisecond it is not older than a day */
    f->now_ms++;
    sweep(f, 1, false);
    assert_false(has(f, "day", "a", false));
    assert_true(has(f, "day", "b", false) && has(f, "week", "a", false));
    f->now_ms += 6 * DAY_MS;
    sweep(f, 2, false);
    assert_false(has(f, "day", "b", false) || has(f, "week", "a", false));
    f->now_ms += 10000 * DAY_MS;
    sweep(f, 0, false);
    assert_true(has(f, "ever", "a", false));
}

static void an_object_put_again_is_young(void **state)
{
    struct fl_fixture *f = *state;

    add(f, "day", "a", false);
    f->now_ms += DAY_MS;
    add(f, "day", "a", false);
    f->now_ms += DAY_MS;
    sweep(f, 0, false);
    f->now_ms++;
    sweep(f, 1, false);
}

static void uploads_go_after_a_week(void **state)
{
    struct fl_fixture *f = *state;

    add(f, "ever", "u", true);
    f->now_ms += 7 * DAY_MS;
    sweep(f, 0, false);
    assert_true(has(f, "ever", "u", true));
    f->now_ms++;
    sweep(f, 1, false);
    assert_false(has(f, "ever", "u", true));
}

static void many_go_in_pieces(void **state)
{
    struct fl_fixture *f = *state;
    char key[16];

    for (int i = 0; i < FL_S3_RETIRE_MAX + 5; i++) {
        snprintf(key, sizeof(key), "%d", i);
        add(f, "day", key, false);
    }
    f->now_ms += 2 * DAY_MS;
    sweep(f, FL_S3_RETIRE_MAX, true);
    sweep(f, 5, false);
}

static void put_event(struct fl_fixture *f, const char *group, int64_t time_ms)
{
    char request[256];

    snprintf(request, sizeof(request),
             "{\"logGroupName\":\"%s\",\"logStreamName\":\"s\",\"logEvents\":[{\"timestamp\":%lld,"
             "\"message\":\"m\"}]}",
             group, (long long)time_ms);
    fl_fixture_ok(f, "logs:PutLogEvents", request);
}

static int n_events(struct fl_fixture *f, const char *group)
{
    char request[256];

    snprintf(request, sizeof(request), "{\"logGroupName\":\"%s\"}", group);
    fl_fixture_ok(f, "logs:FilterLogEvents", request);
    return fl_fixture_count(f, "events");
}

static void log_events_go_by_their_groups_retention(void **state)
{
    struct fl_fixture *f = *state;
    int64_t at = f->now_ms;

    for (const char *const *g = (const char *const[]){ "kept", "three", NULL }; *g; g++) {
        char request[128];

        snprintf(request, sizeof(request), "{\"logGroupName\":\"%s\"}", *g);
        fl_fixture_ok(f, "logs:CreateLogGroup", request);
        snprintf(request, sizeof(request), "{\"logGroupName\":\"%s\",\"logStreamName\":\"s\"}", *g);
        fl_fixture_ok(f, "logs:CreateLogStream", request);
        put_event(f, *g, at);
        put_event(f, *g, at + 1000);
    }
    fl_fixture_ok(f, "logs:PutRetentionPolicy",
                  "{\"logGroupName\":\"three\",\"retentionInDays\":3}");
    f->now_ms = at + 3 * DAY_MS;
    sweep(f, 0, false);
    assert_int_equal(n_events(f, "three"), 2);
    f->now_ms++;
    sweep(f, 0, false);
    assert_int_equal(n_events(f, "three"), 1);
    fl_fixture_ok(f, "logs:DeleteRetentionPolicy", "{\"logGroupName\":\"three\"}");
    f->now_ms += 100 * DAY_MS;
    sweep(f, 0, false);
    assert_int_equal(n_events(f, "three"), 1);
    assert_int_equal(n_events(f, "kept"), 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(objects_go_by_their_buckets_days),
        T(an_object_put_again_is_young),
        T(uploads_go_after_a_week),
        T(many_go_in_pieces),
        T(log_events_go_by_their_groups_retention),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
