/* kms.c - the kms subset (protocol 6 §1.6): keys and aliases, the table, who may. */
#include "server/api/kms.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/api/registry.h"
#include "server/api/tags.h"
#include "server/plane.h"

#define PAGE         100
#define KEYS_MAX     1000 /* of an account */
#define ALIAS_PREFIX "alias/"
#define KEY_AAD      "kms key %s"

/* ---- shapes ---- */

struct key_in {
    char *key_id, *description, *alias, *marker, *usage, *spec;
    struct fl_opt_int limit;
};
#define T          struct key_in
#define KEY(flags) FL_FIELD(T, key_id, "KeyId", flags, .limits = FL_KMS_KEY_LIMITS)
#define ALIAS                                    \
    FL_FIELD(T, alias, "AliasName", FL_REQUIRED, \
             .limits = { .min = 1, .max = 256, .pattern = "alias/[a-zA-Z0-9/_-]+" })
#define PAGES                                                            \
    FL_FIELD(T, limit, "Limit", 0, .limits = { .min = 1, .max = 1000 }), \
        FL_FIELD(T, marker, "Marker", 0, .limits = { .min = 1, .max = 1024 })
static const char *const usages[] = { "ENCRYPT_DECRYPT", NULL };
static const char *const specs[] = { "SYMMETRIC_DEFAULT", NULL };
static const struct fl_field create_fields[] = {
    FL_FIELD(T, description, "Description", 0, .limits = { .max = 8192 }),
    FL_FIELD(T, usage, "KeyUsage", 0, .limits = { .enums = usages }),
    FL_FIELD(T, spec, "KeySpec", 0, .limits = { .enums = specs }),
};
static const struct fl_field key_fields[] = { KEY(FL_REQUIRED) };
static const struct fl_field page_fields[] = { PAGES };
static const struct fl_field alias_fields[] = { ALIAS };
static const struct fl_field alias_key_fields[] = {
    ALIAS, FL_FIELD(T, key_id, "TargetKeyId", FL_REQUIRED, .limits = FL_KMS_KEY_LIMITS)
};
static const struct fl_field aliases_fields[] = { KEY(0), PAGES };
static const struct fl_shape create_shape = FL_SHAPE(T, "CreateKey", create_fields);
static const struct fl_shape key_shape = FL_SHAPE(T, "Key", key_fields);
static const struct fl_shape page_shape = FL_SHAPE(T, "ListKeys", page_fields);
static const struct fl_shape alias_shape = FL_SHAPE(T, "DeleteAlias", alias_fields);
static const struct fl_shape alias_key_shape = FL_SHAPE(T, "CreateAlias", alias_key_fields);
static const struct fl_shape aliases_shape = FL_SHAPE(T, "ListAliases", aliases_fields);
#undef T

struct metadata {
    char *account, *key_id, *arn, *description;
    const char *usage, *state, *origin, *manager, *spec;
    struct fl_time created;
    bool enabled;
};
#define F(member, key) FL_FIELD(struct metadata, member, key, FL_ALWAYS)
static const struct fl_field metadata_fields[] = {
    F(account, "AWSAccountId"), F(key_id, "KeyId"),    F(arn, "Arn"),
    F(created, "CreationDate"), F(enabled, "Enabled"), F(description, "Description"),
    F(usage, "KeyUsage"),       F(state, "KeyState"),  F(origin, "Origin"),
    F(manager, "KeyManager"),   F(spec, "KeySpec"),
};
#undef F
static const struct fl_shape metadata_shape =
    FL_SHAPE(struct metadata, "KeyMetadata", metadata_fields);

struct key_out {
    struct metadata *metadata;
};
static const struct fl_field key_out_fields[] = {
    FL_FIELD_STRUCT(struct key_out, metadata, "KeyMetadata", 0, &metadata_shape),
};
static const struct fl_shape key_out_shape = FL_SHAPE(struct key_out, "KeyResult", key_out_fields);

