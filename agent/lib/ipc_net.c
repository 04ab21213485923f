/* ipc_net.c - see ipc_net.h: shapes and rows of the messages. */
#include "agent/lib/ipc_net.h"

#define STARTING FL_PHASE_STARTING
#define RUNNING  FL_PHASE_RUNNING
#define ANY      (STARTING | RUNNING)

#define F(member) FL_FIELD(struct fl_net_start, member, #member, 0)
static const struct fl_field start_fields[] = {
    F(node_id),       F(region),        F(mgs_region),    F(ssm_url),          F(mgs_url),
    F(ca_file),       F(proxy_http),    F(proxy_https),   F(no_proxy),         F(agent_name),
    F(agent_version), F(platform_type), F(platform_name), F(platform_version), F(computer_name),
    F(ip_address),    F(log_level),     F(log_format),    F(health_ms),
};
#undef F
static const struct fl_shape start_shape = FL_SHAPE(struct fl_net_start, "start", start_fields);

#define F(member, flags) FL_FIELD(struct fl_net_creds, member, #member, flags)
static const struct fl_field creds_fields[] = {
    F(access_key_id, 0),
    F(secret_access_key, FL_SECRET),
    F(session_token, FL_SECRET),
    F(expires_ms, 0),
};
#undef F
static const struct fl_shape creds_shape = FL_SHAPE(struct fl_net_creds, "creds", creds_fields);

#define F(member) FL_FIELD(struct fl_net_signed_call, member, #member, 0)
static const struct fl_field signed_call_fields[] = {
    F(operation), F(amz_date), F(authorization), F(content_sha256), F(host), F(body),
};
#undef F
static const struct fl_shape signed_call_shape =
    FL_SHAPE(struct fl_net_signed_call, "signed_call", signed_call_fields);

#define F(member, flags) FL_FIELD(struct fl_net_token_result, member, #member, flags)
static const struct fl_field token_result_fields[] = {
    F(operation, 0),
    F(http_status, 0),
    F(error_name, 0),
    F(error_text, 0),
    F(access_key_id, 0),
    F(secret_access_key, FL_SECRET),
    F(session_token, FL_SECRET),
    F(expires_ms, 0),
    F(server_ms, 0),
    F(update_key_pair, 0),
};
#undef F
static const struct fl_shape token_result_shape =
    FL_SHAPE(struct fl_net_token_result, "token_result", token_result_fields);

#define F(member) FL_FIELD(struct fl_net_job, member, #member, 0)
static const struct fl_field job_fields[] = {
    F(job_id), F(command_id),    F(message_id),    F(created_ms),
    F(cancel), F(cancel_job_id), F(document_name), F(content),
};
#undef F
static const struct fl_shape job_shape = FL_SHAPE(struct fl_net_job, "job", job_fields);

#define F(member) FL_FIELD(struct fl_net_job_ack, member, #member, 0)
static const struct fl_field job_ack_fields[] = {
    F(job_id),
    F(message_id),
    F(created_ms),
    F(status_code),
};
#undef F
static const struct fl_shape job_ack_shape =
    FL_SHAPE(struct fl_net_job_ack, "job_ack", job_ack_fields);

#define F(member) FL_FIELD(struct fl_net_job_reply, member, #member, 0)
static const struct fl_field job_reply_fields[] = {
    F(job_id), F(topic), F(message_id), F(content), F(expect_ack),
};
#undef F
static const struct fl_shape job_reply_shape =
    FL_SHAPE(struct fl_net_job_reply, "job_reply", job_reply_fields);

static const struct fl_field reply_acked_fields[] = {
    FL_FIELD(struct fl_net_reply_acked, message_id, "message_id", 0),
};
static const struct fl_shape reply_acked_shape =
    FL_SHAPE(struct fl_net_reply_acked, "reply_acked", reply_acked_fields);

static const struct fl_field net_fetch_fields[] = {
    FL_FIELD(struct fl_net_fetch, ok, "ok", 0),
    FL_FIELD(struct fl_net_fetch, error, "error", 0),
};
static const struct fl_shape net_fetch_shape =
    FL_SHAPE(struct fl_net_fetch, "fetch", net_fetch_fields);

