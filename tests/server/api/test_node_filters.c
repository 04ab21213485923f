/* Targets of commands: who is meant, and that a large fleet is walked in batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/api/node_filters.h"
#include "tests/server/fixture.h"

#define FLEET 3000
#define BATCH 250

static char dev[24], prod[24], empty[24], bare[24];

static int setup(void **state)
{
    static struct fl_fixture f;

    fl_fixture_open(&f);
    snprintf(dev, sizeof(dev), "%s", fl_fixture_node(&f, "Dev"));
    snprintf(prod, sizeof(prod), "%s", fl_fixture_node(&f, "Prod"));
    snprintf(empty, sizeof(empty), "%s", fl_fixture_node(&f, ""));
    snprintf(bare, sizeof(bare), "%s", fl_fixture_node(&f, NULL));
    *state = &f;
    return 0;
}

struct hits {
    const struct fl_target *targets;
    size_t n_targets;
    size_t n;
    char ids[8][24];
    int r;
    struct fl_err err;
};

static int hit(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct hits *h = arg;

    assert_true(h->n < FL_ARRAY_LEN(h->ids));
    snprintf(h->ids[h->n++], sizeof(h->ids[0]), "%s", fl_sql_text(row, FL_NODE_ID));
    assert_string_equal(fl_sql_text(row, FL_NODE_PLATFORM_TYPE), "Linux");
    return 0;
}

static int resolve(struct fl_call *call, void *arg)
{
    struct hits *h = arg;

    h->r = fl_targets_resolve(call, h->targets, h->n_targets, NULL, hit, h, &h->err);
    return 0;
}

static bool has(const struct hits *h, const char *id)
{
    for (size_t i = 0; i < h->n; i++)
        if (strcmp(h->ids[i], id) == 0)
            return true;
    return false;
}

enum { DEV = 1, PROD = 2, EMPTY = 4, BARE = 8, ALL = 15, ERROR = 16 };

static void targets_name_nodes(void **state)
{
    /* a value "@dev" stands for that node's id */
    static const struct {
        struct {
            const char *key, *values[3];
        } targets[2];
        int want;
    } cases[] = {
        { { { "InstanceIds", { "@dev" } } }, DEV },
        { { { "instanceids", { "@dev", "@bare", "@dev" } } }, DEV | BARE },
        { { { "INSTANCEIDS", { "*" } } }, ALL },
        { { { "InstanceIds", { "mi-00000000000000000" } } }, 0 },
        { { { "InstanceIds", { NULL } } }, 0 },
        { { { "tag:Env", { "Dev" } } }, DEV },
        { { { "tag:Env", { "Dev", "Prod" } } }, DEV | PROD },
        { { { "tag:Env", { "dev" } } }, 0 },
        { { { "tag:Env", { "" } } }, EMPTY },
        { { { "tag:Env", { NULL } } }, 0 },
        { { { "tag:env", { "Dev" } } }, 0 },
        { { { "tag-key", { "Env" } } }, DEV | PROD | EMPTY },
        { { { "tag-key", { "Env", "Other" } } }, DEV | PROD | EMPTY },
        { { { "tag-key", { "Other" } } }, 0 },
        { { { "tag:Env", { "Dev" } }, { "InstanceIds", { "@prod" } } }, 0 },
        { { { "tag:Env", { "Dev" } }, { "InstanceIds", { "*" } } }, DEV },
        { { { "tag-key", { "Env" } }, { "InstanceIds", { "@prod", "@bare" } } }, PROD },
        { { { "resource-groups:Name", { "g" } } }, 0 },
        { { { "resource-groups:ResourceTypeFilters", { "AWS::SSM::ManagedInstance" } } }, 0 },
        { { { "Nope", { "x" } } }, ERROR },
        { { { "tag:", { "x" } } }, ERROR },
        { { { "Tag:Env", { "Dev" } } }, ERROR },
        { { { NULL, { NULL } } }, 0 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char *values[2][3];
        struct fl_target targets[2];
        struct hits h = { .targets = targets };
        int got = 0;

        for (size_t t = 0; t < 2 && cases[i].targets[t].key; t++) {
            targets[t] = (struct fl_target){ (char *)cases[i].targets[t].key, { values[t], 0 } };
            for (size_t v = 0; v < 3 && cases[i].targets[t].values[v]; v++) {
                const char *s = cases[i].targets[t].values[v];

                values[t][v] = (char *)(strcmp(s, "@dev") == 0    ? dev
                                        : strcmp(s, "@prod") == 0 ? prod
                                        : strcmp(s, "@bare") == 0 ? bare
                                                                  : s);
                targets[t].values.n++;
            }
            h.n_targets++;
        }
        assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, resolve, &h), 0);
        if (h.r < 0) {
            assert_string_equal(h.err.name, "ValidationException");
            got = ERROR;
        } else {
            got = (has(&h, dev) ? DEV : 0) | (has(&h, prod) ? PROD : 0) |
                  (has(&h, empty) ? EMPTY : 0) | (has(&h, bare) ? BARE : 0);
            assert_int_equal(__builtin_popcount((unsigned)got), h.n); /* each once */
            for (size_t n = 1; n < h.n; n++)
                assert_true(strcmp(h.ids[n - 1], h.ids[n]) < 0);
        }
        if (got != cases[i].want)
            fail_msg("case %zu, %s: %d, not %d", i, cases[i].targets[0].key, got, cases[i].want);
    }
}

