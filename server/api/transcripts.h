/* transcripts.h - between transcripts.c and the search of transcripts_search.c. */
#pragma once
#include "server/op.h"

/* Of which sessions. */
struct fl_transcript_which {
    char *node_id, *owner;
    struct fl_time after, before; /* of their start */
};
#define FL_TRANSCRIPT_WHICH(type, member)                                              \
    FL_FIELD(type, member.node_id, "Target", 0, .limits = { .min = 1, .max = 400 }),   \
        FL_FIELD(type, member.owner, "Owner", 0, .limits = { .min = 1, .max = 2048 }), \
        FL_FIELD(type, member.after, "After", 0), FL_FIELD(type, member.before, "Before", 0)
#define FL_TRANSCRIPT_TOKEN(type, member) \
    FL_FIELD(type, member, "NextToken", 0, .limits = { .max = 1024 })

/* Arguments for a statement. */
#define FL_TRANSCRIPT_WHO(w) \
    FL_T((w)->node_id ? (w)->node_id : ""), FL_T((w)->owner ? (w)->owner : "")
#define FL_TRANSCRIPT_WHEN(w) FL_N((w)->after.ms), FL_N((w)->before.ms ? (w)->before.ms : INT64_MAX)

/* A descriptor of the session's file, or DoesNotExistException. */
int fl_transcript_open(struct fl_call *call, const char *session_id, struct fl_err *err);

extern const struct fl_shape fl_search_transcripts_in_shape, fl_search_transcripts_out_shape;
int fl_op_search_transcripts(struct fl_call *call, const void *in, void *out, struct fl_err *err);
