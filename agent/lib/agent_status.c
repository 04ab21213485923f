/* agent_status.c - see agent_status.h. */
#include "agent/lib/agent_status.h"

#define F(member, key, flags) FL_FIELD(struct fl_agent_status_doc, member, key, flags)
static const struct fl_field doc_fields[] = {
    F(command_id, "commandId", 0),
    F(document_name, "documentName", 0),
    F(state, "state", 0),
    F(accepted_at, "acceptedAt", 0),
};
#undef F
static const struct fl_shape doc_shape =
    FL_SHAPE(struct fl_agent_status_doc, "Document", doc_fields);

#define F(member, key, flags) FL_FIELD(struct fl_agent_status_session, member, key, flags)
static const struct fl_field session_fields[] = {
    F(session_id, "sessionId", 0), F(document_name, "documentName", 0),
    F(owner, "owner", 0),          F(state, "state", 0),
    F(since, "since", 0),
};
#undef F
static const struct fl_shape session_shape =
    FL_SHAPE(struct fl_agent_status_session, "Session", session_fields);

#define F(member, key, flags) FL_FIELD(struct fl_agent_status, member, key, flags)
static const struct fl_field status_fields[] = {
    F(registered, "registered", 0),
    F(node_id, "nodeId", 0),
    F(region, "region", 0),
    F(online, "online", 0),
    F(since, "since", 0),
    F(last_ping, "lastPing", 0),
    F(last_error, "lastError", 0),
    F(last_error_at, "lastErrorAt", 0),
    F(credentials_until, "credentialsUntil", 0),
    F(credentials_error, "credentialsError", 0),
    F(policy, "policy", 0),
    FL_FIELD_LIST(struct fl_agent_status, documents, n_documents, "documents", FL_ALWAYS,
                  &doc_shape),
    FL_FIELD_LIST(struct fl_agent_status, sessions, n_sessions, "sessions", FL_ALWAYS,
                  &session_shape),
    F(unacknowledged_replies, "unacknowledgedReplies", 0),
    F(version, "version", 0),
    F(wire_version, "wireVersion", 0),
    F(pid, "pid", 0),
    F(started_at, "startedAt", 0),
};
#undef F
const struct fl_shape fl_shape_agent_status =
    FL_SHAPE(struct fl_agent_status, "Status", status_fields);
