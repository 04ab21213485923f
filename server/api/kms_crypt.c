/* kms_crypt.c - Encrypt, Decrypt, GenerateDataKey (protocol 3 §7, 6 §1.6). */
#include "server/api/kms.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_VERSION    1
#define BLOB_HEAD_BYTES 17
#define PLAIN_MAX_BYTES 4096 /* of Encrypt */
#define BLOB_MAX_CHARS  8704 /* a ciphertext has at most 6144 bytes, in base64 */
#define CONTEXT_MAX     64

/* What binds a session's key to a node (protocol 3 §7). */
#define CONTEXT_TARGET "aws:ssm:TargetId"

/* ---- shapes: all operations begin with the key ---- */

struct crypt_in {
    char *key_id;
    char *plain;
    char *blob;
    char *spec;
    char *algorithm;
    struct fl_opt_int bytes;
    struct fl_strmap context;
};
#define T          struct crypt_in
#define KEY(flags) FL_FIELD(T, key_id, "KeyId", flags, .limits = FL_KMS_KEY_LIMITS)
#define CONTEXT                                                                    \
    FL_FIELD(T, context, "EncryptionContext", 0, .limits = { .max = CONTEXT_MAX }, \
             .elem = { .max = 2048 })
static const char *const specs[] = { "AES_256", "AES_128", NULL };
static const char *const algorithms[] = { "SYMMETRIC_DEFAULT", NULL };
#define ALGORITHM \
    FL_FIELD(T, algorithm, "EncryptionAlgorithm", 0, .limits = { .enums = algorithms })
static const struct fl_field encrypt_in_fields[] = {
    KEY(FL_REQUIRED),
    FL_FIELD(T, plain, "Plaintext", FL_REQUIRED | FL_SECRET,
             .limits = { .min = 4, .max = (PLAIN_MAX_BYTES + 2) / 3 * 4 }),
    CONTEXT,
    ALGORITHM,
};
static const struct fl_field decrypt_in_fields[] = {
    KEY(0),
    FL_FIELD(T, blob, "CiphertextBlob", FL_REQUIRED, .limits = { .min = 1, .max = BLOB_MAX_CHARS }),
    CONTEXT,
    ALGORITHM,
};
static const struct fl_field data_key_in_fields[] = {
    KEY(FL_REQUIRED),
    FL_FIELD(T, spec, "KeySpec", 0, .limits = { .enums = specs }),
    FL_FIELD(T, bytes, "NumberOfBytes", 0, .limits = { .min = 1, .max = 1024 }),
    CONTEXT,
};
#undef T
const struct fl_shape fl_kms_encrypt_in = FL_SHAPE(struct crypt_in, "Encrypt", encrypt_in_fields);
const struct fl_shape fl_kms_decrypt_in = FL_SHAPE(struct crypt_in, "Decrypt", decrypt_in_fields);
const struct fl_shape fl_kms_data_key_in =
    FL_SHAPE(struct crypt_in, "GenerateDataKey", data_key_in_fields);

struct crypt_out {
    char *blob, *plain, *key_arn;
    const char *algorithm;
};
#define F(member, key, flags) FL_FIELD(struct crypt_out, member, key, flags)
static const struct fl_field encrypt_out_fields[] = {
    F(blob, "CiphertextBlob", 0),
    F(key_arn, "KeyId", 0),
    F(algorithm, "EncryptionAlgorithm", 0),
};
static const struct fl_field decrypt_out_fields[] = {
    F(key_arn, "KeyId", 0),
    F(plain, "Plaintext", FL_SECRET),
    F(algorithm, "EncryptionAlgorithm", 0),
};
static const struct fl_field data_key_out_fields[] = {
    F(blob, "CiphertextBlob", 0),
    F(plain, "Plaintext", FL_SECRET),
    F(key_arn, "KeyId", 0),
};
#undef F
const struct fl_shape fl_kms_encrypt_out =
    FL_SHAPE(struct crypt_out, "EncryptResult", encrypt_out_fields);
const struct fl_shape fl_kms_decrypt_out =
    FL_SHAPE(struct crypt_out, "DecryptResult", decrypt_out_fields);
const struct fl_shape fl_kms_data_key_out =
    FL_SHAPE(struct crypt_out, "GenerateDataKeyResult", data_key_out_fields);

