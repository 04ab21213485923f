/* agent_status.h - what <runtime>/status.sock answers: one JSON object per connection, then the
 * end. */
#pragma once
#include "common/codec/codec.h"

#define FL_STATUS_SOCKET    "status.sock" /* below the runtime folder; 0600 */
#define FL_STATUS_MAX_BYTES (1u << 20)

#define FL_STATUS_MAX_SESSIONS 500 /* of more the first are told */
#define FL_STATUS_MAX_OWNER    400 /* bytes */

struct fl_agent_status_doc {
    char *command_id, *document_name;
    char *state;       /* "running" or "queued" */
    char *accepted_at; /* times are ISO 8601, absent if there is none */
};

struct fl_agent_status_session {
    char *session_id, *document_name, *owner;
    char *state; /* "starting", "running", "uploading" what it printed */
    char *since;
};

struct fl_agent_status {
    bool registered;
    char *node_id, *region;
    bool online;
    char *since; /* of online or offline */
    char *last_ping;
    char *last_error, *last_error_at;
    char *credentials_until, *credentials_error;
    char *policy; /* of the node, in words */
    struct fl_agent_status_doc *documents;
    size_t n_documents;
    struct fl_agent_status_session *sessions;
    size_t n_sessions;
    int64_t unacknowledged_replies;
    char *version, *wire_version;
    int64_t pid;
    char *started_at;
};

extern const struct fl_shape fl_shape_agent_status;
