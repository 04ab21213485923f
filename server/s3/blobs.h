/* blobs.h - the contents of objects: a file each, below <data>/objects, whole or absent.
 *
 *   objects/tmp/ID    being written; what is there at the start is thrown away
 *   objects/xx/ID     whole and on disk; xx are the first two digits of the id
 *
 * A file is in its place before the transaction that names it begins, and goes after the one that
 * forgets it is on disk: a plane that is killed leaves files that nothing names, never the reverse.
 * fl_blobs_sweep removes them. All that is on the disk counts against the quota, also what is being
 * written. Everything here blocks; it runs on store or pool threads. Thread-safe.
 */
#pragma once
#include "common/base/err.h"

#define FL_BLOB_ID_BYTES 33 /* 32 hex digits and NUL */

struct fl_blobs;

struct fl_blobs_conf {
    const char *dir; /* "<data>/objects"; made 0700 */
    uint64_t max_bytes, max_files;
};

int fl_blobs_new(const struct fl_blobs_conf *conf, struct fl_blobs **ret_blobs, struct fl_err *err);
struct fl_blobs *fl_blobs_free(struct fl_blobs *b);

/* What the store knows of, at the start. */
void fl_blobs_count(struct fl_blobs *b, uint64_t bytes, uint64_t files);

/* -ENOSPC named InsufficientStorage if that does not fit the quota. */
int fl_blobs_fits(const struct fl_blobs *b, uint64_t bytes, struct fl_err *err);

/* A file in the making. */
struct fl_blob {
    struct fl_blobs *blobs;
    char id[FL_BLOB_ID_BYTES];
    int fd; /* -1: none */
    uint64_t bytes;
    bool kept;
};

/* Errors: -ENOSPC named InsufficientStorage for the quota, else errno. */
int fl_blob_begin(struct fl_blobs *b, struct fl_blob *blob, struct fl_err *err);
int fl_blob_write(struct fl_blob *blob, const void *data, size_t len, struct fl_err *err);

/* Whole: to disk, and to its place. */
int fl_blob_keep(struct fl_blob *blob, struct fl_err *err);

/* Removes it, kept or not; nothing if there is none. */
void fl_blob_drop(struct fl_blob *blob);

/* One more name for a kept file of `bytes`, which counts like another file. -ENOENT: it is gone.
 * Errors else as above. */
int fl_blob_link(struct fl_blobs *b, const char *id, uint64_t bytes, char ret_id[FL_BLOB_ID_BYTES],
                 struct fl_err *err);

/* A descriptor for reading, or -errno. */
int fl_blob_open(const struct fl_blobs *b, const char *id);

/* Who reads from the store which files to send does so between these two, from the first statement
 * of its transaction on; what it then has open, or holds, stays whole for it whatever becomes of
 * the object. Not for long: fl_blob_remove waits for it. */
void fl_blobs_look(struct fl_blobs *b);
void fl_blobs_looked(struct fl_blobs *b);

/* Held files are removed only when nobody holds them any more. -ENOMEM. */
int fl_blob_hold(struct fl_blobs *b, const char *id);
void fl_blob_unhold(struct fl_blobs *b, const char *id);

/* Removes one of `bytes` that the store has forgotten, at once or when it is not held any more. */
void fl_blob_remove(struct fl_blobs *b, const char *id, uint64_t bytes);

/* Removes kept files that were there before the start and that `known` does not know; it is asked
 * about some at a time and clears the ids it knows ("" is left). Its error ends the sweep. */
typedef int (*fl_blobs_known_fn)(void *arg, char (*ids)[FL_BLOB_ID_BYTES], size_t n);
int fl_blobs_sweep(struct fl_blobs *b, fl_blobs_known_fn known, void *arg, uint64_t *ret_removed);
