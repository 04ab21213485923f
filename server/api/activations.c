/* activations.c - CreateActivation, DescribeActivations, DeleteActivation. */
#include "server/api/activations.h"

#include <errno.h>
#include <string.h>

#include "common/base/rand.h"
#include "server/api/list.h"
#include "server/api/registry.h"
#include "server/api/tags.h"
#include "server/plane.h"

#define HOUR_MS         (60 * 60 * 1000LL)
#define DEFAULT_LIFE_MS (24 * HOUR_MS)
#define MAX_LIFE_MS     (30 * 24 * HOUR_MS)
#define PAGE            50
#define FILTERS_MAX     10
#define CODE_MAC_LABEL  "fairlead activation code\n"
#define TAG_TYPE        "Activation"

/* ---- shapes ---- */
#define ROLE_LIMITS \
    {               \
        .max = 64   \
    }
#define DESCRIPTION_LIMITS \
    {                      \
        .max = 256         \
    }
#define NAME_LIMITS                           \
    {                                         \
        .max = 256, .pattern = FL_TAG_PATTERN \
    }

struct metadata {
    char *key;
    char *value;
};
static const struct fl_field metadata_fields[] = {
    FL_FIELD(struct metadata, key, "Key", FL_REQUIRED,
             .limits = { .min = 1, .max = 128, .pattern = "^(?!\\s*$).+" }),
    FL_FIELD(struct metadata, value, "Value", FL_REQUIRED,
             .limits = { .min = 1, .max = 2048, .pattern = "^(?!\\s*$).+" }),
};
static const struct fl_shape metadata_shape =
    FL_SHAPE(struct metadata, "RegistrationMetadataItem", metadata_fields);

struct create_in {
    char *description;
    char *default_name;
    char *iam_role;
    struct fl_opt_int limit;
    struct fl_time expires;
    struct fl_tag *tags;
    size_t n_tags;
    struct metadata *metadata; /* reserved by AWS: accepted and ignored */
    size_t n_metadata;
};

static const struct fl_field create_in_fields[] = {
    FL_FIELD(struct create_in, description, "Description", 0, .limits = DESCRIPTION_LIMITS),
    FL_FIELD(struct create_in, default_name, "DefaultInstanceName", 0, .limits = NAME_LIMITS),
    FL_FIELD(struct create_in, iam_role, "IamRole", FL_REQUIRED, .limits = ROLE_LIMITS),
    FL_FIELD(struct create_in, limit, "RegistrationLimit", 0, .limits = { .min = 1, .max = 1000 }),
    FL_FIELD(struct create_in, expires, "ExpirationDate", 0),
    FL_FIELD_LIST(struct create_in, tags, n_tags, "Tags", 0, &fl_tag_shape,
                  .limits = { .max = FL_TAG_LIST_MAX }),
    FL_FIELD_LIST(struct create_in, metadata, n_metadata, "RegistrationMetadata", 0,
                  &metadata_shape),
};
static const struct fl_shape create_in_shape =
    FL_SHAPE(struct create_in, "CreateActivation", create_in_fields);

struct create_out {
    char *activation_id;
    char *code;
};
static const struct fl_field create_out_fields[] = {
    FL_FIELD(struct create_out, activation_id, "ActivationId", 0),
    FL_FIELD(struct create_out, code, "ActivationCode", FL_SECRET),
};
static const struct fl_shape create_out_shape =
    FL_SHAPE(struct create_out, "CreateActivationResult", create_out_fields);

static const char *const filter_keys[] = { "ActivationIds", "DefaultInstanceName", "IamRole",
                                           NULL };
struct filter {
    char *key;
    struct fl_strs values;
};
static const struct fl_field filter_fields[] = {
    FL_FIELD(struct filter, key, "FilterKey", 0, .limits = { .enums = filter_keys }),
    FL_FIELD(struct filter, values, "FilterValues", 0),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct filter, "DescribeActivationsFilter", filter_fields);

struct describe_in {
    struct filter *filters;
    size_t n_filters;
    struct fl_opt_int max_results;
    char *next_token;
};
static const struct fl_field describe_in_fields[] = {
    FL_FIELD_LIST(struct describe_in, filters, n_filters, "Filters", 0, &filter_shape),
    FL_FIELD(struct describe_in, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 50 }),
    FL_FIELD(struct describe_in, next_token, "NextToken", 0),
};
static const struct fl_shape describe_in_shape =
    FL_SHAPE(struct describe_in, "DescribeActivations", describe_in_fields);

