/* node_list.c - ListNodes and ListNodesSummary: the nodes of this plane, and counts of them. */
#include "server/api/node_list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/api/list.h"
#include "server/api/node_filters.h"

#define PAGE          50
#define FILTERS_MAX   5
#define GROUP_BY_MAX  6    /* attributes of one summary row: all there are */
#define GROUPINGS_MAX 8    /* ways to group in one request */
#define GROUPS_MAX    5000 /* rows a summary may have in all */

/* ---- shapes shared by both ---- */
static const char *const filter_keys[] = {
    "AgentType",
    "AgentVersion",
    "ComputerName",
    "InstanceId",
    "InstanceStatus",
    "IpAddress",
    "ManagedStatus",
    "PlatformName",
    "PlatformType",
    "PlatformVersion",
    "ResourceType",
    "OrganizationalUnitId",
    "OrganizationalUnitPath",
    "Region",
    "AccountId",
    NULL,
};
static const char *const filter_types[] = { "Equal", "NotEqual", "BeginWith", NULL };

struct filter {
    char *key;
    struct fl_strs values;
    char *type;
};

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct filter, key, "Key", FL_REQUIRED, .limits = { .enums = filter_keys }),
    FL_FIELD(struct filter, values, "Values", FL_REQUIRED, .limits = { .min = 1, .max = 5 },
             .elem = { .max = 512 }),
    FL_FIELD(struct filter, type, "Type", 0, .limits = { .enums = filter_types }),
};
static const struct fl_shape filter_shape = FL_SHAPE(struct filter, "NodeFilter", filter_fields);

/* Every request begins so. */
struct common_in {
    char *sync_name;
    struct filter *filters;
    size_t n_filters;
    struct fl_opt_int max_results;
    char *next_token;
};

#define COMMON                                                                               \
    FL_FIELD(struct common_in, sync_name, "SyncName", 0, .limits = { .min = 1, .max = 64 }), \
        FL_FIELD_LIST(struct common_in, filters, n_filters, "Filters", 0, &filter_shape,     \
                      .limits = { .max = FILTERS_MAX }),                                     \
        FL_FIELD(struct common_in, max_results, "MaxResults", 0,                             \
                 .limits = { .min = 1, .max = 50 }),                                         \
        FL_FIELD(struct common_in, next_token, "NextToken", 0)

/* ---- filters ---- */
static const struct {
    const char *key;
    int what;
} columns[] = {
    { "AgentType", FL_NODE_AGENT_NAME },
    { "AgentVersion", FL_NODE_AGENT_VERSION },
    { "ComputerName", FL_NODE_COMPUTER_NAME },
    { "InstanceId", FL_NODE_ID },
    { "InstanceStatus", FL_NODE_LIVENESS },
    { "IpAddress", FL_NODE_IP_ADDRESS },
    { "PlatformName", FL_NODE_PLATFORM_NAME },
    { "PlatformType", FL_NODE_PLATFORM_TYPE },
    { "PlatformVersion", FL_NODE_PLATFORM_VERSION },
    { "ResourceType", FL_NODE_RESOURCE_TYPE },
};

/* Members that are the same for every node of a plane; NULL for those none has. */
static const char *constant_of(struct fl_call *call, const char *key)
{
    if (strcmp(key, "Region") == 0)
        return call->region;
    if (strcmp(key, "AccountId") == 0)
        return call->account;
    if (strcmp(key, "ManagedStatus") == 0)
        return "Managed";
    return NULL;
}

static bool constant_meets(const struct filter *f, enum fl_node_cmp cmp, const char *text)
{
    bool found = false;

    for (size_t i = 0; text && i < f->values.n && !found; i++) {
        const char *want = f->values.v[i];

        found = cmp == FL_CMP_BEGINS_WITH ? strncmp(text, want, strlen(want)) == 0
                                          : strcmp(text, want) == 0;
        if (strcmp(f->key, "ManagedStatus") == 0 && strcmp(want, "All") == 0)
            found = true;
    }
    return cmp == FL_CMP_NOT_EQUAL ? !found : found;
}

