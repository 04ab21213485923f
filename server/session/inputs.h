/* inputs.h - what a session's document says of where its output goes, with parameters in place
 * (protocol 3 §9, §10). Pure.
 */
#pragma once
#include "common/base/arena.h"
#include "common/wire/datachannel.h"

/* Strings of the arena; NULL for what is not there, or empty. */
struct fl_session_inputs {
    char *bucket, *log_group; /* NULL, too, where a value of Parameter Store names it: only the node
                                 asks for that */
    char *prefix, *run_as;
    bool streams;   /* lines go to the group while the session runs */
    bool encrypted; /* what is shown passes as ciphertext */
};

/* What cannot be read is not there. `type` is the document's sessionType. */
void fl_session_inputs_read(const struct fl_msg_session_content *content, const char *type,
                            struct fl_arena *arena, struct fl_session_inputs *ret_inputs);

/* The object of a session: "<prefix>/<session id>.log"; NULL without memory. */
char *fl_session_object_key(struct fl_arena *arena, const char *prefix, const char *session_id);
