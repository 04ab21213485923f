/* kept.h - files that documents bring along, kept as objects under their SHA-256.
 *
 * They are in a bucket that nobody can make or name: what reads them is a URL that fl_kept_url
 * gives out, presigned with credentials that are good for this one object. A file is copied by a
 * link to each of its pieces, whose contents never change (blobs.h).
 */
#pragma once
#include "common/aws/crypto.h"
#include "common/aws/digest.h"
#include "server/s3/s3.h"

#define FL_KEPT_BUCKET "fairlead-documents"
#define FL_KEPT_URL_S  3600

/* A copy in the making. */
struct fl_kept {
    struct fl_s3_pieces from, made;
    uint64_t bytes;
    char sha256[FL_SHA256_HEX_BYTES]; /* once it is whole */
    bool named;                       /* the store has it */
    struct fl_digest *hash;
    int fd;      /* of the piece that is read; -1 */
    uint64_t at; /* in it */
};

/* The object to copy: 1; 0: there is none. In a transaction. */
int fl_kept_find(struct fl_call *call, const char *bucket, const char *key, struct fl_kept *ret,
                 struct fl_err *err);

/* A turn of copying, on a pool thread: 1: there is more to do, 0: it is whole. -EBUSY named
 * ValidationException if the object is not there any more. */
int fl_kept_copy(struct fl_blobs *blobs, struct fl_kept *k, struct fl_err *err);

/* Lets go of what fl_kept_copy has; `remove`: also of the files, if the store has not got them. On
 * a pool thread. */
void fl_kept_end(struct fl_blobs *blobs, struct fl_kept *k, bool remove);

/* Names the copy in the store, unless the same file is there already. In a writing transaction. */
int fl_kept_name(struct fl_call *call, struct fl_kept *k, struct fl_err *err);

/* Forgets a file that no document has any more: its pieces are added to `gone`, to be removed after
 * the commit. In a writing transaction. */
int fl_kept_forget(struct fl_call *call, const char *sha256, struct fl_s3_pieces *gone,
                   struct fl_err *err);

/* "https://…" that reads the file for FL_KEPT_URL_S; a secret. In the arena. */
int fl_kept_url(struct fl_call *call, const char *sha256, char **ret_url, struct fl_err *err);

/* Is this URL (or s3://…) one of an object of this plane? In the arena; the plane is known by the
 * name that this call used, and by its public one. */
bool fl_kept_is_own(struct fl_call *call, const char *url, const char **ret_bucket,
                    const char **ret_key);
