/* transcript.h - what was said in sessions, kept by the plane: a tap (tap.h), a thread that writes,
 * and one that syncs.
 *
 * A session has a file, <data>/transcripts/SESSION (transcript_file.h), 0600, only ever appended
 * to, and a row that remembers where the file ends. What is recorded goes to the file before it is
 * sent on (pass.h): a plane that is killed loses nothing that anybody saw. Within a second follow
 * fdatasync, then the row: who loses power loses what was said in the last second, or a little more
 * when the disk is slow, and never what was synced before. When a session goes on in another run of
 * the plane, its file is checked first; half a block at its end is cut off and told, anything else
 * that is wrong with it leaves the file as it is, ends its recording and is told to the audit log.
 * Blocks say which message is next, so that none is recorded twice, or left out.
 *
 * Recorded are output, standard error, sizes and exit code; what is typed shows as its echo. Of
 * Port sessions: endpoints and numbers of bytes. Of sessions encrypted with a key of their own:
 * sizes and numbers of bytes. What is over the limits of server.json is counted in a record
 * instead, and so is what comes while the disk is stuck for longer than FL_TRANSCRIPT_HELD_ONE
 * lasts: then the relay waits a second or two, and goes on. A session that must be recorded waits
 * as long as it takes, its sender too, and what cannot be recorded is not sent on.
 *
 * No operation removes a transcript; TranscriptDays and TranscriptsMaxBytes do.
 */
#pragma once
#include "server/plane.h"
#include "server/session/tap.h"
#include "server/session/transcript_file.h"

#define FL_TRANSCRIPT_FLUSH_MS    1000 /* what was written is synced after so long, at most … */
#define FL_TRANSCRIPT_FLUSH_BYTES (128 * 1024)  /* … or when it is so much */
#define FL_TRANSCRIPT_FILE_TIMES  4             /* TranscriptMaxBytes: no file is larger, … */
#define FL_TRANSCRIPT_FILE_BYTES  (1024 * 1024) /* … unless that is less than so much */
#define FL_TRANSCRIPT_HELD_BYTES  (64 * 1024 * 1024) /* of all sessions, not written yet */
#define FL_TRANSCRIPT_HELD_ONE    (8 * 1024 * 1024)  /* of one */

/* Sets plane->transcripts, NULL if the settings are off. */
int fl_transcripts_open(struct fl_plane *plane, struct fl_err *err);

/* Writes what is there and ends the thread; the store must be open. */
struct fl_transcripts *fl_transcripts_free(struct fl_transcripts *t);

extern const struct fl_tap fl_tap_transcript;

/* Whether a session may start: 0, or InternalServerError with why none can be recorded now, where
 * they must be. Tries the disk. */
int fl_transcripts_ready(struct fl_transcripts *t, struct fl_err *err);

/* For operations, on a store thread: the file of a session for reading, or -errno; the key of MACs.
 */
int fl_transcript_fd(const struct fl_transcripts *t, const char *session_id);
const uint8_t *fl_transcript_key(const struct fl_transcripts *t);

/* Waits until all that taps got so far is written; for tests. */
void fl_transcripts_settle(struct fl_transcripts *t);
