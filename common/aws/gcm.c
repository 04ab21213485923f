/* gcm.c - see gcm.h. */
#include "common/aws/gcm.h"
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <string.h>

struct fl_gcm {
    EVP_CIPHER_CTX *ctx;
    bool encrypt;
};

/* Fetched once, as in crypto.c, but without it nothing is lost: who asks next tries again. NULL
 * without memory. */
static EVP_CIPHER *fetch_cipher(void)
{
    static _Atomic(EVP_CIPHER *) cipher;
    EVP_CIPHER *mine, *was = NULL;

    if (cipher)
        return cipher;
    mine = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (mine && !atomic_compare_exchange_strong(&cipher, &was, mine))
        EVP_CIPHER_free(mine); /* another thread was faster */
    return cipher;
}

struct fl_gcm *fl_gcm_new(const uint8_t key[FL_GCM_KEY_BYTES], bool encrypt)
{
    EVP_CIPHER *cipher = fetch_cipher();
    struct fl_gcm *g = cipher ? calloc(1, sizeof(*g)) : NULL;

    if (!g) {
        ERR_clear_error();
        return NULL;
    }
    g->encrypt = encrypt;
    g->ctx = EVP_CIPHER_CTX_new();
    if (!g->ctx || EVP_CipherInit_ex2(g->ctx, cipher, key, NULL, encrypt, NULL) != 1) {
        ERR_clear_error();
        return fl_gcm_free(g);
    }
    return g;
}

struct fl_gcm *fl_gcm_free(struct fl_gcm *g)
{
    if (g)
        EVP_CIPHER_CTX_free(g->ctx);
    free(g);
    return NULL;
}

bool fl_gcm_run(struct fl_gcm *g, const uint8_t nonce[FL_GCM_NONCE_BYTES], const char *aad,
                const void *in, size_t len, void *out, uint8_t tag[FL_GCM_TAG_BYTES])
{
    uint8_t rest[16];
    int n;
    bool ok = EVP_CipherInit_ex2(g->ctx, NULL, NULL, nonce, -1, NULL) == 1;

    if (ok && aad && *aad)
        ok = EVP_CipherUpdate(g->ctx, NULL, &n, (const uint8_t *)aad, (int)strlen(aad)) == 1;
    if (ok && len > 0)
        ok = EVP_CipherUpdate(g->ctx, out, &n, in, (int)len) == 1;
    if (ok && !g->encrypt)
        ok = EVP_CIPHER_CTX_ctrl(g->ctx, EVP_CTRL_AEAD_SET_TAG, FL_GCM_TAG_BYTES, tag) == 1;
    ok = ok && EVP_CipherFinal_ex(g->ctx, rest, &n) == 1;
    if (ok && g->encrypt)
        ok = EVP_CIPHER_CTX_ctrl(g->ctx, EVP_CTRL_AEAD_GET_TAG, FL_GCM_TAG_BYTES, tag) == 1;
    if (!ok)
        ERR_clear_error(); /* TLS on this thread must not find our leftovers */
    return ok;
}
