/* body.h - what a client sends as an object: unwrapped from aws-chunked and checked against every
 * hash that came with it.
 *
 * aws-chunked (protocol 6 §1.5): "HEX[;chunk-signature=HEX64]\r\n" data "\r\n" …, a chunk of size
 * 0, then headers "name:value\r\n" (checksums, and the signature over them), "\r\n". Nothing here
 * does I/O: pieces of plain data go to a function.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

/* The checksums of newer clients, "x-amz-checksum-" and these: base64 of the big-endian value. */
enum fl_s3_sum {
    FL_S3_CRC32,
    FL_S3_CRC32C,
    FL_S3_CRC64NVME,
    FL_S3_SHA1,
    FL_S3_SHA256,
    FL_S3_SUM__N
};
extern const char *const fl_s3_sum_names[FL_S3_SUM__N];

/* What the request's head said; strings as long as the body lives. */
struct fl_s3_body_conf {
    const char *payload;                  /* x-amz-content-sha256: a hash, or a kind of body */
    const char *md5;                      /* Content-MD5 or NULL */
    const char *sums[FL_S3_SUM__N];       /* x-amz-checksum-… or NULL */
    const char *trailer;                  /* x-amz-trailer or NULL: the one that comes at the end */
    const char *length;                   /* x-amz-decoded-content-length or NULL */
    const uint8_t *chunk_key;             /* signed chunks: the signing key, … */
    const char *date, *scope, *signature; /* … date, scope and the signature of the head */
};

struct fl_s3_body;

/* Takes a piece of the object; its error ends the reading. */
typedef int (*fl_s3_sink_fn)(void *arg, const void *data, size_t len);

/* 0; -EINVAL named for what the head says wrongly; -ENOMEM. */
int fl_s3_body_new(const struct fl_s3_body_conf *conf, fl_s3_sink_fn sink, void *arg,
                   struct fl_s3_body **ret_body, struct fl_err *err);
struct fl_s3_body *fl_s3_body_free(struct fl_s3_body *b);

/* Bytes as they come. 0; -EINVAL named IncompleteBody, SignatureDoesNotMatch; the sink's error. */
int fl_s3_body_feed(struct fl_s3_body *b, const char *data, size_t len, struct fl_err *err);

/* All has come: 0, or -EINVAL named IncompleteBody, BadDigest, XAmzContentSHA256Mismatch,
 * SignatureDoesNotMatch. */
int fl_s3_body_end(struct fl_s3_body *b, struct fl_err *err);

/* After the end: the object's MD5 in hex (33 bytes), and the checksum that was sent with it, NULL
 * if there was none. */
void fl_s3_body_md5(const struct fl_s3_body *b, char out[33]);
const char *fl_s3_body_sum(const struct fl_s3_body *b, enum fl_s3_sum *ret_kind);
