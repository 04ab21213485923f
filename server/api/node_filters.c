/* node_filters.c - scanning nodes by conditions, resolving targets. */
#include "server/api/node_filters.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "server/api/nodes.h"

#define NODE_TYPE "ManagedInstance" /* of tags */

struct scan {
    struct fl_call *call;
    const struct fl_node_cond *conds;
    size_t n;
    const char *after; /* never NULL */
    fl_node_row_fn fn;
    void *arg;
};

/* ---- one condition, one row ---- */
static bool text_meets(const struct fl_node_cond *cond, const char *text)
{
    bool found = false;

    for (size_t i = 0; text && i < cond->values.n && !found; i++) {
        const char *want = cond->values.v[i];

        found = cond->cmp == FL_CMP_BEGINS_WITH ? strncmp(text, want, strlen(want)) == 0
                                                : strcmp(text, want) == 0;
    }
    return cond->cmp == FL_CMP_NOT_EQUAL ? !found : found;
}

/* 1 holds, 0 not, or a negative errno. */
static int tag_meets(const struct scan *s, const struct fl_node_cond *cond, const char *id,
                     const char *key, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r;

    r = fl_sql_open(s->call->tx, FL_SQL_tag_value, &c, err, FL_T(s->call->account),
                    FL_T(s->call->region), FL_T(NODE_TYPE), FL_T(id), FL_T(key));
    if (r < 0)
        return r;
    r = fl_sql_next(c, err);
    if (r <= 0)
        return r;
    return cond->what == FL_NODE_TAG_KEY || text_meets(cond, fl_sql_text(c, 0));
}

bool fl_node_row_online(struct fl_call *call, struct fl_cursor *row)
{
    const struct fl_node_seen seen = {
        .last_ping_ms = fl_sql_int(row, FL_NODE_LAST_PING_MS),
        .gap_ms = fl_sql_int(row, FL_NODE_PING_GAP_MS),
        .prior_gap_ms = fl_sql_int(row, FL_NODE_PRIOR_GAP_MS),
    };

    return fl_node_online(call, fl_sql_text(row, FL_NODE_ID), &seen);
}

static int cond_meets(const struct scan *s, const struct fl_node_cond *cond, struct fl_cursor *row,
                      struct fl_err *err)
{
    const char *id = fl_sql_text(row, FL_NODE_ID);

    switch (cond->what) {
    case FL_NODE_NEVER:
        return 0;
    case FL_NODE_PING_STATUS:
        return text_meets(cond, fl_node_row_online(s->call, row) ? "Online" : "ConnectionLost");
    case FL_NODE_LIVENESS:
        return text_meets(cond, fl_node_row_online(s->call, row) ? "Active" : "Inactive");
    case FL_NODE_TAG:
        return tag_meets(s, cond, id, cond->tag_key, err);
    case FL_NODE_TAG_KEY:
        for (size_t i = 0; i < cond->values.n; i++) {
            int r = tag_meets(s, cond, id, cond->values.v[i], err);

            if (r != 0)
                return r;
        }
        return 0;
    default:
        return text_meets(cond, fl_sql_text(row, cond->what));
    }
}

/* Hands the rows of an open cursor to the callback. */
static int visit(const struct scan *s, struct fl_cursor *row, struct fl_err *err)
{
    int r;

    while ((r = fl_sql_next(row, err)) > 0) {
        for (size_t i = 0; i < s->n && r > 0; i++)
            r = cond_meets(s, &s->conds[i], row, err);
        if (r > 0)
            r = s->fn(s->arg, row, err);
        if (r != 0)
            return r;
    }
    return r;
}

/* ---- ways through the nodes ---- */
static int compare_ids(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int scan_ids(const struct scan *s, const struct fl_strs *ids, struct fl_err *err)
{
    char **sorted = fl_arena_calloc(s->call->arena, ids->n, sizeof(*sorted));
    int r = 0;

    if (!sorted)
        return fl_err_nomem(err);
    if (ids->n > 0)
        memcpy(sorted, ids->v, ids->n * sizeof(*sorted));
    qsort(sorted, ids->n, sizeof(*sorted), compare_ids);

    for (size_t i = 0; i < ids->n && r == 0; i++) {
        fl_autocursor struct fl_cursor *row = NULL;

        if (strcmp(sorted[i], s->after) <= 0 || (i > 0 && strcmp(sorted[i], sorted[i - 1]) == 0))
            continue;
        r = fl_sql_open(s->call->tx, FL_SQL_node_info_by_id, &row, err, FL_T(s->call->account),
                        FL_T(s->call->region), FL_T(sorted[i]));
        if (r == 0)
            r = visit(s, row, err);
    }
    return r;
}

static int scan_tag(const struct scan *s, const char *key, const char *value, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r;

    if (value)
        r = fl_sql_open(s->call->tx, FL_SQL_node_info_by_tag, &row, err, FL_T(s->call->account),
                        FL_T(s->call->region), FL_T(key), FL_T(value), FL_T(s->after));
    else
        r = fl_sql_open(s->call->tx, FL_SQL_node_info_by_tag_key, &row, err, FL_T(s->call->account),
                        FL_T(s->call->region), FL_T(key), FL_T(s->after));
    return r < 0 ? r : visit(s, row, err);
}

static int scan_all(const struct scan *s, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r;

    r = fl_sql_open(s->call->tx, FL_SQL_node_info_page, &row, err, FL_T(s->call->account),
                    FL_T(s->call->region), FL_T(s->after));
    return r < 0 ? r : visit(s, row, err);
}

static const struct fl_node_cond *find_cond(const struct scan *s, int what)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->conds[i].what == what && s->conds[i].cmp == FL_CMP_EQUAL)
            return &s->conds[i];
    return NULL;
}

