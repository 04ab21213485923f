/* s3_path.h - the URL of an object of S3 taken apart (protocol 4 §5.3). Pure. */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

struct fl_s3_path {
    char *region; /* "us-east-1" where the host names none; NULL as domain */
    char *bucket;
    char *key;    /* decoded: "+" is a blank, too; "" for the whole bucket */
    char *domain; /* "amazonaws.com", "amazonaws.com.cn"; NULL: where the node's buckets are */
};

/* https, virtual-host or path style: BUCKET.s3.REGION.DOMAIN/KEY, s3-REGION.DOMAIN/BUCKET/KEY and
 * so on; or s3://BUCKET/KEY, which is ours and has the key as it is. -EINVAL "invalid S3 path
 * parameter" for anything else. */
int fl_s3_path_parse(const char *url, struct fl_arena *arena, struct fl_s3_path *ret_path,
                     struct fl_err *err);

/* https://s3.REGION.DOMAIN/BUCKET/KEY, or without a domain /KEY, with the key encoded as it is
 * signed; NULL without memory.
 */
char *fl_s3_path_url(const struct fl_s3_path *path, const char *region, const char *key,
                     struct fl_arena *arena);

/* The keys of a ListObjects answer, one call after the other: *at is 0 at first. 1 and *ret_key (in
 * `arena`), 0 at the end, or negative. */
int fl_s3_list_next(const char *xml, size_t len, size_t *at, struct fl_arena *arena,
                    char **ret_key);
