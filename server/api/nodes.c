/* nodes.c - reading and changing registered nodes: DescribeInstanceInformation,
 * DeregisterManagedInstance, UpdateManagedInstanceRole, GetConnectionStatus. */
#include "server/api/nodes.h"

#include <errno.h>
#include <string.h>

#include "common/base/rand.h"
#include "server/api/list.h"
#include "server/api/node_filters.h"
#include "server/api/node_list.h"
#include "server/api/registry.h"
#include "server/api/tags.h"
#include "server/auth/revoked.h"

#define ONLINE_MIN_MS    (15 * 60 * 1000) /* silence that is never "lost"; protocol 1 §6.3 */
#define INTERVALS_MISSED 3
#define INTERVAL_MAX_MS  (60 * 60 * 1000) /* HealthFrequencyMinutes is 5 to 60 */
#define DESCRIBE_PAGE    10               /* protocol 6 §2.1 */
#define FILTERS_MAX      20

/* ---- shapes ---- */
#define MANAGED_ID                                                                          \
    {                                                                                       \
        .min = 20, .max = 124,                                                              \
        .pattern = "(^mi-[0-9a-f]{17}$)|(^eks_c:[0-9A-Za-z][A-Za-z0-9\\-_]{0,99}_\\w{17}$)" \
    }

struct filter {
    char *key;
    struct fl_strs values;
};

#define VALUES(key)                                                                       \
    FL_FIELD(struct filter, values, key, FL_REQUIRED, .limits = { .min = 1, .max = 100 }, \
             .elem = { .min = 1 })
static const struct fl_field filter_fields[] = {
    FL_FIELD(struct filter, key, "Key", FL_REQUIRED, .limits = { .min = 1 }),
    VALUES("Values"),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct filter, "InstanceInformationStringFilter", filter_fields);

static const char *const old_keys[] = {
    "InstanceIds",  "AgentVersion",      "PingStatus", "PlatformTypes", "ActivationIds", "IamRole",
    "ResourceType", "AssociationStatus", NULL,
};
static const struct fl_field old_filter_fields[] = {
    FL_FIELD(struct filter, key, "key", FL_REQUIRED, .limits = { .enums = old_keys }),
    VALUES("valueSet"),
};
static const struct fl_shape old_filter_shape =
    FL_SHAPE(struct filter, "InstanceInformationFilter", old_filter_fields);
#undef VALUES

struct describe_in {
    struct filter *old_filters;
    size_t n_old_filters;
    struct filter *filters;
    size_t n_filters;
    struct fl_opt_int max_results;
    char *next_token;
};

static const struct fl_field describe_in_fields[] = {
    FL_FIELD_LIST(struct describe_in, old_filters, n_old_filters, "InstanceInformationFilterList",
                  0, &old_filter_shape),
    FL_FIELD_LIST(struct describe_in, filters, n_filters, "Filters", 0, &filter_shape),
    FL_FIELD(struct describe_in, max_results, "MaxResults", 0, .limits = { .min = 5, .max = 50 }),
    FL_FIELD(struct describe_in, next_token, "NextToken", 0),
};
static const struct fl_shape describe_in_shape =
    FL_SHAPE(struct describe_in, "DescribeInstanceInformation", describe_in_fields);

struct node {
    char *instance_id;
    const char *ping_status; /* computed, in no row of the store */
    struct fl_time last_ping;
    char *agent_version;
    char *platform_type;
    char *platform_name;
    char *platform_version;
    char *activation_id;
    char *iam_role;
    struct fl_time registered;
    char *resource_type;
    char *name;
    char *ip_address;
    char *computer_name;
    char *source_id;
    char *source_type;
};

#define F(member, key) FL_FIELD(struct node, member, key, 0)
static const struct fl_field node_fields[] = {
    F(instance_id, "InstanceId"),
    F(ping_status, "PingStatus"),
    F(last_ping, "LastPingDateTime"),
    F(agent_version, "AgentVersion"),
    F(platform_type, "PlatformType"),
    F(platform_name, "PlatformName"),
    F(platform_version, "PlatformVersion"),
    F(activation_id, "ActivationId"),
    F(iam_role, "IamRole"),
    F(registered, "RegistrationDate"),
    F(resource_type, "ResourceType"),
    F(name, "Name"),
    F(ip_address, "IPAddress"),
    F(computer_name, "ComputerName"),
    F(source_id, "SourceId"),
    F(source_type, "SourceType"),
};
#undef F
static const struct fl_shape node_shape = FL_SHAPE(struct node, "InstanceInformation", node_fields);