#define F(member) FL_FIELD(struct fl_net_state, member, #member, 0)
static const struct fl_field state_fields[] = {
    F(online), F(since_ms), F(last_ping_ms), F(last_error), F(last_error_ms), F(creds_refused),
};
#undef F
static const struct fl_shape state_shape = FL_SHAPE(struct fl_net_state, "state", state_fields);

#define F(member) FL_FIELD(struct fl_net_audit, member, #member, 0)
static const struct fl_field audit_fields[] = { F(event), F(subject), F(detail) };
#undef F
static const struct fl_shape audit_shape = FL_SHAPE(struct fl_net_audit, "audit", audit_fields);

#define F(member) FL_FIELD(struct fl_net_session, member, #member, 0)
static const struct fl_field session_fields[] = { F(session_id), F(document_name), F(owner),
                                                  F(content) };
#undef F
static const struct fl_shape session_shape =
    FL_SHAPE(struct fl_net_session, "session", session_fields);

static const struct fl_field session_close_fields[] = {
    FL_FIELD(struct fl_net_session_close, session_id, "session_id", 0),
};
static const struct fl_shape session_close_shape =
    FL_SHAPE(struct fl_net_session_close, "session_close", session_close_fields);

#define F(member) FL_FIELD(struct fl_net_task_complete, member, #member, 0)
static const struct fl_field task_complete_fields[] = { F(session_id), F(message_id), F(status),
                                                        F(output),     F(bucket),     F(key),
                                                        F(log_group),  F(time) };
#undef F
static const struct fl_shape task_complete_shape =
    FL_SHAPE(struct fl_net_task_complete, "task_complete", task_complete_fields);

const struct fl_ipc_row fl_net_rows[FL_N_NET_ROWS] = {
    /* What net receives; its end is in phase 1 all its life. */
    { FL_NET_START, "start", &start_shape, ANY, NULL },
    { FL_NET_CREDS, "creds", &creds_shape, ANY, NULL },
    { FL_NET_TOKEN_CALL, "token-call", &signed_call_shape, ANY, NULL },
    { FL_NET_JOB_ACK, "job-ack", &job_ack_shape, ANY, NULL },
    { FL_NET_JOB_REPLY, "job-reply", &job_reply_shape, ANY, NULL },
    { FL_NET_FETCH, "fetch", &net_fetch_shape, ANY, NULL },
    { FL_NET_STOP, "stop", &fl_shape_empty, ANY, NULL },
    { FL_NET_TASK_COMPLETE, "task-complete", &task_complete_shape, ANY, NULL },
    /* What the monitor receives. */
    { FL_NET_READY, "ready", &fl_shape_empty, STARTING, NULL },
    { FL_NET_TOKEN_RESULT, "token-result", &token_result_shape, RUNNING, NULL },
    { FL_NET_JOB, "job", &job_shape, RUNNING, NULL },
    { FL_NET_REPLY_ACKED, "reply-acked", &reply_acked_shape, RUNNING, NULL },
    { FL_NET_NEED_FETCH, "need-fetch", &fl_shape_empty, RUNNING, NULL },
    { FL_NET_STATE, "state", &state_shape, RUNNING, NULL },
    { FL_NET_AUDIT, "audit", &audit_shape, RUNNING, NULL },
    { FL_NET_SESSION, "session", &session_shape, RUNNING, NULL },
    { FL_NET_SESSION_CLOSE, "session-close", &session_close_shape, RUNNING, NULL },
    { FL_NET_TASK_ACKED, "task-acked", &reply_acked_shape, RUNNING, NULL },
};
const size_t fl_n_net_rows = FL_ARRAY_LEN(fl_net_rows);

#define F(member, flags) FL_FIELD(struct fl_fetch_endpoint, member, #member, flags)
static const struct fl_field fetch_endpoint_fields[] = {
    F(service, FL_REQUIRED),
    F(url, FL_REQUIRED),
    F(fixed, 0),
    F(virtual_hosts, 0),
};
#undef F
static const struct fl_shape fetch_endpoint_shape =
    FL_SHAPE(struct fl_fetch_endpoint, "endpoint", fetch_endpoint_fields);