/* A key or an alias in a list. */
struct entry {
    char *key_id, *arn, *alias;
    struct fl_time created;
};
#define F(member, key) FL_FIELD(struct entry, member, key, 0)
static const struct fl_field key_entry_fields[] = { F(key_id, "KeyId"), F(arn, "KeyArn") };
static const struct fl_field alias_entry_fields[] = {
    F(alias, "AliasName"),
    F(arn, "AliasArn"),
    F(key_id, "TargetKeyId"),
    F(created, "CreationDate"),
};
#undef F
static const struct fl_shape key_entry_shape = FL_SHAPE(struct entry, "Key", key_entry_fields);
static const struct fl_shape alias_entry_shape =
    FL_SHAPE(struct entry, "Alias", alias_entry_fields);

struct list_out {
    struct entry *v;
    size_t n;
    char *marker;
    bool truncated;
};
#define LIST(name, shape)                                                \
    {                                                                    \
        FL_FIELD_LIST(struct list_out, v, n, name, FL_ALWAYS, shape),    \
            FL_FIELD(struct list_out, marker, "NextMarker", 0),          \
            FL_FIELD(struct list_out, truncated, "Truncated", FL_ALWAYS) \
    }
static const struct fl_field keys_out_fields[] = LIST("Keys", &key_entry_shape);
static const struct fl_field aliases_out_fields[] = LIST("Aliases", &alias_entry_shape);
static const struct fl_shape keys_out_shape =
    FL_SHAPE(struct list_out, "ListKeysResult", keys_out_fields);
static const struct fl_shape aliases_out_shape =
    FL_SHAPE(struct list_out, "ListAliasesResult", aliases_out_fields);

/* ---- names ---- */

static char *arn_of(struct fl_call *call, const char *what)
{
    return fl_arena_printf(call->arena, "arn:aws:kms:%s:%s:%s", call->region, call->account, what);
}

char *fl_kms_key_arn(struct fl_call *call, const char *id)
{
    return fl_arena_printf(call->arena, "arn:aws:kms:%s:%s:key/%s", call->region, call->account,
                           id);
}

static int not_found(const char *what, const char *name, struct fl_err *err)
{
    return fl_err_set(err, -ENOENT, "NotFoundException", "%s '%.256s' does not exist", what, name);
}

int fl_kms_key_resolve(struct fl_call *call, const char *name, char ret_id[FL_UUID_BYTES],
                       struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    const char *prefix = arn_of(call, "");
    const char *what = name;
    int r;

    if (!prefix)
        return fl_err_nomem(err);
    if (strncmp(name, prefix, strlen(prefix)) == 0) {
        what = name + strlen(prefix);
        if (strncmp(what, "key/", 4) == 0)
            what += 4;
    }
    if (fl_uuid_valid(what)) {
        memcpy(ret_id, what, FL_UUID_BYTES);
        return 0;
    }
    if (strncmp(what, ALIAS_PREFIX, strlen(ALIAS_PREFIX)) != 0)
        return not_found("Key", name, err);
    r = fl_sql_open(call->tx, FL_SQL_kms_alias_get, &row, err, FL_T(call->account),
                    FL_T(call->region), FL_T(what));
    if (r >= 0)
        r = fl_sql_next(row, err);
    if (r < 0)
        return r;
    if (r == 0)
        return not_found("Alias", name, err);
    snprintf(ret_id, FL_UUID_BYTES, "%s", fl_sql_text(row, 0));
    return 0;
}

int fl_kms_resource(struct fl_call *call, const char *id, struct fl_resources *ret,
                    struct fl_err *err)
{
    char *arn = fl_kms_key_arn(call, id);

    return arn ? fl_resources_add(call, ret, arn, "Key", id, err) : fl_err_nomem(err);
}

/* Every request but those for lists begins with the key. One that does not exist is asked about by
 * the name it was given. */
static int key_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                        struct fl_err *err)
{
    const char *name = *(char *const *)in;
    char id[FL_UUID_BYTES];
    int r = fl_kms_key_resolve(call, name, id, NULL);

    if (r < 0 && r != -ENOENT)
        return fl_err_set(err, r, NULL, "the key cannot be looked up");
    return fl_kms_resource(call, r < 0 ? name : id, ret, err);
}

