/* digest.h - hashes of data that comes piece by piece.
 *
 * MD5 and SHA-1 tell whether an object arrived whole, nothing more; they are there also where
 * OpenSSL is in FIPS mode.
 */
#pragma once
#include "common/base/util.h"

enum fl_digest_kind { FL_DIGEST_MD5, FL_DIGEST_SHA1, FL_DIGEST_SHA256, FL_DIGEST__N };

#define FL_DIGEST_MAX_BYTES     32
#define FL_DIGEST_MAX_HEX_BYTES 65

struct fl_digest;

/* NULL without memory, or if OpenSSL does not have it. */
struct fl_digest *fl_digest_new(enum fl_digest_kind kind);
struct fl_digest *fl_digest_free(struct fl_digest *d);
void fl_digest_add(struct fl_digest *d, const void *data, size_t len);

/* The hash, and how long it is; then it begins anew. */
size_t fl_digest_end(struct fl_digest *d, uint8_t out[FL_DIGEST_MAX_BYTES]);
/* The same in lower-case digits. */
void fl_digest_end_hex(struct fl_digest *d, char out[FL_DIGEST_MAX_HEX_BYTES]);
