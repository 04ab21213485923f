/* crypto.c - see crypto.h. Hashes, HMAC, text encodings, sealing; RSA keys are in rsa.c.
 *
 * Algorithms are fetched once per process: a fetch by name takes locks and string look-ups, which
 * would cost more than hashing a short message.
 */
#include "common/aws/crypto.h"
#include <errno.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include "common/aws/gcm.h"
#include "common/base/rand.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static EVP_MD *sha256;
static EVP_MAC_CTX *hmac; /* HMAC-SHA-256 without a key, to be duplicated */

static void fetch_algorithms(void)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hmac = mac ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac);
    /* an OpenSSL without these cannot serve this project, and no caller could go on */
    if (!sha256 || !hmac || EVP_MAC_CTX_set_params(hmac, params) != 1)
        abort();
}

static void need_algorithms(void)
{
    if (pthread_once(&once, fetch_algorithms) != 0)
        abort();
}

void fl_sha256(const void *data, size_t len, uint8_t out[FL_SHA256_BYTES])
{
    need_algorithms();
    /* fails only without memory; a wrong hash must never be used in its place */
    if (EVP_Digest(len ? data : "", len, out, NULL, sha256, NULL) != 1)
        abort();
}

void fl_sha256_hex(const void *data, size_t len, char out[FL_SHA256_HEX_BYTES])
{
    uint8_t hash[FL_SHA256_BYTES];

    fl_sha256(data, len, hash);
    fl_hex_encode(hash, sizeof(hash), out);
}

void fl_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                    uint8_t out[FL_SHA256_BYTES])
{
    EVP_MAC_CTX *ctx;
    size_t out_len = 0;

    need_algorithms();
    ctx = EVP_MAC_CTX_dup(hmac);
    if (!ctx || EVP_MAC_init(ctx, key_len ? key : (const void *)"", key_len, NULL) != 1 ||
        EVP_MAC_update(ctx, len ? data : "", len) != 1 ||
        EVP_MAC_final(ctx, out, &out_len, FL_SHA256_BYTES) != 1)
        abort(); /* as for fl_sha256 */
    EVP_MAC_CTX_free(ctx);
}

