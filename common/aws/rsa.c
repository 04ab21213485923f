/* rsa.c - the RSA part of crypto.h: identity keys, RSASSA-PSS.
 *
 * Parsing is strict: the text must be exactly one key of the expected structure, so that a vault or
 * a registration never holds something another reader would understand differently.
 */
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include "common/aws/crypto.h"

#define RSA_NEW_BITS      2048
#define RSA_MIN_BITS      2048
#define RSA_MAX_BITS      8192
#define RSA_MAX_E_BITS    32         /* a longer exponent only makes verification slow */
#define RSA_MAX_TEXT      (16 << 10) /* base64; an 8192-bit private key takes about 6.2 KiB */
#define RSA_SALT_BYTES    32         /* protocol 1 §3.1 */
#define RSA_MAX_SIG_BYTES (RSA_MAX_BITS / 8)

struct fl_rsa {
    EVP_PKEY *pkey;
};

/* Takes over `pkey`, also on failure. */
static int wrap_key(EVP_PKEY *pkey, struct fl_rsa **ret_key)
{
    struct fl_rsa *key = calloc(1, sizeof(*key));

    if (!key) {
        EVP_PKEY_free(pkey);
        return -ENOMEM;
    }
    key->pkey = pkey;
    *ret_key = key;
    return 0;
}

int fl_rsa_generate(struct fl_rsa **ret_key, struct fl_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_NEW_BITS);

    if (!pkey) {
        ERR_clear_error();
        return fl_err_set(err, -EIO, NULL, "cannot generate an RSA key");
    }
    return wrap_key(pkey, ret_key);
}

struct fl_rsa *fl_rsa_free(struct fl_rsa *key)
{
    if (key)
        EVP_PKEY_free(key->pkey);
    free(key);
    return NULL;
}

/* Base64 of DER that OpenSSL allocated; wipes and frees the DER. */
static int der_to_text(uint8_t *der, int len, char **ret_text)
{
    char *text;

    if (len <= 0 || !der) {
        ERR_clear_error();
        return -EIO;
    }
    text = fl_base64_encode(der, (size_t)len);
    OPENSSL_clear_free(der, (size_t)len);
    if (!text)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}

int fl_rsa_private_text(const struct fl_rsa *key, char **ret_text)
{
    uint8_t *der = NULL;
    int len = i2d_PrivateKey(key->pkey, &der); /* for RSA this is PKCS#1 */

    return der_to_text(der, len, ret_text);
}

int fl_rsa_public_text(const struct fl_rsa *key, char **ret_text)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key->pkey, &der);

    return der_to_text(der, len, ret_text);
}

/* What any key must satisfy, or the reason why it does not. */
static const char *key_fault(EVP_PKEY *pkey)
{
    BIGNUM *e = NULL, *n = NULL;
    const char *fault = NULL;

    if (!EVP_PKEY_is_a(pkey, "RSA"))
        return "not an RSA key";
    if (EVP_PKEY_get_bits(pkey) < RSA_MIN_BITS)
        return "RSA key shorter than 2048 bits";
    if (EVP_PKEY_get_bits(pkey) > RSA_MAX_BITS)
        return "RSA key longer than 8192 bits";
    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1)
        fault = "incomplete RSA key";
    else if (!BN_is_odd(e) || BN_is_one(e) || BN_is_negative(e) || BN_num_bits(e) > RSA_MAX_E_BITS)
        fault = "unusable RSA exponent";
    else if (!BN_is_odd(n) || BN_is_negative(n))
        fault = "unusable RSA modulus";
    BN_free(e);
    BN_free(n);
    return fault;
}

/* What a kind of key is parsed with, and written with again. */
struct key_form {
    EVP_PKEY *(*decode)(const uint8_t *der, size_t len);
    int (*encode)(const EVP_PKEY *pkey, uint8_t **ret_der);
};

static EVP_PKEY *decode_private(const uint8_t *der, size_t len)
{
    return d2i_PrivateKey_ex(EVP_PKEY_RSA, NULL, &der, (long)len, NULL, NULL);
}

static EVP_PKEY *decode_public(const uint8_t *der, size_t len)
{
    return d2i_PUBKEY_ex(NULL, &der, (long)len, NULL, NULL);
}

