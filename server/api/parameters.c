/* parameters.c - the operations of Parameter Store: their table, what they share, deleting. */
#include "server/api/parameters.h"

#include <errno.h>
#include <string.h>
#include "common/aws/crypto.h"
#include "server/api/parameter_seal.h"
#include "server/api/registry.h"

/* ---- shared ---- */
static const struct fl_field policy_fields[] = {
    FL_FIELD(struct fl_parameter_policy, text, "PolicyText", 0),
    FL_FIELD(struct fl_parameter_policy, type, "PolicyType", 0),
    FL_FIELD(struct fl_parameter_policy, status, "PolicyStatus", 0),
};
const struct fl_shape fl_parameter_policy_shape =
    FL_SHAPE(struct fl_parameter_policy, "ParameterInlinePolicy", policy_fields);

int fl_parameter_exists(struct fl_call *call, const char *id, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_T(call->account), FL_T(call->region), FL_T(id) };
    struct fl_err failed = { 0 };
    int64_t found = fl_sql_scalar_v(call->tx, FL_SQL_parameter_exists, args, 3, 0, &failed);

    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    return found != 0;
}

char *fl_parameter_arn_prefix(struct fl_call *call)
{
    return fl_arn(call, "ssm", "parameter", "");
}

int fl_parameter_parse(struct fl_call *call, const char *name, struct fl_parameter_ref *ret_ref,
                       struct fl_err *err)
{
    const char *prefix = fl_parameter_arn_prefix(call);

    if (!prefix)
        return fl_err_nomem(err);
    return fl_parameter_ref_parse(name, prefix, call->arena, ret_ref, err);
}

int fl_parameter_not_found(const char *name, struct fl_err *err)
{
    return fl_err_set(err, -EINVAL, "ParameterNotFound", "Parameter %.256s not found.", name);
}

/* 1 and *ret_version, 0 there is no such label. */
static int version_of_label(struct fl_call *call, const struct fl_parameter_ref *ref,
                            int64_t *ret_version, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_T(call->account), FL_T(call->region), FL_T(ref->id),
                                       FL_T(ref->label) };
    struct fl_err failed = { 0 };

    *ret_version = fl_sql_scalar_v(call->tx, FL_SQL_parameter_label_find, args, 4, 0, &failed);
    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    return *ret_version != 0;
}

int fl_parameter_open(struct fl_call *call, const struct fl_parameter_ref *ref,
                      struct fl_cursor **ret_row, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    int64_t version = ref->version;
    int r = 0;

    if (ref->label)
        r = version_of_label(call, ref, &version, err);
    if (r >= 0 && ref->selector)
        r = fl_sql_open(call->tx, FL_SQL_parameter_at_version, &row, err, FL_T(call->account),
                        FL_T(call->region), FL_T(ref->id), FL_N(version));
    else if (r >= 0)
        r = fl_sql_open(call->tx, FL_SQL_parameter_latest, &row, err, FL_T(call->account),
                        FL_T(call->region), FL_T(ref->id));
    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r == 0 && ref->selector) {
        r = fl_parameter_exists(call, ref->id, err);
        return r <= 0 ? r
                      : fl_err_set(err, -EINVAL, "ParameterVersionNotFound",
                                   "Systems Manager could not find version %s of %.256s.",
                                   ref->selector + 1, ref->id);
    }
    if (r > 0)
        *ret_row = FL_TAKE(row);
    return r;
}

int fl_parameter_value(struct fl_call *call, struct fl_cursor *row, bool decrypt, char **ret_value,
                       struct fl_err *err)
{
    fl_autofree char *text = NULL;
    const void *sealed;
    size_t len;

    if (!fl_sql_is_null(row, FL_PARAMETER_VALUE)) {
        *ret_value = fl_arena_strdup(call->arena, fl_sql_text(row, FL_PARAMETER_VALUE));
        return *ret_value ? 0 : fl_err_nomem(err);
    }
    sealed = fl_sql_blob(row, FL_PARAMETER_SEALED, &len);
    if (decrypt)
        return fl_parameter_unseal(call, fl_sql_text(row, FL_PARAMETER_ID),
                                   fl_sql_int(row, FL_PARAMETER_VERSION), sealed, len, ret_value,
                                   err);
    text = fl_base64_encode(sealed, len);
    *ret_value = text ? fl_arena_strdup(call->arena, text) : NULL;
    return *ret_value ? 0 : fl_err_nomem(err);
}