struct activation {
    char *activation_id;
    char *description;
    char *default_name;
    char *iam_role;
    int32_t limit;
    int32_t registrations;
    struct fl_time expires;
    bool expired;
    struct fl_time created;
    struct fl_tag *tags;
    size_t n_tags;
};
#define F(member, key, flags) FL_FIELD(struct activation, member, key, flags)
static const struct fl_field activation_fields[] = {
    F(activation_id, "ActivationId", 0),
    F(description, "Description", 0),
    F(default_name, "DefaultInstanceName", 0),
    F(iam_role, "IamRole", 0),
    F(limit, "RegistrationLimit", 0),
    F(registrations, "RegistrationsCount", 0),
    F(expires, "ExpirationDate", 0),
    F(expired, "Expired", 0),
    F(created, "CreatedDate", 0),
    FL_FIELD_LIST(struct activation, tags, n_tags, "Tags", 0, &fl_tag_shape),
};
#undef F
static const struct fl_shape activation_shape =
    FL_SHAPE(struct activation, "Activation", activation_fields);

struct describe_out {
    struct activation *list;
    size_t n_list;
    char *next_token;
};
static const struct fl_field describe_out_fields[] = {
    FL_FIELD_LIST(struct describe_out, list, n_list, "ActivationList", FL_ALWAYS,
                  &activation_shape),
    FL_FIELD(struct describe_out, next_token, "NextToken", 0),
};
static const struct fl_shape describe_out_shape =
    FL_SHAPE(struct describe_out, "DescribeActivationsResult", describe_out_fields);

/* No pattern: an id of the wrong form is InvalidActivationId too (protocol 6 §3.1). */
struct delete_in {
    char *activation_id;
};
static const struct fl_field delete_in_fields[] = {
    FL_FIELD(struct delete_in, activation_id, "ActivationId", FL_REQUIRED),
};
static const struct fl_shape delete_in_shape =
    FL_SHAPE(struct delete_in, "DeleteActivation", delete_in_fields);

/* ---- activations.h ---- */
static const struct fl_field secret_fields[] = {
    FL_FIELD(struct fl_activation, code_mac, "CodeMac", FL_SECRET),
    FL_FIELD(struct fl_activation, iam_role, "IamRole", 0),
    FL_FIELD(struct fl_activation, default_name, "DefaultInstanceName", 0),
    FL_FIELD(struct fl_activation, expires, "ExpirationDate", 0),
};
static const struct fl_shape secret_shape =
    FL_SHAPE(struct fl_activation, "activation_secret", secret_fields);

int fl_activation_find(struct fl_call *call, const char *activation_id, struct fl_activation *ret,
                       struct fl_err *err)
{
    return fl_sql_one(call->tx, FL_SQL_activation_secret, &secret_shape, call->arena, ret, err,
                      FL_T(call->account), FL_T(call->region), FL_T(activation_id));
}

void fl_activation_code_mac(const struct fl_plane *plane, const char *activation_id,
                            const char *code, char *out)
{
    uint8_t root[FL_SHA256_BYTES], key[FL_SHA256_BYTES], mac[FL_SHA256_BYTES];

    /* a key of its own for each activation, so that the two inputs cannot run into each other */
    fl_hmac_sha256(plane->seal_key, sizeof(plane->seal_key), CODE_MAC_LABEL, strlen(CODE_MAC_LABEL),
                   root);
    fl_hmac_sha256(root, sizeof(root), activation_id, strlen(activation_id), key);
    fl_hmac_sha256(key, sizeof(key), code, strlen(code), mac);
    fl_hex_encode(mac, sizeof(mac), out);
    fl_wipe(root, sizeof(root));
    fl_wipe(key, sizeof(key));
}

/* ---- CreateActivation ---- */

/* 20 characters of the base64 alphabet, as AWS makes them: 120 random bits. */
static void make_code(char out[FL_ACTIVATION_CODE_CHARS + 1])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t bytes[FL_ACTIVATION_CODE_CHARS];

    fl_random_bytes(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        out[i] = alphabet[bytes[i] & 63];
    out[sizeof(bytes)] = '\0';
    fl_wipe(bytes, sizeof(bytes));
}

static int check_create(struct fl_call *call, const struct create_in *req, struct fl_err *err)
{
    if (!req->iam_role[0])
        return fl_err_set(err, -EINVAL, "InvalidParameters", "IamRole is empty");
    if (req->expires.ms && req->expires.ms <= call->now_ms)
        return fl_err_set(err, -EINVAL, "InvalidParameters", "ExpirationDate is in the past");
    if (req->expires.ms > call->now_ms + MAX_LIFE_MS)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "ExpirationDate is more than 30 days ahead");
    if (req->n_tags > FL_TAGS_MAX)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Tags: a node can have at most %d of them", FL_TAGS_MAX);
    return 0;
}

static const char *nonempty(const char *s)
{
    return s && s[0] ? s : NULL;
}