struct describe_out {
    struct node *nodes;
    size_t n_nodes;
    char *next_token;
};

static const struct fl_field describe_out_fields[] = {
    FL_FIELD_LIST(struct describe_out, nodes, n_nodes, "InstanceInformationList", FL_ALWAYS,
                  &node_shape),
    FL_FIELD(struct describe_out, next_token, "NextToken", 0),
};
static const struct fl_shape describe_out_shape =
    FL_SHAPE(struct describe_out, "DescribeInstanceInformationResult", describe_out_fields);

struct deregister_in {
    char *instance_id;
};
static const struct fl_field deregister_in_fields[] = {
    FL_FIELD(struct deregister_in, instance_id, "InstanceId", FL_REQUIRED, .limits = MANAGED_ID),
};
static const struct fl_shape deregister_in_shape =
    FL_SHAPE(struct deregister_in, "DeregisterManagedInstance", deregister_in_fields);

struct role_in {
    char *instance_id;
    char *iam_role;
};
static const struct fl_field role_in_fields[] = {
    FL_FIELD(struct role_in, instance_id, "InstanceId", FL_REQUIRED, .limits = MANAGED_ID),
    FL_FIELD(struct role_in, iam_role, "IamRole", FL_REQUIRED, .limits = { .max = 64 }),
};
static const struct fl_shape role_in_shape =
    FL_SHAPE(struct role_in, "UpdateManagedInstanceRole", role_in_fields);

struct connection_in {
    char *target;
};
static const struct fl_field connection_in_fields[] = {
    FL_FIELD(struct connection_in, target, "Target", FL_REQUIRED,
             .limits = { .min = 1, .max = 400 }),
};
static const struct fl_shape connection_in_shape =
    FL_SHAPE(struct connection_in, "GetConnectionStatus", connection_in_fields);

struct connection_out {
    char *target;
    const char *status;
};
static const struct fl_field connection_out_fields[] = {
    FL_FIELD(struct connection_out, target, "Target", 0),
    FL_FIELD(struct connection_out, status, "Status", 0),
};
static const struct fl_shape connection_out_shape =
    FL_SHAPE(struct connection_out, "GetConnectionStatusResponse", connection_out_fields);

/* ---- nodes.h ---- */
bool fl_node_id_valid(const char *id)
{
    return strncmp(id, "mi-", 3) == 0 && strspn(id + 3, "0123456789abcdef") == 17 && !id[20];
}

int fl_node_exists(struct fl_call *call, const char *id, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r;

    r = fl_sql_open(call->tx, FL_SQL_node_exists, &c, err, FL_T(id), FL_T(call->account),
                    FL_T(call->region));
    return r < 0 ? r : fl_sql_next(c, err);
}

bool fl_node_online(struct fl_call *call, const char *id, const struct fl_node_seen *seen)
{
    /* What the agent is set to is not on the wire: the smaller of its last two gaps tells, and one
     * outage does not make it look slow. */
    int64_t interval = FL_MIN(FL_MIN(seen->gap_ms, seen->prior_gap_ms), INTERVAL_MAX_MS);
    int64_t patience = FL_MAX(ONLINE_MIN_MS, INTERVALS_MISSED * interval);

    if (seen->last_ping_ms > 0 && call->now_ms - seen->last_ping_ms <= patience)
        return true;
    return fl_presence_connected(call->plane->presence, id);
}

int fl_node_resource(struct fl_call *call, const char *id, struct fl_resources *res,
                     struct fl_err *err)
{
    char *arn = fl_arn(call, "ssm", "managed-instance", id);

    if (!arn)
        return fl_err_nomem(err);
    return fl_resources_add(call, res, arn, "ManagedInstance", id, err);
}

/* Of any request whose only resource is the node named by its first member. */
static int node_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                          struct fl_err *err)
{
    const struct deregister_in *req = in;

    return fl_node_resource(call, req->instance_id, ret, err);
}
_Static_assert(offsetof(struct deregister_in, instance_id) == 0 &&
                   offsetof(struct role_in, instance_id) == 0 &&
                   offsetof(struct connection_in, target) == 0,
               "the node id comes first");

/* ---- DescribeInstanceInformation: filters ---- */
static const char *const ping_values[] = { "Online", "ConnectionLost", "Inactive", NULL };
static const char *const platform_values[] = { "Windows", "Linux", "MacOS", NULL };
static const char *const resource_values[] = { "ManagedInstance", "EC2Instance", NULL };
static const char *const source_values[] = { "AWS::EC2::Instance", "AWS::IoT::Thing",
                                             "AWS::SSM::ManagedInstance", NULL };

