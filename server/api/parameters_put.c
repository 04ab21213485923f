/* parameters_put.c - PutParameter. */
#include "server/api/parameters.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/codec/utf8.h"
#include "common/codec/regexp.h"
#include "server/api/parameter_seal.h"

#define POLICIES_MAX  10
#define POLICIES_JSON (64 * 1024)
#define SECURE        "SecureString"
#define STANDARD      "Standard"
#define ADVANCED      "Advanced"
#define DEFAULT_DATA  "text"

/* ---- shapes ---- */
static const char *const types[] = { "String", "StringList", SECURE, NULL };
static const char *const tiers[] = { STANDARD, ADVANCED, "Intelligent-Tiering", NULL };

struct put_in {
    char *name, *description, *value, *type, *key_id;
    bool overwrite;
    char *allowed_pattern;
    struct fl_tag *tags;
    size_t n_tags;
    char *tier, *policies, *data_type;
};
#define F(member, key, flags, ...) \
    FL_FIELD(struct put_in, member, key, flags __VA_OPT__(, ) __VA_ARGS__)
static const struct fl_field put_in_fields[] = {
    F(name, "Name", FL_REQUIRED, .limits = FL_PARAMETER_NAME_LIMITS),
    F(description, "Description", 0, .limits = { .max = 1024 }),
    F(value, "Value", FL_REQUIRED | FL_SECRET),
    F(type, "Type", 0, .limits = { .enums = types }),
    F(key_id, "KeyId", 0, .limits = { .min = 1, .max = 256, .pattern = "^([a-zA-Z0-9:/_-]+)$" }),
    F(overwrite, "Overwrite", 0),
    F(allowed_pattern, "AllowedPattern", 0, .limits = { .max = 1024 }),
    FL_FIELD_LIST(struct put_in, tags, n_tags, "Tags", 0, &fl_tag_shape,
                  .limits = { .max = FL_TAG_LIST_MAX }),
    F(tier, "Tier", 0, .limits = { .enums = tiers }),
    F(policies, "Policies", 0, .limits = { .min = 1, .max = 4096 }),
    F(data_type, "DataType", 0, .limits = { .max = 128 }),
};
#undef F
const struct fl_shape fl_parameter_put_in_shape =
    FL_SHAPE(struct put_in, "PutParameter", put_in_fields);

struct put_out {
    int64_t version;
    const char *tier;
};
static const struct fl_field put_out_fields[] = {
    FL_FIELD(struct put_out, version, "Version", 0),
    FL_FIELD(struct put_out, tier, "Tier", 0),
};
const struct fl_shape fl_parameter_put_out_shape =
    FL_SHAPE(struct put_out, "PutParameterResult", put_out_fields);

/* A version: what stands in the store, or what is to stand there. */
struct version {
    const char *type, *key_id, *tier, *data_type, *description, *allowed_pattern, *policies;
    int64_t version; /* 0: there is no such parameter yet */
};

static int invalid(struct fl_err *err, const char *text)
{
    return fl_err_set(err, -EINVAL, "ValidationException", "%s", text);
}

/* ---- policies: kept and shown, never acted on ---- */
struct policy_in {
    char *type, *version;
    struct fl_raw attributes;
};
static const struct fl_field policy_in_fields[] = {
    FL_FIELD(struct policy_in, type, "Type", 0),
    FL_FIELD(struct policy_in, version, "Version", 0),
    FL_FIELD(struct policy_in, attributes, "Attributes", 0),
};
static const struct fl_shape policy_in_shape =
    FL_SHAPE(struct policy_in, "Policy", policy_in_fields);

struct policies_in {
    struct policy_in *list;
    size_t n;
};
static const struct fl_field policies_in_fields[] = {
    FL_FIELD_LIST(struct policies_in, list, n, "Policies", FL_REQUIRED, &policy_in_shape),
};
static const struct fl_shape policies_in_shape =
    FL_SHAPE(struct policies_in, "Policies", policies_in_fields);

static int check_policy(const struct policy_in *p, struct fl_err *err)
{
    static const char *const known[] = { "Expiration", "ExpirationNotification",
                                         "NoChangeNotification" };

    for (size_t i = 0; i < FL_ARRAY_LEN(known); i++)
        if (p->type && strcmp(p->type, known[i]) == 0)
            return p->attributes.text && p->attributes.text[0] == '{'
                       ? 0
                       : fl_err_set(err, -EINVAL, "InvalidPolicyAttributeException",
                                    "The policy %s needs Attributes.", p->type);
    return fl_err_set(err, -EINVAL, "InvalidPolicyTypeException",
                      "A policy has the type Expiration, ExpirationNotification or "
                      "NoChangeNotification.");
}

