/* auth.c - verification of signed requests. */
#include "server/auth/auth.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include "common/aws/canon.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "server/auth/guard.h"
#include "server/auth/keys.h"
#include "server/auth/presigned.h"
#include "server/auth/revoked.h"
#include "server/auth/token.h"

#define UNKNOWN "UnrecognizedClientException"

#define SIGNED_MAX 64 /* fl_sigv4_parse refuses more */

/* Needed whether or not they are signed. */
static const char *const known_headers[] = {
    "host",         "x-amz-date",           "date",
    "x-amz-target", "x-amz-security-token", "x-amz-content-sha256",
    "user-agent",
};

struct check {
    struct fl_plane *plane;
    struct fl_tx *tx;
    const struct fl_auth_request *req;
    const char *service;
    int64_t now_ms;
    struct fl_arena *arena;
    char amz_date[FL_COMPACT_BYTES];
    int64_t date_ms;
    char body_sha256[FL_SHA256_HEX_BYTES];
    uint8_t *chunk_key;
    struct fl_err *err;
};

/* ---- reading the request ---- */

static int put_header(const struct fl_server_req *req, struct fl_arena *arena, const char *name,
                      struct fl_http_header *list, size_t *n)
{
    const char *value = fl_server_req_header(req, name);

    for (size_t i = 0; i < *n; i++)
        if (strcmp(list[i].name, name) == 0)
            return 0;
    if (!value)
        return 0;
    list[*n].name = fl_arena_strdup(arena, name);
    list[*n].value = fl_arena_strdup(arena, value);
    if (!list[*n].name || !list[*n].value)
        return -ENOMEM;
    (*n)++;
    return 0;
}

static int read_headers(const struct fl_server_req *req, struct fl_arena *arena,
                        struct fl_auth_request *out)
{
    struct fl_http_header *list =
        fl_arena_calloc(arena, SIGNED_MAX + FL_ARRAY_LEN(known_headers), sizeof(*list));
    char *names = fl_arena_strdup(arena, out->parsed ? out->auth.signed_headers : "");
    char *save = NULL;
    size_t n = 0;

    if (!list || !names)
        return -ENOMEM;
    for (char *s = strtok_r(names, ";", &save); s && n < SIGNED_MAX; s = strtok_r(NULL, ";", &save))
        if (put_header(req, arena, s, list, &n) < 0)
            return -ENOMEM;
    for (size_t i = 0; i < FL_ARRAY_LEN(known_headers); i++)
        if (put_header(req, arena, known_headers[i], list, &n) < 0)
            return -ENOMEM;
    out->headers = list;
    out->n_headers = n;
    return 0;
}

/* The hash that an s3 request says its body has, or which kind of body has none; protocol 6 §1.5.
 */
static const char *payload_of(const struct fl_auth_request *out)
{
    const char *hash = fl_auth_header(out, "x-amz-content-sha256");

    if (!hash && out->presigned)
        return FL_PAYLOAD_UNSIGNED;
    return hash && strlen(hash) < FL_SHA256_HEX_BYTES ? hash : "";
}

int fl_auth_request_read(const struct fl_server_req *req, bool s3, struct fl_arena *arena,
                         struct fl_auth_request *ret_request, struct fl_err *err)
{
    const char *authorization = fl_server_req_header(req, "authorization");
    int r = 0;
    struct fl_auth_request out = {
        .method = fl_arena_strdup(arena, fl_server_req_method(req)),
        .path = fl_arena_strdup(arena, fl_server_req_path(req)),
        .query = fl_arena_strdup(arena, fl_server_req_query(req)),
        .source_ip = fl_arena_strdup(arena, fl_server_req_peer(req)),
    };

    if (!out.method || !out.path || !out.query)
        return fl_err_nomem(err);
    if (s3 && !authorization)
        r = fl_presigned_parse(out.query, arena, &out, &out.parse_err);
    if (r == 0)
        r = fl_sigv4_parse(authorization, arena, &out.auth, &out.parse_err);
    out.parsed = r >= 0;
    if (read_headers(req, arena, &out) < 0)
        return fl_err_nomem(err);
    if (s3)
        out.payload = payload_of(&out);
    *ret_request = out;
    return 0;
}

const char *fl_auth_header(const struct fl_auth_request *req, const char *name)
{
    for (size_t i = 0; i < req->n_headers; i++)
        if (strcmp(req->headers[i].name, name) == 0)
            return req->headers[i].value;
    return NULL;
}