static void filter_cond(struct fl_call *call, const struct filter *f, struct fl_node_cond *conds,
                        size_t *n)
{
    static const enum fl_node_cmp cmps[] = { FL_CMP_EQUAL, FL_CMP_NOT_EQUAL, FL_CMP_BEGINS_WITH };
    enum fl_node_cmp cmp = FL_CMP_EQUAL;

    for (size_t i = 0; f->type && filter_types[i]; i++)
        if (strcmp(filter_types[i], f->type) == 0)
            cmp = cmps[i];
    for (size_t i = 0; i < FL_ARRAY_LEN(columns); i++)
        if (strcmp(columns[i].key, f->key) == 0) {
            conds[(*n)++] =
                (struct fl_node_cond){ .what = columns[i].what, .cmp = cmp, .values = f->values };
            return;
        }
    if (!constant_meets(f, cmp, constant_of(call, f->key)))
        conds[(*n)++] = (struct fl_node_cond){ .what = FL_NODE_NEVER };
}

/* Checks what both requests share, makes conditions and the place where the page starts. */
static int prepare(struct fl_call *call, const struct common_in *req, const char *what,
                   struct fl_node_cond *conds, size_t *n, char **ret_after, struct fl_err *err)
{
    if (req->sync_name)
        return fl_err_set(err, -EINVAL, "ResourceDataSyncNotFoundException",
                          "No resource data sync is named \"%s\"", req->sync_name);
    for (size_t i = 0; i < req->n_filters; i++)
        filter_cond(call, &req->filters[i], conds, n);
    return fl_page_token_decode(call, what, req->next_token, ret_after, err);
}

static size_t page_size(const struct common_in *req)
{
    return req->max_results.set ? (size_t)req->max_results.v : PAGE;
}

/* ---- ListNodes ---- */
struct instance {
    char *instance_id; /* not a member of the API's structure: read from the row, shown as Id */
    char *agent_type;
    char *agent_version;
    char *computer_name;
    const char *instance_status;
    char *ip_address;
    const char *managed_status;
    char *platform_type;
    char *platform_name;
    char *platform_version;
    char *resource_type;
};

#define F(member, key) FL_FIELD(struct instance, member, key, 0)
#define INSTANCE_MEMBERS                                                          \
    F(agent_type, "AgentType"), F(agent_version, "AgentVersion"),                 \
        F(computer_name, "ComputerName"), F(platform_type, "PlatformType"),       \
        F(platform_name, "PlatformName"), F(platform_version, "PlatformVersion"), \
        F(resource_type, "ResourceType")

static const struct fl_field row_fields[] = {
    INSTANCE_MEMBERS, F(instance_id, "InstanceId"),
    F(ip_address, "IPAddress"), /* spelled so in the view, IpAddress in ListNodes */
};
static const struct fl_shape row_shape = FL_SHAPE(struct instance, "node_info", row_fields);

static const struct fl_field instance_fields[] = {
    INSTANCE_MEMBERS,
    F(instance_status, "InstanceStatus"),
    F(ip_address, "IpAddress"),
    F(managed_status, "ManagedStatus"),
};
#undef F
static const struct fl_shape instance_shape =
    FL_SHAPE(struct instance, "InstanceInfo", instance_fields);

struct node_type {
    struct instance *instance;
};
static const struct fl_field node_type_fields[] = {
    FL_FIELD_STRUCT(struct node_type, instance, "Instance", 0, &instance_shape),
};
static const struct fl_shape node_type_shape =
    FL_SHAPE(struct node_type, "NodeType", node_type_fields);

struct owner {
    const char *account_id;
};
static const struct fl_field owner_fields[] = {
    FL_FIELD(struct owner, account_id, "AccountId", 0),
};
static const struct fl_shape owner_shape = FL_SHAPE(struct owner, "NodeOwnerInfo", owner_fields);

