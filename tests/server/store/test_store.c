/* The store: what a job wrote is there or not there as a whole, also beside others in one commit.
 */
#include "server/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "common/base/file.h"

#define JOBS 300

struct env {
    char dir[64];
    char path[96];
    struct fl_store *store;
};

static void open_store(struct env *e, unsigned max_queue)
{
    const struct fl_store_conf conf = { .path = e->path, .readers = 2, .max_queue = max_queue };
    struct fl_err err = { 0 };

    if (fl_store_open(&conf, true, &e->store, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
}

static int setup(void **state)
{
    struct env *e = calloc(1, sizeof(*e));

    strcpy(e->dir, "/tmp/fl-store-XXXXXX");
    assert_non_null(mkdtemp(e->dir));
    snprintf(e->path, sizeof(e->path), "%s/test.db", e->dir);
    open_store(e, 0);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;

    fl_store_free(e->store);
    fl_dir_remove(e->dir, NULL);
    free(e);
    return 0;
}

/* ---- jobs ---- */
struct put {
    char name[32];
    int result;       /* what the job returns after writing */
    _Atomic int done; /* 0: not yet, 1: done was called, more: called again */
    int r;
    struct fl_err err;
};

static int put_job(struct fl_tx *tx, void *arg)
{
    struct put *p = arg;
    int r =
        fl_sql_exec(tx, FL_SQL_user_add, &p->err, FL_T("a"), FL_T(p->name), FL_T("id"), FL_N(1));

    return r < 0 ? r : p->result;
}

static void put_done(void *arg, int r)
{
    struct put *p = arg;

    p->r = r;
    p->done++;
}

struct get {
    const char *name; /* NULL: count all */
    int64_t n;
};

static int get_job(struct fl_tx *tx, void *arg)
{
    struct get *g = arg;
    fl_autocursor struct fl_cursor *c = NULL;
    int r = g->name ? fl_sql_open(tx, FL_SQL_user_get, &c, NULL, FL_T("a"), FL_T(g->name))
                    : fl_sql_open(tx, FL_SQL_user_list, &c, NULL, FL_T("a"));

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0)
        g->n++;
    return r;
}

static int64_t count(struct env *e, const char *name)
{
    struct get g = { .name = name };

    assert_int_equal(fl_store_run(e->store, FL_LANE_READ, get_job, &g), 0);
    return g.n;
}

static int put(struct env *e, const char *name, int result)
{
    struct put p = { .result = result };

    snprintf(p.name, sizeof(p.name), "%s", name);
    return fl_store_run(e->store, FL_LANE_WRITE, put_job, &p);
}

/* ---- tests ---- */
static void written_is_read_and_survives(void **state)
{
    struct env *e = *state;

    assert_int_equal(put(e, "ann", 0), 0);
    assert_int_equal(count(e, "ann"), 1);
    e->store = fl_store_free(e->store);
    open_store(e, 0);
    assert_int_equal(count(e, "ann"), 1);
}

static void a_failed_job_leaves_nothing(void **state)
{
    struct env *e = *state;

    assert_int_equal(put(e, "ann", -EACCES), -EACCES);
    assert_int_equal(put(e, "bob", 7), 7); /* anything but 0 is a failure */
    assert_int_equal(count(e, NULL), 0);
    assert_int_equal(put(e, "ann", 0), 0);
    assert_int_equal(put(e, "ann", 0), -EEXIST);
    assert_int_equal(count(e, NULL), 1);
}

/* Many jobs at once share commits; the failing ones among them do not touch the others. */
static void group_commit(void **state)
{
    struct env *e = *state;
    struct put *p = calloc(JOBS, sizeof(*p));

    for (int i = 0; i < JOBS; i++) {
        snprintf(p[i].name, sizeof(p[i].name), "user%03d", i);
        p[i].result = i % 3 == 0 ? -EPERM : 0;
        assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, put_job, put_done, &p[i], NULL),
                         0);
    }
    assert_int_equal(put(e, "last", 0), 0); /* the lane is in order */
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(p[i].done, 1);
        assert_int_equal(p[i].r, i % 3 == 0 ? -EPERM : 0);
        assert_int_equal(count(e, p[i].name), i % 3 == 0 ? 0 : 1);
    }
    free(p);
}

