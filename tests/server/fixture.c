/* fixture.c - a plane without sockets for unit tests. */
#include "tests/server/fixture.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/rand.h"
#include "server/api/registry.h"
#include "server/auth/guard.h"
#include "server/auth/revoked.h"
#include "server/channel/clones.h"
#include "server/call.h"
#include "server/session/hub.h"

#define REPLY_MAX_BYTES (16 * 1024 * 1024)
#define ACCOUNT         "123456789012"
#define REGION          "local"
#define START_MS        1767225600000 /* 2026-01-01T00:00:00Z */

void fl_fixture_open(struct fl_fixture *f)
{
    const char *tmp = getenv("TMPDIR");
    struct fl_store_conf conf = { .readers = 1 };
    struct fl_err err = { 0 };
    char path[96];

    *f = (struct fl_fixture){ .now_ms = START_MS };
    f->plane.conf = (struct fl_plane_conf){ .data_dir = f->dir,
                                            .account = (char *)ACCOUNT,
                                            .region = (char *)REGION,
                                            .public_host = (char *)"localhost",
                                            .node_token_life_ms = 3600000,
                                            .session_lost_ms = FL_FIXTURE_LOST_MS };
    memset(f->plane.seal_key, 7, sizeof(f->plane.seal_key));
    memset(f->plane.parameter_key, 8, sizeof(f->plane.parameter_key));
    snprintf(f->dir, sizeof(f->dir), "%.40s/fl-test-XXXXXX",
             tmp && strlen(tmp) <= 40 ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(path, sizeof(path), "%s/store.db", f->dir);
    conf.path = path;
    if (fl_store_open(&conf, true, &f->plane.store, &err) < 0)
        fail_msg("store: %s", fl_err_text(&err));
    assert_int_equal(fl_bus_new(&f->plane.bus), 0);
    assert_int_equal(fl_presence_new(&f->plane.presence), 0);
    assert_int_equal(fl_revoked_new(&f->plane.revoked), 0);
    assert_int_equal(fl_clones_new(&f->plane.clones), 0);
    assert_int_equal(fl_guard_new(&f->plane.guard), 0);
    assert_int_equal(fl_metrics_new(&f->plane.metrics), 0);
    assert_int_equal(fl_hubs_new(&f->plane.hubs), 0);
    fl_fixture_as_admin(f);
}

void fl_fixture_close(struct fl_fixture *f)
{
    f->plane.store = fl_store_free(f->plane.store);
    f->plane.bus = fl_bus_free(f->plane.bus);
    f->plane.presence = fl_presence_free(f->plane.presence);
    f->plane.revoked = fl_revoked_free(f->plane.revoked);
    f->plane.clones = fl_clones_free(f->plane.clones);
    f->plane.guard = fl_guard_free(f->plane.guard);
    f->plane.metrics = fl_metrics_free(f->plane.metrics);
    f->plane.hubs = fl_hubs_free(f->plane.hubs);
    free(f->reply);
    fl_dir_remove(f->dir, NULL);
}

int fl_fixture_setup(void **state)
{
    static struct fl_fixture f;

    fl_fixture_open(&f);
    *state = &f;
    return 0;
}

int fl_fixture_teardown(void **state)
{
    fl_fixture_close(*state);
    return 0;
}

void fl_fixture_as_admin(struct fl_fixture *f)
{
    f->who = (struct fl_identity){ .kind = FL_ID_USER,
                                   .account = ACCOUNT,
                                   .arn = "arn:aws:iam::" ACCOUNT ":user/admin",
                                   .user_id = "AIDAEXAMPLE",
                                   .name = "admin",
                                   .access_key_id = "AKIAEXAMPLE",
                                   .source_ip = "192.0.2.1" };
}

void fl_fixture_as_node(struct fl_fixture *f, const char *node_id)
{
    snprintf(f->node_id, sizeof(f->node_id), "%s", node_id);
    f->who = (struct fl_identity){ .kind = FL_ID_NODE,
                                   .account = ACCOUNT,
                                   .arn = "arn:aws:sts::" ACCOUNT ":assumed-role/fleet/node",
                                   .user_id = "AROAEXAMPLE:node",
                                   .name = f->node_id,
                                   .access_key_id = "ASIAEXAMPLE",
                                   .node_id = f->node_id,
                                   .source_ip = "192.0.2.2" };
}

/* ---- a call ---- */
struct job {
    struct fl_call *call;
    int (*fn)(struct fl_call *call, void *arg);
    void *arg;
};

static int run_job(struct fl_tx *tx, void *arg)
{
    struct job *job = arg;

    job->call->tx = tx;
    return job->fn(job->call, job->arg);
}

static int run_call(struct fl_fixture *f, struct fl_arena *arena, enum fl_lane lane,
                    int (*fn)(struct fl_call *call, void *arg), void *arg)
{
    struct fl_call call;
    struct job job = { &call, fn, arg };
    int r;

    fl_call_init(&call, &f->plane, arena, &f->who, "test", f->now_ms);
    r = fl_store_run(f->plane.store, lane, run_job, &job);
    if (r >= 0)
        fl_call_publish_all(&call);
    return r;
}

int fl_fixture_run(struct fl_fixture *f, enum fl_lane lane,
                   int (*fn)(struct fl_call *call, void *arg), void *arg)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_CALL_ARENA_BYTES);

    return run_call(f, &arena, lane, fn, arg);
}

struct op_job {
    const struct fl_op *op;
    const void *in;
    void *out;
    struct fl_err *err;
};

static int run_op(struct fl_call *call, void *arg)
{
    struct op_job *job = arg;
    struct fl_resources resources = { 0 };
    int r = 0;

    if (job->op->resources) /* not evaluated, but it must work */
        r = job->op->resources(call, job->in, &resources, job->err);
    return r < 0 ? r : job->op->fn(call, job->in, job->out, job->err);
}

