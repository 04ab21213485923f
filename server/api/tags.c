/* tags.c - AddTagsToResource, RemoveTagsFromResource, ListTagsForResource, and the helpers of
 * tags.h. */
#include "server/api/tags.h"

#include <errno.h>
#include <string.h>

#include "server/api/documents.h"
#include "server/api/list.h"
#include "server/api/nodes.h"
#include "server/api/parameters.h"
#include "server/api/registry.h"

#define TAG_LIST_READ_MAX \
    2000 /* no resource ever has so many; FL_TAGS_MAX or an activation's list */

/* ---- shapes ---- */
#define F(member, key, flags, ...) FL_FIELD(struct fl_tag, member, key, flags, __VA_ARGS__)
static const struct fl_field tag_fields[] = {
    F(key, "Key", FL_REQUIRED, .limits = { .min = 1, .max = 128, .pattern = FL_TAG_PATTERN }),
    /* the empty value is legal (protocol 6 §3.1), although older models say min 1 */
    F(value, "Value", FL_REQUIRED | FL_ALWAYS, .limits = { .max = 256, .pattern = FL_TAG_PATTERN }),
};
#undef F
const struct fl_shape fl_tag_shape = FL_SHAPE(struct fl_tag, "Tag", tag_fields);

static const char *const taggable[] = {
    "Document", "ManagedInstance", "MaintenanceWindow", "Parameter",   "PatchBaseline",
    "OpsItem",  "OpsMetadata",     "Automation",        "Association", NULL,
};

struct add_in {
    char *resource_type;
    char *resource_id;
    struct fl_tag *tags;
    size_t n_tags;
};

#define RESOURCE(type)                                                                           \
    FL_FIELD(type, resource_type, "ResourceType", FL_REQUIRED, .limits = { .enums = taggable }), \
        FL_FIELD(type, resource_id, "ResourceId", FL_REQUIRED)

static const struct fl_field add_in_fields[] = {
    RESOURCE(struct add_in),
    FL_FIELD_LIST(struct add_in, tags, n_tags, "Tags", FL_REQUIRED, &fl_tag_shape,
                  .limits = { .max = FL_TAG_LIST_MAX }),
};
static const struct fl_shape add_in_shape =
    FL_SHAPE(struct add_in, "AddTagsToResource", add_in_fields);

struct remove_in {
    char *resource_type;
    char *resource_id;
    struct fl_strs keys;
};

static const struct fl_field remove_in_fields[] = {
    RESOURCE(struct remove_in),
    FL_FIELD(struct remove_in, keys, "TagKeys", FL_REQUIRED,
             .elem = { .min = 1, .max = 128, .pattern = FL_TAG_PATTERN }),
};
static const struct fl_shape remove_in_shape =
    FL_SHAPE(struct remove_in, "RemoveTagsFromResource", remove_in_fields);

struct list_in {
    char *resource_type;
    char *resource_id;
};

static const struct fl_field list_in_fields[] = { RESOURCE(struct list_in) };
static const struct fl_shape list_in_shape =
    FL_SHAPE(struct list_in, "ListTagsForResource", list_in_fields);

struct list_out {
    struct fl_tag *tags;
    size_t n_tags;
};

static const struct fl_field list_out_fields[] = {
    FL_FIELD_LIST(struct list_out, tags, n_tags, "TagList", FL_ALWAYS, &fl_tag_shape),
};
static const struct fl_shape list_out_shape =
    FL_SHAPE(struct list_out, "ListTagsForResourceResult", list_out_fields);

/* ---- what can be tagged on this plane ---- */
static const struct tag_type {
    const char *name;
    const char *arn_type; /* between account and id of the ARN; protocol 6 §2.2 */
    /* 1 the resource exists, 0 not, or a negative errno; NULL: this plane has none of the type */
    int (*exists)(struct fl_call *call, const char *id, struct fl_err *err);
    const char *(*id_of)(const char *id); /* as tags are kept under; NULL: as it is given */
} tag_types[] = {
    { FL_DOCUMENT_RESOURCE, "document", fl_document_exists, NULL },
    { "ManagedInstance", "managed-instance", fl_node_exists, NULL },
    { "MaintenanceWindow", "maintenancewindow", NULL, NULL },
    { FL_PARAMETER_TAG_TYPE, "parameter", fl_parameter_exists, fl_parameter_id },
    { "PatchBaseline", "patchbaseline", NULL, NULL },
    { "OpsItem", "opsitem", NULL, NULL },
    { "OpsMetadata", "opsmetadata", NULL, NULL },
    { "Automation", "automation-execution", NULL, NULL },
    { "Association", "association", NULL, NULL },
};

