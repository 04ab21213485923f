/* parameters_describe.c - DescribeParameters, GetParameterHistory. */
#include "server/api/parameters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "server/api/list.h"
#include "server/api/parameter_filters.h"

#define PAGE 50

/* ---- shapes ---- */
static const char *const old_keys[] = { "Name", "Type", "KeyId", NULL };
static const struct fl_field old_filter_fields[] = {
    FL_FIELD(struct fl_parameter_filter, key, "Key", FL_REQUIRED, .limits = { .enums = old_keys }),
    FL_FIELD(struct fl_parameter_filter, values, "Values", FL_REQUIRED,
             .limits = { .min = 1, .max = 50 }, .elem = { .min = 1, .max = 1024 }),
};
static const struct fl_shape old_filter_shape =
    FL_SHAPE(struct fl_parameter_filter, "ParametersFilter", old_filter_fields);

struct describe_in {
    struct fl_parameter_filter *old_filters, *filters;
    size_t n_old_filters, n_filters;
    struct fl_opt_int max_results;
    char *next_token;
    bool shared; /* only those that other accounts share: there are none */
};
static const struct fl_field describe_in_fields[] = {
    FL_FIELD_LIST(struct describe_in, old_filters, n_old_filters, "Filters", 0, &old_filter_shape),
    FL_FIELD_LIST(struct describe_in, filters, n_filters, "ParameterFilters", 0,
                  &fl_parameter_filter_shape),
    FL_FIELD(struct describe_in, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 50 }),
    FL_FIELD(struct describe_in, next_token, "NextToken", 0),
    FL_FIELD(struct describe_in, shared, "Shared", 0),
};
const struct fl_shape fl_parameters_describe_in_shape =
    FL_SHAPE(struct describe_in, "DescribeParameters", describe_in_fields);

/* ParameterMetadata, and with value and labels ParameterHistory. */
struct metadata {
    char *name, *arn, *type, *key_id;
    struct fl_time modified;
    char *modified_by, *description, *value, *allowed_pattern;
    int64_t version;
    struct fl_strs labels;
    char *tier;
    struct fl_parameter_policy *policies;
    size_t n_policies;
    char *data_type;
};
#define F(member, key, flags) FL_FIELD(struct metadata, member, key, flags)
#define COMMON                                                                      \
    F(name, "Name", 0), F(type, "Type", 0), F(key_id, "KeyId", 0),                  \
        F(modified, "LastModifiedDate", 0), F(modified_by, "LastModifiedUser", 0),  \
        F(description, "Description", 0), F(allowed_pattern, "AllowedPattern", 0),  \
        F(version, "Version", 0), F(tier, "Tier", 0),                               \
        FL_FIELD_LIST(struct metadata, policies, n_policies, "Policies", FL_ALWAYS, \
                      &fl_parameter_policy_shape),                                  \
        F(data_type, "DataType", 0)
static const struct fl_field metadata_fields[] = { COMMON, F(arn, "ARN", 0) };
static const struct fl_field history_fields[] = { COMMON, F(value, "Value", FL_SECRET),
                                                  F(labels, "Labels", FL_ALWAYS) };
static const struct fl_field row_fields[] = { COMMON }; /* the value is not read */
#undef COMMON
#undef F
static const struct fl_shape metadata_shape =
    FL_SHAPE(struct metadata, "ParameterMetadata", metadata_fields);
static const struct fl_shape history_shape =
    FL_SHAPE(struct metadata, "ParameterHistory", history_fields);
static const struct fl_shape row_shape = FL_SHAPE(struct metadata, "parameter_row", row_fields);

