/* document_ops.c - DescribeDocument, GetDocument, ListDocuments. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "server/api/document_list.h"
#include "server/api/document_yaml.h"
#include "server/api/documents.h"
#include "server/api/registry.h"

#define PAGE        50
#define FILTERS_MAX 6

/* ---- shapes ---- */
#define NAME_LIMITS                              \
    {                                            \
        .pattern = "^[a-zA-Z0-9_\\-.:/]{3,128}$" \
    }
#define VERSION_LIMITS                                    \
    {                                                     \
        .pattern = "([$]LATEST|[$]DEFAULT|^[1-9][0-9]*$)" \
    }
#define VERSION_NAME                           \
    {                                          \
        .pattern = "^[a-zA-Z0-9_\\-.]{1,128}$" \
    }

static const char *const formats[] = { "YAML", "JSON", "TEXT", NULL };

/* Both requests begin so. */
struct version_in {
    char *name;
    char *version;
    char *version_name;
    char *format; /* GetDocument */
};

#define VERSION_FIELDS                                                                        \
    FL_FIELD(struct version_in, name, "Name", FL_REQUIRED, .limits = NAME_LIMITS),            \
        FL_FIELD(struct version_in, version, "DocumentVersion", 0, .limits = VERSION_LIMITS), \
        FL_FIELD(struct version_in, version_name, "VersionName", 0, .limits = VERSION_NAME)

static const struct fl_field describe_in_fields[] = { VERSION_FIELDS };
static const struct fl_shape describe_in_shape =
    FL_SHAPE(struct version_in, "DescribeDocument", describe_in_fields);

static const struct fl_field get_in_fields[] = {
    VERSION_FIELDS,
    FL_FIELD(struct version_in, format, "DocumentFormat", 0, .limits = { .enums = formats }),
};
static const struct fl_shape get_in_shape =
    FL_SHAPE(struct version_in, "GetDocument", get_in_fields);

struct parameter {
    const char *name;
    const char *type;
    const char *description;
    const char *default_value;
};
#define F(member, key, flags) FL_FIELD(struct parameter, member, key, flags)
static const struct fl_field parameter_fields[] = {
    F(name, "Name", 0),
    F(type, "Type", 0),
    F(description, "Description", 0),
    F(default_value, "DefaultValue", 0),
};
#undef F
static const struct fl_shape parameter_shape =
    FL_SHAPE(struct parameter, "DocumentParameter", parameter_fields);

struct description {
    const char *hash, *hash_type, *name, *owner;
    struct fl_time created;
    const char *status, *version, *description;
    struct parameter *parameters;
    size_t n_parameters;
    struct fl_strs platform_types;
    const char *type, *schema_version, *latest_version, *default_version, *format;
};
#define F(member, key, flags) FL_FIELD(struct description, member, key, flags)
static const struct fl_field description_fields[] = {
    F(hash, "Hash", 0),
    F(hash_type, "HashType", 0),
    F(name, "Name", 0),
    F(owner, "Owner", 0),
    F(created, "CreatedDate", 0),
    F(status, "Status", 0),
    F(version, "DocumentVersion", 0),
    F(description, "Description", 0),
    FL_FIELD_LIST(struct description, parameters, n_parameters, "Parameters", FL_ALWAYS,
                  &parameter_shape),
    F(platform_types, "PlatformTypes", FL_ALWAYS),
    F(type, "DocumentType", 0),
    F(schema_version, "SchemaVersion", 0),
    F(latest_version, "LatestVersion", 0),
    F(default_version, "DefaultVersion", 0),
    F(format, "DocumentFormat", 0),
};
#undef F
static const struct fl_shape description_shape =
    FL_SHAPE(struct description, "DocumentDescription", description_fields);

struct describe_out {
    struct description *document;
};
static const struct fl_field describe_out_fields[] = {
    FL_FIELD_STRUCT(struct describe_out, document, "Document", 0, &description_shape),
};
static const struct fl_shape describe_out_shape =
    FL_SHAPE(struct describe_out, "DescribeDocumentResult", describe_out_fields);

