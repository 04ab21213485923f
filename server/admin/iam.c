/* iam.c - changing users, keys, roles and policies. */
#include "server/admin/iam.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "server/auth/policy.h"
#include "server/pattern.h"

#define PARSE_ARENA_BYTES (1024 * 1024)
#define NAME_PATTERN      "[\\w+=,.@-]{1,64}"

static int check_name(const char *what, const char *name, struct fl_err *err)
{
    if (fl_pattern_match(NULL, NAME_PATTERN, name))
        return 0;
    return fl_err_set(err, -EINVAL, NULL,
                      "\"%.80s\" cannot name a %s: 1 to 64 letters, digits and _+=,.@- are allowed",
                      name, what);
}

static int check_policy(const char *text, enum fl_policy_kind kind, struct fl_err *err)
{
    struct fl_arena arena;
    const struct fl_policy *parsed;
    int r;

    fl_arena_init(&arena, PARSE_ARENA_BYTES);
    r = fl_policy_parse(text, strlen(text), kind, &arena, &parsed, err);
    fl_arena_done(&arena);
    return r;
}

/* Turns what fl_sql_exec said into words. */
static int added(int r, const char *what, const char *name, struct fl_err *err)
{
    if (r == -EEXIST)
        return fl_err_set(err, r, NULL, "there is already a %s named %s", what, name);
    return r < 0 ? r : 0;
}

static int changed(int r, const char *what, const char *name, struct fl_err *err)
{
    if (r == 0)
        return fl_err_set(err, -ENOENT, NULL, "there is no %s %.80s", what, name);
    return r < 0 ? r : 0;
}

/* 1 if the statement finds a row. */
static int exists(const struct fl_iam *iam, enum fl_sql id, const char *name, struct fl_err *err)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(iam->tx, id, &c, err, FL_T(iam->account), FL_T(name));

    return r < 0 ? r : fl_sql_next(c, err);
}

static int64_t count(const struct fl_iam *iam, enum fl_sql id, const char *name, struct fl_err *err)
{
    const struct fl_sql_arg args[] = { FL_T(iam->account), FL_T(name) };

    return fl_sql_scalar_v(iam->tx, id, args, 2, 0, err);
}

int fl_iam_user_add(const struct fl_iam *iam, const char *name, struct fl_err *err)
{
    char id[FL_KEY_ID_BYTES];
    int r = check_name("user", name, err);

    if (r < 0)
        return r;
    fl_key_id_make("AIDA", id);
    return added(fl_sql_exec(iam->tx, FL_SQL_user_add, err, FL_T(iam->account), FL_T(name),
                             FL_T(id), FL_N(iam->now_ms)),
                 "user", name, err);
}

int fl_iam_user_delete(const struct fl_iam *iam, const char *name, struct fl_err *err)
{
    int r = fl_sql_exec(iam->tx, FL_SQL_policy_detach_principal, err, FL_T(iam->account),
                        FL_T("user"), FL_T(name));

    if (r >= 0)
        r = changed(fl_sql_exec(iam->tx, FL_SQL_user_delete, err, FL_T(iam->account), FL_T(name)),
                    "user", name, err);
    return r;
}

int fl_iam_key_create(const struct fl_iam *iam, const uint8_t seal_key[FL_SEAL_KEY_BYTES],
                      const char *user, char ret_id[FL_KEY_ID_BYTES],
                      char ret_secret[FL_SECRET_KEY_BYTES], struct fl_err *err)
{
    if (count(iam, FL_SQL_key_count, user, err) >= FL_KEYS_PER_USER)
        return fl_err_set(err, -EDQUOT, NULL,
                          "user %s has %d access keys already: delete one first", user,
                          FL_KEYS_PER_USER);
    return fl_key_create(iam->tx, seal_key, iam->account, user, iam->now_ms, ret_id, ret_secret,
                         err);
}

int fl_iam_key_enable(const struct fl_iam *iam, const char *id, bool enable, struct fl_err *err)
{
    return changed(fl_sql_exec(iam->tx, FL_SQL_key_status, err, FL_T(iam->account), FL_T(id),
                               FL_T(enable ? "Active" : "Inactive")),
                   "access key", id, err);
}