void fl_hex_encode(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

int fl_hex_decode(const char *hex, void *out, size_t out_len)
{
    uint8_t *to = out;

    if (strlen(hex) != 2 * out_len)
        return -EINVAL;
    for (size_t i = 0; i < out_len; i++)
        if (fl_hex_value(hex[2 * i]) < 0 || fl_hex_value(hex[2 * i + 1]) < 0)
            return -EINVAL;
    for (size_t i = 0; i < out_len; i++)
        to[i] = (uint8_t)(fl_hex_value(hex[2 * i]) << 4 | fl_hex_value(hex[2 * i + 1]));
    return 0;
}

char *fl_base64_encode(const void *data, size_t len)
{
    char *out = len <= INT_MAX / 2 ? malloc((len + 2) / 3 * 4 + 1) : NULL;

    if (out)
        EVP_EncodeBlock((unsigned char *)out, data, (int)len);
    return out;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* Decodes whole groups of four digits. Only the last may be padded, and then its unused bits are 0.
 */
static int base64_decode_groups(const char *text, size_t text_len, size_t pad, uint8_t *to)
{
    for (size_t i = 0; i < text_len; i += 4) {
        size_t missing = i + 4 == text_len ? pad : 0;
        uint32_t bits = 0;

        for (size_t k = 0; k < 4; k++) {
            int v = k < 4 - missing ? base64_value(text[i + k]) : 0;

            if (v < 0)
                return -EINVAL;
            bits = bits << 6 | (uint32_t)v;
        }
        if (bits & ((1u << (8 * missing)) - 1))
            return -EINVAL;
        for (size_t k = 0; k < 3 - missing; k++)
            *to++ = (uint8_t)(bits >> (16 - 8 * k));
    }
    return 0;
}

int fl_base64_decode(const char *text, uint8_t **ret_data, size_t *ret_len)
{
    size_t text_len = strlen(text), pad = 0, len;
    uint8_t *data;
    int r;

    if (text_len % 4 != 0)
        return -EINVAL;
    if (text_len > 0 && text[text_len - 1] == '=')
        pad = text[text_len - 2] == '=' ? 2 : 1;
    len = text_len / 4 * 3 - pad;
    data = malloc(len + 1);
    if (!data)
        return -ENOMEM;
    r = base64_decode_groups(text, text_len, pad, data);
    if (r < 0) {
        fl_free_secret(data, len);
        return r;
    }
    data[len] = '\0';
    *ret_data = data;
    *ret_len = len;
    return 0;
}

bool fl_equal_secret(const void *a, size_t a_len, const void *b, size_t b_len)
{
    return a_len == b_len && (a_len == 0 || CRYPTO_memcmp(a, b, a_len) == 0);
}

void fl_free_secret(void *p, size_t len)
{
    if (p)
        OPENSSL_cleanse(p, len);
    free(p);
}

void fl_wipe(void *p, size_t len)
{
    if (p)
        OPENSSL_cleanse(p, len);
}

static bool gcm_crypt(bool encrypt, const uint8_t *key, const uint8_t *nonce, const char *aad,
                      const void *in, size_t len, void *out, uint8_t *tag)
{
    struct fl_gcm *g = fl_gcm_new(key, encrypt);
    bool ok = g && fl_gcm_run(g, nonce, aad, in, len, out, tag);

    fl_gcm_free(g);
    return ok;
}

int fl_seal(const uint8_t key[FL_SEAL_KEY_BYTES], const char *aad, const void *plain, size_t len,
            uint8_t **ret_sealed, size_t *ret_len)
{
    fl_autofree uint8_t *out = NULL;

    if (len > FL_GCM_MAX_BYTES || (aad && strlen(aad) > FL_GCM_MAX_BYTES))
        return -EMSGSIZE;
    out = malloc(FL_GCM_NONCE_BYTES + len + FL_GCM_TAG_BYTES);
    if (!out)
        return -ENOMEM;
    fl_random_bytes(out, FL_GCM_NONCE_BYTES);
    if (!gcm_crypt(true, key, out, aad, plain, len, out + FL_GCM_NONCE_BYTES,
                   out + FL_GCM_NONCE_BYTES + len))
        return -ENOMEM;
    *ret_len = FL_GCM_NONCE_BYTES + len + FL_GCM_TAG_BYTES;
    *ret_sealed = FL_TAKE(out);
    return 0;
}

int fl_unseal(const uint8_t key[FL_SEAL_KEY_BYTES], const char *aad, const void *sealed, size_t len,
              uint8_t **ret_plain, size_t *ret_len)
{
    const uint8_t *in = sealed;
    uint8_t tag[FL_GCM_TAG_BYTES];
    size_t plain_len;
    uint8_t *out;

    if (len < FL_GCM_NONCE_BYTES + FL_GCM_TAG_BYTES || len > FL_GCM_MAX_BYTES ||
        (aad && strlen(aad) > FL_GCM_MAX_BYTES))
        return -EBADMSG;
    plain_len = len - FL_GCM_NONCE_BYTES - FL_GCM_TAG_BYTES;
    memcpy(tag, in + len - FL_GCM_TAG_BYTES, sizeof(tag));
    out = malloc(plain_len + 1);
    if (!out)
        return -ENOMEM;
    if (!gcm_crypt(false, key, in, aad, in + FL_GCM_NONCE_BYTES, plain_len, out, tag)) {
        fl_free_secret(out, plain_len);
        return -EBADMSG;
    }
    out[plain_len] = '\0';
    *ret_plain = out;
    *ret_len = plain_len;
    return 0;
}