static const struct tag_type *find_type(const char *name, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(tag_types); i++)
        if (strcmp(tag_types[i].name, name) == 0)
            return &tag_types[i];
    fl_err_set(err, -EINVAL, "InvalidResourceType", "The resource type \"%s\" is not valid.", name);
    return NULL;
}

/* The resource, under the id that its tags are kept under. */
static int find_resource(struct fl_call *call, const char *type, const char *given,
                         const char **ret_id, struct fl_err *err)
{
    const struct tag_type *t = find_type(type, err);
    const char *id = given;
    int r;

    if (!t)
        return -EINVAL;
    if (t->id_of)
        id = t->id_of(given);
    r = t->exists ? t->exists(call, id, err) : 0;
    if (r < 0)
        return r;
    if (r == 0)
        return fl_err_set(err, -EINVAL, "InvalidResourceId",
                          "The resource ID \"%s\" is not valid. "
                          "No %s with this ID exists.",
                          given, type);
    *ret_id = id;
    return 0;
}

static int resource_of(struct fl_call *call, const char *type, const char *id,
                       struct fl_resources *ret, struct fl_err *err)
{
    const struct tag_type *t = find_type(type, err);
    char *arn;

    if (!t)
        return -EINVAL;
    if (t->id_of)
        id = t->id_of(id);
    arn = fl_arn(call, "ssm", t->arn_type, id);
    if (!arn)
        return fl_err_nomem(err);
    return fl_resources_add(call, ret, arn, type, id, err);
}

static int resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                     struct fl_err *err)
{
    const struct list_in *req = in; /* every request of this file begins with these two members */

    return resource_of(call, req->resource_type, req->resource_id, ret, err);
}
_Static_assert(offsetof(struct add_in, resource_id) == offsetof(struct list_in, resource_id) &&
                   offsetof(struct remove_in, resource_id) == offsetof(struct list_in, resource_id),
               "requests share their head");

/* ---- operations ---- */
static int op_add(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct add_in *req = in;
    const char *id;
    int r = find_resource(call, req->resource_type, req->resource_id, &id, err);

    if (r < 0)
        return r;
    return fl_tags_put(call, req->resource_type, id, req->tags, req->n_tags, err);
}

static int op_remove(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct remove_in *req = in;
    const char *id;
    int r = find_resource(call, req->resource_type, req->resource_id, &id, err);

    for (size_t i = 0; r >= 0 && i < req->keys.n; i++)
        r = fl_sql_exec(call->tx, FL_SQL_tag_remove, err, FL_T(call->account), FL_T(call->region),
                        FL_T(req->resource_type), FL_T(id), FL_T(req->keys.v[i]));
    return r < 0 ? r : 0;
}

static int op_list(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct list_in *req = in;
    struct list_out *res = out;
    const char *id;
    int r = find_resource(call, req->resource_type, req->resource_id, &id, err);

    if (r < 0)
        return r;
    return fl_tags_list(call, req->resource_type, id, &res->tags, &res->n_tags, err);
}

/* ---- helpers for other families ---- */
int fl_tags_put(struct fl_call *call, const char *type, const char *id, const struct fl_tag *tags,
                size_t n, struct fl_err *err)
{
    int64_t count;
    struct fl_err count_err = { 0 };

    for (size_t i = 0; i < n; i++) {
        int r = fl_sql_exec(call->tx, FL_SQL_tag_put, err, FL_T(call->account), FL_T(call->region),
                            FL_T(type), FL_T(id), FL_T(tags[i].key), FL_T(tags[i].value));

        if (r < 0)
            return r;
    }
    count = fl_sql_scalar(call->tx, FL_SQL_tag_count, 0, &count_err, FL_T(call->account),
                          FL_T(call->region), FL_T(type), FL_T(id));
    if (count_err.code < 0)
        return fl_err_set(err, count_err.code, NULL, "%s", count_err.text);
    if (count > FL_TAGS_MAX)
        return fl_err_set(err, -EINVAL, "TooManyTagsError",
                          "A resource can have at most %d tags; this would make %lld.", FL_TAGS_MAX,
                          (long long)count);
    return 0;
}

