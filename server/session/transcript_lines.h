/* transcript_lines.h - the lines of a transcript, read from its file: what terminals showed, as
 * text.h makes lines of it. Output and standard error are lines of their own; what was typed is
 * none of them, whether it is recorded or not.
 *
 * A reader can stop between two blocks, and another go on from there, perhaps in another process:
 * no line is told twice, lost or cut in two. Only of a line that is not ended after
 * FL_TL_LINE_BYTES of the file, the rest becomes another.
 */
#pragma once
#include "common/session/text.h"
#include "server/session/transcript_file.h"

#define FL_TL_LINE_BYTES (1024 * 1024)

/* Where a reader stands, between two blocks; {0} is the beginning. */
struct fl_tl_place {
    uint64_t bytes;   /* of lines that ended before, all are told */
    uint64_t line[2]; /* the block with the beginning of the one that has not, of the output and of
                         the errors; else the same */
};

struct fl_tl_line {
    int64_t wall_ms;  /* of the record that ended it */
    bool errors;      /* standard error */
    const char *text; /* UTF-8, a NUL behind it; gone after the return */
    size_t len;
};
/* Not 0: no more lines of this block are told, and the reading ends with that. */
typedef int (*fl_tl_fn)(void *arg, const struct fl_tl_line *line);

struct fl_tl_reader {
    int fd; /* the caller's, as the strings are */
    const uint8_t *key;
    const char *session_id;
    fl_tl_fn fn;
    void *arg;
    struct fl_tf_end at;
    uint64_t told, block; /* lines that ended before `told` are; the block being read */
    struct fl_tl_stream {
        struct fl_text text;
        uint64_t began; /* as fl_tl_place.line; NONE: there is no such line */
        uint64_t from;  /* what is before is not read */
    } streams[2];
    int64_t wall_ms;
    bool errors;
    int r;
};

/* 0; -EBADMSG: no block begins there, or not a transcript. */
int fl_tl_open(struct fl_tl_reader *rd, int fd, const uint8_t *key, const char *session_id,
               const struct fl_tl_place *from, fl_tl_fn fn, void *arg, struct fl_err *err);
void fl_tl_done(struct fl_tl_reader *rd);

/* Reads so many bytes, or a block more, and not beyond `end`, where a block ends. 1: there is more,
 * 0: that was the end; -ENOMEM; as fl_tf_read, and the callback's result. */
int fl_tl_read(struct fl_tl_reader *rd, uint64_t end, uint64_t max_bytes, struct fl_err *err);

/* Tells lines that have not ended as they are. 0, or the callback's result. */
int fl_tl_flush(struct fl_tl_reader *rd);

/* Between two calls of fl_tl_read. */
struct fl_tl_place fl_tl_where(const struct fl_tl_reader *rd);
