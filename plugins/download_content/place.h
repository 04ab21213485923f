/* place.h - where downloaded files go: all of them or none, never through a link that somebody put
 * below the destination (protocol 4 §5.2).
 */
#pragma once
#include "common/base/err.h"

struct fl_place;

/* `wanted` is absolute, or below `downloads`; NULL is downloads itself. `single` is the name of the
 * one file there will be, NULL for files that keep their paths: a single file goes into the
 * destination if that is a folder or ends in '/', else the destination is the file. Folders are
 * made, 0700. -EINVAL for a destination below downloads that leads out of it. */
int fl_place_open(const char *downloads, const char *wanted, const char *single,
                  struct fl_place **ret_place, struct fl_err *err);
/* What was put and not committed is removed, with the folders that were made for it. */
struct fl_place *fl_place_free(struct fl_place *p);

/* Copies the file `from_fd`, from its beginning, to `path` below the destination (NULL: the single
 * file), 0700, under another name until all are there. -EINVAL for a path that is absolute or has
 * "..", empty or overlong parts; -ELOOP or -ENOTDIR if a link stands in its way; -ENOSPC, … */
int fl_place_put(struct fl_place *p, const char *path, int from_fd, struct fl_err *err);

/* All files get their names, replacing what bears them. */
int fl_place_commit(struct fl_place *p, struct fl_err *err);

/* The single file, or the destination; the object's. */
const char *fl_place_path(const struct fl_place *p);

/* True for a relative path of harmless parts. */
bool fl_place_path_valid(const char *path);