int fl_tags_list(struct fl_call *call, const char *type, const char *id, struct fl_tag **ret_tags,
                 size_t *ret_n, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    struct fl_tag *tags = NULL;
    size_t n = 0, cap = 0;
    int r;

    r = fl_sql_open(call->tx, FL_SQL_tag_list, &c, err, FL_T(call->account), FL_T(call->region),
                    FL_T(type), FL_T(id));
    if (r < 0)
        return r;
    while ((r = fl_sql_next(c, err)) > 0) {
        if (n == TAG_LIST_READ_MAX)
            break;
        tags = fl_list_room(call->arena, tags, n, &cap, sizeof(*tags));
        if (!tags)
            return fl_err_nomem(err);
        r = fl_sql_row(c, &fl_tag_shape, call->arena, &tags[n++], err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    *ret_tags = tags;
    *ret_n = n;
    return 0;
}

int fl_tags_copy(struct fl_call *call, const char *from_type, const char *from_id,
                 const char *to_type, const char *to_id, struct fl_err *err)
{
    int r = fl_sql_exec(call->tx, FL_SQL_tag_copy, err, FL_T(call->account), FL_T(call->region),
                        FL_T(from_type), FL_T(from_id), FL_T(to_type), FL_T(to_id));

    return r < 0 ? r : 0;
}

int fl_tags_drop(struct fl_call *call, const char *type, const char *id, struct fl_err *err)
{
    int r = fl_sql_exec(call->tx, FL_SQL_tag_remove_all, err, FL_T(call->account),
                        FL_T(call->region), FL_T(type), FL_T(id));

    return r < 0 ? r : 0;
}

/* The tags of one resource as a map. */
static int tag_map(struct fl_call *call, const char *type, const char *id, struct fl_strmap *ret,
                   struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    size_t cap = 0;
    int r;

    r = fl_sql_open(call->tx, FL_SQL_tag_list, &c, err, FL_T(call->account), FL_T(call->region),
                    FL_T(type), FL_T(id));
    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        struct fl_strmap_entry e = { fl_arena_strdup(call->arena, fl_sql_text(c, 0)),
                                     fl_arena_strdup(call->arena, fl_sql_text(c, 1)) };

        ret->v = fl_list_room(call->arena, ret->v, ret->n, &cap, sizeof(e));
        if (!ret->v || !e.key || !e.value)
            return fl_err_nomem(err);
        ret->v[ret->n++] = e;
    }
    return r;
}

int fl_resources_add(struct fl_call *call, struct fl_resources *res, const char *arn,
                     const char *type, const char *id, struct fl_err *err)
{
    /* the list carries no capacity, but only this grows it: 4, 8, 16, … */
    bool full = res->n >= 4 && (res->n & (res->n - 1)) == 0;
    size_t cap = res->n == 0 || full ? res->n : res->n + 1;
    int r;

    res->v = fl_list_room(call->arena, res->v, res->n, &cap, sizeof(*res->v));
    if (!res->v)
        return fl_err_nomem(err);
    res->v[res->n] = (struct fl_resource){ .arn = arn };
    r = tag_map(call, type, id, &res->v[res->n].tags, err);
    if (r == 0)
        res->n++;
    return r;
}

static const struct fl_op ops[] = {
    { "AddTagsToResource", &add_in_shape, &fl_shape_empty, op_add, FL_LANE_WRITE, FL_AUTH_SIGV4,
      resources },
    { "RemoveTagsFromResource", &remove_in_shape, &fl_shape_empty, op_remove, FL_LANE_WRITE,
      FL_AUTH_SIGV4, resources },
    { "ListTagsForResource", &list_in_shape, &list_out_shape, op_list, FL_LANE_READ, FL_AUTH_SIGV4,
      resources },
};

const struct fl_op_table fl_ops_tags = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
