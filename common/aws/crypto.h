/* crypto.h - the cryptography this project uses, all of it OpenSSL's: hashes, HMAC, RSA-PSS,
 * Ed25519, sealing.
 *
 * The functions without a result end the process if OpenSSL has no memory: there is no hash to give
 * in its place. Nothing else in the tree includes OpenSSL headers, except common/net for TLS
 * settings and server/pki.c for certificates.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_SHA256_BYTES     32
#define FL_SHA256_HEX_BYTES 65
#define FL_SEAL_KEY_BYTES   32

/* Of data that comes piece by piece: digest.h. */
void fl_sha256(const void *data, size_t len, uint8_t out[FL_SHA256_BYTES]);
void fl_sha256_hex(const void *data, size_t len, char out[FL_SHA256_HEX_BYTES]);

void fl_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[FL_SHA256_BYTES]);

/* Lower case; `out` has 2 * len + 1 bytes. Decoding: either case, exactly out_len bytes, else
 * -EINVAL. */
void fl_hex_encode(const void *data, size_t len, char *out);
int fl_hex_decode(const char *hex, void *out, size_t out_len);

/* Standard alphabet, padded. Encoding: fresh memory (caller frees). Decoding: strict; -EINVAL. */
char *fl_base64_encode(const void *data, size_t len);
int fl_base64_decode(const char *text, uint8_t **ret_data, size_t *ret_len);

/* Constant time in the contents; strings of different length are unequal. */
bool fl_equal_secret(const void *a, size_t a_len, const void *b, size_t b_len);

/* Overwrites and frees; NULL is fine. */
void fl_free_secret(void *p, size_t len);
void fl_wipe(void *p, size_t len);

/* AES-256-GCM with a random nonce: out = nonce (12) | ciphertext | tag (16). `aad` binds context
 * (may be NULL). Opening anything that was not sealed with this key and aad is -EBADMSG. Fresh
 * memory. */
int fl_seal(const uint8_t key[FL_SEAL_KEY_BYTES], const char *aad, const void *plain, size_t len,
            uint8_t **ret_sealed, size_t *ret_len);
int fl_unseal(const uint8_t key[FL_SEAL_KEY_BYTES], const char *aad, const void *sealed, size_t len,
              uint8_t **ret_plain, size_t *ret_len);

/* RSA identity keys (protocol 1 §1.2, §3.1). */
struct fl_rsa;

int fl_rsa_generate(struct fl_rsa **ret_key, struct fl_err *err); /* 2048 bits, e = 65537 */
struct fl_rsa *fl_rsa_free(struct fl_rsa *key);
/* base64 of PKCS#1 DER, what the vault holds; base64 of DER SubjectPublicKeyInfo, what `PublicKey`
 * carries. Fresh memory; the private text is to be freed with fl_free_secret. */
int fl_rsa_private_text(const struct fl_rsa *key, char **ret_text);
int fl_rsa_public_text(const struct fl_rsa *key, char **ret_text);
/* Both take exactly what the functions above write: -EINVAL for any other structure or trailing
 * bytes, for a key that is not RSA, under 2048 or over 8192 bits, or with an exponent over 32 bits.
 */
int fl_rsa_from_private_text(const char *text, struct fl_rsa **ret_key, struct fl_err *err);
int fl_rsa_from_public_text(const char *text, struct fl_rsa **ret_key, struct fl_err *err);
/* RSASSA-PSS, SHA-256, MGF1-SHA-256, salt 32; base64. Verify: 0 or -EBADMSG. */
int fl_rsa_sign(const struct fl_rsa *key, const void *data, size_t len, char **ret_sig,
                struct fl_err *err);
int fl_rsa_verify(const struct fl_rsa *key, const void *data, size_t len, const char *sig);

/* Ed25519 keys that operators sign commands with (ed25519.c). */
struct fl_ed25519;

int fl_ed25519_generate(struct fl_ed25519 **ret_key, struct fl_err *err);
struct fl_ed25519 *fl_ed25519_free(struct fl_ed25519 *key);
/* PKCS#8 PEM, what `openssl pkey` reads too; encrypted with AES-256 if there is a passphrase. Fresh
 * memory, to be freed with fl_free_secret. */
int fl_ed25519_private_pem(const struct fl_ed25519 *key, const char *passphrase, char **ret_pem);
/* -ENOKEY: the key is encrypted and `passphrase` is NULL. -EINVAL: wrong passphrase, not such a
 * key. */
int fl_ed25519_from_private_pem(const char *pem, const char *passphrase,
                                struct fl_ed25519 **ret_key, struct fl_err *err);
/* base64 of DER SubjectPublicKeyInfo: the body of `openssl pkey -pubout`. Fresh memory. */
int fl_ed25519_public_text(const struct fl_ed25519 *key, char **ret_text);
bool fl_ed25519_public_valid(const char *public_text);
/* RFC 8032; base64 of 64 bytes, fresh memory. Verify: 0, or -EBADMSG also for what is not a key. */
int fl_ed25519_sign(const struct fl_ed25519 *key, const void *data, size_t len, char **ret_sig);
int fl_ed25519_verify(const char *public_text, const void *data, size_t len, const char *sig);