static int op_create(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct create_in *req = in;
    struct create_out *res = out;
    char code[FL_ACTIVATION_CODE_CHARS + 1], mac[FL_SHA256_HEX_BYTES], id[FL_UUID_BYTES];
    int r = check_create(call, req, err);

    if (r < 0)
        return r;
    fl_uuid4(id);
    make_code(code);
    fl_activation_code_mac(call->plane, id, code, mac);
    res->activation_id = fl_arena_strdup(call->arena, id);
    res->code = fl_arena_strdup(call->arena, code);
    fl_wipe(code, sizeof(code));
    if (!res->activation_id || !res->code)
        return fl_err_nomem(err);

    r = fl_sql_exec(call->tx, FL_SQL_activation_insert, err, FL_T(id), FL_T(call->account),
                    FL_T(call->region), FL_T(mac), FL_T(req->iam_role),
                    FL_T(nonempty(req->description)), FL_T(nonempty(req->default_name)),
                    FL_N(req->limit.set ? req->limit.v : 1),
                    FL_N(req->expires.ms ? req->expires.ms : call->now_ms + DEFAULT_LIFE_MS),
                    FL_N(call->now_ms));
    if (r < 0)
        return r;
    return fl_tags_put(call, TAG_TYPE, id, req->tags, req->n_tags, err);
}

/* ---- DescribeActivations ---- */
static bool meets(const struct describe_in *req, const struct activation *a)
{
    for (size_t i = 0; i < req->n_filters; i++) {
        const struct filter *f = &req->filters[i];
        const char *text = strcmp(f->key, "ActivationIds") == 0 ? a->activation_id
                           : strcmp(f->key, "IamRole") == 0     ? a->iam_role
                                                                : a->default_name;
        bool found = false;

        for (size_t v = 0; text && v < f->values.n && !found; v++)
            found = strcmp(text, f->values.v[v]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static int check_filters(const struct describe_in *req, struct fl_err *err)
{
    if (req->n_filters > FILTERS_MAX)
        return fl_err_set(err, -EINVAL, "InvalidFilter", "At most %d filters are allowed",
                          FILTERS_MAX);
    for (size_t i = 0; i < req->n_filters; i++)
        if (!req->filters[i].key || req->filters[i].values.n == 0)
            return fl_err_set(err, -EINVAL, "InvalidFilter",
                              "A filter needs FilterKey and at least one of FilterValues");
    return 0;
}

/* Reads the row into a scratch arena first: most rows of a filtered listing are not kept. */
static int describe_row(struct fl_call *call, struct fl_cursor *row, const struct describe_in *req,
                        struct activation *a, struct fl_err *err)
{
    fl_autoarena struct fl_arena scratch = { 0 };
    int r;

    if (req->n_filters > 0) {
        fl_arena_init(&scratch, 64 * 1024);
        r = fl_sql_row(row, &activation_shape, &scratch, a, err);
        if (r < 0)
            return r;
        if (!meets(req, a))
            return 0;
        memset(a, 0, sizeof(*a));
    }
    r = fl_sql_row(row, &activation_shape, call->arena, a, err);
    if (r < 0)
        return r;
    a->expired = a->expires.ms <= call->now_ms;
    r = fl_tags_list(call, TAG_TYPE, a->activation_id, &a->tags, &a->n_tags, err);
    return r < 0 ? r : 1;
}

static int op_describe(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct describe_in *req = in;
    struct describe_out *res = out;
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->max_results.set ? (size_t)req->max_results.v : PAGE;
    char *after = NULL;
    int r = check_filters(req, err);

    if (r == 0)
        r = fl_page_token_decode(call, "DescribeActivations", req->next_token, &after, err);
    if (r < 0)
        return r;
    res->list = fl_arena_calloc(call->arena, max + 1, sizeof(*res->list));
    if (!res->list)
        return fl_err_nomem(err);
    r = fl_sql_open(call->tx, FL_SQL_activation_page, &row, err, FL_T(call->account),
                    FL_T(call->region), FL_T(after ? after : ""));
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        r = describe_row(call, row, req, &res->list[res->n_list], err);
        if (r <= 0)
            continue;
        if (res->n_list == max) {
            res->next_token =
                fl_page_token_encode(call, "DescribeActivations", res->list[max - 1].activation_id);
            return res->next_token ? 0 : fl_err_nomem(err);
        }
        res->n_list++;
    }
    return r < 0 ? r : 0;
}

/* ---- DeleteActivation ---- */
static int op_delete(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct delete_in *req = in;
    int r;

    r = fl_sql_exec(call->tx, FL_SQL_activation_delete, err, FL_T(call->account),
                    FL_T(call->region), FL_T(req->activation_id));
    if (r < 0)
        return r;
    if (r == 0)
        return fl_err_set(err, -EINVAL, "InvalidActivationId",
                          "The activation ID \"%s\" is not valid", req->activation_id);
    return fl_tags_drop(call, TAG_TYPE, req->activation_id, err);
}

static const struct fl_op ops[] = {
    { "CreateActivation", &create_in_shape, &create_out_shape, op_create, FL_LANE_WRITE,
      FL_AUTH_SIGV4, NULL },
    { "DescribeActivations", &describe_in_shape, &describe_out_shape, op_describe, FL_LANE_READ,
      FL_AUTH_SIGV4, NULL },
    { "DeleteActivation", &delete_in_shape, &fl_shape_empty, op_delete, FL_LANE_WRITE,
      FL_AUTH_SIGV4, NULL },
};

const struct fl_op_table fl_ops_activations = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
