/* digest.c - see digest.h. */
#include "common/aws/digest.h"

#include <openssl/evp.h>
#include "common/aws/crypto.h"

struct fl_digest {
    EVP_MD *md;
    EVP_MD_CTX *ctx;
};

static const char *const names[FL_DIGEST__N] = {
    [FL_DIGEST_MD5] = "MD5",
    [FL_DIGEST_SHA1] = "SHA1",
    [FL_DIGEST_SHA256] = "SHA256",
};

struct fl_digest *fl_digest_new(enum fl_digest_kind kind)
{
    struct fl_digest *d = calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->md = EVP_MD_fetch(NULL, names[kind], "-fips");
    d->ctx = EVP_MD_CTX_new();
    if (!d->md || !d->ctx || EVP_DigestInit_ex(d->ctx, d->md, NULL) != 1)
        return fl_digest_free(d);
    return d;
}

struct fl_digest *fl_digest_free(struct fl_digest *d)
{
    if (d) {
        EVP_MD_CTX_free(d->ctx);
        EVP_MD_free(d->md);
    }
    free(d);
    return NULL;
}

void fl_digest_add(struct fl_digest *d, const void *data, size_t len)
{
    if (EVP_DigestUpdate(d->ctx, data, len) != 1)
        abort(); /* only without memory; a wrong hash must never be used (crypto.h) */
}

size_t fl_digest_end(struct fl_digest *d, uint8_t out[FL_DIGEST_MAX_BYTES])
{
    unsigned len = 0;

    if (EVP_DigestFinal_ex(d->ctx, out, &len) != 1 || EVP_DigestInit_ex(d->ctx, d->md, NULL) != 1)
        abort();
    return len;
}

void fl_digest_end_hex(struct fl_digest *d, char out[FL_DIGEST_MAX_HEX_BYTES])
{
    uint8_t hash[FL_DIGEST_MAX_BYTES];

    fl_hex_encode(hash, fl_digest_end(d, hash), out);
}