struct list_out {
    struct metadata *list;
    size_t n;
    char *next_token;
};
static const struct fl_field describe_out_fields[] = {
    FL_FIELD_LIST(struct list_out, list, n, "Parameters", FL_ALWAYS, &metadata_shape),
    FL_FIELD(struct list_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_parameters_describe_out_shape =
    FL_SHAPE(struct list_out, "DescribeParametersResult", describe_out_fields);

struct history_in {
    char *name;
    bool decrypt;
    struct fl_opt_int max_results;
    char *next_token;
};
static const struct fl_field history_in_fields[] = {
    FL_FIELD(struct history_in, name, "Name", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
    FL_FIELD(struct history_in, decrypt, "WithDecryption", 0),
    FL_FIELD(struct history_in, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 50 }),
    FL_FIELD(struct history_in, next_token, "NextToken", 0),
};
const struct fl_shape fl_parameter_history_in_shape =
    FL_SHAPE(struct history_in, "GetParameterHistory", history_in_fields);

static const struct fl_field history_out_fields[] = {
    FL_FIELD_LIST(struct list_out, list, n, "Parameters", FL_ALWAYS, &history_shape),
    FL_FIELD(struct list_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_parameter_history_out_shape =
    FL_SHAPE(struct list_out, "GetParameterHistoryResult", history_out_fields);

/* ---- DescribeParameters ---- */
static int take_filters(struct fl_call *call, const struct describe_in *req,
                        struct fl_parameter_conds *conds, struct fl_err *err)
{
    if (req->n_filters && req->n_old_filters)
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Filters and ParameterFilters cannot be used together.");
    return fl_parameter_filters_check(req->n_filters ? req->filters : req->old_filters,
                                      req->n_filters ? req->n_filters : req->n_old_filters,
                                      FL_FILTER_DESCRIBE, call->arena, conds, err);
}

/* Where to look: below a path if that is asked for, else everywhere. */
static struct fl_parameter_path range_of(const struct fl_parameter_conds *conds)
{
    for (size_t i = 0; i < conds->n; i++)
        if (conds->v[i].paths && conds->v[i].values->n == 1)
            return conds->v[i].paths[0];
    return fl_parameter_path_all;
}

static int describe_row(struct fl_call *call, struct fl_cursor *row,
                        const struct fl_parameter_conds *conds, struct metadata *m,
                        struct fl_err *err)
{
    int r = fl_parameter_meets(call, conds, row, err);

    if (r <= 0)
        return r;
    r = fl_sql_row(row, &row_shape, call->arena, m, err);
    if (r < 0)
        return r;
    m->arn = fl_arn(call, "ssm", "parameter", fl_sql_text(row, FL_PARAMETER_ID));
    return m->arn ? 1 : fl_err_nomem(err);
}

int fl_op_describe_parameters(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct describe_in *req = in;
    struct list_out *res = out;
    struct fl_parameter_conds conds;
    struct fl_parameter_path range;
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : PAGE;
    char *after = NULL;
    int r = take_filters(call, req, &conds, err);

    if (r == 0)
        r = fl_page_token_decode(call, "DescribeParameters", req->next_token, &after, err);
    if (r < 0 || req->shared)
        return r;
    range = range_of(&conds);
    if (after && strcmp(after, range.after) > 0)
        range.after = after;
    res->list = fl_arena_calloc(call->arena, max + 1, sizeof(*res->list));
    if (!res->list)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_parameter_page, &row, err, FL_T(call->account),
                    FL_T(call->region), FL_T(range.after), FL_T(range.before));
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        r = describe_row(call, row, &conds, &res->list[res->n], err);
        if (r <= 0)
            continue;
        if (res->n == max) {
            res->next_token = fl_page_token_encode(call, "DescribeParameters",
                                                   fl_parameter_id(res->list[max - 1].name));
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        res->n++;
    }
    return r < 0 ? r : 0;
}

/* ---- GetParameterHistory ---- */
static int read_labels(struct fl_call *call, const char *id, int64_t version, struct fl_strs *ret,
                       struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    size_t cap = 0;
    int r = fl_sql_open(call->tx, FL_SQL_parameter_labels, &c, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id), FL_N(version));

    while (r >= 0 && (r = fl_sql_next(c, err)) > 0) {
        char *label = fl_arena_strdup(call->arena, fl_sql_text(c, 0));

        ret->v = fl_list_room(call->arena, ret->v, ret->n, &cap, sizeof(label));
        if (!ret->v || !label)
            return fl_err_nomem(err);
        ret->v[ret->n++] = label;
    }
    return r;
}

static int history_row(struct fl_call *call, struct fl_cursor *row, bool decrypt,
                       struct metadata *m, struct fl_err *err)
{
    int r = fl_sql_row(row, &row_shape, call->arena, m, err);

    if (r >= 0)
        r = fl_parameter_value(call, row, decrypt, &m->value, err);
    if (r >= 0)
        r = read_labels(call, fl_sql_text(row, FL_PARAMETER_ID), m->version, &m->labels, err);
    return r;
}

int fl_op_get_parameter_history(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct history_in *req = in;
    struct list_out *res = out;
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : PAGE;
    const char *id = fl_parameter_id(req->name);
    char *after = NULL;
    int r = fl_parameter_name_form(req->name, err);

    if (r == 0)
        r = fl_page_token_decode(call, "GetParameterHistory", req->next_token, &after, err);
    if (r == 0)
        r = fl_parameter_exists(call, id, err);
    if (r <= 0)
        return r < 0 ? r : fl_parameter_not_found(req->name, err);
    res->list = fl_arena_calloc(call->arena, max, sizeof(*res->list));
    if (!res->list)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_parameter_history, &row, err, FL_T(call->account),
                    FL_T(call->region), FL_T(id), FL_N(after ? strtoll(after, NULL, 10) : 0));
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        if (res->n == max) {
            char *last =
                fl_arena_printf(call->arena, "%lld", (long long)res->list[max - 1].version);

            res->next_token = last ? fl_page_token_encode(call, "GetParameterHistory", last) : NULL;
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        r = history_row(call, row, req->decrypt, &res->list[res->n++], err);
    }
    return r < 0 ? r : 0;
}

int fl_get_parameter_history_resources(struct fl_call *call, const void *in,
                                       struct fl_resources *ret, struct fl_err *err)
{
    const struct history_in *req = in;

    return fl_parameter_names_resources(call, &req->name, 1, req->decrypt, ret, err);
}