static int nested_job(struct fl_tx *tx, void *arg)
{
    fl_autocursor struct fl_cursor *outer = NULL, *inner = NULL;
    int *pairs = arg;

    assert_int_equal(fl_sql_open(tx, FL_SQL_user_list, &outer, NULL, FL_T("a")), 0);
    while (fl_sql_next(outer, NULL) > 0) {
        assert_int_equal(fl_sql_open(tx, FL_SQL_user_list, &inner, NULL, FL_T("a")), 0);
        while (fl_sql_next(inner, NULL) > 0)
            (*pairs)++;
        inner = fl_sql_close(inner);
    }
    /* left open on purpose: the job's end closes it */
    assert_int_equal(fl_sql_open(tx, FL_SQL_user_list, &inner, NULL, FL_T("a")), 0);
    assert_int_equal(fl_sql_next(inner, NULL), 1);
    inner = NULL;
    return 0;
}

static void a_statement_may_nest_in_itself(void **state)
{
    struct env *e = *state;
    int pairs = 0;

    put(e, "ann", 0);
    put(e, "bob", 0);
    assert_int_equal(fl_store_run(e->store, FL_LANE_READ, nested_job, &pairs), 0);
    assert_int_equal(pairs, 4);
    assert_int_equal(put(e, "cat", 0), 0);
}

static void readers_cannot_write(void **state)
{
    struct env *e = *state;
    struct put p = { .name = "ann" };

    assert_int_equal(fl_store_run(e->store, FL_LANE_READ, put_job, &p), -EROFS);
    assert_int_equal(count(e, NULL), 0);
}

static void one_plane_at_a_time(void **state)
{
    struct env *e = *state;
    const struct fl_store_conf conf = { .path = e->path, .readers = 1 };
    struct fl_store *second = NULL;
    struct fl_err err = { 0 };

    assert_int_equal(fl_store_open(&conf, true, &second, &err), -EEXIST);
    assert_non_null(strstr(fl_err_text(&err), "another fairlead-server runs"));
    assert_null(second);
    /* an admin command comes in beside it */
    assert_int_equal(fl_store_open(&conf, false, &second, &err), 0);
    {
        struct env other = { .store = second };

        assert_int_equal(put(&other, "ann", 0), 0);
        assert_int_equal(count(e, "ann"), 1);
        assert_int_equal(put(e, "bob", 0), 0);
        assert_int_equal(count(&other, "bob"), 1);
    }
    fl_store_free(second);
}

static void private_files(void **state)
{
    static const char *const names[] = { "test.db", "test.db-wal", "test.db-shm", "test.db.lock" };
    struct env *e = *state;

    put(e, "ann", 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++) {
        fl_autofree char *path = fl_path_join(e->dir, names[i]);
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

struct gate {
    pthread_mutex_t lock;
    atomic_int entered;
};

static int gate_job(struct fl_tx *tx, void *arg)
{
    struct gate *g = arg;

    g->entered = 1;
    pthread_mutex_lock(&g->lock);
    pthread_mutex_unlock(&g->lock);
    return 0;
}

static void a_full_lane_refuses(void **state)
{
    struct env *e = *state;
    struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER };
    struct put p[4] = { { .name = "a" }, { .name = "b" }, { .name = "c" }, { .name = "d" } };

    fl_store_free(e->store);
    open_store(e, 3);
    pthread_mutex_lock(&gate.lock);
    assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, gate_job, NULL, &gate, NULL), 0);
    while (!gate.entered)
        sched_yield();
    for (int i = 0; i < 3; i++)
        assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, put_job, put_done, &p[i], NULL),
                         0);
    assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, put_job, put_done, &p[3], NULL),
                     -EAGAIN);
    pthread_mutex_unlock(&gate.lock);
    fl_store_close(e->store); /* finishes what is queued */
    for (int i = 0; i < 3; i++)
        assert_int_equal(p[i].done, 1);
    assert_int_equal(p[3].done, 0);
    assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, put_job, put_done, &p[3], NULL),
                     -ECANCELED);
    fl_store_free(e->store);
    open_store(e, 0);
    assert_int_equal(count(e, NULL), 3);
}

