/* presigned.h - s3's presigned URLs: what a signed request has in headers stands in the query.
 *
 * Source: protocol 6 §1.5 and §1.6 (s3).
 */
#pragma once
#include "server/auth/auth.h"
#include "server/auth/token.h"

/* What stands in the place of a body's hash. */
#define FL_PAYLOAD_UNSIGNED         "UNSIGNED-PAYLOAD"
#define FL_PAYLOAD_UNSIGNED_TRAILER "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
#define FL_PAYLOAD_CHUNKS           "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
#define FL_PAYLOAD_CHUNKS_TRAILER   "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

#define FL_PRESIGNED_MAX_S (7 * 24 * 3600)

/* 1 with `out` filled as far as the query says: auth, presigned, signed_query, amz_date, token,
 * expires_s; 0 if the query holds no signature; -EINVAL with a name for one that is not usable,
 * -ENOMEM. */
int fl_presigned_parse(const char *query, struct fl_arena *arena, struct fl_auth_request *out,
                       struct fl_err *err);

/* "https://HOST/PATH?…" with which anybody may GET the object for `expires_s`; a secret. `host`:
 * name and port, `path`: as on the wire. In the arena. */
int fl_presigned_make(struct fl_call *call, const struct fl_credentials *creds, const char *host,
                      const char *path, int64_t expires_s, char **ret_url, struct fl_err *err);
