/* parameter_seal.h - SecureStrings at rest: AES-256-GCM under a key of their own,
 * <data>/keys/parameters, bound to account, region, parameter and version.
 *
 * What is sealed is what the store holds, and, in base64, what the API gives without decryption.
 */
#pragma once
#include "server/op.h"

#define FL_PARAMETER_KEY_ALIAS "alias/aws/ssm" /* the only key of a plane */

/* At the start, with the store open: reads the key into plane->parameter_key, or makes it where
 * there is none. -EINVAL if the store holds SecureStrings that the key, or a new one, does not
 * open: going on would make more of them under another key. */
int fl_parameter_key_open(struct fl_plane *plane, struct fl_err *err);

/* Fresh memory. Negative errno with `err` set. */
int fl_parameter_seal(struct fl_call *call, const char *id, int64_t version, const char *value,
                      uint8_t **ret_sealed, size_t *ret_len, struct fl_err *err);

/* The value, in the call's arena. -EBADMSG named InvalidKeyId if this key did not seal it so. */
int fl_parameter_unseal(struct fl_call *call, const char *id, int64_t version, const void *sealed,
                        size_t len, char **ret_value, struct fl_err *err);
