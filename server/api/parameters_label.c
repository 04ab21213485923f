/* parameters_label.c - LabelParameterVersion, UnlabelParameterVersion. */
#include "server/api/parameters.h"

#include <errno.h>

/* ---- shapes ---- */
#define LABELS \
    .limits = { .min = 1, .max = FL_PARAMETER_LABELS_MAX }, .elem = { .min = 1, .max = 100 }

struct label_in {
    char *name;
    struct fl_opt_int version;
    struct fl_strs labels;
};
static const struct fl_field label_in_fields[] = {
    FL_FIELD(struct label_in, name, "Name", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
    FL_FIELD(struct label_in, version, "ParameterVersion", 0),
    FL_FIELD(struct label_in, labels, "Labels", FL_REQUIRED, LABELS),
};
const struct fl_shape fl_parameter_label_in_shape =
    FL_SHAPE(struct label_in, "LabelParameterVersion", label_in_fields);

static const struct fl_field unlabel_in_fields[] = {
    FL_FIELD(struct label_in, name, "Name", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
    FL_FIELD(struct label_in, version, "ParameterVersion", FL_REQUIRED),
    FL_FIELD(struct label_in, labels, "Labels", FL_REQUIRED, LABELS),
};
const struct fl_shape fl_parameter_unlabel_in_shape =
    FL_SHAPE(struct label_in, "UnlabelParameterVersion", unlabel_in_fields);
#undef LABELS

struct label_out {
    struct fl_strs invalid, removed;
    int64_t version;
};
static const struct fl_field label_out_fields[] = {
    FL_FIELD(struct label_out, invalid, "InvalidLabels", FL_ALWAYS),
    FL_FIELD(struct label_out, version, "ParameterVersion", 0),
};
const struct fl_shape fl_parameter_label_out_shape =
    FL_SHAPE(struct label_out, "LabelParameterVersionResult", label_out_fields);

static const struct fl_field unlabel_out_fields[] = {
    FL_FIELD(struct label_out, removed, "RemovedLabels", FL_ALWAYS),
    FL_FIELD(struct label_out, invalid, "InvalidLabels", FL_ALWAYS),
};
const struct fl_shape fl_parameter_unlabel_out_shape =
    FL_SHAPE(struct label_out, "UnlabelParameterVersionResult", unlabel_out_fields);

/* ---- both ---- */

/* The version that is meant: the one given, or the latest. And room for what is answered. */
static int begin(struct fl_call *call, const struct label_in *req, struct label_out *res,
                 struct fl_err *err)
{
    struct fl_parameter_ref ref = { .id = fl_parameter_id(req->name) };
    fl_autocursor struct fl_cursor *row = NULL;
    int r = fl_parameter_name_form(req->name, err);

    if (r < 0)
        return r;
    if (req->version.set) {
        ref.version = req->version.v;
        ref.selector = fl_arena_printf(call->arena, ":%lld", (long long)ref.version);
    }
    res->invalid.v = fl_arena_calloc(call->arena, req->labels.n, sizeof(char *));
    res->removed.v = fl_arena_calloc(call->arena, req->labels.n, sizeof(char *));
    if ((req->version.set && !ref.selector) || !res->invalid.v || !res->removed.v)
        return fl_err_nomem(err);
    r = fl_parameter_open(call, &ref, &row, err);
    if (r <= 0)
        return r < 0 ? r : fl_parameter_not_found(req->name, err);
    res->version = fl_sql_int(row, FL_PARAMETER_VERSION);
    return 0;
}

static int check_count(struct fl_call *call, const char *id, int64_t version, struct fl_err *err)
{
    struct fl_err failed = { 0 };
    int64_t n = fl_sql_scalar(call->tx, FL_SQL_parameter_label_count, 0, &failed,
                              FL_T(call->account), FL_T(call->region), FL_T(id), FL_N(version));

    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    if (n > FL_PARAMETER_LABELS_MAX)
        return fl_err_set(err, -EINVAL, "ParameterVersionLabelLimitExceeded",
                          "A version can have at most %d labels; this would make %lld.",
                          FL_PARAMETER_LABELS_MAX, (long long)n);
    return 0;
}

int fl_op_label_parameter_version(struct fl_call *call, const void *in, void *out,
                                  struct fl_err *err)
{
    const struct label_in *req = in;
    struct label_out *res = out;
    const char *id = fl_parameter_id(req->name);
    int r = begin(call, req, res, err);

    for (size_t i = 0; i < req->labels.n && r >= 0; i++) {
        char *label = req->labels.v[i];

        if (fl_parameter_label_valid(label))
            r = fl_sql_exec(call->tx, FL_SQL_parameter_label_put, err, FL_T(call->account),
                            FL_T(call->region), FL_T(id), FL_T(label), FL_N(res->version));
        else
            res->invalid.v[res->invalid.n++] = label;
    }
    return r < 0 ? r : check_count(call, id, res->version, err);
}

int fl_op_unlabel_parameter_version(struct fl_call *call, const void *in, void *out,
                                    struct fl_err *err)
{
    const struct label_in *req = in;
    struct label_out *res = out;
    int r = begin(call, req, res, err);

    for (size_t i = 0; i < req->labels.n && r >= 0; i++) {
        char *label = req->labels.v[i];

        r = fl_sql_exec(call->tx, FL_SQL_parameter_label_remove, err, FL_T(call->account),
                        FL_T(call->region), FL_T(fl_parameter_id(req->name)), FL_T(label),
                        FL_N(res->version));
        if (r > 0)
            res->removed.v[res->removed.n++] = label;
        else if (r == 0)
            res->invalid.v[res->invalid.n++] = label;
    }
    return FL_MIN(r, 0);
}
