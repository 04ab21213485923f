/* body.c - see body.h. */
#include "server/s3/body.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/aws/crypto.h"
#include "common/aws/digest.h"
#include "server/auth/presigned.h"
#include "server/s3/crc.h"

#define LINE_MAX_BYTES 512 /* of a chunk's head, or of a trailing header */
#define TRAILERS_MAX   8
#define SUM_MAX_BYTES  64
#define SIGNATURE      ";chunk-signature="

const char *const fl_s3_sum_names[FL_S3_SUM__N] = { "crc32", "crc32c", "crc64nvme", "sha1",
                                                    "sha256" };

static const struct {
    const char *payload;
    bool chunks, signature, trailer;
} kinds[] = {
    { FL_PAYLOAD_UNSIGNED, false, false, false },
    { FL_PAYLOAD_UNSIGNED_TRAILER, true, false, true },
    { FL_PAYLOAD_CHUNKS, true, true, false },
    { FL_PAYLOAD_CHUNKS_TRAILER, true, true, true },
};

struct fl_s3_body {
    struct fl_s3_body_conf conf;
    fl_s3_sink_fn sink;
    void *arg;
    bool chunks, signature, trailer;
    uint64_t total, want; /* bytes of the object; want UINT64_MAX: not told */

    enum { PLAIN, LINE, DATA, DATA_CR, DATA_LF, TRAILERS, DONE } state;
    char line[LINE_MAX_BYTES];
    size_t line_len;
    uint64_t left; /* of the chunk */
    unsigned n_trailers;
    char given[FL_SHA256_HEX_BYTES], before[FL_SHA256_HEX_BYTES]; /* signatures */
    struct fl_digest *chunk_sha256, *trailer_sha256;

    struct fl_digest *md5, *sha256, *sha1;
    uint32_t crc32, crc32c;
    uint64_t crc64;
    char md5_hex[33];
    bool want_hash;                         /* the payload is the hash */
    char sums[FL_S3_SUM__N][SUM_MAX_BYTES]; /* as sent, in the head or at the end */
};

static int bad(struct fl_err *err, const char *name, const char *text)
{
    return fl_err_set(err, -EINVAL, name, "%s", text);
}

static int incomplete(struct fl_err *err)
{
    return bad(
        err, "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header");
}

/* ---- making ---- */

static bool is_hash(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static int set_kind(struct fl_s3_body *b, struct fl_err *err)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(kinds); i++) {
        if (strcmp(b->conf.payload, kinds[i].payload) != 0)
            continue;
        b->chunks = kinds[i].chunks;
        b->signature = kinds[i].signature;
        b->trailer = kinds[i].trailer;
        b->state = b->chunks ? LINE : PLAIN;
        return b->signature && !b->conf.chunk_key ? -EINVAL : 0;
    }
    b->want_hash = true;
    return is_hash(b->conf.payload) ? 0
                                    : bad(err, "InvalidArgument",
                                          "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, "
                                          "STREAMING-… or a valid sha256 value.");
}

static int set_length(struct fl_s3_body *b, struct fl_err *err)
{
    const char *s = b->conf.length;
    char *end;

    b->want = UINT64_MAX;
    if (!b->chunks || !s)
        return 0;
    if (!*s || s[strspn(s, "0123456789")] || strlen(s) > 15)
        return bad(err, "InvalidArgument", "x-amz-decoded-content-length is no number.");
    b->want = strtoull(s, &end, 10);
    return 0;
}

static int set_sums(struct fl_s3_body *b, struct fl_err *err)
{
    for (int i = 0; i < FL_S3_SUM__N; i++)
        if (b->conf.sums[i] &&
            (size_t)snprintf(b->sums[i], SUM_MAX_BYTES, "%s", b->conf.sums[i]) >= SUM_MAX_BYTES)
            return bad(err, "InvalidRequest", "Value for x-amz-checksum header is invalid.");
    return 0;
}

/* A trailer tells which checksum comes; that one has to be computed from the start. */
static bool needs(const struct fl_s3_body *b, enum fl_s3_sum kind)
{
    static const char prefix[] = "x-amz-checksum-";
    const char *t = b->conf.trailer;

    return b->sums[kind][0] || (b->trailer && t && strncasecmp(t, prefix, strlen(prefix)) == 0 &&
                                strcasecmp(t + strlen(prefix), fl_s3_sum_names[kind]) == 0);
}