static const struct key_form pkcs1_private = { decode_private, i2d_PrivateKey };
static const struct key_form spki_public = { decode_public, i2d_PUBKEY };

/* OpenSSL's parsers take PKCS#8 for PKCS#1, stop before trailing bytes and read some non-DER: the
 * one text we take is the one we would write. */
static bool is_canonical(const EVP_PKEY *pkey, const struct key_form *form, const uint8_t *der,
                         size_t len)
{
    uint8_t *again = NULL;
    int n = form->encode(pkey, &again);
    bool same = n > 0 && (size_t)n == len && memcmp(again, der, len) == 0;

    if (n > 0)
        OPENSSL_clear_free(again, (size_t)n);
    return same;
}

static int key_from_text(const char *text, const struct key_form *form, struct fl_rsa **ret_key,
                         struct fl_err *err)
{
    const char *fault = "not base64 of one DER key";
    EVP_PKEY *pkey = NULL;
    uint8_t *der = NULL;
    size_t len = 0;
    int r;

    if (strnlen(text, RSA_MAX_TEXT + 1) > RSA_MAX_TEXT)
        return fl_err_set(err, -EINVAL, NULL, "RSA key text over %d bytes", RSA_MAX_TEXT);
    r = fl_base64_decode(text, &der, &len);
    if (r == -ENOMEM)
        return fl_err_nomem(err);
    if (r == 0) {
        pkey = form->decode(der, len);
        if (pkey)
            fault = key_fault(pkey);
        if (pkey && !fault && !is_canonical(pkey, form, der, len))
            fault = "not the one DER form of this key";
        ERR_clear_error();
        fl_free_secret(der, len);
    }
    if (fault) {
        EVP_PKEY_free(pkey);
        return fl_err_set(err, -EINVAL, NULL, "RSA key refused: %s", fault);
    }
    return wrap_key(pkey, ret_key);
}

int fl_rsa_from_private_text(const char *text, struct fl_rsa **ret_key, struct fl_err *err)
{
    return key_from_text(text, &pkcs1_private, ret_key, err);
}

int fl_rsa_from_public_text(const char *text, struct fl_rsa **ret_key, struct fl_err *err)
{
    return key_from_text(text, &spki_public, ret_key, err);
}

static bool pss_settings(EVP_PKEY_CTX *ctx)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, "SHA256", NULL) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_SALT_BYTES) == 1;
}

int fl_rsa_sign(const struct fl_rsa *key, const void *data, size_t len, char **ret_sig,
                struct fl_err *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx; /* belongs to ctx */
    uint8_t sig[RSA_MAX_SIG_BYTES];
    size_t sig_len = sizeof(sig);
    bool ok;

    ok = ctx && EVP_DigestSignInit_ex(ctx, &pctx, "SHA256", NULL, NULL, key->pkey, NULL) == 1 &&
         pss_settings(pctx) && EVP_DigestSign(ctx, sig, &sig_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        ERR_clear_error();
        return fl_err_set(err, -EIO, NULL, "cannot sign with this RSA key");
    }
    *ret_sig = fl_base64_encode(sig, sig_len);
    return *ret_sig ? 0 : -ENOMEM;
}

int fl_rsa_verify(const struct fl_rsa *key, const void *data, size_t len, const char *sig)
{
    fl_autofree uint8_t *raw = NULL;
    EVP_PKEY_CTX *pctx; /* belongs to ctx */
    EVP_MD_CTX *ctx;
    size_t raw_len;
    bool ok;

    if (strnlen(sig, 2 * RSA_MAX_SIG_BYTES) == 2 * RSA_MAX_SIG_BYTES ||
        fl_base64_decode(sig, &raw, &raw_len) < 0)
        return -EBADMSG;
    ctx = EVP_MD_CTX_new();
    ok = ctx && EVP_DigestVerifyInit_ex(ctx, &pctx, "SHA256", NULL, NULL, key->pkey, NULL) == 1 &&
         pss_settings(pctx) && EVP_DigestVerify(ctx, raw, raw_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok ? 0 : -EBADMSG;
}
