/* token.c - sealing and opening session tokens. */
#include "server/auth/token.h"

#include <errno.h>
#include <string.h>
#include "common/base/rand.h"
#include "server/auth/keys.h"

#define TOKEN_AAD    "fairlead session token 1"
#define SECRET_LABEL "fairlead session secret 1"
#define PACKED_MAX   6144
#define GRANT_ROLE   "AWSServiceRoleForAmazonSSM" /* AWS's name for the service itself, for logs */

#define F(member, key) FL_FIELD(struct fl_token, member, key, 0)
static const struct fl_field token_fields[] = {
    F(kind, "kind"),     F(access_key_id, "key"), F(account, "account"),    F(user, "user"),
    F(role, "role"),     F(session, "session"),   F(node_id, "node"),       F(principal_id, "id"),
    F(policy, "policy"), F(issued_ms, "issued"),  F(expires_ms, "expires"),
};
#undef F
static const struct fl_shape token_shape = FL_SHAPE(struct fl_token, "Token", token_fields);

/* base64url without padding, in place of standard base64 text. */
static void to_base64url(char *s)
{
    for (; *s && *s != '='; s++)
        *s = *s == '+' ? '-' : *s == '/' ? '_' : *s;
    *s = '\0';
}

static int from_base64url(const char *s, uint8_t **ret_data, size_t *ret_len)
{
    size_t len = strlen(s), padded = (len + 3) / 4 * 4;
    fl_autofree char *text = malloc(padded + 1);

    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < padded; i++)
        text[i] = i >= len ? '=' : s[i] == '-' ? '+' : s[i] == '_' ? '/' : s[i];
    text[padded] = '\0';
    if (strpbrk(s, "+/=")) /* one spelling of a token only */
        return -EINVAL;
    return fl_base64_decode(text, ret_data, ret_len);
}

/* The secret is a function of the token's text: whoever holds the seal key can tell it again. */
static char *derive_secret(const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *session_token,
                           struct fl_arena *arena)
{
    uint8_t key[FL_SHA256_BYTES], mac[FL_SHA256_BYTES];
    fl_autofree char *text = NULL;
    char *secret;

    fl_hmac_sha256(seal_key, FL_SEAL_KEY_BYTES, SECRET_LABEL, strlen(SECRET_LABEL), key);
    fl_hmac_sha256(key, sizeof(key), session_token, strlen(session_token), mac);
    text = fl_base64_encode(mac, 30); /* 40 characters, like any secret access key */
    secret = text ? fl_arena_strdup(arena, text) : NULL;
    if (text)
        fl_wipe(text, strlen(text));
    fl_wipe(key, sizeof(key));
    fl_wipe(mac, sizeof(mac));
    return secret;
}

int fl_token_seal(const uint8_t seal_key[FL_SEAL_KEY_BYTES], struct fl_token *token,
                  struct fl_arena *arena, struct fl_credentials *ret_creds, struct fl_err *err)
{
    fl_autobuf struct fl_buf packed = { 0 };
    fl_autofree uint8_t *sealed = NULL;
    fl_autofree char *text = NULL;
    struct fl_credentials creds = { .expires_ms = token->expires_ms };
    char id[FL_KEY_ID_BYTES];
    size_t len;
    int r;

    fl_key_id_make("ASIA", id);
    token->access_key_id = creds.access_key_id = fl_arena_strdup(arena, id);
    if (!token->access_key_id)
        return fl_err_nomem(err);

    fl_buf_init(&packed, PACKED_MAX);
    r = fl_pack_encode(&token_shape, token, &packed);
    if (r >= 0)
        r = fl_seal(seal_key, TOKEN_AAD, packed.data, packed.len, &sealed, &len);
    if (r < 0)
        return fl_err_set(err, r, r == -EMSGSIZE ? "PackedPolicyTooLarge" : NULL,
                          "the session token would be too large");
    text = fl_base64_encode(sealed, len);
    if (text)
        to_base64url(text);
    creds.session_token = text ? fl_arena_strdup(arena, text) : NULL;
    if (creds.session_token)
        creds.secret_access_key = derive_secret(seal_key, creds.session_token, arena);
    if (!creds.secret_access_key)
        return fl_err_nomem(err);
    *ret_creds = creds;
    return 0;
}

int fl_token_open(const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *session_token,
                  struct fl_arena *arena, struct fl_token *ret_token, char **ret_secret)
{
    fl_autofree uint8_t *sealed = NULL;
    uint8_t *plain = NULL;
    size_t sealed_len, plain_len = 0;
    char *secret;
    int r;

    if (strlen(session_token) > FL_TOKEN_MAX_BYTES ||
        from_base64url(session_token, &sealed, &sealed_len) < 0)
        return -EBADMSG;
    r = fl_unseal(seal_key, TOKEN_AAD, sealed, sealed_len, &plain, &plain_len);
    if (r < 0)
        return -EBADMSG;
    r = fl_pack_decode(&token_shape, plain, plain_len, arena, ret_token);
    fl_free_secret(plain, plain_len);
    if (r < 0 || !ret_token->access_key_id || !ret_token->account)
        return -EBADMSG;
    secret = derive_secret(seal_key, session_token, arena);
    if (!secret)
        return -ENOMEM;
    *ret_secret = secret;
    return 0;
}

static int issue(struct fl_call *call, struct fl_token *token, int64_t life_ms,
                 struct fl_credentials *ret_creds, struct fl_err *err)
{
    token->account = (char *)call->account;
    token->issued_ms = call->now_ms;
    /* Whole seconds: clients are told the expiry in seconds (protocol 6 §1.6, 1 §3.2). */
    token->expires_ms = (call->now_ms + life_ms) / 1000 * 1000;
    return fl_token_seal(call->plane->seal_key, token, call->arena, ret_creds, err);
}

int fl_token_issue_node(struct fl_call *call, const char *node_id, const char *role,
                        struct fl_credentials *ret_creds, struct fl_err *err)
{
    const char *slash = strrchr(role, '/'); /* "service-role/fleet" has a path before the name */
    struct fl_token token = { .kind = FL_ID_NODE,
                              .role = (char *)(slash && slash[1] ? slash + 1 : role),
                              .session = (char *)node_id,
                              .node_id = (char *)node_id };

    return issue(call, &token, call->plane->conf.node_token_life_ms, ret_creds, err);
}

int fl_token_issue_role(struct fl_call *call, const char *role, const char *role_id,
                        const char *session, const char *policy, int64_t life_ms,
                        struct fl_credentials *ret_creds, struct fl_err *err)
{
    struct fl_token token = { .kind = FL_ID_ROLE,
                              .role = (char *)role,
                              .principal_id = (char *)role_id,
                              .session = (char *)session,
                              .policy = (char *)policy };

    return issue(call, &token, life_ms, ret_creds, err);
}

int fl_token_issue_user(struct fl_call *call, const char *user, const char *user_id,
                        int64_t life_ms, struct fl_credentials *ret_creds, struct fl_err *err)
{
    struct fl_token token = { .kind = FL_ID_USER,
                              .user = (char *)user,
                              .session = (char *)call->who->access_key_id,
                              .principal_id = (char *)user_id };

    return issue(call, &token, life_ms, ret_creds, err);
}

int fl_token_issue_grant(struct fl_call *call, const char *policy, int64_t life_ms,
                         struct fl_credentials *ret_creds, struct fl_err *err)
{
    struct fl_token token = { .kind = FL_ID_GRANT,
                              .role = (char *)GRANT_ROLE,
                              .session = (char *)call->who->name,
                              .policy = (char *)policy };

    return issue(call, &token, life_ms, ret_creds, err);
}