static int make_digests(struct fl_s3_body *b)
{
    if (!(b->md5 = fl_digest_new(FL_DIGEST_MD5)))
        return -ENOMEM;
    if ((b->want_hash || needs(b, FL_S3_SHA256)) && !(b->sha256 = fl_digest_new(FL_DIGEST_SHA256)))
        return -ENOMEM;
    if (needs(b, FL_S3_SHA1) && !(b->sha1 = fl_digest_new(FL_DIGEST_SHA1)))
        return -ENOMEM;
    if (b->signature && (!(b->chunk_sha256 = fl_digest_new(FL_DIGEST_SHA256)) ||
                         !(b->trailer_sha256 = fl_digest_new(FL_DIGEST_SHA256))))
        return -ENOMEM;
    return 0;
}

int fl_s3_body_new(const struct fl_s3_body_conf *conf, fl_s3_sink_fn sink, void *arg,
                   struct fl_s3_body **ret_body, struct fl_err *err)
{
    struct fl_s3_body *b = calloc(1, sizeof(*b));
    int r;

    if (!b)
        return fl_err_nomem(err);
    b->conf = *conf;
    b->sink = sink;
    b->arg = arg;
    r = set_kind(b, err);
    if (r >= 0)
        r = set_length(b, err);
    if (r >= 0)
        r = set_sums(b, err);
    if (r >= 0 && make_digests(b) < 0)
        r = fl_err_nomem(err);
    if (r >= 0 && b->signature)
        snprintf(b->before, sizeof(b->before), "%s", conf->signature);
    if (r < 0) {
        fl_s3_body_free(b);
        return r;
    }
    *ret_body = b;
    return 0;
}

struct fl_s3_body *fl_s3_body_free(struct fl_s3_body *b)
{
    if (!b)
        return NULL;
    fl_digest_free(b->md5);
    fl_digest_free(b->sha256);
    fl_digest_free(b->sha1);
    fl_digest_free(b->chunk_sha256);
    fl_digest_free(b->trailer_sha256);
    free(b);
    return NULL;
}

/* ---- the object's bytes ---- */

static int plain(struct fl_s3_body *b, const char *data, size_t len, struct fl_err *err)
{
    b->total += len;
    if (b->total > b->want)
        return incomplete(err);
    fl_digest_add(b->md5, data, len);
    if (b->sha256)
        fl_digest_add(b->sha256, data, len);
    if (b->sha1)
        fl_digest_add(b->sha1, data, len);
    if (b->chunk_sha256)
        fl_digest_add(b->chunk_sha256, data, len);
    if (needs(b, FL_S3_CRC32))
        b->crc32 = fl_crc32(b->crc32, data, len);
    if (needs(b, FL_S3_CRC32C))
        b->crc32c = fl_crc32c(b->crc32c, data, len);
    if (needs(b, FL_S3_CRC64NVME))
        b->crc64 = fl_crc64nvme(b->crc64, data, len);
    return b->sink(b->arg, data, len);
}

/* ---- signed chunks ---- */

static int check_signature(struct fl_s3_body *b, const char *what, struct fl_digest *of,
                           struct fl_err *err)
{
    static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    char hash[FL_SHA256_HEX_BYTES], want[FL_SHA256_HEX_BYTES], text[1024];
    uint8_t mac[FL_SHA256_BYTES];
    bool chunk = of == b->chunk_sha256;
    int n;

    fl_digest_end_hex(of, hash);
    n = snprintf(text, sizeof(text), "AWS4-HMAC-SHA256-%s\n%s\n%s\n%s\n%s%s%s", what, b->conf.date,
                 b->conf.scope, b->before, chunk ? empty : "", chunk ? "\n" : "", hash);
    if (n < 0 || (size_t)n >= sizeof(text))
        return incomplete(err);
    fl_hmac_sha256(b->conf.chunk_key, FL_SHA256_BYTES, text, (size_t)n, mac);
    fl_hex_encode(mac, sizeof(mac), want);
    if (!fl_equal_secret(want, strlen(want), b->given, strlen(b->given)))
        return bad(err, "SignatureDoesNotMatch",
                   "A chunk's signature does not match the one that was computed.");
    memcpy(b->before, want, sizeof(want));
    return 0;
}

