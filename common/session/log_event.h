/* log_event.h - lines of a session as an event of its log stream (protocol 3 §10), and the frame
 * that script(1) puts around a transcript. */
#pragma once
#include "common/codec/codec.h"

#define FL_SESSION_EVENT_BYTES 33000 /* of what was printed, in one event */

/* "" for what is not known. */
struct fl_session_log_event {
    const char *region, *node_id, *owner, *run_as, *session_id;
    struct fl_strs lines; /* without their ends */
};

/* Appends the JSON text. 0, -ENOMEM, or -EMSGSIZE: it is more than `out` takes. */
int fl_session_log_event_encode(const struct fl_session_log_event *event, int64_t now_ms,
                                struct fl_buf *out);

/* What a transcript begins and ends with, with its line feeds and a NUL behind; the length. */
#define FL_SESSION_FRAME_BYTES 96
size_t fl_session_frame_begin(int64_t time_ms, char out[FL_SESSION_FRAME_BYTES]);
size_t fl_session_frame_end(int64_t time_ms, char out[FL_SESSION_FRAME_BYTES]);