static const struct filter_key {
    const char *name;
    int what;
    const char *const *values; /* NULL: free */
} filter_keys[] = {
    { "InstanceIds", FL_NODE_ID, NULL },
    { "AgentVersion", FL_NODE_AGENT_VERSION, NULL },
    { "PingStatus", FL_NODE_PING_STATUS, ping_values },
    { "PlatformTypes", FL_NODE_PLATFORM_TYPE, platform_values },
    { "PlatformType", FL_NODE_PLATFORM_TYPE, platform_values },
    { "ActivationIds", FL_NODE_ACTIVATION_ID, NULL },
    { "IamRole", FL_NODE_IAM_ROLE, NULL },
    { "ResourceType", FL_NODE_RESOURCE_TYPE, resource_values },
    { "AssociationStatus", FL_NODE_NEVER, NULL }, /* absent until an association ran */
    { "SourceIds", FL_NODE_SOURCE_ID, NULL },
    { "SourceTypes", FL_NODE_SOURCE_TYPE, source_values },
    { "tag-key", FL_NODE_TAG_KEY, NULL },
};

/* As reading has it, i-\w{8}, i-\w{17} and mi-\w{17}: there need be no such node. */
static bool is_instance_id(const char *s)
{
    static const char word[] = "0123456789_"
                               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    bool managed = *s == 'm';
    size_t n;

    s += managed;
    if (strncmp(s, "i-", 2) != 0)
        return false;
    n = strspn(s + 2, word);
    return (n == 17 || (n == 8 && !managed)) && !s[2 + n];
}

static bool listed(const char *const *values, const char *s)
{
    for (; *values; values++)
        if (strcmp(*values, s) == 0)
            return true;
    return false;
}

static int check_values(const struct filter *f, const struct filter_key *key, struct fl_err *err)
{
    for (size_t i = 0; i < f->values.n; i++) {
        const char *v = f->values.v[i];

        if (key->what == FL_NODE_ID && !is_instance_id(v))
            return fl_err_set(err, -EINVAL, "InvalidInstanceId",
                              "The filter InstanceIds has a value that is no node ID: \"%s\"", v);
        if ((key->values && !listed(key->values, v)) ||
            (key->what == FL_NODE_ACTIVATION_ID && !fl_uuid_valid(v)))
            return fl_err_set(err, -EINVAL, "InvalidInstanceInformationFilterValue",
                              "\"%s\" is not a valid value of the filter %s", v, f->key);
    }
    return 0;
}

static int filter_cond(const struct filter *f, struct fl_node_cond *cond, struct fl_err *err)
{
    *cond = (struct fl_node_cond){ .cmp = FL_CMP_EQUAL, .values = f->values };
    if (strncmp(f->key, "tag:", 4) == 0 && f->key[4]) {
        cond->what = FL_NODE_TAG;
        cond->tag_key = f->key + 4;
        return 0;
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(filter_keys); i++)
        if (strcmp(filter_keys[i].name, f->key) == 0) {
            cond->what = filter_keys[i].what;
            return check_values(f, &filter_keys[i], err);
        }
    return fl_err_set(err, -EINVAL, "InvalidFilterKey", "The filter key \"%s\" is not valid",
                      f->key);
}

static bool on_tags(const struct fl_node_cond *cond)
{
    return cond->what == FL_NODE_TAG || cond->what == FL_NODE_TAG_KEY;
}

/* The conditions of a request: `conds` has room for FILTERS_MAX. */
static int describe_conds(const struct describe_in *req, struct fl_node_cond *conds, size_t *ret_n,
                          struct fl_err *err)
{
    const struct filter *filters = req->n_filters ? req->filters : req->old_filters;
    size_t n = req->n_filters ? req->n_filters : req->n_old_filters;

    if (req->n_filters && req->n_old_filters)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Filters and InstanceInformationFilterList cannot be used together");
    if (n > FILTERS_MAX)
        return fl_err_set(err, -EINVAL, "ValidationException", "At most %d filters are allowed",
                          FILTERS_MAX);
    for (size_t i = 0; i < n; i++) {
        int r = filter_cond(&filters[i], &conds[i], err);

        if (r < 0)
            return r;
        if (on_tags(&conds[i]) != on_tags(&conds[0]))
            return fl_err_set(err, -EINVAL, "ValidationException",
                              "Tag filters cannot be combined with other filters");
    }
    *ret_n = n;
    return 0;
}

