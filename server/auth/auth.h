/* auth.h - who is calling: SigV4 verification with long-term, temporary and node credentials, and
 * the RSA form of nodes.
 *
 * Source of checks, names and texts: protocol 1 §3.2 and §5.3, protocol 6 §1.2 and §1.5. The clock
 * is passed in. Error names are those of the JSON services; server/http/ translates them for sts.
 */
#pragma once
#include "common/aws/sigv4.h"
#include "common/net/server.h"
#include "server/plane.h"

#define FL_SKEW_OPERATOR_MS (15 * 60 * 1000) /* protocol 6 §1.5; s3 has it for all */
#define FL_SKEW_NODE_MS     (5 * 60 * 1000)  /* protocol 1 §5.3, §3.2 */

/* What authentication looks at; copied out of the HTTP request so that any thread can use it. */
struct fl_auth_request {
    const char *method;
    const char *path;  /* raw */
    const char *query; /* raw */
    const char *source_ip;
    const struct fl_http_header *headers; /* the signed ones, and those named below */
    size_t n_headers;
    const void *body;
    size_t body_len;
    /* s3: what was signed in the place of the body's hash; NULL: the hash of `body`. Whether the
     * body fits is then the caller's to check. */
    const char *payload;
    bool presigned;               /* these stand in the query, in the place of headers: */
    const char *signed_query;     /* the query without the signature */
    const char *amz_date, *token; /* token: NULL if there is none */
    int64_t expires_s;            /* how long it is valid */
    bool parsed;                  /* `auth` is valid */
    struct fl_sigv4_auth auth;    /* the Authorization header taken apart */
    struct fl_err parse_err;      /* why not */
};

/* Who it is, and what its permissions come from. */
struct fl_caller {
    struct fl_identity id;
    const char *user;           /* policies attached to this user … */
    const char *role;           /* … or to this role */
    const char *session_policy; /* IAM JSON that narrows them, or NULL */
    /* The request's signing key, of FL_SHA256_BYTES, if its payload is one of signed chunks, and
     * the date they are signed with; else NULL. */
    const uint8_t *chunk_key;
    const char *chunk_date;
};

/* Copies method, path, query, headers and peer of `req` into the arena (the body is not touched)
 * and parses Authorization, or with `s3` what a presigned URL has in its place; and sets `payload`
 * for s3. -ENOMEM only. */
int fl_auth_request_read(const struct fl_server_req *req, bool s3, struct fl_arena *arena,
                         struct fl_auth_request *ret_request, struct fl_err *err);

/* The value of a header of the request (lower-case name), or NULL. */
const char *fl_auth_header(const struct fl_auth_request *req, const char *name);

/* Whether the signature covers it (lower-case name); `req` is parsed. */
bool fl_auth_is_signed(const struct fl_auth_request *req, const char *name);

/* Verifies. `service`: what the credential scope must name. `rsa`: the operation takes the RSA form
 * and nothing else. `tx` NULL: only self-contained credentials can be verified; all others are
 * refused as unknown. 0 with *ret_caller filled (strings in the arena), or an error named as in
 * protocol 1 §5.3: -EKEYREJECTED if the secret was wrong or is none of ours, -EACCES for any other
 * refusal, anything else for a fault of the plane. */
int fl_auth_verify(struct fl_plane *plane, struct fl_tx *tx, const struct fl_auth_request *req,
                   const char *service, bool rsa, int64_t now_ms, struct fl_arena *arena,
                   struct fl_caller *ret_caller, struct fl_err *err);

/* Around the checking of any secret (guard.h). `target`: what the secret is for. False: refuse this
 * one unchecked, `err` is set. And after a wrong one, `err` saying why: counts it, and makes the
 * call keep its answer back. */
bool fl_auth_admit(struct fl_plane *plane, const char *source_ip, const char *target,
                   struct fl_err *err);
void fl_auth_wrong(struct fl_call *call, const char *source_ip, const char *target,
                   const struct fl_err *err);

/* The target of a signed request; "" if there is none. */
const char *fl_auth_target(const struct fl_auth_request *req);

/* On a loop thread, without the store: the request is signed for `service` with the temporary
 * credentials of a node that is not revoked. */
int fl_auth_verify_node_sync(struct fl_plane *plane, const struct fl_server_req *req,
                             const char *service, struct fl_arena *arena,
                             struct fl_caller *ret_caller, struct fl_err *err);