int fl_nodes_scan(struct fl_call *call, const struct fl_node_cond *conds, size_t n,
                  const char *after, fl_node_row_fn fn, void *arg, struct fl_err *err)
{
    const struct scan s = { call, conds, n, after ? after : "", fn, arg };
    const struct fl_node_cond *cond;

    if (find_cond(&s, FL_NODE_NEVER))
        return 0;
    cond = find_cond(&s, FL_NODE_ID);
    if (cond)
        return scan_ids(&s, &cond->values, err);
    cond = find_cond(&s, FL_NODE_TAG);
    if (cond)
        return scan_tag(&s, cond->tag_key, cond->values.n == 1 ? cond->values.v[0] : NULL, err);
    cond = find_cond(&s, FL_NODE_TAG_KEY);
    if (cond && cond->values.n == 1)
        return scan_tag(&s, cond->values.v[0], NULL, err);
    return scan_all(&s, err);
}

/* ---- targets ---- */
static const struct fl_field target_fields[] = {
    FL_FIELD(struct fl_target, key, "Key", 0,
             .limits = { .min = 1,
                         .max = 163,
                         .pattern = "^[\\p{L}\\p{Z}\\p{N}_.:/=\\-@]*$|"
                                    "resource-groups:ResourceTypeFilters|resource-groups:Name" }),
    FL_FIELD(struct fl_target, values, "Values", 0, .limits = { .max = 50 }),
};
const struct fl_shape fl_target_shape = FL_SHAPE(struct fl_target, "Target", target_fields);

#define TAG_PREFIX "tag:"

static const struct {
    const char *key;
    bool any_case;
    int what;
} target_keys[] = {
    { "InstanceIds", true, FL_NODE_ID },
    { "tag-key", false, FL_NODE_TAG_KEY },
    { "resource-groups:Name", false, FL_NODE_NEVER },
    { "resource-groups:ResourceTypeFilters", false, FL_NODE_NEVER },
};

static bool names_all(const struct fl_target *target)
{
    for (size_t i = 0; i < target->values.n; i++)
        if (strcmp(target->values.v[i], "*") == 0)
            return true;
    return false;
}

/* The condition a target means. 1 filled, 0 every node meets it, -EINVAL unknown key. */
static int target_cond(const struct fl_target *target, struct fl_node_cond *cond)
{
    const char *key = target->key ? target->key : "";

    *cond = (struct fl_node_cond){ .cmp = FL_CMP_EQUAL, .values = target->values };
    if (strncmp(key, TAG_PREFIX, strlen(TAG_PREFIX)) == 0 && key[strlen(TAG_PREFIX)]) {
        cond->what = FL_NODE_TAG;
        cond->tag_key = key + strlen(TAG_PREFIX);
        return 1;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(target_keys); i++) {
        if ((target_keys[i].any_case ? strcasecmp : strcmp)(key, target_keys[i].key) != 0)
            continue;
        cond->what = target_keys[i].what;
        return cond->what == FL_NODE_ID && names_all(target) ? 0 : 1;
    }
    return -EINVAL;
}

int fl_targets_check(const struct fl_target *targets, size_t n, struct fl_err *err)
{
    struct fl_node_cond cond;

    if (n > FL_TARGETS_MAX)
        return fl_err_set(err, -EINVAL, "ValidationException", "Targets: at most %d are allowed",
                          FL_TARGETS_MAX);
    for (size_t i = 0; i < n; i++)
        if (target_cond(&targets[i], &cond) < 0)
            return fl_err_set(err, -EINVAL, "ValidationException",
                              "Targets: key \"%s\" is not one of InstanceIds, tag:<key>, tag-key, "
                              "resource-groups:Name, resource-groups:ResourceTypeFilters",
                              targets[i].key ? targets[i].key : "");
    return 0;
}

int fl_targets_resolve(struct fl_call *call, const struct fl_target *targets, size_t n,
                       const char *after, fl_node_row_fn fn, void *arg, struct fl_err *err)
{
    struct fl_node_cond conds[FL_TARGETS_MAX];
    size_t n_conds = 0;
    int r = fl_targets_check(targets, n, err);

    if (r < 0 || n == 0) /* no target is no node, not every node */
        return r;
    for (size_t i = 0; i < n; i++)
        n_conds += (size_t)target_cond(&targets[i], &conds[n_conds]);
    return fl_nodes_scan(call, conds, n_conds, after, fn, arg, err);
}
