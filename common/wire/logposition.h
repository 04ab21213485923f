/* logposition.h - how far the writer of a log stream has come, as our agent says it to our plane in
 * the sequence token of PutLogEvents, and the plane in its answer:
 *
 *   "fairlead:<writer>:<from>:<to>"
 *
 * The events are what the writer has between two offsets of its own. The plane keeps with the
 * stream, in the transaction that stores them, who wrote last and up to where: what begins before
 * that is there already, is not stored again, and the answer tells where to go on. So a writer that
 * got no answer, or lost its note of it, says it again and nothing stands twice. CloudWatch Logs
 * takes any token, looks at none and answers another.
 */
#pragma once
#include "common/base/util.h"

#define FL_LOG_WRITER_BYTES   33 /* 32 hex digits and NUL */
#define FL_LOG_POSITION_BYTES 96

struct fl_log_position {
    char writer[FL_LOG_WRITER_BYTES];
    uint64_t from, to; /* below 2^63, in order */
};

void fl_log_position_write(const struct fl_log_position *p, char out[FL_LOG_POSITION_BYTES]);

/* False: it is another token. NULL is. */
bool fl_log_position_read(const char *token, struct fl_log_position *ret);