struct get_out {
    const char *name;
    struct fl_time created;
    const char *version, *status, *content, *type, *format;
};
#define F(member, key) FL_FIELD(struct get_out, member, key, 0)
static const struct fl_field get_out_fields[] = {
    F(name, "Name"),
    F(created, "CreatedDate"),
    F(version, "DocumentVersion"),
    F(status, "Status"),
    F(content, "Content"),
    F(type, "DocumentType"),
    F(format, "DocumentFormat"),
};
#undef F
static const struct fl_shape get_out_shape =
    FL_SHAPE(struct get_out, "GetDocumentResult", get_out_fields);

/* Both forms of a filter, as one struct. */
struct filter {
    char *key;
    char *value; /* the old form has one */
    struct fl_strs values;
};

static const char *const old_keys[] = { "Name", "Owner", "PlatformTypes", "DocumentType", NULL };
static const struct fl_field old_filter_fields[] = {
    FL_FIELD(struct filter, key, "key", FL_REQUIRED, .limits = { .enums = old_keys }),
    FL_FIELD(struct filter, value, "value", FL_REQUIRED, .limits = { .min = 1 }),
};
static const struct fl_shape old_filter_shape =
    FL_SHAPE(struct filter, "DocumentFilter", old_filter_fields);

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct filter, key, "Key", 0, .limits = { .min = 1, .max = 128 }),
    FL_FIELD(struct filter, values, "Values", 0, .elem = { .min = 1, .max = 256 }),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct filter, "DocumentKeyValuesFilter", filter_fields);

struct list_in {
    struct filter *old_filters;
    size_t n_old_filters;
    struct filter *filters;
    size_t n_filters;
    struct fl_opt_int max_results;
    char *next_token;
};
static const struct fl_field list_in_fields[] = {
    FL_FIELD_LIST(struct list_in, old_filters, n_old_filters, "DocumentFilterList", 0,
                  &old_filter_shape, .limits = { .min = 1 }),
    FL_FIELD_LIST(struct list_in, filters, n_filters, "Filters", 0, &filter_shape,
                  .limits = { .max = FILTERS_MAX }),
    FL_FIELD(struct list_in, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 50 }),
    FL_FIELD(struct list_in, next_token, "NextToken", 0),
};
static const struct fl_shape list_in_shape =
    FL_SHAPE(struct list_in, "ListDocuments", list_in_fields);

struct identifier {
    const char *name;
    struct fl_time created;
    const char *owner;
    struct fl_strs platform_types;
    const char *version, *type, *schema_version, *format;
};
#define F(member, key, flags) FL_FIELD(struct identifier, member, key, flags)
static const struct fl_field identifier_fields[] = {
    F(name, "Name", 0),
    F(created, "CreatedDate", 0),
    F(owner, "Owner", 0),
    F(platform_types, "PlatformTypes", FL_ALWAYS),
    F(version, "DocumentVersion", 0),
    F(type, "DocumentType", 0),
    F(schema_version, "SchemaVersion", 0),
    F(format, "DocumentFormat", 0),
};
#undef F
static const struct fl_shape identifier_shape =
    FL_SHAPE(struct identifier, "DocumentIdentifier", identifier_fields);

struct list_out {
    struct identifier *list;
    size_t n_list;
    char *next_token;
};
static const struct fl_field list_out_fields[] = {
    FL_FIELD_LIST(struct list_out, list, n_list, "DocumentIdentifiers", FL_ALWAYS,
                  &identifier_shape),
    FL_FIELD(struct list_out, next_token, "NextToken", 0),
};
static const struct fl_shape list_out_shape =
    FL_SHAPE(struct list_out, "ListDocumentsResult", list_out_fields);

/* ---- DescribeDocument, GetDocument ---- */
static int find(struct fl_call *call, const struct version_in *req, struct fl_document *doc,
                struct fl_err *err)
{
    int r = fl_document_find(call, req->name, req->version, doc, err);

    if (r == 0 && req->version_name)
        return fl_err_set(err, -EINVAL, "InvalidDocumentVersion",
                          "Document %s has no version named %s.", doc->name, req->version_name);
    return r;
}

static int document_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                              struct fl_err *err)
{
    const struct version_in *req = in;

    return fl_document_resource(call, req->name, ret, err);
}

