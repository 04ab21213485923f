/* parameters_get.c - GetParameter, GetParameters, GetParametersByPath. */
#include "server/api/parameters.h"

#include <errno.h>
#include <string.h>
#include "server/api/parameter_filters.h"

#define PATH_PAGE 10

/* ---- shapes ---- */
struct parameter {
    char *name, *type, *value;
    int64_t version;
    const char *selector;
    struct fl_time modified;
    char *arn, *data_type;
};
#define F(member, key, flags) FL_FIELD(struct parameter, member, key, flags)
static const struct fl_field parameter_fields[] = {
    F(name, "Name", 0),       F(type, "Type", 0),          F(value, "Value", FL_SECRET),
    F(version, "Version", 0), F(selector, "Selector", 0),  F(modified, "LastModifiedDate", 0),
    F(arn, "ARN", 0),         F(data_type, "DataType", 0),
};
#undef F
static const struct fl_shape parameter_shape =
    FL_SHAPE(struct parameter, "Parameter", parameter_fields);

/* What a row has of it without being asked: the value comes from fl_parameter_value. */
static const struct fl_field row_fields[] = {
    FL_FIELD(struct parameter, name, "Name", 0),
    FL_FIELD(struct parameter, type, "Type", 0),
    FL_FIELD(struct parameter, version, "Version", 0),
    FL_FIELD(struct parameter, modified, "LastModifiedDate", 0),
    FL_FIELD(struct parameter, data_type, "DataType", 0),
};
static const struct fl_shape row_shape = FL_SHAPE(struct parameter, "parameter_row", row_fields);

