/* kms.h - between kms.c (keys, aliases, the table) and kms_crypt.c (what is done with keys).
 *
 * A key is 32 random bytes that never leave the plane; the store has them sealed with the plane's
 * key. A ciphertext is version (1 byte) | key id (16) | what fl_seal makes; it is bound to account,
 * region, key and encryption context.
 */
#pragma once
#include "common/aws/crypto.h"
#include "common/base/rand.h"
#include "server/op.h"

#define FL_KMS_KEY_LIMITS     \
    {                         \
        .min = 1, .max = 2048 \
    }

/* What a caller may write for a key (its id, its ARN, an alias, an alias's ARN) to the id.
 * NotFoundException; an alias is looked up, an id is not. */
int fl_kms_key_resolve(struct fl_call *call, const char *name, char ret_id[FL_UUID_BYTES],
                       struct fl_err *err);

/* The key itself; to be wiped. NotFoundException, DisabledException. */
int fl_kms_key_open(struct fl_call *call, const char *id, uint8_t ret_key[FL_SEAL_KEY_BYTES],
                    struct fl_err *err);

char *fl_kms_key_arn(struct fl_call *call, const char *id);

/* One key as the resource of a policy. */
int fl_kms_resource(struct fl_call *call, const char *id, struct fl_resources *ret,
                    struct fl_err *err);

extern const struct fl_shape fl_kms_encrypt_in, fl_kms_encrypt_out, fl_kms_decrypt_in,
    fl_kms_decrypt_out, fl_kms_data_key_in, fl_kms_data_key_out;
int fl_op_kms_encrypt(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_kms_decrypt(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_kms_data_key(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_kms_decrypt_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                            struct fl_err *err);
