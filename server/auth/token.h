/* token.h - temporary credentials that carry themselves: sealed session token, derived secret.
 *
 * The session token is base64url of a sealed, packed description of who it speaks for; the secret
 * access key is an HMAC over it. Verifying a node's needs the plane's seal key and no store read;
 * what ends it before its time is the list of revoked nodes (revoked.h). A person's ends with the
 * access key, or the role, that it came from.
 */
#pragma once
#include "server/plane.h"

#define FL_TOKEN_MAX_BYTES 8192 /* a longer session token is refused unread */

/* What is inside a token. Strings are NULL when they do not apply. */
struct fl_token {
    int32_t kind;        /* enum fl_identity_kind, but for FL_ID_ANONYMOUS */
    char *access_key_id; /* ASIA…; must equal the one of the request */
    char *account;       /* 12 digits */
    char *user;          /* FL_ID_USER: user name */
    char *role;          /* role name (FL_ID_ROLE, FL_ID_NODE, FL_ID_GRANT) */
    char *session;       /* role session name; FL_ID_USER: the access key it was asked for with */
    char *node_id;       /* FL_ID_NODE */
    char *principal_id;  /* AIDA… or AROA… */
    char *policy;        /* session policy (IAM JSON) */
    int64_t issued_ms;
    int64_t expires_ms;
};

/* What a client needs; strings in the arena it was issued with. Never logged. */
struct fl_credentials {
    char *access_key_id;
    char *secret_access_key;
    char *session_token;
    int64_t expires_ms;
};

/* Credentials of a node that bears `role` (a role name; the role's policies apply to the node in
 * addition to the built-in node policy). Life: plane->conf.node_token_life_ms. */
int fl_token_issue_node(struct fl_call *call, const char *node_id, const char *role,
                        struct fl_credentials *ret_creds, struct fl_err *err);

/* Credentials of a role session. `role_id` AROA…, `policy` NULL for no session policy. */
int fl_token_issue_role(struct fl_call *call, const char *role, const char *role_id,
                        const char *session, const char *policy, int64_t life_ms,
                        struct fl_credentials *ret_creds, struct fl_err *err);

/* Credentials of a user (GetSessionToken), who called with an access key. `user_id` AIDA…. */
int fl_token_issue_user(struct fl_call *call, const char *user, const char *user_id,
                        int64_t life_ms, struct fl_credentials *ret_creds, struct fl_err *err);

/* Credentials for a URL that is given to the caller: what `policy` allows, whatever the caller may
 * else. */
int fl_token_issue_grant(struct fl_call *call, const char *policy, int64_t life_ms,
                         struct fl_credentials *ret_creds, struct fl_err *err);

/* Opens a session token. 0, or -EBADMSG for anything this plane did not issue. Does not judge time
 * or revocation. The secret is written only on success. */
int fl_token_open(const uint8_t seal_key[FL_SEAL_KEY_BYTES], const char *session_token,
                  struct fl_arena *arena, struct fl_token *ret_token, char **ret_secret);

/* The pure half of issuing, for tests: seals `token` (access_key_id is made here). */
int fl_token_seal(const uint8_t seal_key[FL_SEAL_KEY_BYTES], struct fl_token *token,
                  struct fl_arena *arena, struct fl_credentials *ret_creds, struct fl_err *err);
