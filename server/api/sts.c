/* sts.c - GetCallerIdentity, AssumeRole, GetSessionToken (protocol 6 §1.6, "sts"). */
#include "server/api/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/auth/policy.h"
#include "server/auth/token.h"

#define ASSUME_DEFAULT_S  3600
#define SESSION_DEFAULT_S 43200
#define POLICY_MAX_CHARS  2048

/* ---- shapes ---- */

struct identity_out {
    char *user_id;
    char *account;
    char *arn;
};
#define F(member, key, flags, ...) \
    FL_FIELD(struct identity_out, member, key, flags __VA_OPT__(, ) __VA_ARGS__)
static const struct fl_field identity_out_fields[] = {
    F(arn, "Arn", 0),
    F(user_id, "UserId", 0),
    F(account, "Account", 0),
};
#undef F
static const struct fl_shape identity_out_shape =
    FL_SHAPE(struct identity_out, "GetCallerIdentity", identity_out_fields);

struct credentials {
    char *access_key_id;
    char *secret_access_key;
    char *session_token;
    struct fl_time expiration;
};
#define F(member, key, flags) FL_FIELD(struct credentials, member, key, flags)
static const struct fl_field credentials_fields[] = {
    F(access_key_id, "AccessKeyId", 0),
    F(secret_access_key, "SecretAccessKey", FL_SECRET),
    F(session_token, "SessionToken", FL_SECRET),
    F(expiration, "Expiration", 0),
};
#undef F
static const struct fl_shape credentials_shape =
    FL_SHAPE(struct credentials, "Credentials", credentials_fields);

struct assumed_user {
    char *id;
    char *arn;
};
static const struct fl_field assumed_user_fields[] = {
    FL_FIELD(struct assumed_user, id, "AssumedRoleId", 0),
    FL_FIELD(struct assumed_user, arn, "Arn", 0),
};
static const struct fl_shape assumed_user_shape =
    FL_SHAPE(struct assumed_user, "AssumedRoleUser", assumed_user_fields);

struct assume_in {
    char *role_arn;
    char *session_name;
    struct fl_opt_int duration_s;
    char *policy;
    char *external_id;
};
#define F(member, key, flags, ...) \
    FL_FIELD(struct assume_in, member, key, flags __VA_OPT__(, ) __VA_ARGS__)
static const struct fl_field assume_in_fields[] = {
    F(role_arn, "RoleArn", FL_REQUIRED, .limits = { .min = 20, .max = 2048 }),
    F(session_name, "RoleSessionName", FL_REQUIRED,
      .limits = { .min = 2, .max = 64, .pattern = "[\\w+=,.@-]*" }),
    F(duration_s, "DurationSeconds", 0, .limits = { .min = 900, .max = 43200 }),
    F(policy, "Policy", 0, .limits = { .min = 1, .max = POLICY_MAX_CHARS }),
    F(external_id, "ExternalId", 0, .limits = { .min = 2, .max = 1224 }),
};
#undef F
static const struct fl_shape assume_in_shape =
    FL_SHAPE(struct assume_in, "AssumeRole", assume_in_fields);

struct assume_out {
    struct credentials *credentials;
    struct assumed_user *user;
    struct fl_opt_int packed_policy_percent;
};
static const struct fl_field assume_out_fields[] = {
    FL_FIELD_STRUCT(struct assume_out, credentials, "Credentials", 0, &credentials_shape),
    FL_FIELD_STRUCT(struct assume_out, user, "AssumedRoleUser", 0, &assumed_user_shape),
    FL_FIELD(struct assume_out, packed_policy_percent, "PackedPolicySize", 0),
};
static const struct fl_shape assume_out_shape =
    FL_SHAPE(struct assume_out, "AssumeRole", assume_out_fields);

struct session_in {
    struct fl_opt_int duration_s;
    char *serial_number;
    char *token_code;
};
static const struct fl_field session_in_fields[] = {
    FL_FIELD(struct session_in, duration_s, "DurationSeconds", 0,
             .limits = { .min = 900, .max = 129600 }),
    FL_FIELD(struct session_in, serial_number, "SerialNumber", 0,
             .limits = { .min = 9, .max = 256 }),
    FL_FIELD(struct session_in, token_code, "TokenCode", FL_SECRET,
             .limits = { .min = 6, .max = 6 }),
};
static const struct fl_shape session_in_shape =
    FL_SHAPE(struct session_in, "GetSessionToken", session_in_fields);

struct session_out {
    struct credentials *credentials;
};
static const struct fl_field session_out_fields[] = {
    FL_FIELD_STRUCT(struct session_out, credentials, "Credentials", 0, &credentials_shape),
};
static const struct fl_shape session_out_shape =
    FL_SHAPE(struct session_out, "GetSessionToken", session_out_fields);

struct role_row {
    char *name;
    char *id;
    char *trust;
};
static const struct fl_field role_row_fields[] = {
    FL_FIELD(struct role_row, name, "RoleName", 0),
    FL_FIELD(struct role_row, id, "RoleId", 0),
    FL_FIELD(struct role_row, trust, "Trust", 0),
};
static const struct fl_shape role_row_shape = FL_SHAPE(struct role_row, "Role", role_row_fields);

/* ---- handlers ---- */

static int op_identity(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    struct identity_out *o = out;

    o->user_id = (char *)call->who->user_id;
    o->account = (char *)call->who->account;
    o->arn = (char *)call->who->arn;
    return 0;
}

static struct credentials *credentials_out(struct fl_call *call, const struct fl_credentials *c)
{
    struct credentials *out = fl_arena_alloc(call->arena, sizeof(*out));