static const struct fl_op *find_op(const char *name)
{
    const char *colon = strchr(name, ':');
    char service[32] = "ssm";
    const struct fl_op *op;

    if (colon) {
        snprintf(service, sizeof(service), "%.*s", (int)(colon - name), name);
        name = colon + 1;
    }
    op = fl_op_find(service, name);
    if (!op)
        fail_msg("no operation %s:%s", service, name);
    return op;
}

int fl_fixture_call(struct fl_fixture *f, const char *op_name, const char *request)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_CALL_ARENA_BYTES);
    fl_autobuf struct fl_buf reply = FL_BUF(REPLY_MAX_BYTES);
    const struct fl_op *op = find_op(op_name);
    struct op_job job = { op, NULL, NULL, &f->err };
    void *in, *out;
    int r;

    free(f->reply);
    f->reply = NULL;
    f->err = (struct fl_err){ 0 };
    job.in = in = fl_arena_alloc(&arena, op->in->size);
    job.out = out = fl_arena_alloc(&arena, op->out->size);
    assert_non_null(in);
    assert_non_null(out);
    r = fl_json_decode(op->in, request, strlen(request), FL_DECODE_LAX, &arena, in, &f->err);
    if (r < 0) {
        f->err.name = "SerializationException";
        return r;
    }
    r = fl_call_check(op, &f->who, in, &f->err);
    if (r < 0)
        return r;
    r = run_call(f, &arena, op->lane, run_op, &job);
    if (r < 0)
        return r;
    assert_int_equal(fl_json_encode(op->out, out, &reply), 0);
    f->reply = fl_buf_take(&reply, NULL);
    return 0;
}

void fl_fixture_ok(struct fl_fixture *f, const char *op, const char *request)
{
    if (fl_fixture_call(f, op, request) < 0)
        fail_msg("%s %s: %s: %s", op, request, f->err.name ? f->err.name : "no name",
                 fl_err_text(&f->err));
}

void fl_fixture_fails(struct fl_fixture *f, const char *op, const char *request, const char *name)
{
    if (fl_fixture_call(f, op, request) >= 0)
        fail_msg("%s %s: succeeded with %s, not %s", op, request, f->reply, name);
    if (!f->err.name || strcmp(f->err.name, name) != 0)
        fail_msg("%s %s: %s (%s), not %s", op, request, f->err.name ? f->err.name : "no name",
                 fl_err_text(&f->err), name);
}

/* ---- the reply ---- */

/* The root (caller decrefs it) and, borrowed from it, the value at `path`. */
static const json_t *walk(const struct fl_fixture *f, const char *path, json_t **ret_root)
{
    const json_t *v = *ret_root = json_loads(f->reply ? f->reply : "null", JSON_DECODE_ANY, NULL);
    char part[128];

    while (v && *path) {
        size_t len = strcspn(path, ".");

        snprintf(part, sizeof(part), "%.*s", (int)len, path);
        v = json_is_array(v) ? json_array_get(v, (size_t)atol(part)) : json_object_get(v, part);
        path += len + (path[len] == '.');
    }
    return v;
}

const char *fl_fixture_text(struct fl_fixture *f, const char *path)
{
    static char text[64 * 1024];
    json_t *root;
    const json_t *v = walk(f, path, &root);

    text[0] = '\0';
    if (json_is_string(v)) {
        snprintf(text, sizeof(text), "%s", json_string_value(v));
    } else if (v) {
        size_t len = json_dumpb(v, text, sizeof(text) - 1, JSON_ENCODE_ANY | JSON_COMPACT);

        assert_true(len < sizeof(text));
        text[len] = '\0';
    }
    json_decref(root);
    return v ? text : NULL;
}

int fl_fixture_count(struct fl_fixture *f, const char *path)
{
    json_t *root;
    const json_t *v = walk(f, path, &root);
    int n = json_is_array(v) ? (int)json_array_size(v) : -1;

    json_decref(root);
    return n;
}

/* ---- nodes ---- */
struct node_job {
    char id[24];
    const char *tag_value;
};

static int insert_node(struct fl_call *call, void *arg)
{
    struct node_job *job = arg;
    struct fl_err err = { 0 };
    int r;

    r = fl_sql_exec(call->tx, FL_SQL_node_insert, &err, FL_T(job->id), FL_T(call->account),
                    FL_T(call->region), FL_NULL, FL_T("fleet"), FL_NULL,
                    FL_T("11111111-2222-4333-8444-555555555555"), FL_T(job->id), FL_T(job->id),
                    FL_N(call->now_ms));
    if (r > 0)
        r = fl_sql_exec(call->tx, FL_SQL_node_ping, &err, FL_T(job->id), FL_T(call->account),
                        FL_T(call->region), FL_T("amazon-ssm-agent"), FL_T("3.3.0.0"),
                        FL_T("Linux"), FL_T("Debian GNU/Linux"), FL_T("12"), FL_T("host.example"),
                        FL_T("192.0.2.10"), FL_N(call->now_ms));
    if (r > 0 && job->tag_value)
        r = fl_sql_exec(call->tx, FL_SQL_tag_put, &err, FL_T(call->account), FL_T(call->region),
                        FL_T("ManagedInstance"), FL_T(job->id), FL_T("Env"), FL_T(job->tag_value));
    return r < 0 ? r : 0;
}

const char *fl_fixture_node(struct fl_fixture *f, const char *tag_value)
{
    static struct node_job job;

    memcpy(job.id, "mi-", 3);
    fl_random_hex(job.id + 3, 17);
    job.tag_value = tag_value;
    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, insert_node, &job), 0);
    return job.id;
}
