/* parameters.h - Parameter Store: what parameter*.c share, and what other families ask.
 *
 * Constraints are those of the public model (ssm 2014-11-06); rules: protocol 6 §3.7.
 */
#pragma once
#include "server/api/parameter_name.h"
#include "server/api/tags.h"
#include "server/op.h"

#define FL_PARAMETER_TAG_TYPE "Parameter"
#define FL_PARAMETER_NAME_LIMITS \
    {                            \
        .min = 1, .max = 2048    \
    }
#define FL_PARAMETER_LABELS_MAX     10  /* of one version */
#define FL_PARAMETER_VERSIONS_MAX   100 /* kept of one parameter */
#define FL_PARAMETERS_MAX           10000
#define FL_PARAMETER_STANDARD_CHARS 4096
#define FL_PARAMETER_ADVANCED_CHARS 8192

/* The columns of the view parameter_info. */
enum fl_parameter_col {
    FL_PARAMETER_NAME,
    FL_PARAMETER_TYPE,
    FL_PARAMETER_VALUE,
    FL_PARAMETER_VERSION,
    FL_PARAMETER_MODIFIED,
    FL_PARAMETER_MODIFIED_BY,
    FL_PARAMETER_DESCRIPTION,
    FL_PARAMETER_PATTERN,
    FL_PARAMETER_KEY_ID,
    FL_PARAMETER_TIER,
    FL_PARAMETER_DATA_TYPE,
    FL_PARAMETER_POLICIES,
    FL_PARAMETER_SEALED,
    FL_PARAMETER_ID,
};

/* ParameterInlinePolicy. */
struct fl_parameter_policy {
    char *text, *type, *status;
};
extern const struct fl_shape fl_parameter_policy_shape;

/* ---- asked by tags.c ---- */
/* 1 a parameter of this id exists, 0 not, or a negative errno. */
int fl_parameter_exists(struct fl_call *call, const char *id, struct fl_err *err);

/* ---- shared by parameter*.c ---- */
/* "arn:aws:ssm:<region>:<account>:parameter/"; NULL without memory. */
char *fl_parameter_arn_prefix(struct fl_call *call);

/* What a Get's name means; fl_parameter_ref_parse with this plane's ARN. */
int fl_parameter_parse(struct fl_call *call, const char *name, struct fl_parameter_ref *ret_ref,
                       struct fl_err *err);

/* -EINVAL named ParameterNotFound. */
int fl_parameter_not_found(const char *name, struct fl_err *err);

/* The row of the version that `ref` means. 1 found, 0 no such parameter, -EINVAL named
 * ParameterVersionNotFound; the cursor is closed by the caller. */
int fl_parameter_open(struct fl_call *call, const struct fl_parameter_ref *ref,
                      struct fl_cursor **ret_row, struct fl_err *err);

/* The Value of a row: text; of a SecureString base64 of what is stored, or, `decrypt`ed, the text.
 */
int fl_parameter_value(struct fl_call *call, struct fl_cursor *row, bool decrypt, char **ret_value,
                       struct fl_err *err);

/* For policies. Appends the parameter of a name as a request has it; one that is none stands as it
 * is. */
int fl_parameter_resource(struct fl_call *call, const char *name, struct fl_resources *res,
                          struct fl_err *err);

/* The same for names of a request, and, if they are to be decrypted and a SecureString is among
 * them, what the next appends. */
int fl_parameter_names_resources(struct fl_call *call, char *const *names, size_t n, bool decrypt,
                                 struct fl_resources *res, struct fl_err *err);

/* If `statement` finds a SecureString: appends what a caller must be allowed besides to see its
 * text, which is kms:Decrypt on the plane's key. */
int fl_parameter_decrypt_resource(struct fl_call *call, enum fl_sql statement,
                                  const struct fl_sql_arg *args, size_t n, struct fl_resources *res,
                                  struct fl_err *err);

/* ---- rows of the table in parameters.c ---- */
extern const struct fl_shape fl_parameter_put_in_shape, fl_parameter_put_out_shape;
int fl_op_put_parameter(struct fl_call *call, const void *in, void *out, struct fl_err *err);

extern const struct fl_shape fl_parameter_get_in_shape, fl_parameter_get_out_shape;
int fl_op_get_parameter(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_get_parameter_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                               struct fl_err *err);

extern const struct fl_shape fl_parameters_get_in_shape, fl_parameters_get_out_shape;
int fl_op_get_parameters(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_get_parameters_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                                struct fl_err *err);

extern const struct fl_shape fl_parameters_by_path_in_shape, fl_parameters_by_path_out_shape;
int fl_op_get_parameters_by_path(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err);
int fl_get_parameters_by_path_resources(struct fl_call *call, const void *in,
                                        struct fl_resources *ret, struct fl_err *err);

extern const struct fl_shape fl_parameters_describe_in_shape, fl_parameters_describe_out_shape;
int fl_op_describe_parameters(struct fl_call *call, const void *in, void *out, struct fl_err *err);

extern const struct fl_shape fl_parameter_history_in_shape, fl_parameter_history_out_shape;
int fl_op_get_parameter_history(struct fl_call *call, const void *in, void *out,
                                struct fl_err *err);
int fl_get_parameter_history_resources(struct fl_call *call, const void *in,
                                       struct fl_resources *ret, struct fl_err *err);

extern const struct fl_shape fl_parameter_label_in_shape, fl_parameter_label_out_shape;
int fl_op_label_parameter_version(struct fl_call *call, const void *in, void *out,
                                  struct fl_err *err);

extern const struct fl_shape fl_parameter_unlabel_in_shape, fl_parameter_unlabel_out_shape;
int fl_op_unlabel_parameter_version(struct fl_call *call, const void *in, void *out,
                                    struct fl_err *err);
