/* gcm.h - AES-256-GCM with one key for many messages. The caller sees to it that no nonce is used
 * twice with a key. */
#pragma once
#include "common/base/util.h"

#define FL_GCM_KEY_BYTES   32
#define FL_GCM_NONCE_BYTES 12
#define FL_GCM_TAG_BYTES   16
#define FL_GCM_MAX_BYTES   (1 << 30) /* of a message, and of its context: OpenSSL counts in int */

struct fl_gcm;

/* For one direction. NULL without memory. The key is wiped when it is freed; _free takes NULL. */
struct fl_gcm *fl_gcm_new(const uint8_t key[FL_GCM_KEY_BYTES], bool encrypt);
struct fl_gcm *fl_gcm_free(struct fl_gcm *g);

/* From `in` to `out`, which may be the same place; `aad` is bound to it (NULL: nothing). The tag is
 * written when encrypting, and checked when decrypting. False: the tag is not right, or no memory;
 * then `out` holds nothing of use. */
bool fl_gcm_run(struct fl_gcm *g, const uint8_t nonce[FL_GCM_NONCE_BYTES], const char *aad,
                const void *in, size_t len, void *out, uint8_t tag[FL_GCM_TAG_BYTES]);