    if (out)
        *out = (struct credentials){ .access_key_id = c->access_key_id,
                                     .secret_access_key = c->secret_access_key,
                                     .session_token = c->session_token,
                                     .expiration = { c->expires_ms } };
    return out;
}

/* The name in "arn:aws:iam::<account>:role/[path/]<name>", or NULL for anything else. */
static const char *role_name(struct fl_call *call, const char *arn)
{
    char prefix[64];
    int n = snprintf(prefix, sizeof(prefix), "arn:aws:iam::%s:role/", call->account);
    const char *slash;

    if (strncmp(arn, prefix, (size_t)n) != 0)
        return NULL;
    slash = strrchr(arn, '/');
    return slash[1] ? slash + 1 : NULL;
}

static int assume_denied(struct fl_call *call, const struct assume_in *i, struct fl_err *err)
{
    return fl_err_set(err, -EACCES, "AccessDeniedException",
                      "User: %s is not authorized to perform: sts:AssumeRole on resource: %s",
                      call->who->arn, i->role_arn);
}

/* The role's trust policy must name the caller. */
static int check_trust(struct fl_call *call, const struct assume_in *i, const struct role_row *role,
                       struct fl_err *err)
{
    const struct fl_policy_request req = {
        .action = "sts:AssumeRole",
        .resource = i->role_arn,
        .source_ip = call->who->source_ip,
        .username = call->who->kind == FL_ID_USER ? call->who->name : NULL,
        .principal = call->who->arn,
        .account = call->who->account,
    };
    const struct fl_policy *trust;
    int r = fl_policy_parse(role->trust, strlen(role->trust), FL_POLICY_TRUST, call->arena, &trust,
                            err);

    if (r < 0)
        return r;
    return fl_policy_eval(trust, &req) == FL_VERDICT_ALLOW ? 0 : assume_denied(call, i, err);
}

static int check_session_policy(struct fl_call *call, const char *text, struct fl_err *err)
{
    const struct fl_policy *parsed;

    return text ? fl_policy_parse(text, strlen(text), FL_POLICY_IDENTITY, call->arena, &parsed, err)
                : 0;
}

static int op_assume_role(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct assume_in *i = in;
    struct assume_out *o = out;
    const char *name = role_name(call, i->role_arn);
    int64_t life_s = i->duration_s.set ? i->duration_s.v : ASSUME_DEFAULT_S;
    struct fl_credentials creds;
    struct role_row role;
    int r;

    if (!name)
        return assume_denied(call, i, err);
    r = fl_sql_one(call->tx, FL_SQL_role_get, &role_row_shape, call->arena, &role, err,
                   FL_T(call->account), FL_T(name));
    if (r < 0)
        return r;
    if (r == 0) /* AWS does not tell a missing role from a closed one */
        return assume_denied(call, i, err);
    r = check_trust(call, i, &role, err);
    if (r >= 0)
        r = check_session_policy(call, i->policy, err);
    if (r >= 0)
        r = fl_token_issue_role(call, role.name, role.id, i->session_name, i->policy, life_s * 1000,
                                &creds, err);
    if (r < 0)
        return r;

    o->credentials = credentials_out(call, &creds);
    o->user = fl_arena_alloc(call->arena, sizeof(*o->user));
    if (!o->credentials || !o->user)
        return fl_err_nomem(err);
    o->user->id = fl_arena_printf(call->arena, "%s:%s", role.id, i->session_name);
    o->user->arn = fl_arena_printf(call->arena, "arn:aws:sts::%s:assumed-role/%s/%s", call->account,
                                   role.name, i->session_name);
    if (i->policy)
        o->packed_policy_percent =
            (struct fl_opt_int){ .set = true,
                                 .v = (int64_t)strlen(i->policy) * 100 / POLICY_MAX_CHARS };
    return o->user->id && o->user->arn ? 0 : fl_err_nomem(err);
}

static int assume_resources(struct fl_call *call, const void *in,
                            struct fl_resources *ret_resources, struct fl_err *err)
{
    const struct assume_in *i = in;

    ret_resources->v = fl_arena_calloc(call->arena, 1, sizeof(*ret_resources->v));
    if (!ret_resources->v)
        return fl_err_nomem(err);
    ret_resources->v[0].arn = i->role_arn;
    ret_resources->n = 1;
    return 0;
}

static int op_session_token(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct session_in *i = in;
    struct session_out *o = out;
    int64_t life_s = i->duration_s.set ? i->duration_s.v : SESSION_DEFAULT_S;
    struct fl_credentials creds;
    int r;

    if (call->who->kind != FL_ID_USER || strncmp(call->who->access_key_id, "AKIA", 4) != 0)
        return fl_err_set(err, -EACCES, "AccessDeniedException",
                          "Cannot call GetSessionToken with session credentials");
    r = fl_token_issue_user(call, call->who->name, call->who->user_id, life_s * 1000, &creds, err);
    if (r < 0)
        return r;
    o->credentials = credentials_out(call, &creds);
    return o->credentials ? 0 : fl_err_nomem(err);
}

static const struct fl_op ops[] = {
    { "GetCallerIdentity", &fl_shape_empty, &identity_out_shape, op_identity, FL_LANE_READ,
      FL_AUTH_SIGV4, NULL },
    { "AssumeRole", &assume_in_shape, &assume_out_shape, op_assume_role, FL_LANE_READ,
      FL_AUTH_SIGV4, assume_resources },
    { "GetSessionToken", &session_in_shape, &session_out_shape, op_session_token, FL_LANE_READ,
      FL_AUTH_SIGV4, NULL },
};

const struct fl_op_table fl_ops_sts = {
    .service = "sts", .target_prefix = NULL, .ops = ops, .n_ops = FL_ARRAY_LEN(ops)
};
