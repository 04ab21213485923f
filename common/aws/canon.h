/* canon.h - the canonical request of Signature Version 4; used by sigv4.c only.
 *
 * Source: protocol 1 §5.1, protocol 6 §1.5. Paths are not normalised (dot segments, double
 * slashes): no path this project signs or serves has any.
 */
#pragma once
#include "common/aws/sigv4.h"

/* 0 for 1-64 lower-case header names with ';' between them, else -EINVAL (IncompleteSignature…). */
int fl_canon_check_signed(const char *signed_headers, struct fl_err *err);

bool fl_canon_is_signed(const char *signed_headers, const char *name); /* `name` in lower case */
bool fl_canon_has_header(const struct fl_sigv4_request *req, const char *name);

/* Appends the sorted lower-case names of all headers of the request. */
int fl_canon_signed_headers(const struct fl_sigv4_request *req, struct fl_buf *out,
                            struct fl_err *err);

/* Hex SHA-256 of the canonical request over exactly the headers listed, in the order listed.
 * -EINVAL if one is missing from the request or the query has more than 256 parameters. */
int fl_canon_request_sha256(const struct fl_sigv4_request *req, const char *signed_headers,
                            char out[FL_SHA256_HEX_BYTES], struct fl_err *err);