/* ---- a ciphertext ---- */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct fl_strmap_entry *)a)->key,
                  ((const struct fl_strmap_entry *)b)->key);
}

/* Where a ciphertext belongs, in one line: lengths keep two contexts apart that join to the same
 * text. */
static int make_aad(struct fl_call *call, const char *id, const struct fl_strmap *context,
                    char **ret_aad, struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(1 << 20);
    struct fl_strmap_entry *sorted = fl_arena_calloc(call->arena, context->n + 1, sizeof(*sorted));
    char hash[FL_SHA256_HEX_BYTES];
    int r = sorted ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < context->n; i++)
        sorted[i] = context->v[i];
    if (r == 0 && context->n > 0)
        qsort(sorted, context->n, sizeof(*sorted), by_key);
    for (size_t i = 0; r == 0 && i < context->n; i++)
        r = fl_buf_printf(&text, "%zu:%s%zu:%s", strlen(sorted[i].key), sorted[i].key,
                          strlen(sorted[i].value), sorted[i].value);
    if (r < 0)
        return r == -ENOMEM ? fl_err_nomem(err)
                            : fl_err_set(err, -EINVAL, "ValidationException",
                                         "The encryption context is too long.");
    fl_sha256_hex(text.data ? text.data : "", text.len, hash);
    *ret_aad =
        fl_arena_printf(call->arena, "kms %s %s %s %s", call->account, call->region, id, hash);
    return *ret_aad ? 0 : fl_err_nomem(err);
}

static int encrypt(struct fl_call *call, const char *id, const struct fl_strmap *context,
                   const void *plain, size_t len, struct crypt_out *res, struct fl_err *err)
{
    fl_autofree uint8_t *sealed = NULL;
    fl_autofree uint8_t *blob = NULL;
    fl_autofree char *text = NULL;
    uint8_t key[FL_SEAL_KEY_BYTES];
    char *aad;
    size_t sealed_len;
    int r = fl_kms_key_open(call, id, key, err);

    if (r < 0)
        return r;
    r = make_aad(call, id, context, &aad, err);
    if (r == 0 && fl_seal(key, aad, plain, len, &sealed, &sealed_len) < 0)
        r = fl_err_nomem(err);
    fl_wipe(key, sizeof(key));
    if (r < 0)
        return r;
    blob = malloc(BLOB_HEAD_BYTES + sealed_len);
    if (!blob || fl_uuid_parse(id, blob + 1) < 0)
        return fl_err_nomem(err);
    blob[0] = BLOB_VERSION;
    memcpy(blob + BLOB_HEAD_BYTES, sealed, sealed_len);
    text = fl_base64_encode(blob, BLOB_HEAD_BYTES + sealed_len);
    res->blob = text ? fl_arena_strdup(call->arena, text) : NULL;
    res->key_arn = fl_kms_key_arn(call, id);
    return res->blob && res->key_arn ? 0 : fl_err_nomem(err);
}

static int bad_ciphertext(struct fl_err *err)
{
    return fl_err_set(err, -EBADMSG, "InvalidCiphertextException",
                      "The ciphertext is not of this plane and key, or belongs to another "
                      "encryption context.");
}

static int blob_take(const char *text, uint8_t **ret_blob, size_t *ret_len,
                     char ret_id[FL_UUID_BYTES], struct fl_err *err)
{
    int r = fl_base64_decode(text, ret_blob, ret_len);

    if (r == -ENOMEM)
        return fl_err_nomem(err);
    if (r < 0 || *ret_len < BLOB_HEAD_BYTES || (*ret_blob)[0] != BLOB_VERSION)
        return bad_ciphertext(err);
    fl_uuid_format(*ret_blob + 1, ret_id);
    return 0;
}

static int plain_text(struct fl_call *call, const void *plain, size_t len, struct crypt_out *res,
                      struct fl_err *err)
{
    char *text = fl_base64_encode(plain, len);

    res->plain = text ? fl_arena_strdup(call->arena, text) : NULL;
    if (text)
        fl_free_secret(text, strlen(text));
    return res->plain ? 0 : fl_err_nomem(err);
}

/* ---- the operations ---- */