static int put_policy(const struct policy_in *p, bool first, struct fl_buf *json,
                      struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(POLICIES_JSON);
    struct fl_parameter_policy shown = { .type = p->type, .status = (char *)"Pending" };
    int r = check_policy(p, err);

    if (r < 0)
        return r;
    r = fl_json_encode(&policy_in_shape, p, &text);
    shown.text = text.data;
    if (r == 0)
        r = fl_buf_puts(json, first ? "[" : ",");
    if (r == 0)
        r = fl_json_encode(&fl_parameter_policy_shape, &shown, json);
    return r < 0 ? fl_err_set(err, r, NULL, "policies cannot be written") : 0;
}

/* The request's JSON list as replies have it; "[{}]" takes all away. */
static int read_policies(struct fl_call *call, const char *given, const char **ret_json,
                         struct fl_err *err)
{
    fl_autobuf struct fl_buf wrapped = FL_BUF(POLICIES_JSON), json = FL_BUF(POLICIES_JSON);
    struct policies_in in;

    if (fl_buf_printf(&wrapped, "{\"Policies\":%s}", given) < 0)
        return fl_err_nomem(err);
    if (fl_json_decode(&policies_in_shape, wrapped.data, wrapped.len, 0, call->arena, &in, NULL) <
        0)
        return invalid(err, "Policies must be a JSON list of policies.");
    if (in.n > POLICIES_MAX)
        return fl_err_set(err, -EINVAL, "PoliciesLimitExceededException",
                          "A parameter can have at most %d policies.", POLICIES_MAX);
    if (in.n == 1 && !in.list[0].type && !in.list[0].version && !in.list[0].attributes.text)
        in.n = 0;
    for (size_t i = 0; i < in.n; i++) {
        int r = put_policy(&in.list[i], i == 0, &json, err);

        if (r < 0)
            return r;
    }
    *ret_json = fl_arena_printf(call->arena, "%s%s", json.data ? json.data : "[", "]");
    return *ret_json ? 0 : fl_err_nomem(err);
}

/* ---- what the new version is made of ---- */

/* What is given, else what the version before has, else `dflt`; "" takes it away. */
static const char *choose(const char *given, const char *before, const char *dflt)
{
    if (given)
        return given[0] ? given : dflt;
    return before ? before : dflt;
}

static int choose_type(const struct put_in *req, const struct version *before, struct version *v,
                       struct fl_err *err)
{
    v->type = req->type ? req->type : before->type;
    if (!v->type)
        return invalid(err, "A type is required to make a parameter.");
    if (before->type && strcmp(v->type, before->type) != 0)
        return fl_err_set(err, -EINVAL, "HierarchyTypeMismatchException",
                          "The parameter is of type %s, which cannot be changed to %s.",
                          before->type, v->type);
    return 0;
}

static int choose_key(struct fl_call *call, const struct put_in *req, const struct version *before,
                      struct version *v, struct fl_err *err)
{
    const char *arn = fl_arena_printf(call->arena, "arn:aws:kms:%s:%s:" FL_PARAMETER_KEY_ALIAS,
                                      call->region, call->account);

    if (!arn)
        return fl_err_nomem(err);
    if (strcmp(v->type, SECURE) != 0)
        return req->key_id ? invalid(err, "KeyId is for parameters of type SecureString only.") : 0;
    v->key_id = FL_PARAMETER_KEY_ALIAS;
    if (req->key_id && strcmp(req->key_id, v->key_id) != 0 && strcmp(req->key_id, arn) != 0)
        return fl_err_set(err, -EINVAL, "InvalidKeyId",
                          "There is no key %s; this control plane has " FL_PARAMETER_KEY_ALIAS ".",
                          req->key_id);
    return 0;
}

static int choose_tier(const struct put_in *req, const struct version *before, struct version *v,
                       struct fl_err *err)
{
    bool was_advanced = before->tier && strcmp(before->tier, ADVANCED) == 0;
    bool policies = strcmp(v->policies, "[]") != 0;
    size_t chars = fl_utf8_count(req->value);

