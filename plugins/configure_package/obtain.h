/* obtain.h - a package's archive from its URL to a folder of files: downloaded, checked, unpacked.
 */
#pragma once
#include "plugins/plugin.h"

struct fl_obtain;

struct fl_obtain_source {
    const char *url;     /* https:, http: (the checksum is the manifest's) or s3://bucket/key */
    const char *sha256;  /* of the archive, lower case */
    const char *staging; /* folder to make, 0700; one that is there is removed first */
};

/* `err` NULL: the files are there, and on disk. Runs once unless freed before; may free it. */
typedef void (*fl_obtain_fn)(void *arg, const struct fl_err *err);

int fl_obtain_new(struct fl_step *step, const struct fl_obtain_source *source, fl_obtain_fn done,
                  void *arg, struct fl_obtain **ret_obtain, struct fl_err *err);

/* What is under way ends; what is left of the archive is removed, and of its files unless all came.
 * NULL is fine. */
struct fl_obtain *fl_obtain_free(struct fl_obtain *o);