static int op_describe(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    struct describe_out *res = out;
    struct fl_document *doc = fl_arena_alloc(call->arena, sizeof(*doc));
    struct description *d = fl_arena_alloc(call->arena, sizeof(*d));
    int r;

    if (!doc || !d)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    r = find(call, in, doc, err);
    if (r < 0)
        return r;
    *d = (struct description){
        .hash = doc->hash,
        .hash_type = "Sha256",
        .name = doc->name,
        .owner = doc->owner,
        .created = { doc->created_ms },
        .status = doc->status,
        .version = doc->version,
        .description = doc->description,
        .parameters = fl_arena_calloc(call->arena, doc->n_parameters, sizeof(*d->parameters)),
        .n_parameters = doc->n_parameters,
        .platform_types = doc->platform_types,
        .type = doc->type,
        .schema_version = doc->schema_version,
        .latest_version = doc->latest_version,
        .default_version = doc->default_version,
        .format = doc->format,
    };
    if (!d->parameters)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    for (size_t i = 0; i < doc->n_parameters; i++) {
        const struct fl_document_parameter *p = &doc->parameters[i];

        d->parameters[i] = (struct parameter){ p->name, p->type, p->description,
                                               fl_document_string(call, doc, NULL, p->name) };
    }
    res->document = d;
    return 0;
}

/* The content in the format asked for. */
static int content_as(struct fl_call *call, const struct fl_document *doc, const char *format,
                      const char **ret_content, struct fl_err *err)
{
    fl_autobuf struct fl_buf yaml = { 0 };
    int r;

    *ret_content = doc->content;
    if (strcmp(format, doc->format) == 0)
        return 0;
    if (strcmp(doc->format, "JSON") != 0 || strcmp(format, "YAML") != 0)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Document %s is stored as %s and cannot be given as %s.", doc->name,
                          doc->format, format);
    fl_buf_init(&yaml, 4 * FL_DOCUMENT_MAX_BYTES);
    r = fl_document_to_yaml(doc->content, doc->content_len, &yaml, err);
    if (r < 0)
        return r;
    *ret_content = fl_arena_memdup(call->arena, yaml.data, yaml.len);
    return *ret_content ? 0 : fl_err_set(err, -ENOMEM, NULL, "out of memory");
}

static int op_get(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct version_in *req = in;
    struct get_out *res = out;
    struct fl_document doc;
    int r = find(call, req, &doc, err);

    if (r < 0)
        return r;
    *res = (struct get_out){
        .name = doc.name,
        .created = { doc.created_ms },
        .version = doc.version,
        .status = doc.status,
        .type = doc.type,
        .format = req->format ? req->format : doc.format,
    };
    return content_as(call, &doc, res->format, &res->content, err);
}

/* ---- ListDocuments ---- */
static const char *const owners[] = { "Amazon", "Private", "Public", "Self", "ThirdParty", NULL };

static bool contains_nocase(const char *s, const char *word)
{
    size_t len = strlen(word);

    for (; s && strlen(s) >= len; s++)
        if (strncasecmp(s, word, len) == 0)
            return true;
    return false;
}

static bool name_meets(const struct fl_document *doc, const char *v)
{
    return strncmp(doc->name, v, strlen(v)) == 0;
}

static bool owner_meets(const struct fl_document *doc, const char *v)
{
    return strcmp(doc->owner, v) == 0;
}

static bool platform_meets(const struct fl_document *doc, const char *v)
{
    return v[0] && fl_document_runs_on(doc, v);
}

static bool type_meets(const struct fl_document *doc, const char *v)
{
    return strcmp(doc->type, v) == 0;
}

static bool keyword_meets(const struct fl_document *doc, const char *v)
{
    return contains_nocase(doc->name, v) || contains_nocase(doc->description, v);
}

static bool never_meets(const struct fl_document *doc, const char *v)
{
    return false;
}

static const struct {
    const char *key;
    bool is_prefix; /* the key goes on behind this */
    bool (*meets)(const struct fl_document *doc, const char *value);
} filter_keys[] = {
    { "Name", false, name_meets },
    { "Owner", false, owner_meets },
    { "PlatformTypes", false, platform_meets },
    { "DocumentType", false, type_meets },
    { "SearchKeyword", false, keyword_meets },
    { "TargetType", false, never_meets }, /* no built-in document has a target type or tags */
    { "tag:", true, never_meets },
};

