/* ed25519.c - the Ed25519 part of crypto.h: keys that operators sign commands with.
 *
 * Public keys are one base64 text each, so that two spellings of one key cannot stand in a policy.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include "common/aws/crypto.h"

#define SPKI_BYTES    44 /* DER of an Ed25519 SubjectPublicKeyInfo; RFC 8410 §4 */
#define SIG_BYTES     64
#define MAX_PEM_BYTES (16 << 10)

struct fl_ed25519 {
    EVP_PKEY *pkey;
};

/* Takes over `pkey`, also on failure. */
static int wrap_key(EVP_PKEY *pkey, struct fl_ed25519 **ret_key)
{
    struct fl_ed25519 *key = calloc(1, sizeof(*key));

    if (!key) {
        EVP_PKEY_free(pkey);
        return -ENOMEM;
    }
    key->pkey = pkey;
    *ret_key = key;
    return 0;
}

int fl_ed25519_generate(struct fl_ed25519 **ret_key, struct fl_err *err)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");

    if (!pkey) {
        ERR_clear_error();
        return fl_err_set(err, -EIO, NULL, "cannot generate an Ed25519 key");
    }
    return wrap_key(pkey, ret_key);
}

struct fl_ed25519 *fl_ed25519_free(struct fl_ed25519 *key)
{
    if (key)
        EVP_PKEY_free(key->pkey);
    free(key);
    return NULL;
}

int fl_ed25519_private_pem(const struct fl_ed25519 *key, const char *passphrase, char **ret_pem)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    const EVP_CIPHER *cipher = passphrase ? EVP_aes_256_cbc() : NULL;
    char *pem = NULL;
    const char *data;
    long len;

    if (bio &&
        PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, cipher, passphrase,
                                      passphrase ? (int)strlen(passphrase) : 0, NULL, NULL) == 1) {
        len = BIO_get_mem_data(bio, &data);
        pem = strndup(data, (size_t)len);
    }
    BIO_free(bio);
    ERR_clear_error();
    if (!pem)
        return -ENOMEM;
    *ret_pem = pem;
    return 0;
}

static int give_passphrase(char *out, int size, int writing, void *arg)
{
    const char *passphrase = arg;
    size_t len = passphrase ? strlen(passphrase) : 0;

    if (len == 0 || len > (size_t)size)
        return -1;
    memcpy(out, passphrase, len);
    return (int)len;
}

int fl_ed25519_from_private_pem(const char *pem, const char *passphrase,
                                struct fl_ed25519 **ret_key, struct fl_err *err)
{
    size_t len = strnlen(pem, MAX_PEM_BYTES + 1);
    BIO *bio = len <= MAX_PEM_BYTES ? BIO_new_mem_buf(pem, (int)len) : NULL;
    EVP_PKEY *pkey = NULL;

    if (strstr(pem, "ENCRYPTED") && !passphrase) {
        BIO_free(bio);
        return fl_err_set(err, -ENOKEY, NULL, "the key needs its passphrase");
    }
    if (bio)
        pkey = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)(uintptr_t)passphrase);
    BIO_free(bio);
    ERR_clear_error();
    if (!pkey)
        return fl_err_set(err, -EINVAL, NULL,
                          passphrase ? "wrong passphrase, or not a private key in PEM"
                                     : "not a private key in PEM");
    if (!EVP_PKEY_is_a(pkey, "ED25519")) {
        EVP_PKEY_free(pkey);
        return fl_err_set(err, -EINVAL, NULL, "not an Ed25519 key");
    }
    return wrap_key(pkey, ret_key);
}

int fl_ed25519_public_text(const struct fl_ed25519 *key, char **ret_text)
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key->pkey, &der);
    char *text = len > 0 ? fl_base64_encode(der, (size_t)len) : NULL;

    OPENSSL_free(der);
    ERR_clear_error();
    if (!text)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}

/* The one form i2d_PUBKEY writes, else NULL. */
static EVP_PKEY *parse_public(const char *text)
{
    fl_autofree uint8_t *der = NULL;
    const uint8_t *p;
    EVP_PKEY *pkey;
    size_t len = 0;

    if (strnlen(text, 2 * SPKI_BYTES) == 2 * SPKI_BYTES || fl_base64_decode(text, &der, &len) < 0 ||
        len != SPKI_BYTES)
        return NULL;
    p = der;
    pkey = d2i_PUBKEY(NULL, &p, (long)len);
    if (pkey && (!EVP_PKEY_is_a(pkey, "ED25519") || p != der + len)) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    ERR_clear_error();
    return pkey;
}

bool fl_ed25519_public_valid(const char *public_text)
{
    EVP_PKEY *pkey = parse_public(public_text);

    EVP_PKEY_free(pkey);
    return pkey != NULL;
}

int fl_ed25519_sign(const struct fl_ed25519 *key, const void *data, size_t len, char **ret_sig)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[SIG_BYTES];
    size_t sig_len = sizeof(sig);
    bool ok = ctx && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &sig_len, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    if (!ok)
        return -EIO;
    *ret_sig = fl_base64_encode(sig, sig_len);
    return *ret_sig ? 0 : -ENOMEM;
}

int fl_ed25519_verify(const char *public_text, const void *data, size_t len, const char *sig)
{
    fl_autofree uint8_t *raw = NULL;
    EVP_PKEY *pkey = NULL;
    EVP_MD_CTX *ctx = NULL;
    size_t raw_len = 0;
    bool ok;

    if (strnlen(sig, 2 * SIG_BYTES) == 2 * SIG_BYTES || fl_base64_decode(sig, &raw, &raw_len) < 0)
        return -EBADMSG;
    pkey = parse_public(public_text);
    ctx = pkey ? EVP_MD_CTX_new() : NULL;
    ok = ctx && raw_len == SIG_BYTES &&
         EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, pkey, NULL) == 1 &&
         EVP_DigestVerify(ctx, raw, raw_len, data, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return ok ? 0 : -EBADMSG;
}
