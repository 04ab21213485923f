/* revoked.c - the set of revoked nodes: rows in the store, a copy in memory. */
#include "server/auth/revoked.h"

#include <errno.h>
#include <pthread.h>
#include "common/base/clock.h"
#include "server/counts.h"

struct fl_revoked {
    pthread_rwlock_t lock;
    struct fl_counts nodes;
};

int fl_revoked_new(struct fl_revoked **ret_revoked)
{
    struct fl_revoked *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    pthread_rwlock_init(&r->lock, NULL);
    *ret_revoked = r;
    return 0;
}

struct fl_revoked *fl_revoked_free(struct fl_revoked *r)
{
    if (!r)
        return NULL;
    fl_counts_done(&r->nodes);
    pthread_rwlock_destroy(&r->lock);
    free(r);
    return NULL;
}

int fl_revoked_add(struct fl_revoked *r, const char *node_id)
{
    int64_t *v;

    pthread_rwlock_wrlock(&r->lock);
    v = fl_counts_put(&r->nodes, node_id);
    pthread_rwlock_unlock(&r->lock);
    return v ? 0 : -ENOMEM;
}

bool fl_revoked_has(struct fl_revoked *r, const char *node_id)
{
    bool has;

    pthread_rwlock_rdlock(&r->lock);
    has = fl_counts_get(&r->nodes, node_id) != NULL;
    pthread_rwlock_unlock(&r->lock);
    return has;
}

struct load {
    struct fl_revoked *revoked;
    int64_t before_ms; /* tokens issued before this have all expired */
    struct fl_err *err;
};

static int load_job(struct fl_tx *tx, void *arg)
{
    struct load *l = arg;
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_exec(tx, FL_SQL_revoked_node_prune, l->err, FL_N(l->before_ms));

    if (r >= 0)
        r = fl_sql_open(tx, FL_SQL_revoked_node_list, &c, l->err);
    if (r < 0)
        return r;
    while ((r = fl_sql_next(c, l->err)) > 0) {
        if (fl_revoked_add(l->revoked, fl_sql_text(c, 0)) < 0)
            return fl_err_nomem(l->err);
    }
    return r;
}

int fl_revoked_load(struct fl_revoked *r, struct fl_plane *plane, struct fl_err *err)
{
    struct load l = { .revoked = r,
                      .before_ms = fl_now_ms() - plane->conf.node_token_life_ms,
                      .err = err };

    return fl_store_run(plane->store, FL_LANE_WRITE, load_job, &l);
}

int fl_revoke_node(struct fl_call *call, const char *node_id, struct fl_err *err)
{
    int r = fl_sql_exec(call->tx, FL_SQL_revoked_node_add, err, FL_T(node_id), FL_T(call->account),
                        FL_T(call->region), FL_N(call->now_ms));

    if (r < 0)
        return r;
    r = fl_call_publish(call, FL_SUBJECT_NODE_DROP, node_id);
    return r < 0 ? fl_err_set(err, r, NULL, "out of memory") : 0;
}