/* ---- DescribeInstanceInformation ---- */
struct describe {
    struct fl_call *call;
    struct describe_out *out;
    size_t max;
};

static int describe_row(void *arg, struct fl_cursor *row, struct fl_err *err)
{
    struct describe *d = arg;
    struct node *node = &d->out->nodes[d->out->n_nodes];
    int r;

    if (d->out->n_nodes == d->max) {
        d->out->next_token = fl_page_token_encode(d->call, "DescribeInstanceInformation",
                                                  d->out->nodes[d->max - 1].instance_id);
        return d->out->next_token ? 1 : fl_err_nomem(err);
    }
    r = fl_sql_row(row, &node_shape, d->call->arena, node, err);
    if (r < 0)
        return r;
    node->ping_status = fl_node_row_online(d->call, row) ? "Online" : "ConnectionLost";
    d->out->n_nodes++;
    return 0;
}

static int op_describe(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct describe_in *req = in;
    struct describe d = { call, out, DESCRIBE_PAGE };
    struct fl_node_cond conds[FILTERS_MAX];
    char *after = NULL;
    size_t n = 0;
    int r;

    if (req->max_results.set)
        d.max = (size_t)req->max_results.v;
    r = describe_conds(req, conds, &n, err);
    if (r == 0)
        r = fl_page_token_decode(call, "DescribeInstanceInformation", req->next_token, &after, err);
    if (r < 0)
        return r;
    d.out->nodes = fl_arena_calloc(call->arena, d.max + 1, sizeof(*d.out->nodes));
    if (!d.out->nodes)
        return fl_err_nomem(err);
    r = fl_nodes_scan(call, conds, n, after, describe_row, &d, err);
    return r < 0 ? r : 0;
}

/* ---- the others ---- */
static int no_such_node(const char *id, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "InvalidInstanceId", "No node %s is registered", id);
}

static int op_deregister(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct deregister_in *req = in;
    int r;

    r = fl_sql_exec(call->tx, FL_SQL_node_deregister, err, FL_T(req->instance_id),
                    FL_T(call->account), FL_T(call->region), FL_N(call->now_ms));
    if (r == 0)
        return no_such_node(req->instance_id, err);
    if (r > 0)
        r = fl_tags_drop(call, "ManagedInstance", req->instance_id, err);
    if (r == 0)
        r = fl_revoke_node(call, req->instance_id, err);
    return r;
}

static int op_update_role(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct role_in *req = in;
    int r;

    r = fl_sql_exec(call->tx, FL_SQL_node_role_set, err, FL_T(req->instance_id),
                    FL_T(call->account), FL_T(call->region), FL_T(req->iam_role));
    if (r == 0)
        return no_such_node(req->instance_id, err);
    return r < 0 ? r : 0;
}

static int op_connection_status(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct connection_in *req = in;
    struct connection_out *res = out;

    res->target = req->target;
    /* lower case on the wire, although the model's enum is not; protocol 6 §7 row 48 */
    res->status =
        fl_presence_connected(call->plane->presence, req->target) ? "connected" : "notconnected";
    return 0;
}

static const struct fl_op ops[] = {
    { "DescribeInstanceInformation", &describe_in_shape, &describe_out_shape, op_describe,
      FL_LANE_READ, FL_AUTH_SIGV4, NULL },
    { "DeregisterManagedInstance", &deregister_in_shape, &fl_shape_empty, op_deregister,
      FL_LANE_WRITE, FL_AUTH_SIGV4, node_resources },
    { "UpdateManagedInstanceRole", &role_in_shape, &fl_shape_empty, op_update_role, FL_LANE_WRITE,
      FL_AUTH_SIGV4, node_resources },
    { "GetConnectionStatus", &connection_in_shape, &connection_out_shape, op_connection_status,
      FL_LANE_READ, FL_AUTH_SIGV4, node_resources },
    { "ListNodes", &fl_list_nodes_in_shape, &fl_list_nodes_out_shape, fl_op_list_nodes,
      FL_LANE_READ, FL_AUTH_SIGV4, NULL },
    { "ListNodesSummary", &fl_nodes_summary_in_shape, &fl_nodes_summary_out_shape,
      fl_op_nodes_summary, FL_LANE_READ, FL_AUTH_SIGV4, NULL },
};

const struct fl_op_table fl_ops_nodes = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
