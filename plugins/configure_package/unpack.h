/* unpack.h - the files of an archive, as fairlead-agent-unpack sends them, into a folder.
 *
 * The archive is read by a process without rights (agent/unpack); what it sends is a stream of
 * records, which is not trusted either:
 *     uint32 type | uint32 len | len bytes      in the machine's byte order
 * Only regular files and folders come out of it, with relative names of harmless parts, each once,
 * within limits.
 */
#pragma once
#include "common/base/err.h"

enum fl_unpack_record {
    FL_UNPACK_DIR = 1, /* name */
    FL_UNPACK_FILE,    /* name */
    FL_UNPACK_PROGRAM, /* name of a file that is executable */
    FL_UNPACK_DATA,    /* of the file before it */
    FL_UNPACK_END,     /* nothing: the archive was read to its end */
    FL_UNPACK_ERROR,   /* words */
};
struct fl_unpack_head {
    uint32_t type, len;
};
#define FL_UNPACK_NAME_MAX_BYTES 1024
#define FL_UNPACK_DATA_MAX_BYTES 65536
#define FL_UNPACK_MAX_ENTRIES    50000

struct fl_unpack {
    int dir_fd, file_fd;
    uint64_t left_bytes;
    size_t n_entries;
    bool ended;
    struct fl_unpack_head head;
    size_t head_len; /* how much of `head` is here */
    size_t body_len; /* how much of the body was taken */
    char name[FL_UNPACK_NAME_MAX_BYTES + 1];
};

/* `dir_fd` is a new folder that nobody else writes to; it stays the caller's. */
void fl_unpack_init(struct fl_unpack *u, int dir_fd, uint64_t max_bytes);
void fl_unpack_done(struct fl_unpack *u);

/* The most that an archive of so many bytes may hold. */
uint64_t fl_unpack_limit(uint64_t archive_bytes);

/* Takes more of the stream. -EBADMSG, -EFBIG, -EEXIST (a name twice), -ENOSPC, … */
int fl_unpack_feed(struct fl_unpack *u, const void *data, size_t len, struct fl_err *err);

/* Nothing more comes. -EBADMSG if the archive's end did not. */
int fl_unpack_end(struct fl_unpack *u, struct fl_err *err);