bool fl_auth_is_signed(const struct fl_auth_request *req, const char *name)
{
    return fl_canon_is_signed(req->auth.signed_headers, name);
}

/* What the query of a presigned URL says, or else a header. */
static const char *given(const struct fl_auth_request *req, const char *in_query, const char *name)
{
    return req->presigned ? in_query : fl_auth_header(req, name);
}

/* ---- checks ---- */

static int refuse(struct check *c, const char *name, const char *text)
{
    return fl_err_set(c->err, -EACCES, name, "%s", text);
}

/* A secret that is wrong, or that nobody has: perhaps a guess. */
static int rejected(struct check *c, const char *name, const char *text)
{
    return fl_err_set(c->err, -EKEYREJECTED, name, "%s", text);
}

static int unknown_token(struct check *c)
{
    return rejected(c, UNKNOWN, "The security token included in the request is invalid.");
}

/* X-Amz-Date, else Date in either its HTTP form or the compact one. */
static int check_date(struct check *c)
{
    const char *amz = given(c->req, c->req->amz_date, "x-amz-date");
    const char *date = fl_auth_header(c->req, "date");
    struct tm tm = { 0 };
    const char *end;

    if (!amz && !date)
        return refuse(
            c, "IncompleteSignatureException",
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' "
            "header.");
    if (fl_time_parse_compact(amz ? amz : date, &c->date_ms) < 0) {
        end = amz ? NULL : strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if (!end || *end)
            return refuse(c, "IncompleteSignatureException",
                          "Date must be in ISO-8601 'basic format'.");
        c->date_ms = (int64_t)timegm(&tm) * 1000;
    }
    fl_time_compact(c->date_ms, c->amz_date);
    return 0;
}

/* Clients are told a region name and sign with it. A plane of region "local" is known by any name:
 * stock clients and agents insist on one that looks like AWS's. */
static int check_scope(struct check *c)
{
    const struct fl_sigv4_auth *a = &c->req->auth;
    const char *region = c->plane->conf.region;

    if (strcmp(region, "local") != 0 && strcmp(a->region, region) != 0)
        return fl_err_set(c->err, -EACCES, "InvalidSignatureException",
                          "Credential should be scoped to a valid region, '%s'.", region);
    if (strcmp(a->service, c->service) != 0)
        return fl_err_set(c->err, -EACCES, "InvalidSignatureException",
                          "Credential should be scoped to correct service: '%s'.", c->service);
    return 0;
}

static bool is_s3(const struct check *c)
{
    return strcmp(c->service, "s3") == 0;
}

static int check_skew(struct check *c, int64_t window_ms)
{
    char now[FL_COMPACT_BYTES], limit[FL_COMPACT_BYTES];
    int64_t limit_ms;

    fl_time_compact(c->now_ms, now);
    if (c->req->presigned && c->now_ms > c->date_ms + c->req->expires_s * 1000)
        return refuse(c, "AccessDeniedException", "Request has expired");
    /* The SDKs of that service know a wrong clock by this name. */
    if (!c->req->presigned && is_s3(c) &&
        (c->date_ms < c->now_ms - window_ms || c->date_ms > c->now_ms + window_ms))
        return refuse(c, "RequestTimeTooSkewed",
                      "The difference between the request time and the current time is too large.");
    if (!c->req->presigned && c->date_ms < c->now_ms - window_ms) {
        limit_ms = c->now_ms - window_ms;
        fl_time_compact(limit_ms, limit);
        return fl_err_set(c->err, -EACCES, "InvalidSignatureException",
                          "Signature expired: %s is now earlier than %s (%s - %d min.)",
                          c->amz_date, limit, now, (int)(window_ms / 60000));
    }
    if (c->date_ms > c->now_ms + window_ms) {
        limit_ms = c->now_ms + window_ms;
        fl_time_compact(limit_ms, limit);
        return fl_err_set(c->err, -EACCES, "InvalidSignatureException",
                          "Signature not yet current: %s is still later than %s (%s + %d min.)",
                          c->amz_date, limit, now, (int)(window_ms / 60000));
    }
    return 0;
}

static int check_body(struct check *c)
{
    const char *hash = fl_auth_header(c->req, "x-amz-content-sha256");

    if (c->req->payload) {
        if (!*c->req->payload)
            return fl_err_set(c->err, -EINVAL, "ValidationException",
                              "Missing required header for this request: x-amz-content-sha256");
        strcpy(c->body_sha256, c->req->payload);
        return 0;
    }
    fl_sha256_hex(c->req->body ? c->req->body : "", c->req->body_len, c->body_sha256);
    if (hash && strcmp(hash, c->body_sha256) != 0)
        return refuse(
            c, "InvalidSignatureException",
            "The provided 'x-amz-content-sha256' header does not match what was computed.");
    return 0;
}