/* ---- for policies ---- */
int fl_parameter_resource(struct fl_call *call, const char *name, struct fl_resources *res,
                          struct fl_err *err)
{
    const char *id = fl_parameter_id(name);
    struct fl_parameter_ref ref;
    char *arn;
    int r = fl_parameter_parse(call, name, &ref, NULL);

    if (r == 0)
        id = ref.id;
    arn = r == -ENOMEM ? NULL : fl_arn(call, "ssm", "parameter", id);
    if (!arn)
        return fl_err_nomem(err);
    return fl_resources_add(call, res, arn, FL_PARAMETER_TAG_TYPE, id, err);
}

int fl_parameter_decrypt_resource(struct fl_call *call, enum fl_sql statement,
                                  const struct fl_sql_arg *args, size_t n, struct fl_resources *res,
                                  struct fl_err *err)
{
    struct fl_err failed = { 0 };
    int64_t found = fl_sql_scalar_v(call->tx, statement, args, n, 0, &failed);
    char *arn = fl_arena_printf(call->arena, "arn:aws:kms:%s:%s:" FL_PARAMETER_KEY_ALIAS,
                                call->region, call->account);
    int r;

    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    if (!found)
        return 0;
    r = arn ? fl_resources_add(call, res, arn, "Key", FL_PARAMETER_KEY_ALIAS, err)
            : fl_err_nomem(err);
    if (r == 0)
        res->v[res->n - 1].action = "kms:Decrypt";
    return r;
}

int fl_parameter_names_resources(struct fl_call *call, char *const *names, size_t n, bool decrypt,
                                 struct fl_resources *ret, struct fl_err *err)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = fl_parameter_resource(call, names[i], ret, err);
    for (size_t i = 0; i < n && r == 0 && decrypt && ret->n == n; i++) {
        struct fl_parameter_ref ref;

        if (fl_parameter_parse(call, names[i], &ref, NULL) == 0)
            r = fl_parameter_decrypt_resource(call, FL_SQL_parameter_is_sealed,
                                              (const struct fl_sql_arg[]){ FL_T(call->account),
                                                                           FL_T(call->region),
                                                                           FL_T(ref.id) },
                                              3, ret, err);
    }
    return r;
}

/* Of requests that begin with one name. */
static int name_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                         struct fl_err *err)
{
    return fl_parameter_resource(call, *(char *const *)in, ret, err);
}

/* ---- DeleteParameter, DeleteParameters ---- */
struct delete_in {
    char *name;
};
static const struct fl_field delete_in_fields[] = {
    FL_FIELD(struct delete_in, name, "Name", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
};
static const struct fl_shape delete_in_shape =
    FL_SHAPE(struct delete_in, "DeleteParameter", delete_in_fields);

struct delete_all_in {
    struct fl_strs names;
};
static const struct fl_field delete_all_in_fields[] = {
    FL_FIELD(struct delete_all_in, names, "Names", FL_REQUIRED, .limits = { .min = 1, .max = 10 },
             .elem = FL_PARAMETER_NAME_LIMITS),
};
static const struct fl_shape delete_all_in_shape =
    FL_SHAPE(struct delete_all_in, "DeleteParameters", delete_all_in_fields);

struct delete_all_out {
    struct fl_strs deleted, invalid;
};
static const struct fl_field delete_all_out_fields[] = {
    FL_FIELD(struct delete_all_out, deleted, "DeletedParameters", FL_ALWAYS),
    FL_FIELD(struct delete_all_out, invalid, "InvalidParameters", FL_ALWAYS),
};
static const struct fl_shape delete_all_out_shape =
    FL_SHAPE(struct delete_all_out, "DeleteParametersResult", delete_all_out_fields);

/* 1 done, 0 there is none. */
static int delete_one(struct fl_call *call, const char *name, struct fl_err *err)
{
    const char *id = fl_parameter_id(name);
    int n = fl_sql_exec(call->tx, FL_SQL_parameter_delete, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id));
    int r = n > 0 ? fl_tags_drop(call, FL_PARAMETER_TAG_TYPE, id, err) : 0;

    return r < 0 ? r : n;
}

