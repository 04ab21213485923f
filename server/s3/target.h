/* target.h - which bucket and key a request of s3 is about, in path style and in host style.
 *
 * Path style: /bucket/key. Host style: bucket.HOST with the path /key, where HOST is one of the
 * plane's own names; an address counts as one, since the official agent's SDK puts the bucket in
 * front of addresses too (protocol 6 §1.6, s3). Pure: no I/O.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/codec/codec.h"

#define FL_S3_KEY_MAX_BYTES 1024

struct fl_s3_target {
    const char *bucket; /* NULL: the service itself */
    const char *key;    /* NULL: the bucket itself */
};

/* `host`: the Host header, port and all; NULL is none. `hosts`: the plane's names, without ports.
 * `path`: raw. Strings in the arena. 0; -EINVAL named InvalidBucketName, InvalidURI or
 * KeyTooLongError; -ENOMEM. */
int fl_s3_target_read(const char *host, const struct fl_strs *hosts, const char *path,
                      struct fl_arena *arena, struct fl_s3_target *ret_target, struct fl_err *err);

/* 3 to 63 of [a-z0-9.-], beginning and ending with a letter or digit, no address. */
bool fl_s3_bucket_valid(const char *name);