struct node {
    struct fl_time capture_time;
    char *id;
    struct owner *owner;
    const char *region;
    struct node_type *type;
};
static const struct fl_field node_fields[] = {
    FL_FIELD(struct node, capture_time, "CaptureTime", 0),
    FL_FIELD(struct node, id, "Id", 0),
    FL_FIELD_STRUCT(struct node, owner, "Owner", 0, &owner_shape),
    FL_FIELD(struct node, region, "Region", 0),
    FL_FIELD_STRUCT(struct node, type, "NodeType", 0, &node_type_shape),
};
static const struct fl_shape node_shape = FL_SHAPE(struct node, "Node", node_fields);

static const struct fl_field list_in_fields[] = { COMMON };
const struct fl_shape fl_list_nodes_in_shape =
    FL_SHAPE(struct common_in, "ListNodes", list_in_fields);

struct list_out {
    struct node *nodes;
    size_t n_nodes;
    char *next_token;
};
static const struct fl_field list_out_fields[] = {
    FL_FIELD_LIST(struct list_out, nodes, n_nodes, "Nodes", FL_ALWAYS, &node_shape),
    FL_FIELD(struct list_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_list_nodes_out_shape =
    FL_SHAPE(struct list_out, "ListNodesResult", list_out_fields);

struct lister {
    struct fl_call *call;
    struct list_out *out;
    size_t max;
};

static int list_row(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct lister *l = arg;
    struct fl_arena *arena = l->call->arena;
    struct node *node = &l->out->nodes[l->out->n_nodes];
    struct {
        struct owner owner;
        struct node_type type;
        struct instance instance;
    } * parts;
    int64_t seen_ms;
    int r;

    if (l->out->n_nodes == l->max) {
        l->out->next_token =
            fl_page_token_encode(l->call, "ListNodes", l->out->nodes[l->max - 1].id);
        return l->out->next_token ? 1 : fl_err_nomem(err);
    }
    parts = fl_arena_alloc(arena, sizeof(*parts));
    if (!parts)
        return fl_err_nomem(err);
    r = fl_sql_row(row, &row_shape, arena, &parts->instance, err);
    if (r < 0)
        return r;
    parts->instance.managed_status = "Managed";
    parts->instance.instance_status = fl_node_row_online(l->call, row) ? "Active" : "Inactive";
    parts->type.instance = &parts->instance;
    parts->owner.account_id = l->call->account;
    seen_ms = fl_sql_int(row, FL_NODE_LAST_PING_MS);

    node->id = parts->instance.instance_id;
    node->capture_time.ms = seen_ms ? seen_ms : fl_sql_int(row, FL_NODE_REGISTERED_MS);
    node->owner = &parts->owner;
    node->region = l->call->region;
    node->type = &parts->type;
    l->out->n_nodes++;
    return 0;
}

int fl_op_list_nodes(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct common_in *req = in;
    struct lister l = { call, out, page_size(req) };
    struct fl_node_cond conds[FILTERS_MAX];
    char *after = NULL;
    size_t n = 0;
    int r = prepare(call, req, "ListNodes", conds, &n, &after, err);

    if (r < 0)
        return r;
    l.out->nodes = fl_arena_calloc(call->arena, l.max + 1, sizeof(*l.out->nodes));
    if (!l.out->nodes)
        return fl_err_nomem(err);
    r = fl_nodes_scan(call, conds, n, after, list_row, &l, err);
    return r < 0 ? r : 0;
}

/* ---- ListNodesSummary: the request ---- */
static const char *const aggregator_types[] = { "Count", NULL };
static const char *const type_names[] = { "Instance", NULL };
static const char *const attributes[] = {
    "AgentVersion", "PlatformName", "PlatformType", "PlatformVersion",
    "Region",       "ResourceType", NULL,
};

struct aggregator {
    char *aggregator_type;
    char *type_name;
    char *attribute;
    struct aggregator *inner;
    size_t n_inner;
};

static const struct fl_shape aggregator_shape;
static const struct fl_field aggregator_fields[] = {
    FL_FIELD(struct aggregator, aggregator_type, "AggregatorType", FL_REQUIRED,
             .limits = { .enums = aggregator_types }),
    FL_FIELD(struct aggregator, type_name, "TypeName", FL_REQUIRED,
             .limits = { .enums = type_names }),
    FL_FIELD(struct aggregator, attribute, "AttributeName", FL_REQUIRED,
             .limits = { .enums = attributes }),
    FL_FIELD_LIST(struct aggregator, inner, n_inner, "Aggregators", 0, &aggregator_shape,
                  .limits = { .min = 1, .max = 2 }),
};
static const struct fl_shape aggregator_shape =
    FL_SHAPE(struct aggregator, "NodeAggregator", aggregator_fields);

struct summary_in {
    struct common_in common;
    struct aggregator *aggregators;
    size_t n_aggregators;
};
static const struct fl_field summary_in_fields[] = {
    COMMON, /* offsets of the first member are those of the whole */
    FL_FIELD_LIST(struct summary_in, aggregators, n_aggregators, "Aggregators", FL_REQUIRED,
                  &aggregator_shape, .limits = { .min = 1, .max = 2 }),
};
const struct fl_shape fl_nodes_summary_in_shape =
    FL_SHAPE(struct summary_in, "ListNodesSummary", summary_in_fields);
_Static_assert(offsetof(struct summary_in, common) == 0, "COMMON is at the start");

/* ---- ListNodesSummary: the response, a list of maps attribute -> value, "Count" -> number ---- */
struct summary_row {
    const char *values[GROUP_BY_MAX]; /* in the order of attributes[] */
    char *count;
};
#define V(i, key) FL_FIELD(struct summary_row, values[i], key, 0)
static const struct fl_field summary_row_fields[] = {
    V(0, "AgentVersion"),
    V(1, "PlatformName"),
    V(2, "PlatformType"),
    V(3, "PlatformVersion"),
    V(4, "Region"),
    V(5, "ResourceType"),
    FL_FIELD(struct summary_row, count, "Count", 0),
};
#undef V
static const struct fl_shape summary_row_shape =
    FL_SHAPE(struct summary_row, "NodeSummary", summary_row_fields);

struct summary_out {
    struct summary_row *rows;
    size_t n_rows;
    char *next_token;
};
static const struct fl_field summary_out_fields[] = {
    FL_FIELD_LIST(struct summary_out, rows, n_rows, "Summary", FL_ALWAYS, &summary_row_shape),
    FL_FIELD(struct summary_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_nodes_summary_out_shape =
    FL_SHAPE(struct summary_out, "ListNodesSummaryResult", summary_out_fields);

/* ---- ListNodesSummary: counting ---- */
struct group {
    char *key; /* grouping number and the values: orders and identifies the row */
    struct summary_row row;
    int64_t count;
};

struct summary {
    struct fl_call *call;
    unsigned groupings[GROUPINGS_MAX]; /* bit i: group by attributes[i] */
    size_t n_groupings;
    struct group *groups; /* sorted by key */
    size_t n_groups;
    size_t cap;
};

static int attribute_index(const char *name)
{
    for (int i = 0; attributes[i]; i++)
        if (strcmp(attributes[i], name) == 0)
            return i;
    return 0;
}

/* Each leaf of the tree of aggregators groups by all attributes on its way from the root. */
static int add_groupings(struct summary *s, const struct aggregator *a, size_t n, unsigned above,
                         struct fl_err *err)
{
    for (size_t i = 0; i < n; i++) {
        unsigned bit = 1u << attribute_index(a[i].attribute);
        int r = 0;

        if (above & bit)
            return fl_err_set(err, -EINVAL, "InvalidAggregatorException",
                              "An aggregator repeats the attribute %s", a[i].attribute);
        if (a[i].n_inner > 0)
            r = add_groupings(s, a[i].inner, a[i].n_inner, above | bit, err);
        else if (s->n_groupings == GROUPINGS_MAX)
            return fl_err_set(err, -EINVAL, "InvalidAggregatorException",
                              "At most %d aggregations are possible in one request", GROUPINGS_MAX);
        else
            s->groupings[s->n_groupings++] = above | bit;
        if (r < 0)
            return r;
    }
    return 0;
}

static const char *attribute_value(struct summary *s, struct fl_cursor *row, int i)
{
    static const int cols[] = { FL_NODE_AGENT_VERSION,    FL_NODE_PLATFORM_NAME,
                                FL_NODE_PLATFORM_TYPE,    FL_NODE_PLATFORM_VERSION,
                                -1 /* the plane's own */, FL_NODE_RESOURCE_TYPE };
    const char *text = cols[i] < 0 ? s->call->region : fl_sql_text(row, cols[i]);

    return text ? text : "";
}

/* Index of the first group whose key is not less than `key`. */
static size_t lower_bound(const struct summary *s, const char *key)
{
    size_t lo = 0, hi = s->n_groups;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strcmp(s->groups[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int add_group(struct summary *s, size_t at, const char *key, struct fl_cursor *row,
                     unsigned mask, struct fl_err *err)
{
    struct group g = { .key = fl_arena_strdup(s->call->arena, key) };

    if (s->n_groups == GROUPS_MAX)
        return fl_err_set(err, -EINVAL, "UnsupportedOperationException",
                          "The summary would have more than %d rows: use a filter", GROUPS_MAX);
    s->groups = fl_list_room(s->call->arena, s->groups, s->n_groups, &s->cap, sizeof(g));
    for (int i = 0; i < GROUP_BY_MAX; i++)
        if (mask & (1u << i))
            g.row.values[i] = fl_arena_strdup(s->call->arena, attribute_value(s, row, i));
    if (!s->groups || !g.key)
        return fl_err_nomem(err);
    memmove(&s->groups[at + 1], &s->groups[at], (s->n_groups - at) * sizeof(g));
    s->groups[at] = g;
    s->n_groups++;
    return 0;
}

static int summary_visit(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct summary *s = arg;

    for (size_t i = 0; i < s->n_groupings; i++) {
        char key[2048]; /* six values, each bounded by what a ping may say */
        int len = snprintf(key, sizeof(key), "%zu", i);
        size_t at;
        int r;

        for (int a = 0; a < GROUP_BY_MAX; a++)
            if ((s->groupings[i] & (1u << a)) && len < (int)sizeof(key))
                len += snprintf(key + len, sizeof(key) - (size_t)len, "\n%s",
                                attribute_value(s, row, a));
        at = lower_bound(s, key);
        if (at == s->n_groups || strcmp(s->groups[at].key, key) != 0) {
            r = add_group(s, at, key, row, s->groupings[i], err);
            if (r < 0)
                return r;
        }
        s->groups[at].count++;
    }
    return 0;
}

int fl_op_nodes_summary(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct summary_in *req = in;
    struct summary_out *res = out;
    struct summary s = { .call = call };
    struct fl_node_cond conds[FILTERS_MAX];
    size_t n = 0, max = page_size(&req->common);
    char *after = NULL;
    int r = prepare(call, &req->common, "ListNodesSummary", conds, &n, &after, err);

    if (r == 0)
        r = add_groupings(&s, req->aggregators, req->n_aggregators, 0, err);
    if (r == 0)
        r = fl_nodes_scan(call, conds, n, NULL, summary_visit, &s, err);
    if (r < 0)
        return r;

    res->rows = fl_arena_calloc(call->arena, max, sizeof(*res->rows));
    if (!res->rows)
        return fl_err_nomem(err);
    for (size_t i = after ? lower_bound(&s, after) : 0; i < s.n_groups; i++) {
        const struct group *g = &s.groups[i];

        if (after && strcmp(g->key, after) == 0)
            continue;
        if (res->n_rows == max) {
            res->next_token = fl_page_token_encode(call, "ListNodesSummary", s.groups[i - 1].key);
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        res->rows[res->n_rows] = g->row;
        res->rows[res->n_rows].count = fl_arena_printf(call->arena, "%lld", (long long)g->count);
        if (!res->rows[res->n_rows++].count)
            return fl_err_nomem(err);
    }
    return 0;
}