static int op_delete(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct delete_in *req = in;
    int r = fl_parameter_name_form(req->name, err);

    if (r == 0)
        r = delete_one(call, req->name, err);
    else
        return r;
    return r == 0 ? fl_parameter_not_found(req->name, err) : FL_MIN(r, 0);
}

static int op_delete_all(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct delete_all_in *req = in;
    struct delete_all_out *res = out;

    res->deleted.v = fl_arena_calloc(call->arena, req->names.n, sizeof(char *));
    res->invalid.v = fl_arena_calloc(call->arena, req->names.n, sizeof(char *));
    if (!res->deleted.v || !res->invalid.v)
        return fl_err_nomem(err);
    for (size_t i = 0; i < req->names.n; i++) {
        char *name = req->names.v[i];
        int r = fl_parameter_name_form(name, NULL) == 0 ? delete_one(call, name, err) : 0;

        if (r < 0)
            return r;
        if (r > 0)
            res->deleted.v[res->deleted.n++] = name;
        else
            res->invalid.v[res->invalid.n++] = name;
    }
    return 0;
}

static int delete_all_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                                struct fl_err *err)
{
    const struct delete_all_in *req = in;

    return fl_parameter_names_resources(call, req->names.v, req->names.n, false, ret, err);
}

static const struct fl_op ops[] = {
    { "PutParameter", &fl_parameter_put_in_shape, &fl_parameter_put_out_shape, fl_op_put_parameter,
      FL_LANE_WRITE, FL_AUTH_SIGV4, name_resource },
    { "GetParameter", &fl_parameter_get_in_shape, &fl_parameter_get_out_shape, fl_op_get_parameter,
      FL_LANE_READ, FL_AUTH_SIGV4, fl_get_parameter_resources },
    { "GetParameters", &fl_parameters_get_in_shape, &fl_parameters_get_out_shape,
      fl_op_get_parameters, FL_LANE_READ, FL_AUTH_SIGV4, fl_get_parameters_resources },
    { "GetParametersByPath", &fl_parameters_by_path_in_shape, &fl_parameters_by_path_out_shape,
      fl_op_get_parameters_by_path, FL_LANE_READ, FL_AUTH_SIGV4,
      fl_get_parameters_by_path_resources },
    { "GetParameterHistory", &fl_parameter_history_in_shape, &fl_parameter_history_out_shape,
      fl_op_get_parameter_history, FL_LANE_READ, FL_AUTH_SIGV4,
      fl_get_parameter_history_resources },
    { "DescribeParameters", &fl_parameters_describe_in_shape, &fl_parameters_describe_out_shape,
      fl_op_describe_parameters, FL_LANE_READ, FL_AUTH_SIGV4, NULL },
    { "LabelParameterVersion", &fl_parameter_label_in_shape, &fl_parameter_label_out_shape,
      fl_op_label_parameter_version, FL_LANE_WRITE, FL_AUTH_SIGV4, name_resource },
    { "UnlabelParameterVersion", &fl_parameter_unlabel_in_shape, &fl_parameter_unlabel_out_shape,
      fl_op_unlabel_parameter_version, FL_LANE_WRITE, FL_AUTH_SIGV4, name_resource },
    { "DeleteParameter", &delete_in_shape, &fl_shape_empty, op_delete, FL_LANE_WRITE, FL_AUTH_SIGV4,
      name_resource },
    { "DeleteParameters", &delete_all_in_shape, &delete_all_out_shape, op_delete_all, FL_LANE_WRITE,
      FL_AUTH_SIGV4, delete_all_resources },
};

const struct fl_op_table fl_ops_parameters = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
