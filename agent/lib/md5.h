/* md5.h - MD5 for the fingerprint's file format (protocol 1 §2), nothing else.
 *
 * Not a matter of security: it tells whether hardware listings are the same as last time. Our own,
 * since OpenSSL refuses MD5 on hosts in FIPS mode, where the official agent's values must still
 * match.
 */
#pragma once
#include "common/base/util.h"

#define FL_MD5_BYTES 16

void fl_md5(const void *data, size_t len, uint8_t out[FL_MD5_BYTES]);
