/* output.h - what a step prints: kept within bounds, put together for its reply (protocol 4 §4).
 *
 * Of each stream the first bytes stay in memory, the first `file_max_bytes` go to a file in the
 * step's folder, the rest is counted. Writing never fails and never waits for anybody.
 */
#pragma once
#include "common/base/buf.h"

#define FL_OUTPUT_STREAM_BYTES \
    24000 /* standardOutput and standardError; at this length they are cut */
#define FL_OUTPUT_TEXT_BYTES 2500 /* output */

/* The three texts of one reply, as JSON: 120,000 bytes (protocol 2 §3.6) less room for the rest. */
#define FL_REPLY_MAX_BYTES      120000
#define FL_REPLY_TEXT_MAX_BYTES 108000

struct fl_output {
    struct fl_buf head;   /* first FL_OUTPUT_STREAM_BYTES + 1 bytes */
    uint64_t total_bytes; /* all that was written */
    bool separate;        /* a line feed comes before the next byte */
    int dir_fd;           /* where the file is made with the first byte; the caller's */
    const char *file_name;
    int fd; /* -1: not made yet, or given up */
    bool file_failed;
    uint64_t file_bytes, file_max_bytes;
};

void fl_output_init(struct fl_output *s, int dir_fd, const char *file_name,
                    uint64_t file_max_bytes);
void fl_output_done(struct fl_output *s);
void fl_output_write(struct fl_output *s, const void *data, size_t len);

/* The next run of the same step begins: if both have output, a line feed goes between them. */
void fl_output_next_run(struct fl_output *s);

/* Reads back what an earlier worker left in the file. */
void fl_output_recover(struct fl_output *s);

/* `standardOutput` or `standardError`: the head, cut with "--output truncated--" from 24000 bytes.
 */
int fl_output_stream_text(const struct fl_buf *head, struct fl_buf *out);

/* `output`: both streams within 2500 bytes. With exit code 168 pass an empty `errors`. */
int fl_output_join(const struct fl_buf *out_head, const struct fl_buf *err_head,
                   struct fl_buf *out);

/* JSON strings of the three texts, together at most `max_bytes`: each longer than its fair share is
 * cut, with "--output truncated--". `texts` are changed by it. Fresh memory. 0 or -ENOMEM. */
int fl_output_quote(struct fl_buf texts[3], size_t max_bytes, char *ret_json[3]);