struct get_in {
    char *name;
    bool decrypt;
};
static const struct fl_field get_in_fields[] = {
    FL_FIELD(struct get_in, name, "Name", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
    FL_FIELD(struct get_in, decrypt, "WithDecryption", 0),
};
const struct fl_shape fl_parameter_get_in_shape =
    FL_SHAPE(struct get_in, "GetParameter", get_in_fields);

struct get_out {
    struct parameter *parameter;
};
static const struct fl_field get_out_fields[] = {
    FL_FIELD_STRUCT(struct get_out, parameter, "Parameter", 0, &parameter_shape),
};
const struct fl_shape fl_parameter_get_out_shape =
    FL_SHAPE(struct get_out, "GetParameterResult", get_out_fields);

struct get_all_in {
    struct fl_strs names;
    bool decrypt;
};
static const struct fl_field get_all_in_fields[] = {
    FL_FIELD(struct get_all_in, names, "Names", FL_REQUIRED, .limits = { .min = 1, .max = 10 },
             .elem = FL_PARAMETER_NAME_LIMITS),
    FL_FIELD(struct get_all_in, decrypt, "WithDecryption", 0),
};
const struct fl_shape fl_parameters_get_in_shape =
    FL_SHAPE(struct get_all_in, "GetParameters", get_all_in_fields);

struct get_all_out {
    struct parameter *list;
    size_t n;
    struct fl_strs invalid;
};
static const struct fl_field get_all_out_fields[] = {
    FL_FIELD_LIST(struct get_all_out, list, n, "Parameters", FL_ALWAYS, &parameter_shape),
    FL_FIELD(struct get_all_out, invalid, "InvalidParameters", FL_ALWAYS),
};
const struct fl_shape fl_parameters_get_out_shape =
    FL_SHAPE(struct get_all_out, "GetParametersResult", get_all_out_fields);

struct by_path_in {
    char *path;
    bool recursive;
    struct fl_parameter_filter *filters;
    size_t n_filters;
    bool decrypt;
    struct fl_opt_int max_results;
    char *next_token;
};
static const struct fl_field by_path_in_fields[] = {
    FL_FIELD(struct by_path_in, path, "Path", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
    FL_FIELD(struct by_path_in, recursive, "Recursive", 0),
    FL_FIELD_LIST(struct by_path_in, filters, n_filters, "ParameterFilters", 0,
                  &fl_parameter_filter_shape),
    FL_FIELD(struct by_path_in, decrypt, "WithDecryption", 0),
    FL_FIELD(struct by_path_in, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 10 }),
    FL_FIELD(struct by_path_in, next_token, "NextToken", 0),
};
const struct fl_shape fl_parameters_by_path_in_shape =
    FL_SHAPE(struct by_path_in, "GetParametersByPath", by_path_in_fields);

struct by_path_out {
    struct parameter *list;
    size_t n;
    char *next_token;
};
static const struct fl_field by_path_out_fields[] = {
    FL_FIELD_LIST(struct by_path_out, list, n, "Parameters", FL_ALWAYS, &parameter_shape),
    FL_FIELD(struct by_path_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_parameters_by_path_out_shape =
    FL_SHAPE(struct by_path_out, "GetParametersByPathResult", by_path_out_fields);

/* ---- one parameter ---- */
static int fill(struct fl_call *call, struct fl_cursor *row, const char *selector, bool decrypt,
                struct parameter *p, struct fl_err *err)
{
    int r = fl_sql_row(row, &row_shape, call->arena, p, err);

    if (r < 0)
        return r;
    p->selector = selector;
    p->arn = fl_arn(call, "ssm", "parameter", fl_sql_text(row, FL_PARAMETER_ID));
    if (!p->arn)
        return fl_err_nomem(err);
    return fl_parameter_value(call, row, decrypt, &p->value, err);
}

/* 1 filled, 0 there is none. */
static int get(struct fl_call *call, const struct fl_parameter_ref *ref, bool decrypt,
               struct parameter *p, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_parameter_open(call, ref, &row, err);

    if (r <= 0)
        return r;
    r = fill(call, row, ref->selector, decrypt, p, err);
    return r < 0 ? r : 1;
}

int fl_op_get_parameter(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct get_in *req = in;
    struct get_out *res = out;
    struct fl_parameter_ref ref;
    int r = fl_parameter_parse(call, req->name, &ref, err);

    if (r < 0)
        return r;
    res->parameter = fl_arena_calloc(call->arena, 1, sizeof(*res->parameter));
    if (!res->parameter)
        return fl_err_nomem(err);
    r = get(call, &ref, req->decrypt, res->parameter, err);
    return r == 0 ? fl_parameter_not_found(req->name, err) : FL_MIN(r, 0);
}

/* ---- GetParameters ---- */
static int by_name(const void *a, const void *b)
{
    const struct parameter *p = a, *q = b;
    int r = strcmp(p->name, q->name);

    return r ? r : (p->version > q->version) - (p->version < q->version);
}

static bool have(const struct get_all_out *res, const struct parameter *p)
{
    const char *selector = p->selector ? p->selector : "";

    for (size_t i = 0; i < res->n; i++)
        if (strcmp(res->list[i].arn, p->arn) == 0 &&
            strcmp(res->list[i].selector ? res->list[i].selector : "", selector) == 0)
            return true;
    return false;
}

/* What cannot be found is told, and does not fail the others: 1 found, 0 not. */
static int get_listed(struct fl_call *call, const char *name, bool decrypt, struct parameter *p,
                      struct fl_err *err)
{
    struct fl_parameter_ref ref;
    struct fl_err why = { 0 };
    int r = fl_parameter_parse(call, name, &ref, &why);

    if (r == 0)
        r = get(call, &ref, decrypt, p, &why);
    if (r >= 0 || r == -EINVAL)
        return FL_MAX(r, 0);
    return fl_err_set(err, r, why.name, "%s", fl_err_text(&why));
}

int fl_op_get_parameters(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct get_all_in *req = in;
    struct get_all_out *res = out;

    res->list = fl_arena_calloc(call->arena, req->names.n, sizeof(*res->list));
    res->invalid.v = fl_arena_calloc(call->arena, req->names.n, sizeof(char *));
    if (!res->list || !res->invalid.v)
        return fl_err_nomem(err);
    for (size_t i = 0; i < req->names.n; i++) {
        struct parameter p = { 0 };
        int r = get_listed(call, req->names.v[i], req->decrypt, &p, err);

        if (r < 0)
            return r;
        if (r == 0)
            res->invalid.v[res->invalid.n++] = req->names.v[i];
        else if (!have(res, &p))
            res->list[res->n++] = p;
    }
    qsort(res->list, res->n, sizeof(*res->list), by_name);
    return 0;
}

/* ---- GetParametersByPath ---- */
struct by_path {
    struct fl_call *call;
    const struct by_path_in *req;
    struct fl_parameter_path path;
    struct fl_parameter_conds conds;
};

/* The row of the version with one of the labels wanted, or `latest` itself. 1, 0 none, <0. */
static int pick_version(const struct by_path *b, struct fl_cursor *latest,
                        struct fl_cursor **ret_labelled, const char **ret_selector,
                        struct fl_err *err)
{
    const struct fl_strs *labels = b->conds.labels;

    for (size_t i = 0; labels && i < labels->n; i++) {
        struct fl_parameter_ref ref = { .id = fl_sql_text(latest, FL_PARAMETER_ID),
                                        .label = labels->v[i] };
        struct fl_err why = { 0 };
        int r;

        ref.selector = fl_arena_printf(b->call->arena, ":%s", labels->v[i]);
        if (!ref.selector)
            return fl_err_nomem(err);
        r = fl_parameter_open(b->call, &ref, ret_labelled, &why);
        *ret_selector = ref.selector;
        if (r > 0)
            return 1;
        if (r < 0 && r != -EINVAL)
            return fl_err_set(err, r, why.name, "%s", fl_err_text(&why));
    }
    return !labels;
}

/* 1 filled, 0 not wanted. */
static int by_path_row(const struct by_path *b, struct fl_cursor *latest, struct parameter *p,
                       struct fl_err *err)
{
    fl_autocursor struct fl_cursor *labelled = NULL;
    const char *selector = NULL;
    struct fl_cursor *row;
    int r;

    if (!fl_parameter_path_holds(&b->path, fl_sql_text(latest, FL_PARAMETER_ID), b->req->recursive))
        return 0;
    r = pick_version(b, latest, &labelled, &selector, err);
    row = labelled ? labelled : latest;
    if (r > 0)
        r = fl_parameter_meets(b->call, &b->conds, row, err);
    if (r > 0) {
        r = fill(b->call, row, selector, b->req->decrypt, p, err);
        return r < 0 ? r : 1;
    }
    return r;
}

int fl_op_get_parameters_by_path(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err)
{
    const struct by_path_in *req = in;
    struct by_path_out *res = out;
    struct by_path b = { .call = call, .req = req };
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : PATH_PAGE;
    char *after = NULL;
    int r = fl_parameter_path_parse(req->path, call->arena, &b.path, err);

    if (r == 0)
        r = fl_parameter_filters_check(req->filters, req->n_filters, FL_FILTER_BY_PATH, call->arena,
                                       &b.conds, err);
    if (r == 0)
        r = fl_page_token_decode(call, "GetParametersByPath", req->next_token, &after, err);
    if (r < 0)
        return r;
    if (!after || strcmp(after, b.path.after) < 0)
        after = (char *)b.path.after;
    res->list = fl_arena_calloc(call->arena, max + 1, sizeof(*res->list));
    if (!res->list)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_parameter_page, &row, err, FL_T(call->account),
                    FL_T(call->region), FL_T(after), FL_T(b.path.before));
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        r = by_path_row(&b, row, &res->list[res->n], err);
        if (r <= 0)
            continue;
        if (res->n == max) {
            res->next_token = fl_page_token_encode(call, "GetParametersByPath",
                                                   fl_parameter_id(res->list[max - 1].name));
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        res->n++;
    }
    return r < 0 ? r : 0;
}

/* ---- for policies ---- */

int fl_get_parameter_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                               struct fl_err *err)
{
    const struct get_in *req = in;

    return fl_parameter_names_resources(call, &req->name, 1, req->decrypt, ret, err);
}

int fl_get_parameters_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                                struct fl_err *err)
{
    const struct get_all_in *req = in;

    return fl_parameter_names_resources(call, req->names.v, req->names.n, req->decrypt, ret, err);
}

/* The path as it was given stands in the ARN, a slash at its end too, as in AWS's. */
int fl_get_parameters_by_path_resources(struct fl_call *call, const void *in,
                                        struct fl_resources *ret, struct fl_err *err)
{
    const struct by_path_in *req = in;
    struct fl_parameter_path path;
    int r = fl_parameter_resource(call, req->path, ret, err);

    if (r < 0 || !req->decrypt || fl_parameter_path_parse(req->path, call->arena, &path, NULL) < 0)
        return r;
    return fl_parameter_decrypt_resource(
        call, FL_SQL_parameter_sealed_between,
        (const struct fl_sql_arg[]){ FL_T(call->account), FL_T(call->region), FL_T(path.after),
                                     FL_T(path.before) },
        4, ret, err);
}