static int alias_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                          struct fl_err *err)
{
    const struct key_in *req = in;
    char *arn = arn_of(call, req->alias);

    return arn ? fl_resources_add(call, ret, arn, "Alias", req->alias, err) : fl_err_nomem(err);
}

/* An alias and the key that it is to name. */
static int alias_key_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                              struct fl_err *err)
{
    int r = alias_resource(call, in, ret, err);

    return r < 0 ? r : key_resource(call, in, ret, err);
}

/* ---- keys ---- */

static int open_row(struct fl_call *call, const char *id, struct fl_cursor **ret_row,
                    struct fl_err *err)
{
    int r = fl_sql_open(call->tx, FL_SQL_kms_key_get, ret_row, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id));

    if (r >= 0)
        r = fl_sql_next(*ret_row, err);
    return r != 0 ? FL_MIN(r, 0) : not_found("Key", fl_kms_key_arn(call, id), err);
}

int fl_kms_key_open(struct fl_call *call, const char *id, uint8_t ret_key[FL_SEAL_KEY_BYTES],
                    struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    char aad[FL_UUID_BYTES + sizeof(KEY_AAD)];
    uint8_t *plain = NULL;
    const void *sealed;
    size_t len, plain_len = 0;
    int r = open_row(call, id, &row, err);

    if (r < 0)
        return r;
    if (!fl_sql_int(row, 3))
        return fl_err_set(err, -EPERM, "DisabledException", "%s is disabled.",
                          fl_kms_key_arn(call, id));
    snprintf(aad, sizeof(aad), KEY_AAD, id);
    sealed = fl_sql_blob(row, 4, &len);
    r = fl_unseal(call->plane->seal_key, aad, sealed, len, &plain, &plain_len);
    if (r == 0 && plain_len != FL_SEAL_KEY_BYTES)
        r = -EBADMSG;
    if (r == 0)
        memcpy(ret_key, plain, FL_SEAL_KEY_BYTES);
    fl_free_secret(plain, plain_len);
    return r < 0 ? fl_err_set(err, r, NULL, "key %s cannot be opened with the plane's key", id) : 0;
}

static int describe(struct fl_call *call, const char *id, struct key_out *res, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    struct metadata *m = fl_arena_calloc(call->arena, 1, sizeof(*m));
    int r = m ? open_row(call, id, &row, err) : fl_err_nomem(err);

    if (r < 0)
        return r;
    *m = (struct metadata){ .account = fl_arena_strdup(call->arena, call->account),
                            .key_id = fl_arena_strdup(call->arena, id),
                            .arn = fl_kms_key_arn(call, id),
                            .description = fl_arena_strdup(call->arena, fl_sql_text(row, 2)),
                            .usage = usages[0],
                            .state = fl_sql_int(row, 3) ? "Enabled" : "Disabled",
                            .origin = "AWS_KMS",
                            .manager = "CUSTOMER",
                            .spec = specs[0],
                            .created = { fl_sql_int(row, 1) },
                            .enabled = fl_sql_int(row, 3) };
    res->metadata = m;
    return m->account && m->key_id && m->arn && m->description ? 0 : fl_err_nomem(err);
}

static int op_create_key(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct key_in *req = in;
    fl_autofree uint8_t *sealed = NULL;
    char id[FL_UUID_BYTES], aad[FL_UUID_BYTES + sizeof(KEY_AAD)];
    uint8_t key[FL_SEAL_KEY_BYTES];
    struct fl_err failed = { 0 };
    const struct fl_sql_arg whose[] = { FL_T(call->account), FL_T(call->region) };
    size_t len;
    int r;

    if (fl_sql_scalar_v(call->tx, FL_SQL_kms_key_count, whose, 2, 0, &failed) >= KEYS_MAX)
        return fl_err_set(err, -EDQUOT, "LimitExceededException", "There are %d keys already.",
                          KEYS_MAX);
    if (failed.code < 0)
        return fl_err_set(err, failed.code, NULL, "%s", failed.text);
    fl_uuid4(id);
    snprintf(aad, sizeof(aad), KEY_AAD, id);
    fl_random_bytes(key, sizeof(key));
    r = fl_seal(call->plane->seal_key, aad, key, sizeof(key), &sealed, &len);
    fl_wipe(key, sizeof(key));
    if (r < 0)
        return fl_err_nomem(err);
    r = fl_sql_exec(call->tx, FL_SQL_kms_key_add, err, FL_T(call->account), FL_T(call->region),
                    FL_T(id), FL_N(call->now_ms), FL_T(req->description ? req->description : ""),
                    FL_B(sealed, len));
    return r < 0 ? r : describe(call, id, out, err);
}