/* ---- chunks ---- */

/* The head of a chunk, without its line end. */
static int chunk_head(struct fl_s3_body *b, struct fl_err *err)
{
    size_t digits = strspn(b->line, "0123456789abcdefABCDEF");
    const char *rest = b->line + digits;
    char *end;

    if (digits == 0 || digits > 12)
        return incomplete(err);
    b->left = strtoull(b->line, &end, 16);
    if (b->signature) {
        if (strncmp(rest, SIGNATURE, strlen(SIGNATURE)) != 0 || !is_hash(rest + strlen(SIGNATURE)))
            return incomplete(err);
        snprintf(b->given, sizeof(b->given), "%s", rest + strlen(SIGNATURE));
    } else if (*rest) {
        return incomplete(err);
    }
    if (b->left == 0)
        b->state = TRAILERS;
    else
        b->state = DATA;
    return b->left == 0 && b->signature ? check_signature(b, "PAYLOAD", b->chunk_sha256, err) : 0;
}

static int take_sum(struct fl_s3_body *b, const char *name, const char *value)
{
    static const char prefix[] = "x-amz-checksum-";

    if (strncasecmp(name, prefix, strlen(prefix)) != 0)
        return 0;
    for (int i = 0; i < FL_S3_SUM__N; i++) {
        if (strcasecmp(name + strlen(prefix), fl_s3_sum_names[i]) != 0)
            continue;
        if (!needs(b, (enum fl_s3_sum)i) || strlen(value) >= SUM_MAX_BYTES)
            return -EINVAL;
        strcpy(b->sums[i], value);
    }
    return 0;
}

/* A line behind the last chunk; the empty one ends it all. */
static int trailer(struct fl_s3_body *b, struct fl_err *err)
{
    static const char signature[] = "x-amz-trailer-signature";
    char *colon = strchr(b->line, ':'), *value;

    if (!b->line[0]) {
        b->state = DONE;
        return b->signature && b->trailer ? check_signature(b, "TRAILER", b->trailer_sha256, err)
                                          : 0;
    }
    if (!colon || !b->trailer || ++b->n_trailers > TRAILERS_MAX)
        return incomplete(err);
    *colon = '\0';
    value = colon + 1;
    value += strspn(value, " ");
    if (strcasecmp(b->line, signature) == 0) {
        if (!is_hash(value))
            return incomplete(err);
        strcpy(b->given, value);
        return 0;
    }
    if (b->trailer_sha256) {
        fl_digest_add(b->trailer_sha256, b->line, strlen(b->line));
        fl_digest_add(b->trailer_sha256, ":", 1);
        fl_digest_add(b->trailer_sha256, value, strlen(value));
        fl_digest_add(b->trailer_sha256, "\n", 1);
    }
    return take_sum(b, b->line, value) < 0
               ? bad(err, "InvalidRequest",
                     "The trailing checksum was not announced in x-amz-trailer.")
               : 0;
}

/* Up to the end of a line; some clients end a trailing header with a line feed alone. */
static int take_line(struct fl_s3_body *b, const char **p, const char *end, struct fl_err *err)
{
    const char *lf = memchr(*p, '\n', (size_t)(end - *p));
    size_t n = (size_t)((lf ? lf : end) - *p);

    if (n >= LINE_MAX_BYTES - b->line_len || memchr(*p, '\0', n))
        return incomplete(err);
    memcpy(b->line + b->line_len, *p, n);
    b->line_len += n;
    *p += n + (lf ? 1 : 0);
    if (!lf)
        return 0;
    if (b->line_len && b->line[b->line_len - 1] == '\r')
        b->line_len--;
    else if (b->state == LINE)
        return incomplete(err);
    b->line[b->line_len] = '\0';
    b->line_len = 0;
    return b->state == LINE ? chunk_head(b, err) : trailer(b, err);
}

static int take_data(struct fl_s3_body *b, const char **p, const char *end, struct fl_err *err)
{
    size_t n = (size_t)FL_MIN((uint64_t)(end - *p), b->left);
    int r = plain(b, *p, n, err);

    *p += n;
    b->left -= n;
    if (b->left == 0)
        b->state = DATA_CR;
    return r;
}