int fl_iam_key_delete(const struct fl_iam *iam, const char *id, struct fl_err *err)
{
    return changed(fl_sql_exec(iam->tx, FL_SQL_key_delete, err, FL_T(iam->account), FL_T(id)),
                   "access key", id, err);
}

int fl_iam_role_add(const struct fl_iam *iam, const char *name, const char *trust,
                    struct fl_err *err)
{
    char id[FL_KEY_ID_BYTES], own[512];
    int r = check_name("role", name, err);

    snprintf(own, sizeof(own),
             "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":"
             "{\"AWS\":\"arn:aws:iam::%s:root\",\"Service\":\"ssm.amazonaws.com\"},"
             "\"Action\":\"sts:AssumeRole\"}]}",
             iam->account);
    if (!trust)
        trust = own;
    if (r >= 0)
        r = check_policy(trust, FL_POLICY_TRUST, err);
    if (r < 0)
        return r;
    fl_key_id_make("AROA", id);
    return added(fl_sql_exec(iam->tx, FL_SQL_role_add, err, FL_T(iam->account), FL_T(name),
                             FL_T(id), FL_T(trust), FL_N(iam->now_ms)),
                 "role", name, err);
}

int fl_iam_role_delete(const struct fl_iam *iam, const char *name, struct fl_err *err)
{
    int r = fl_sql_exec(iam->tx, FL_SQL_policy_detach_principal, err, FL_T(iam->account),
                        FL_T("role"), FL_T(name));

    if (r >= 0)
        r = changed(fl_sql_exec(iam->tx, FL_SQL_role_delete, err, FL_T(iam->account), FL_T(name)),
                    "role", name, err);
    return r;
}

int fl_iam_policy_put(const struct fl_iam *iam, const char *name, const char *document,
                      struct fl_err *err)
{
    int r = check_name("policy", name, err);

    if (r >= 0)
        r = check_policy(document, FL_POLICY_IDENTITY, err);
    if (r >= 0)
        r = fl_sql_exec(iam->tx, FL_SQL_policy_put, err, FL_T(iam->account), FL_T(name),
                        FL_T(document), FL_N(iam->now_ms));
    return r < 0 ? r : 0;
}

int fl_iam_policy_delete(const struct fl_iam *iam, const char *name, struct fl_err *err)
{
    int64_t n = count(iam, FL_SQL_policy_attached_count, name, err);

    if (n > 0)
        return fl_err_set(err, -ENOTEMPTY, NULL,
                          "policy %s is still attached %d times: detach it first", name, (int)n);
    return changed(fl_sql_exec(iam->tx, FL_SQL_policy_delete, err, FL_T(iam->account), FL_T(name)),
                   "policy", name, err);
}

int fl_iam_attach(const struct fl_iam *iam, const char *policy, const char *kind, const char *name,
                  struct fl_err *err)
{
    bool user = strcmp(kind, "user") == 0;
    int r = changed(exists(iam, FL_SQL_policy_exists, policy, err), "policy", policy, err);

    if (r >= 0)
        r = changed(exists(iam, user ? FL_SQL_user_get : FL_SQL_role_get, name, err), kind, name,
                    err);
    if (r >= 0)
        r = fl_sql_exec(iam->tx, FL_SQL_policy_attach, err, FL_T(iam->account), FL_T(kind),
                        FL_T(name), FL_T(policy));
    return r < 0 ? r : 0;
}

int fl_iam_detach(const struct fl_iam *iam, const char *policy, const char *kind, const char *name,
                  struct fl_err *err)
{
    int r = fl_sql_exec(iam->tx, FL_SQL_policy_detach, err, FL_T(iam->account), FL_T(kind),
                        FL_T(name), FL_T(policy));

    if (r == 0)
        return fl_err_set(err, -ENOENT, NULL, "policy %s is not attached to %s %s", policy, kind,
                          name);
    return r < 0 ? r : 0;
}