static struct fl_sigv4_request as_signed(const struct check *c)
{
    return (struct fl_sigv4_request){ .method = c->req->method,
                                      .path = c->req->path,
                                      .query =
                                          c->req->presigned ? c->req->signed_query : c->req->query,
                                      .headers = c->req->headers,
                                      .n_headers = c->req->n_headers,
                                      .body_sha256 = c->body_sha256,
                                      .service = c->service };
}

static int check_signature(struct check *c, const char *secret)
{
    struct fl_sigv4_request sr = as_signed(c);
    int r = check_body(c);

    if (r < 0)
        return r;
    r = fl_sigv4_verify(&sr, &c->req->auth, c->amz_date, secret, c->err);
    if (r < 0)
        return -EKEYREJECTED;
    if (!c->req->payload || strncmp(c->req->payload, FL_PAYLOAD_CHUNKS, strlen(FL_PAYLOAD_CHUNKS)))
        return 0;
    c->chunk_key = fl_arena_alloc(c->arena, FL_SHA256_BYTES);
    if (!c->chunk_key)
        return fl_err_nomem(c->err);
    fl_sigv4_signing_key(secret, c->req->auth.date, c->req->auth.region, c->service, c->chunk_key);
    return 0;
}

/* ---- credentials ---- */

static struct fl_identity identity(const struct check *c, enum fl_identity_kind kind)
{
    return (struct fl_identity){ .kind = kind,
                                 .account = c->plane->conf.account,
                                 .access_key_id = c->req->auth.access_key_id,
                                 .source_ip = c->req->source_ip };
}

static int fill_user(struct check *c, const char *user, const char *user_id, struct fl_caller *out)
{
    *out = (struct fl_caller){ .id = identity(c, FL_ID_USER), .user = user };
    out->id.name = user;
    out->id.user_id = user_id;
    out->id.arn = fl_arena_printf(c->arena, "arn:aws:iam::%s:user/%s", out->id.account, user);
    return out->id.arn ? 0 : fl_err_nomem(c->err);
}

static int fill_session(struct check *c, const struct fl_token *t, struct fl_caller *out)
{
    bool node = t->kind == FL_ID_NODE;

    *out = (struct fl_caller){ .id = identity(c, (enum fl_identity_kind)t->kind),
                               .role = t->kind == FL_ID_GRANT ? NULL : t->role,
                               .session_policy = t->policy };
    out->id.name = t->session;
    out->id.node_id = node ? t->node_id : NULL;
    out->id.user_id =
        fl_arena_printf(c->arena, "%s:%s", t->principal_id ? t->principal_id : t->role, t->session);
    out->id.arn = fl_arena_printf(c->arena, "arn:aws:sts::%s:assumed-role/%s/%s", out->id.account,
                                  t->role, t->session);
    return out->id.arn && out->id.user_id ? 0 : fl_err_nomem(c->err);
}

/* A sealed token holds what its kind needs, since only this plane makes one; a member that is
 * missing all the same is a token of another version. */
static bool token_whole(const struct fl_token *t)
{
    switch (t->kind) {
    case FL_ID_USER:
        return t->user && t->principal_id && t->session;
    case FL_ID_ROLE:
        return t->role && t->session && t->principal_id;
    case FL_ID_NODE:
        return t->role && t->session && t->node_id;
    case FL_ID_GRANT:
        return t->role && t->session && t->policy;
    }
    return false;
}

/* A column of the one row that a statement finds. */
static bool column_is(struct fl_cursor *row, int column, const char *want)
{
    const char *text = fl_sql_text(row, column);

    return text && strcmp(text, want) == 0;
}

/* What a person's credentials came from is still there, and is not another of the same name: the
 * access key, in use, or the role. */
static int check_source(struct check *c, const struct fl_token *t)
{
    fl_autocursor struct fl_cursor *row = NULL;
    bool user = t->kind == FL_ID_USER, good;
    int r = 0;

    if (!user && t->kind != FL_ID_ROLE)
        return 0;
    if (c->tx)
        r = user ? fl_sql_open(c->tx, FL_SQL_key_auth, &row, c->err, FL_T(t->session))
                 : fl_sql_open(c->tx, FL_SQL_role_get, &row, c->err, FL_T(t->account),
                               FL_T(t->role));
    if (r >= 0 && row)
        r = fl_sql_next(row, c->err);
    if (r < 0)
        return r;
    good = r > 0 && column_is(row, user ? 2 : 1, t->principal_id) &&
           (!user || (column_is(row, 1, t->user) && column_is(row, 4, "Active")));
    if (good)
        return 0;
    unknown_token(c);
    return -EACCES; /* its secret is right */
}