    if (was_advanced && req->tier && strcmp(req->tier, STANDARD) == 0)
        return invalid(err, "A parameter of the tier Advanced cannot go back to Standard.");
    v->tier = was_advanced ? ADVANCED : STANDARD;
    if (req->tier && strcmp(req->tier, STANDARD) != 0 &&
        (strcmp(req->tier, ADVANCED) == 0 || chars > FL_PARAMETER_STANDARD_CHARS || policies))
        v->tier = ADVANCED;
    if (strcmp(v->tier, ADVANCED) == 0)
        return chars <= FL_PARAMETER_ADVANCED_CHARS
                   ? 0
                   : invalid(err, "A value can have at most 8192 characters.");
    if (chars > FL_PARAMETER_STANDARD_CHARS)
        return invalid(err, "A value can have at most 4096 characters in the tier Standard, and "
                            "8192 in the tier Advanced.");
    return policies ? invalid(err, "Policies need the tier Advanced.") : 0;
}

static int choose_data_type(const struct put_in *req, const struct version *before,
                            struct version *v, struct fl_err *err)
{
    static const char *const known[] = { DEFAULT_DATA, "aws:ec2:image", "aws:ssm:integration" };

    v->data_type = choose(req->data_type, before->data_type, DEFAULT_DATA);
    for (size_t i = 0; i < FL_ARRAY_LEN(known); i++)
        if (strcmp(v->data_type, known[i]) == 0)
            return 0;
    return invalid(err, "DataType is one of text, aws:ec2:image, aws:ssm:integration.");
}

/* No error here may quote the value. */
static int check_value(const char *value, const char *pattern, struct fl_err *err)
{
    struct fl_err why = { 0 };
    const char *open = strstr(value, "{{");
    int r;

    if (!value[0])
        return invalid(err, "The value of a parameter may not be empty.");
    if (open && strstr(open, "}}"))
        return invalid(err, "A value may not refer to another parameter by {{}}.");
    if (!pattern)
        return 0;
    r = fl_regexp_search(pattern, value, &why);
    if (r < 0)
        return fl_err_set(err, r, "InvalidAllowedPatternException", "AllowedPattern: %s",
                          fl_err_text(&why));
    if (r == 0)
        return fl_err_set(err, -EINVAL, "ParameterPatternMismatchException",
                          "The value does not match the parameter's AllowedPattern.");
    return 0;
}

static int make_version(struct fl_call *call, const struct put_in *req,
                        const struct version *before, struct version *v, struct fl_err *err)
{
    int r = 0;

    *v = (struct version){
        .version = before->version + 1,
        .description = choose(req->description, before->description, NULL),
        .allowed_pattern = choose(req->allowed_pattern, before->allowed_pattern, NULL),
        .policies = before->policies ? before->policies : "[]",
    };
    if (req->policies)
        r = read_policies(call, req->policies, &v->policies, err);
    if (r == 0)
        r = choose_type(req, before, v, err);
    if (r == 0)
        r = choose_key(call, req, before, v, err);
    if (r == 0)
        r = choose_tier(req, before, v, err);
    if (r == 0)
        r = choose_data_type(req, before, v, err);
    return r == 0 ? check_value(req->value, v->allowed_pattern, err) : r;
}

/* ---- writing ---- */
static int read_before(struct fl_call *call, const char *id, struct version *before,
                       struct fl_err *err)
{
    const struct fl_parameter_ref ref = { .id = id };
    fl_autocursor struct fl_cursor *row = NULL;
    const struct {
        enum fl_parameter_col col;
        const char **to;
    } texts[] = { { FL_PARAMETER_TYPE, &before->type },
                  { FL_PARAMETER_TIER, &before->tier },
                  { FL_PARAMETER_DATA_TYPE, &before->data_type },
                  { FL_PARAMETER_DESCRIPTION, &before->description },
                  { FL_PARAMETER_PATTERN, &before->allowed_pattern },
                  { FL_PARAMETER_POLICIES, &before->policies } };
    int r = fl_parameter_open(call, &ref, &row, err);

    if (r <= 0)
        return r;
    before->version = fl_sql_int(row, FL_PARAMETER_VERSION);
    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++) {
        const char *text = fl_sql_text(row, texts[i].col);

        *texts[i].to = fl_arena_strdup(call->arena, text);
        if (text && !*texts[i].to)
            return fl_err_nomem(err);
    }
    return 0;
}