struct walk {
    const struct fl_target *target;
    char last[24];
    int in_batch, total;
};

static int step(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct walk *w = arg;
    const char *id = fl_sql_text(row, FL_NODE_ID);

    assert_true(strcmp(w->last, id) < 0);
    snprintf(w->last, sizeof(w->last), "%s", id);
    w->total++;
    return ++w->in_batch == BATCH;
}

static int walk_batch(struct fl_call *call, void *arg)
{
    struct walk *w = arg;

    w->in_batch = 0;
    return fl_targets_resolve(call, w->target, 1, w->last[0] ? w->last : NULL, step, w, NULL);
}

static int make_fleet(struct fl_call *call, void *arg)
{
    for (int i = 0; i < FLEET; i++) {
        char id[24];

        snprintf(id, sizeof(id), "mi-%017x", i);
        assert_int_equal(fl_sql_exec(call->tx, FL_SQL_node_insert, NULL, FL_T(id),
                                     FL_T(call->account), FL_T(call->region), FL_NULL,
                                     FL_T("fleet"), FL_NULL, FL_T("f"), FL_T(id), FL_T(id),
                                     FL_N(call->now_ms)),
                         1);
        assert_int_equal(fl_sql_exec(call->tx, FL_SQL_tag_put, NULL, FL_T(call->account),
                                     FL_T(call->region), FL_T("ManagedInstance"), FL_T(id),
                                     FL_T("Fleet"), FL_T(i % 3 ? "a" : "b")),
                         1);
    }
    return 0;
}

static void a_fleet_is_walked_in_batches(void **state)
{
    static char *a[] = { (char *)"a" }, *both[] = { (char *)"a", (char *)"b" },
                *all[] = { (char *)"*" }, *key[] = { (char *)"Fleet" };
    static const struct {
        struct fl_target target;
        int want;
    } cases[] = {
        { { (char *)"tag:Fleet", { a, 1 } }, FLEET * 2 / 3 },
        { { (char *)"tag:Fleet", { both, 2 } }, FLEET },
        { { (char *)"tag-key", { key, 1 } }, FLEET },
        { { (char *)"InstanceIds", { all, 1 } }, FLEET + 4 },
    };

    assert_int_equal(fl_fixture_run(*state, FL_LANE_WRITE, make_fleet, NULL), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct walk w = { .target = &cases[i].target };
        int r, rounds = 0;

        do {
            r = fl_fixture_run(*state, FL_LANE_READ, walk_batch, &w);
            rounds++;
        } while (r > 0);
        assert_int_equal(r, 0);
        assert_int_equal(w.total, cases[i].want);
        assert_int_equal(rounds, cases[i].want / BATCH + 1);
    }
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(targets_name_nodes),
        T(a_fleet_is_walked_in_batches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