static int verify_token(struct check *c, const char *session_token, struct fl_caller *out)
{
    const struct fl_sigv4_auth *a = &c->req->auth;
    struct fl_token t;
    char *secret = NULL;
    int r;

    r = fl_token_open(c->plane->seal_key, session_token, c->arena, &t, &secret);
    if (r == -ENOMEM)
        return fl_err_nomem(c->err);
    if (r < 0 || !token_whole(&t) || strcmp(t.access_key_id, a->access_key_id) != 0 ||
        strcmp(t.account, c->plane->conf.account) != 0)
        return unknown_token(c);
    r = check_signature(c, secret);
    fl_wipe(secret, strlen(secret));
    if (r < 0)
        return r;
    r = check_skew(c, t.kind == FL_ID_NODE && !is_s3(c) ? FL_SKEW_NODE_MS : FL_SKEW_OPERATOR_MS);
    if (r < 0)
        return r;
    if (c->now_ms >= t.expires_ms)
        return refuse(c, "ExpiredTokenException",
                      "The security token included in the request is expired");
    if (t.kind == FL_ID_NODE && fl_revoked_has(c->plane->revoked, t.node_id)) {
        unknown_token(c);
        return -EACCES; /* its secret is right */
    }
    r = check_source(c, &t);
    if (r < 0)
        return r;
    return t.kind == FL_ID_USER ? fill_user(c, t.user, t.principal_id, out)
                                : fill_session(c, &t, out);
}

static int verify_key(struct check *c, struct fl_caller *out)
{
    struct fl_key key;
    int r;

    if (!c->tx)
        return unknown_token(c);
    r = fl_key_load(c->tx, c->plane->seal_key, c->req->auth.access_key_id, c->arena, &key, c->err);
    if (r < 0)
        return r;
    if (r == 0 || strcmp(key.account, c->plane->conf.account) != 0)
        return unknown_token(c);
    r = check_skew(c, FL_SKEW_OPERATOR_MS);
    if (r >= 0)
        r = check_signature(c, key.secret);
    fl_wipe(key.secret, strlen(key.secret));
    return r < 0 ? r : fill_user(c, key.user, key.user_id, out);
}

/* ---- the RSA form, protocol 1 §3 ---- */

static int rsa_denied(struct check *c)
{
    return rejected(c, "AccessDeniedException",
                    "The node is not registered, or its key does not fit the signature.");
}

/* 0 if `public_key` (may be NULL) made the signature. */
static int rsa_try(struct check *c, const char *public_key)
{
    struct fl_sigv4_request sr = as_signed(c);
    struct fl_rsa *key = NULL;
    int r;

    if (!public_key || fl_rsa_from_public_text(public_key, &key, NULL) < 0)
        return -EACCES;
    r = fl_sigv4_verify_rsa(&sr, &c->req->auth, c->amz_date, key, NULL);
    fl_rsa_free(key);
    return r;
}

static int verify_rsa(struct check *c, struct fl_caller *out)
{
    const char *node = c->req->auth.access_key_id, *state;
    fl_autocursor struct fl_cursor *cur = NULL;
    bool current;
    int r;

    if (!c->tx)
        return unknown_token(c);
    r = check_skew(c, FL_SKEW_NODE_MS);
    if (r >= 0)
        r = fl_sql_open(c->tx, FL_SQL_node_auth, &cur, c->err, FL_T(node));
    if (r < 0)
        return r;
    r = fl_sql_next(cur, c->err);
    if (r < 0)
        return r;
    state = r > 0 ? fl_sql_text(cur, 2) : NULL;
    if (!state || strcmp(state, "active") != 0)
        return rsa_denied(c);
    r = check_body(c);
    if (r < 0)
        return r;
    /* A node whose key rotation was cut short still signs with the key before (protocol 1 §4.3). */
    current = rsa_try(c, fl_sql_text(cur, 0)) == 0;
    if (!current && rsa_try(c, fl_sql_text(cur, 1)) < 0)
        return rsa_denied(c);

    *out = (struct fl_caller){ .id = identity(c, FL_ID_NODE) };
    out->id.name = out->id.node_id = out->id.user_id = node;
    out->id.node_key_current = current;
    out->id.arn = fl_arena_printf(c->arena, "arn:aws:ssm:%s:%s:managed-instance/%s",
                                  c->plane->conf.region, out->id.account, node);
    return out->id.arn ? 0 : fl_err_nomem(c->err);
}