static int check_limit(struct fl_call *call, struct fl_err *err)
{
    struct fl_err failed = { 0 };
    int64_t n = fl_sql_scalar(call->tx, FL_SQL_parameter_count, 0, &failed, FL_T(call->account),
                              FL_T(call->region));

    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    if (n >= FL_PARAMETERS_MAX)
        return fl_err_set(err, -EINVAL, "ParameterLimitExceeded",
                          "There are %d parameters, which is as many as there can be.",
                          FL_PARAMETERS_MAX);
    return 0;
}

/* Makes room for a version more, unless that would take a labelled one away. */
static int forget_oldest(struct fl_call *call, const char *id, int64_t version, struct fl_err *err)
{
    int64_t last = version - FL_PARAMETER_VERSIONS_MAX, labels;
    struct fl_err failed = { 0 };
    int r;

    if (last < 1)
        return 0;
    labels = fl_sql_scalar(call->tx, FL_SQL_parameter_labels_up_to, 0, &failed, FL_T(call->account),
                           FL_T(call->region), FL_T(id), FL_N(last));
    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    if (labels)
        return fl_err_set(err, -EINVAL, "ParameterMaxVersionLimitExceeded",
                          "%d versions are kept, and the oldest, which would go, has a label: move "
                          "the label to another version.",
                          FL_PARAMETER_VERSIONS_MAX);
    r = fl_sql_exec(call->tx, FL_SQL_parameter_versions_forget, err, FL_T(call->account),
                    FL_T(call->region), FL_T(id), FL_N(last));
    return FL_MIN(r, 0);
}

static int write_head(struct fl_call *call, const struct put_in *req, const char *id,
                      int64_t version, struct fl_err *err)
{
    int r;

    if (version > 1) {
        r = fl_sql_exec(call->tx, FL_SQL_parameter_version_set, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id), FL_N(version));
        return r < 0 ? r : forget_oldest(call, id, version, err);
    }
    r = check_limit(call, err);
    if (r == 0)
        r = fl_sql_exec(call->tx, FL_SQL_parameter_insert, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id), FL_T(req->name));
    return r < 0 ? r : fl_tags_put(call, FL_PARAMETER_TAG_TYPE, id, req->tags, req->n_tags, err);
}

static int write_version(struct fl_call *call, const struct put_in *req, const char *id,
                         const struct version *v, struct fl_err *err)
{
    fl_autofree uint8_t *sealed = NULL;
    bool secure = strcmp(v->type, SECURE) == 0;
    size_t len = 0;
    int r = 0;

    if (secure)
        r = fl_parameter_seal(call, id, v->version, req->value, &sealed, &len, err);
    if (r == 0)
        r = fl_sql_exec(call->tx, FL_SQL_parameter_version_insert, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id), FL_N(v->version), FL_T(v->type),
                        secure ? FL_NULL : FL_T(req->value), secure ? FL_B(sealed, len) : FL_NULL,
                        FL_T(v->key_id), FL_T(v->tier), FL_T(v->data_type), FL_T(v->description),
                        FL_T(v->allowed_pattern), FL_T(v->policies), FL_N(call->now_ms),
                        FL_T(call->who->arn));
    return FL_MIN(r, 0);
}

int fl_op_put_parameter(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct put_in *req = in;
    struct put_out *res = out;
    const char *prefix = fl_parameter_arn_prefix(call), *id = fl_parameter_id(req->name);
    struct version before = { 0 }, v;
    int r = prefix ? fl_parameter_name_check(req->name, prefix, err) : fl_err_nomem(err);

    if (r < 0)
        return r;
    if (req->overwrite && req->n_tags)
        return invalid(err, "Tags and Overwrite cannot be used together: AddTagsToResource changes "
                            "the tags of a parameter.");
    r = read_before(call, id, &before, err);
    if (r < 0)
        return r;
    if (before.version && !req->overwrite)
        return fl_err_set(err, -EINVAL, "ParameterAlreadyExists",
                          "The parameter already exists. To overwrite its value, set Overwrite.");
    r = make_version(call, req, &before, &v, err);
    if (r == 0)
        r = write_head(call, req, id, v.version, err);
    if (r == 0)
        r = write_version(call, req, id, &v, err);
    if (r < 0)
        return r;
    *res = (struct put_out){ v.version, v.tier };
    return 0;
}
