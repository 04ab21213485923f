/* cp_plan.h - what `fairlead cp` does on the node, as lines for its shell. Pure.
 *
 * Up: the node reads pieces, each "LENGTH\n" and so many bytes, "0\n" behind the last, then the
 * SHA-256 of all of them in hex and a line end. Whatever is missing of that leaves the target as it
 * was.
 *
 * Down: the node writes "f MODE SIZE\n" (a file; MODE octal) or "d 0 0\n" (a folder, as tar), the
 * bytes, and their SHA-256 in hex with a line end.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_CP_PIECE_BYTES   (1 << 20)
#define FL_CP_TRAILER_BYTES 65 /* 64 hex digits and a line end */

/* "NODE:PATH": the length of NODE; 0 for a local path ("./a:b" is one). */
size_t fl_cp_node_len(const char *word);

struct fl_cp_up {
    const char *target, *base; /* `base` is the name in a target that is a folder */
    bool folder, force;
    unsigned mode; /* of a file */
};
int fl_cp_up_line(const struct fl_cp_up *up, struct fl_buf *out);
int fl_cp_down_line(const char *source, bool folders, struct fl_buf *out);

struct fl_cp_head {
    bool folder;
    unsigned mode;
    uint64_t size; /* 0: not known */
};
/* The first line of what comes down, without its end. -EBADMSG. */
int fl_cp_head_parse(const char *line, struct fl_cp_head *ret);

/* Holds the last FL_CP_TRAILER_BYTES of a stream back. */
struct fl_cp_tail {
    char kept[FL_CP_TRAILER_BYTES];
    size_t n;
};
/* Takes bytes and gives out those that are surely no trailer. The result of the first `fn` that is
 * not 0. */
int fl_cp_tail_feed(struct fl_cp_tail *t, const char *data, size_t len,
                    int (*fn)(void *arg, const char *data, size_t len), void *arg);
/* The trailer's digest, NUL-terminated; -EBADMSG if it is none. */
int fl_cp_tail_digest(const struct fl_cp_tail *t, char out[FL_CP_TRAILER_BYTES]);