static int verify(struct check *c, bool rsa, struct fl_caller *out)
{
    const struct fl_auth_request *req = c->req;
    const char *token = given(req, req->token, "x-amz-security-token");
    int r;

    if (!req->parsed) {
        if (c->err)
            *c->err = req->parse_err;
        return req->parse_err.name ? -EACCES : -ENOMEM;
    }
    r = check_date(c);
    if (r >= 0)
        r = check_scope(c);
    if (r < 0)
        return r;
    if (rsa != (strncmp(req->auth.access_key_id, "mi-", 3) == 0))
        return rsa ? refuse(c, "AccessDeniedException",
                            "This operation takes the signature of a node's own key.")
                   : unknown_token(c);
    if (rsa)
        return verify_rsa(c, out);
    return token && *token ? verify_token(c, token, out) : verify_key(c, out);
}

int fl_auth_verify(struct fl_plane *plane, struct fl_tx *tx, const struct fl_auth_request *req,
                   const char *service, bool rsa, int64_t now_ms, struct fl_arena *arena,
                   struct fl_caller *ret_caller, struct fl_err *err)
{
    struct check c = { .plane = plane,
                       .tx = tx,
                       .req = req,
                       .service = service,
                       .now_ms = now_ms,
                       .arena = arena,
                       .err = err };
    int r = verify(&c, rsa, ret_caller);

    if (r >= 0 && c.chunk_key) {
        ret_caller->chunk_key = c.chunk_key;
        ret_caller->chunk_date = fl_arena_strdup(arena, c.amz_date);
        if (!ret_caller->chunk_date)
            return fl_err_nomem(err);
    }
    if (r == -EACCES || r == -EKEYREJECTED)
        fl_metrics_count(plane->metrics, FL_CTR_AUTH_FAILURES);
    return r;
}

const char *fl_auth_target(const struct fl_auth_request *req)
{
    return req->parsed ? req->auth.access_key_id : "";
}

bool fl_auth_admit(struct fl_plane *plane, const char *source_ip, const char *target,
                   struct fl_err *err)
{
    if (!fl_guard_refuses(plane->guard, source_ip, target, fl_mono_ms()))
        return true;
    fl_metrics_count(plane->metrics, FL_CTR_GUESSES_REFUSED);
    fl_err_set(err, -EAGAIN, "ThrottlingException",
               "Too many calls with a wrong secret at once; try again later");
    return false;
}

void fl_auth_wrong(struct fl_call *call, const char *source_ip, const char *target,
                   const struct fl_err *err)
{
    bool known = !err->name || strcmp(err->name, UNKNOWN) != 0, tell;

    call->guessed = known ? target : NULL;
    call->hold_ms =
        fl_guard_wrong(call->plane->guard, source_ip, call->guessed, fl_mono_ms(), &tell);
    if (call->hold_ms)
        fl_metrics_count(call->plane->metrics, FL_CTR_GUESSES_SLOWED);
    if (tell)
        fl_log_warn("wrong credentials", FL_S("source", source_ip), FL_S("for", target),
                    FL_S("error", err->name), FL_I("held_ms", call->hold_ms));
}

int fl_auth_verify_node_sync(struct fl_plane *plane, const struct fl_server_req *req,
                             const char *service, struct fl_arena *arena,
                             struct fl_caller *ret_caller, struct fl_err *err)
{
    struct fl_call call = { .plane = plane };
    struct fl_auth_request ar;
    struct fl_caller caller;
    int r = fl_auth_request_read(req, false, arena, &ar, err);

    if (r >= 0 && !fl_auth_admit(plane, ar.source_ip, fl_auth_target(&ar), err))
        r = -EAGAIN;
    if (r >= 0)
        r = fl_auth_verify(plane, NULL, &ar, service, false, fl_now_ms(), arena, &caller, err);
    if (r == -EKEYREJECTED) {
        fl_auth_wrong(&call, ar.source_ip, fl_auth_target(&ar), err);
        fl_guard_answered(plane->guard, ar.source_ip, call.guessed); /* at once: it is closed */
    }
    if (r < 0)
        return r;
    if (caller.id.kind != FL_ID_NODE)
        return fl_err_set(err, -EACCES, "AccessDeniedException", "Only a node may open this.");
    *ret_caller = caller;
    return 0;
}