struct turn {
    char who, *order; /* appended to it when it runs */
};

static int turn_job(struct fl_tx *tx, void *arg)
{
    struct turn *t = arg;

    t->order[strlen(t->order)] = t->who;
    return 0;
}

/* People's calls go before what a fleet brought, but never keep it waiting for good. */
static void some_go_first(void **state)
{
    struct env *e = *state;
    struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER };
    char order[16] = "";
    struct turn other = { 'o', order }, first = { 'F', order };

    pthread_mutex_lock(&gate.lock);
    assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, gate_job, NULL, &gate, NULL), 0);
    while (!gate.entered)
        sched_yield();
    for (int i = 0; i < 4; i++)
        assert_int_equal(fl_store_submit(e->store, FL_LANE_WRITE, turn_job, NULL, &other, NULL), 0);
    for (int i = 0; i < 9; i++)
        assert_int_equal(
            fl_store_submit_first(e->store, FL_LANE_WRITE, turn_job, NULL, &first, NULL), 0);
    pthread_mutex_unlock(&gate.lock);
    fl_store_close(e->store);
    assert_string_equal(order, "FFFFoFFFFoFoo");
}

/* A write that the disk does not take: RLIMIT_FSIZE makes write(2) fail as a full disk would. Every
 * job of the commit is told, nothing of them is there, and the store goes on when there is room
 * again. */
static void a_full_disk_loses_nothing_accepted(void **state)
{
    struct env *e = *state;
    struct rlimit old, small;
    int r, accepted = 0, refused = 0;
    char name[32];

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = old;
    small.rlim_cur = 512 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 2000 && refused < 3; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        r = put(e, name, 0);
        if (r == 0)
            accepted++;
        else
            refused++;
        assert_true(r == 0 || r == -EIO || r == -ENOSPC);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(refused > 0);
    assert_int_equal(count(e, NULL), accepted);
    assert_int_equal(put(e, "after", 0), 0);
    assert_int_equal(count(e, NULL), accepted + 1);
    e->store = fl_store_free(e->store);
    open_store(e, 0);
    assert_int_equal(count(e, NULL), accepted + 1);
}

static void ping(void **state)
{
    struct env *e = *state;

    assert_int_equal(fl_store_ping(e->store, NULL), 0);
}

static int newer_job(struct fl_tx *tx, void *arg)
{
    int r = fl_sql_exec(tx, FL_SQL_schema_step_add, NULL, FL_T("999-future"), FL_N(1));

    return r < 0 ? r : 0;
}

static void a_newer_schema_is_refused(void **state)
{
    struct env *e = *state;
    const struct fl_store_conf conf = { .path = e->path };
    struct fl_err err = { 0 };

    assert_int_equal(fl_store_run(e->store, FL_LANE_WRITE, newer_job, NULL), 0);
    e->store = fl_store_free(e->store);
    assert_int_equal(fl_store_open(&conf, true, &e->store, &err), -EINVAL);
    assert_non_null(strstr(fl_err_text(&err), "999-future"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
        T(written_is_read_and_survives),
        T(a_failed_job_leaves_nothing),
        T(group_commit),
        T(a_statement_may_nest_in_itself),
        T(readers_cannot_write),
        T(one_plane_at_a_time),
        T(private_files),
        T(a_full_lane_refuses),
        T(some_go_first),
        T(a_full_disk_loses_nothing_accepted),
        T(ping),
        T(a_newer_schema_is_refused),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
