/* sigv4.h - Signature Version 4, signing and verification, and the RSA form nodes use for two
 * calls.
 *
 * Pure functions over a description of the request; nothing here reads a clock or a file.
 * Source of every fact: protocol 1 §3 and §5, protocol 6 §1.5.
 */
#pragma once
#include "common/aws/crypto.h"
#include "common/base/arena.h"
#include "common/net/http.h"

struct fl_sigv4_request {
    const char *method;
    const char *path;                     /* raw, as on the wire */
    const char *query;                    /* raw, without '?'; "" for none */
    const struct fl_http_header *headers; /* all that may be signed, host included */
    size_t n_headers;
    const char *body_sha256; /* lower-case hex, or "UNSIGNED-PAYLOAD" and the like for s3 */
    const char *service;     /* decides the path rule: s3 encodes once, others twice */
};

struct fl_aws_creds {
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token; /* NULL or "" for long-term keys */
};

/* "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…" taken apart; strings in the arena.
 */
struct fl_sigv4_auth {
    char *access_key_id; /* or the mi-… id for RSA-signed calls */
    char *date;          /* YYYYMMDD of the scope */
    char *region;
    char *service;
    char *signed_headers; /* as sent: "content-type;host;…" */
    char *signature;
};

/* 0, or -EINVAL with name IncompleteSignatureException / MissingAuthenticationTokenException and
 * AWS's kind of text. `header` NULL means the header is absent. At most 8 KiB and 64 signed
 * headers. */
int fl_sigv4_parse(const char *header, struct fl_arena *arena, struct fl_sigv4_auth *ret_auth,
                   struct fl_err *err);

/* The text that is signed, over exactly the headers of `signed_headers` (';'-separated, lower
 * case): "AWS4-HMAC-SHA256\n<amz_date>\n<scope>\n<hash of canonical request>". -EINVAL if a listed
 * header is missing from the request. `ret_canonical_sha256` (65 bytes) may be NULL. */
int fl_sigv4_string_to_sign(const struct fl_sigv4_request *req, const char *signed_headers,
                            const char *amz_date, const char *region, struct fl_buf *out,
                            char *ret_canonical_sha256, struct fl_err *err);

void fl_sigv4_signing_key(const char *secret, const char *date, const char *region,
                          const char *service, uint8_t out[FL_SHA256_BYTES]);

/* Signs: the Authorization value into fresh memory. All headers of `req` are signed, in any order
 * given; X-Amz-Date (and X-Amz-Security-Token for temporary credentials) must be among them. */
int fl_sigv4_sign(const struct fl_sigv4_request *req, const struct fl_aws_creds *creds,
                  const char *region, const char *amz_date, char **ret_authorization,
                  struct fl_err *err);

/* Compares in constant time the signature of `auth` with the right one for `secret`. 0, or -EBADMSG
 * (InvalidSignatureException): also for a scope of another day than amz_date or another service
 * than req->service, and for an X-Amz-Target that is there but not signed. Region, clock and body
 * hash are the caller's to check. */
int fl_sigv4_verify(const struct fl_sigv4_request *req, const struct fl_sigv4_auth *auth,
                    const char *amz_date, const char *secret, struct fl_err *err);

/* The same two with an RSA key: signature = base64 PSS over the string to sign, access key field =
 * the node id, signed headers content-type;host;x-amz-date;x-amz-target (protocol 1 §3.1). */
int fl_sigv4_sign_rsa(const struct fl_sigv4_request *req, const struct fl_rsa *key,
                      const char *node_id, const char *region, const char *amz_date,
                      char **ret_authorization, struct fl_err *err);
int fl_sigv4_verify_rsa(const struct fl_sigv4_request *req, const struct fl_sigv4_auth *auth,
                        const char *amz_date, const struct fl_rsa *key, struct fl_err *err);

/* Percent-encoding as SigV4 wants it (unreserved A-Za-z0-9-._~ kept, '/' kept if keep_slash). */
int fl_uri_encode(const char *s, size_t len, bool keep_slash, struct fl_buf *out);
/* Percent-decoding; '+' is a blank if `form`. -EINVAL for a bad escape. */
int fl_uri_decode(const char *s, size_t len, bool form, struct fl_buf *out);