#define F(member, flags) FL_FIELD(struct fl_fetch_conf, member, #member, flags)
static const struct fl_field fetch_conf_fields[] = {
    F(ca_file, 0),
    F(proxy_http, 0),
    F(proxy_https, 0),
    F(no_proxy, 0),
    F(user_agent, 0),
    F(log_level, 0),
    F(log_format, 0),
    F(idle_ms, 0),
    F(region, 0),
    F(access_key_id, 0),
    F(secret_access_key, FL_SECRET),
    F(session_token, FL_SECRET),
    F(expires_ms, 0),
    F(offset_ms, 0),
    FL_FIELD_LIST(struct fl_fetch_conf, endpoints, n_endpoints, "endpoints", 0,
                  &fetch_endpoint_shape),
    F(service_domain, 0),
};
#undef F
const struct fl_shape fl_shape_fetch_conf =
    FL_SHAPE(struct fl_fetch_conf, "fetch_conf", fetch_conf_fields);

static const struct fl_field fetch_header_fields[] = {
    FL_FIELD(struct fl_fetch_header, name, "name", FL_REQUIRED),
    FL_FIELD(struct fl_fetch_header, value, "value", FL_REQUIRED | FL_SECRET),
};
static const struct fl_shape fetch_header_shape =
    FL_SHAPE(struct fl_fetch_header, "header", fetch_header_fields);

#define F(member) FL_FIELD(struct fl_fetch_call, member, #member, 0)
static const struct fl_field fetch_call_fields[] = {
    F(method),
    F(url),
    F(path_query),
    F(bucket),
    F(service),
    F(region),
    FL_FIELD_LIST(struct fl_fetch_call, headers, n_headers, "headers", 0, &fetch_header_shape),
    FL_FIELD_BYTES(struct fl_fetch_call, body, body_len, "body", FL_SECRET),
    F(body_file),
    F(body_offset),
    F(body_bytes),
    F(body_sha256),
    F(to_file),
    F(to_max_bytes),
    F(auth),
    F(user),
    FL_FIELD(struct fl_fetch_call, password, "password", FL_SECRET),
    F(max_redirects),
    F(insecure_redirects),
    F(timeout_ms),
    F(max_response_bytes),
};
#undef F
const struct fl_shape fl_shape_fetch_call =
    FL_SHAPE(struct fl_fetch_call, "fetch_call", fetch_call_fields);

#define F(member) FL_FIELD(struct fl_fetch_answer, member, #member, 0)
static const struct fl_field fetch_answer_fields[] = {
    F(error),
    F(status),
    FL_FIELD_BYTES(struct fl_fetch_answer, body, body_len, "body", FL_SECRET),
    FL_FIELD_LIST(struct fl_fetch_answer, headers, n_headers, "headers", 0, &fetch_header_shape),
    F(written),
    F(sha256),
    F(date),
    F(error_text),
};
#undef F
static const struct fl_shape fetch_answer_shape =
    FL_SHAPE(struct fl_fetch_answer, "fetch_answer", fetch_answer_fields);

const struct fl_ipc_row fl_fetch_rows[FL_N_FETCH_ROWS] = {
    { FL_FETCH_CONF, "conf", &fl_shape_fetch_conf, 1, NULL },
    { FL_FETCH_CALL, "call", &fl_shape_fetch_call, 1, NULL },
    { FL_FETCH_CANCEL, "cancel", &fl_shape_empty, 1, NULL },
    { FL_FETCH_ANSWER, "answer", &fetch_answer_shape, 1, NULL },
};
const size_t fl_n_fetch_rows = FL_ARRAY_LEN(fl_fetch_rows);

const char *fl_fetch_text(const struct fl_fetch_answer *answer)
{
    if (!answer->body)
        return "";
    for (size_t i = 0; i < answer->body_len; i++)
        if (answer->body[i] == '\0')
            answer->body[i] = ' ';
    return answer->body;
}

void fl_ipc_bind(const struct fl_ipc_row *rows, size_t n, const struct fl_ipc_binding *bindings,
                 size_t n_bindings, struct fl_ipc_row *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = rows[i];
        for (size_t j = 0; j < n_bindings; j++)
            if (bindings[j].type == rows[i].type)
                out[i].handler = bindings[j].handler;
    }
}
