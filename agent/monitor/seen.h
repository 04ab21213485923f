/* seen.h - the command ids of the last seven days at least, on disk, without memory of their own.
 *
 * <state>/seen is a file of 24-byte entries {time, check, 128-bit hash of the id}; a torn or
 * damaged entry is skipped. Looking up reads the file; compaction drops what is old, but never the
 * newest FL_SEEN_KEEP_ENTRIES: a clock that jumps makes nothing forgotten. An entry is only
 * guaranteed to be on disk after fl_seen_sync: while a job's folder exists, the folder is the
 * proof.
 */
#pragma once
#include "common/base/err.h"

#define FL_SEEN_KEEP_S       (7 * 24 * 3600)
#define FL_SEEN_KEEP_ENTRIES 2048
#define FL_SEEN_MAX_ENTRIES  200000 /* then the oldest go early */

struct fl_seen {
    char *path;
    int fd;
    uint64_t n; /* entries in the file */
    uint64_t compact_at;
};

/* A file that cannot be opened now is tried again by whoever asks; until then the answers are
 * errors. Only -ENOMEM fails. */
int fl_seen_open(const char *path, int64_t now_ms, struct fl_seen *ret_seen, struct fl_err *err);
void fl_seen_close(struct fl_seen *s);

/* 1 if the id is remembered, else 0, or negative errno: it cannot be told. */
int fl_seen_has(struct fl_seen *s, const char *id);
int fl_seen_add(struct fl_seen *s, const char *id, int64_t now_ms);
int fl_seen_sync(struct fl_seen *s);