static int op_describe_key(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct key_in *req = in;
    char id[FL_UUID_BYTES];
    int r = fl_kms_key_resolve(call, req->key_id, id, err);

    return r < 0 ? r : describe(call, id, out, err);
}

static int set_enabled(struct fl_call *call, const struct key_in *req, bool on, struct fl_err *err)
{
    char id[FL_UUID_BYTES];
    int r = fl_kms_key_resolve(call, req->key_id, id, err);

    if (r >= 0)
        r = fl_sql_exec(call->tx, FL_SQL_kms_key_enable, err, FL_T(call->account),
                        FL_T(call->region), FL_T(id), FL_N(on));
    return r == 0 ? not_found("Key", req->key_id, err) : FL_MIN(r, 0);
}

static int op_enable_key(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    return set_enabled(call, in, true, err);
}

static int op_disable_key(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    return set_enabled(call, in, false, err);
}

/* ---- aliases ---- */

static int op_create_alias(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct key_in *req = in;
    struct key_out there;
    char id[FL_UUID_BYTES];
    int r = fl_kms_key_resolve(call, req->key_id, id, err);

    if (strncmp(req->alias, ALIAS_PREFIX "aws/", strlen(ALIAS_PREFIX "aws/")) == 0)
        return fl_err_set(err, -EINVAL, "InvalidAliasNameException",
                          "Aliases that begin with " ALIAS_PREFIX "aws/ are reserved.");
    if (r >= 0)
        r = describe(call, id, &there, err);
    if (r < 0)
        return r;
    r = fl_sql_exec(call->tx, FL_SQL_kms_alias_add, err, FL_T(call->account), FL_T(call->region),
                    FL_T(req->alias), FL_T(id), FL_N(call->now_ms));
    return r == -EEXIST
               ? fl_err_set(err, r, "AlreadyExistsException",
                            "An alias with the name %s already exists", arn_of(call, req->alias))
               : FL_MIN(r, 0);
}

static int op_delete_alias(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct key_in *req = in;
    int r = fl_sql_exec(call->tx, FL_SQL_kms_alias_delete, err, FL_T(call->account),
                        FL_T(call->region), FL_T(req->alias));

    return r == 0 ? not_found("Alias", req->alias, err) : FL_MIN(r, 0);
}

/* ---- lists ---- */

/* A list of keys, or of aliases. */
struct kind {
    const char *op;
    enum fl_sql page;
    bool aliases;
};
static const struct kind keys_kind = { "ListKeys", FL_SQL_kms_key_page, false };
static const struct kind aliases_kind = { "ListAliases", FL_SQL_kms_alias_page, true };

static int take_entry(struct fl_call *call, const struct kind *kind, struct fl_cursor *row,
                      struct entry *e, struct fl_err *err)
{
    e->key_id = fl_arena_strdup(call->arena, fl_sql_text(row, kind->aliases ? 1 : 0));
    if (kind->aliases) {
        e->alias = fl_arena_strdup(call->arena, fl_sql_text(row, 0));
        e->arn = e->alias ? arn_of(call, e->alias) : NULL;
        e->created.ms = fl_sql_int(row, 2);
    } else if (e->key_id) {
        e->arn = fl_kms_key_arn(call, e->key_id);
    }
    return e->key_id && e->arn ? 0 : fl_err_nomem(err);
}