/* The line end behind a chunk. */
static int take_end(struct fl_s3_body *b, const char **p, struct fl_err *err)
{
    bool cr = b->state == DATA_CR;

    if (*(*p)++ != (cr ? '\r' : '\n'))
        return incomplete(err);
    b->state = cr ? DATA_LF : LINE;
    return !cr && b->signature ? check_signature(b, "PAYLOAD", b->chunk_sha256, err) : 0;
}

int fl_s3_body_feed(struct fl_s3_body *b, const char *data, size_t len, struct fl_err *err)
{
    const char *p = data, *end = data + len;
    int r = 0;

    while (r >= 0 && p < end) {
        switch (b->state) {
        case PLAIN:
            r = plain(b, p, (size_t)(end - p), err);
            p = end;
            break;
        case LINE:
        case TRAILERS:
            r = take_line(b, &p, end, err);
            break;
        case DATA:
            r = take_data(b, &p, end, err);
            break;
        case DATA_CR:
        case DATA_LF:
            r = take_end(b, &p, err);
            break;
        case DONE:
            r = incomplete(err);
            break;
        }
    }
    return r < 0 ? r : 0;
}

/* ---- the end ---- */

static bool same_base64(const char *given, const void *value, size_t len)
{
    fl_autofree char *text = fl_base64_encode(value, len);

    return text && strcmp(text, given) == 0;
}

static int check_sum(struct fl_s3_body *b, enum fl_s3_sum kind, const uint8_t sha256[32],
                     struct fl_err *err)
{
    uint8_t v[FL_DIGEST_MAX_BYTES];
    uint64_t n = kind == FL_S3_CRC32 ? b->crc32 : kind == FL_S3_CRC32C ? b->crc32c : b->crc64;
    size_t len = kind == FL_S3_CRC64NVME ? 8 : 4;

    if (kind == FL_S3_SHA256)
        memcpy(v, sha256, len = FL_SHA256_BYTES);
    else if (kind == FL_S3_SHA1)
        len = fl_digest_end(b->sha1, v);
    else
        for (size_t i = 0; i < len; i++)
            v[i] = (uint8_t)(n >> (8 * (len - 1 - i)));
    return same_base64(b->sums[kind], v, len)
               ? 0
               : fl_err_set(err, -EINVAL, "BadDigest",
                            "The %s you specified did not match the calculated checksum.",
                            fl_s3_sum_names[kind]);
}

int fl_s3_body_end(struct fl_s3_body *b, struct fl_err *err)
{
    uint8_t md5[FL_DIGEST_MAX_BYTES], sha256[FL_DIGEST_MAX_BYTES];
    char hex[FL_SHA256_HEX_BYTES];
    int r = 0;

    if ((b->chunks && b->state != DONE) || (b->want != UINT64_MAX && b->total != b->want))
        return incomplete(err);
    fl_hex_encode(md5, fl_digest_end(b->md5, md5), b->md5_hex);
    if (b->conf.md5 && !same_base64(b->conf.md5, md5, 16))
        return bad(err, "BadDigest",
                   "The Content-MD5 you specified did not match what we received.");
    if (b->sha256)
        fl_hex_encode(sha256, fl_digest_end(b->sha256, sha256), hex);
    if (b->want_hash && strcmp(hex, b->conf.payload) != 0)
        return bad(err, "XAmzContentSHA256Mismatch",
                   "The provided 'x-amz-content-sha256' header does not match what was computed.");
    for (int i = 0; r >= 0 && i < FL_S3_SUM__N; i++)
        if (b->sums[i][0])
            r = check_sum(b, (enum fl_s3_sum)i, sha256, err);
    return r;
}

void fl_s3_body_md5(const struct fl_s3_body *b, char out[33])
{
    memcpy(out, b->md5_hex, sizeof(b->md5_hex));
}

const char *fl_s3_body_sum(const struct fl_s3_body *b, enum fl_s3_sum *ret_kind)
{
    for (int i = 0; i < FL_S3_SUM__N; i++) {
        if (b->sums[i][0]) {
            *ret_kind = (enum fl_s3_sum)i;
            return b->sums[i];
        }
    }
    return NULL;
}