static bool (*find_filter(const char *key))(const struct fl_document *, const char *)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(filter_keys); i++)
        if (filter_keys[i].is_prefix ? strncmp(key, filter_keys[i].key, 4) == 0
                                     : strcmp(key, filter_keys[i].key) == 0)
            return filter_keys[i].meets;
    return NULL;
}

static bool is_owner(const char *s)
{
    for (size_t i = 0; owners[i]; i++)
        if (strcmp(owners[i], s) == 0)
            return true;
    return false;
}

static int check_filter(const struct filter *f, struct fl_err *err)
{
    if (!f->key || !find_filter(f->key))
        return fl_err_set(err, -EINVAL, "InvalidFilterKey", "The filter key \"%s\" is not valid.",
                          f->key ? f->key : "");
    if (strcmp(f->key, "Owner") == 0 && (f->values.n != 1 || !is_owner(f->values.v[0])))
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "The filter Owner takes one value of Amazon, Private, Public, Self, "
                          "ThirdParty.");
    return 0;
}

static bool meets_all(const struct fl_document *doc, const struct filter *filters, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool (*meets)(const struct fl_document *, const char *) = find_filter(filters[i].key);
        bool found = false;

        for (size_t v = 0; v < filters[i].values.n && !found; v++)
            found = meets(doc, filters[i].values.v[v]);
        if (!found)
            return false;
    }
    return true;
}

/* The filters of either form, checked. */
static int take_filters(const struct list_in *req, struct filter *filters, size_t *n,
                        struct fl_err *err)
{
    const struct filter *from = req->n_filters ? req->filters : req->old_filters;

    *n = req->n_filters ? req->n_filters : req->n_old_filters;
    if (req->n_filters && req->n_old_filters)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Filters and DocumentFilterList cannot be used together.");
    if (*n > FILTERS_MAX)
        return fl_err_set(err, -EINVAL, "ValidationException", "At most %d filters are allowed.",
                          FILTERS_MAX);
    for (size_t i = 0; i < *n; i++) {
        int r;

        filters[i] = from[i];
        if (from[i].value)
            filters[i].values = (struct fl_strs){ &filters[i].value, 1 };
        r = check_filter(&filters[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int op_list(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct list_in *req = in;
    struct list_out *res = out;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : PAGE;
    struct filter filters[FILTERS_MAX];
    const struct fl_builtin *b;
    char *after = NULL;
    size_t n = 0;
    int r = take_filters(req, filters, &n, err);

    if (r == 0)
        r = fl_page_token_decode(call, "ListDocuments", req->next_token, &after, err);
    if (r < 0)
        return r;
    res->list = fl_arena_calloc(call->arena, max, sizeof(*res->list));
    if (!res->list)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    for (size_t i = 0; (b = fl_builtin_at(i)); i++) {
        struct fl_document doc;

        if (after && strcmp(b->name, after) <= 0)
            continue;
        r = fl_document_find(call, b->name, NULL, &doc, err);
        if (r < 0)
            return r;
        if (!meets_all(&doc, filters, n))
            continue;
        if (res->n_list == max) {
            res->next_token = fl_page_token_encode(call, "ListDocuments", res->list[max - 1].name);
            return res->next_token ? 0 : fl_err_set(err, -ENOMEM, NULL, "out of memory");
        }
        res->list[res->n_list++] = (struct identifier){
            doc.name,    { doc.created_ms }, doc.owner,          doc.platform_types,
            doc.version, doc.type,           doc.schema_version, doc.format,
        };
    }
    return 0;
}

static const struct fl_op ops[] = {
    { "DescribeDocument", &describe_in_shape, &describe_out_shape, op_describe, FL_LANE_READ,
      FL_AUTH_SIGV4, document_resources },
    { "GetDocument", &get_in_shape, &get_out_shape, op_get, FL_LANE_READ, FL_AUTH_SIGV4,
      document_resources },
    { "ListDocuments", &list_in_shape, &list_out_shape, op_list, FL_LANE_READ, FL_AUTH_SIGV4,
      NULL },
};

const struct fl_op_table fl_ops_documents = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