static int list(struct fl_call *call, const struct kind *kind, const struct key_in *req,
                struct list_out *res, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *row = NULL;
    size_t max = req->limit.set ? (size_t)req->limit.v : PAGE;
    char id[FL_UUID_BYTES] = "";
    char *after = NULL;
    int r = fl_page_token_decode(call, kind->op, req->marker, &after, err);

    if (r == -EINVAL)
        return fl_err_set(err, r, "InvalidMarkerException", "The marker is not valid.");
    if (r < 0)
        return r;
    if (req->key_id)
        r = fl_kms_key_resolve(call, req->key_id, id, err);
    if (r < 0)
        return r;
    res->v = fl_arena_calloc(call->arena, max, sizeof(*res->v));
    if (!res->v)
        return fl_err_nomem(err);
    r = kind->aliases
            ? fl_sql_open(call->tx, kind->page, &row, err, FL_T(call->account), FL_T(call->region),
                          FL_T(after ? after : ""), FL_T(id), FL_N((int64_t)max + 1))
            : fl_sql_open(call->tx, kind->page, &row, err, FL_T(call->account), FL_T(call->region),
                          FL_T(after ? after : ""), FL_N((int64_t)max + 1));
    while (r >= 0 && (r = fl_sql_next(row, err)) > 0) {
        const struct entry *last = res->n ? &res->v[res->n - 1] : NULL;

        if (res->n == max) {
            res->truncated = true;
            res->marker =
                fl_page_token_encode(call, kind->op, kind->aliases ? last->alias : last->key_id);
            return res->marker ? 0 : fl_err_nomem(err);
        }
        r = take_entry(call, kind, row, &res->v[res->n++], err);
    }
    return FL_MIN(r, 0);
}

static int op_list_keys(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    return list(call, &keys_kind, in, out, err);
}

static int op_list_aliases(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    return list(call, &aliases_kind, in, out, err);
}

/* clang-format off */
static const struct fl_op ops[] = {
    { "CreateAlias", &alias_key_shape, &fl_shape_empty, op_create_alias, FL_LANE_WRITE, FL_AUTH_SIGV4, alias_key_resource },
    { "CreateKey", &create_shape, &key_out_shape, op_create_key, FL_LANE_WRITE, FL_AUTH_SIGV4, NULL },
    { "Decrypt", &fl_kms_decrypt_in, &fl_kms_decrypt_out, fl_op_kms_decrypt, FL_LANE_READ, FL_AUTH_SIGV4, fl_kms_decrypt_resource },
    { "DeleteAlias", &alias_shape, &fl_shape_empty, op_delete_alias, FL_LANE_WRITE, FL_AUTH_SIGV4, alias_resource },
    { "DescribeKey", &key_shape, &key_out_shape, op_describe_key, FL_LANE_READ, FL_AUTH_SIGV4, key_resource },
    { "DisableKey", &key_shape, &fl_shape_empty, op_disable_key, FL_LANE_WRITE, FL_AUTH_SIGV4, key_resource },
    { "EnableKey", &key_shape, &fl_shape_empty, op_enable_key, FL_LANE_WRITE, FL_AUTH_SIGV4, key_resource },
    { "Encrypt", &fl_kms_encrypt_in, &fl_kms_encrypt_out, fl_op_kms_encrypt, FL_LANE_READ, FL_AUTH_SIGV4, key_resource },
    { "GenerateDataKey", &fl_kms_data_key_in, &fl_kms_data_key_out, fl_op_kms_data_key, FL_LANE_READ, FL_AUTH_SIGV4, key_resource },
    { "ListAliases", &aliases_shape, &aliases_out_shape, op_list_aliases, FL_LANE_READ, FL_AUTH_SIGV4, NULL },
    { "ListKeys", &page_shape, &keys_out_shape, op_list_keys, FL_LANE_READ, FL_AUTH_SIGV4, NULL },
};
/* clang-format on */
const struct fl_op_table fl_ops_kms = { "kms", "TrentService.", ops, FL_ARRAY_LEN(ops) };