int fl_op_kms_encrypt(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct crypt_in *req = in;
    struct crypt_out *res = out;
    char id[FL_UUID_BYTES];
    uint8_t *plain = NULL;
    size_t len = 0;
    int r = fl_kms_key_resolve(call, req->key_id, id, err);

    if (r < 0)
        return r;
    r = fl_base64_decode(req->plain, &plain, &len);
    if (r == -ENOMEM)
        return fl_err_nomem(err);
    if (r < 0)
        return fl_err_set(err, r, "ValidationException", "Plaintext is not base64.");
    if (len == 0 || len > PLAIN_MAX_BYTES)
        r = fl_err_set(err, -EINVAL, "ValidationException",
                       "Plaintext has %zu bytes: 1 to %d are allowed.", len, PLAIN_MAX_BYTES);
    if (r == 0)
        r = encrypt(call, id, &req->context, plain, len, res, err);
    fl_free_secret(plain, len);
    res->algorithm = algorithms[0];
    return r;
}

int fl_op_kms_data_key(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct crypt_in *req = in;
    struct crypt_out *res = out;
    char id[FL_UUID_BYTES];
    uint8_t plain[1024];
    size_t len = req->bytes.set ? (size_t)req->bytes.v
                 : req->spec    ? (strcmp(req->spec, specs[0]) == 0 ? 32 : 16)
                                : 0;
    int r;

    if (len == 0 || (req->bytes.set && req->spec))
        return fl_err_set(err, -EINVAL, "ValidationException",
                          "Please specify either number of bytes or key spec.");
    r = fl_kms_key_resolve(call, req->key_id, id, err);
    if (r < 0)
        return r;
    fl_random_bytes(plain, len);
    r = encrypt(call, id, &req->context, plain, len, res, err);
    if (r == 0)
        r = plain_text(call, plain, len, res, err);
    fl_wipe(plain, sizeof(plain));
    return r;
}

int fl_op_kms_decrypt(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct crypt_in *req = in;
    struct crypt_out *res = out;
    fl_autofree uint8_t *blob = NULL;
    char id[FL_UUID_BYTES], named[FL_UUID_BYTES];
    uint8_t key[FL_SEAL_KEY_BYTES];
    uint8_t *plain = NULL;
    size_t len, plain_len;
    char *aad;
    int r = blob_take(req->blob, &blob, &len, id, err);

    if (r == 0 && req->key_id) {
        r = fl_kms_key_resolve(call, req->key_id, named, err);
        if (r == 0 && strcmp(named, id) != 0)
            return fl_err_set(err, -EINVAL, "IncorrectKeyException",
                              "The key ID in the request does not identify a key that can perform "
                              "this operation.");
    }
    if (r == 0)
        r = fl_kms_key_open(call, id, key, err);
    if (r < 0)
        return r;
    r = make_aad(call, id, &req->context, &aad, err);
    if (r == 0) {
        r = fl_unseal(key, aad, blob + BLOB_HEAD_BYTES, len - BLOB_HEAD_BYTES, &plain, &plain_len);
        if (r < 0)
            r = r == -ENOMEM ? fl_err_nomem(err) : bad_ciphertext(err);
    }
    fl_wipe(key, sizeof(key));
    if (r < 0)
        return r;
    r = plain_text(call, plain, plain_len, res, err);
    fl_free_secret(plain, plain_len);
    res->key_arn = fl_kms_key_arn(call, id);
    res->algorithm = algorithms[0];
    return r == 0 && !res->key_arn ? fl_err_nomem(err) : r;
}

/* The key is named in the ciphertext. A node needs no policy for what was encrypted for a session
 * with itself: the context says so, and a context that is not the ciphertext's opens nothing. */
int fl_kms_decrypt_resource(struct fl_call *call, const void *in, struct fl_resources *ret,
                            struct fl_err *err)
{
    const struct crypt_in *req = in;
    fl_autofree uint8_t *blob = NULL;
    char id[FL_UUID_BYTES];
    size_t len;
    int r = blob_take(req->blob, &blob, &len, id, err);

    if (r == 0)
        r = fl_kms_resource(call, id, ret, err);
    if (r < 0 || call->who->kind != FL_ID_NODE)
        return r;
    for (size_t i = 0; i < req->context.n; i++)
        if (strcmp(req->context.v[i].key, CONTEXT_TARGET) == 0 &&
            strcmp(req->context.v[i].value, call->who->node_id) == 0)
            ret->builtin = true;
    return 0;
}
