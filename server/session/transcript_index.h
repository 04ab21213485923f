/* transcript_index.h - the lines of transcripts in the store, for searching: chunks of text, and an
 * index of the trigrams in them.
 *
 * One thread reads the files behind their writer (transcript_lines.h): those of sessions that have
 * ended, the newest first, and of others what has come, when it is FL_TI_LIVE_BYTES. So it makes
 * what is missing, after an upgrade or a restore, by itself. Its transactions are small, and it
 * rests as long as it works. What is not in the index yet is searched in the files.
 *
 * The text is bounded by TranscriptIndexMaxBytes: beyond it, that of the oldest sessions goes.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

#define FL_TI_CHUNK_BYTES  (16 * 1024)   /* of lines in a chunk, and one line more */
#define FL_TI_LIVE_BYTES   (256 * 1024)  /* of the file of a session that goes on */
#define FL_TI_COMMIT_BYTES (1024 * 1024) /* of a file: what is done again after a kill, at most */
#define FL_TI_MATCH_BYTES  2048          /* of an expression */

struct fl_transcripts;
struct fl_transcript_index;

/* `t` must outlive it. */
int fl_transcript_index_new(struct fl_transcripts *t, struct fl_transcript_index **ret_index,
                            struct fl_err *err);
struct fl_transcript_index *fl_transcript_index_free(struct fl_transcript_index *x);

/* There may be something to do. From any thread. */
void fl_transcript_index_wake(struct fl_transcript_index *x);

/* Waits until there is nothing more to do; for tests. */
void fl_transcript_index_settle(struct fl_transcript_index *x);

/* ---- chunks; pure ---- */

/* Ids ascend with the number of the transcript, and descend with the chunk's. */
#define FL_TI_CHUNKS_MAX (1 << 24)
static inline int64_t fl_ti_id(int64_t number, int64_t chunk)
{
    return number * FL_TI_CHUNKS_MAX + (FL_TI_CHUNKS_MAX - 1 - chunk);
}
static inline int64_t fl_ti_number(int64_t id)
{
    return id / FL_TI_CHUNKS_MAX;
}
static inline int64_t fl_ti_chunk(int64_t id)
{
    return FL_TI_CHUNKS_MAX - 1 - id % FL_TI_CHUNKS_MAX;
}

/* The FTS5 expression that is true of every chunk with a line that contains the text, in whatever
 * letter case. 0, or -ENOENT: the text is too short to have one. */
int fl_ti_match(const char *text, struct fl_buf *out);
