/* control.h - what travels inside control-channel frames, as shapes (protocol 2 §1.4, §1.7, §3).
 *
 * Encoding writes members in the order of the official agent's examples. Decode with
 * FL_DECODE_NOCASE: the official agent's decoder ignores letter case.
 */
#pragma once
#include "common/codec/codec.h"

/* Message types. */
#define FL_MSG_AGENT_JOB             "agent_job"
#define FL_MSG_AGENT_JOB_ACK         "agent_job_ack"
#define FL_MSG_AGENT_JOB_REPLY       "agent_job_reply"
#define FL_MSG_AGENT_JOB_REPLY_ACK   "agent_job_reply_ack"
#define FL_MSG_INTERACTIVE_SHELL     "interactive_shell"
#define FL_MSG_CHANNEL_CLOSED        "channel_closed"
#define FL_MSG_AGENT_TASK_COMPLETE   "agent_task_complete"
#define FL_MSG_AGENT_TASK_ACK        "agent_task_acknowledge"
#define FL_MSG_AGENT_TELEMETRY       "agent_telemetry"
#define FL_MSG_CONTROL_CHANNEL_READY "control_channel_ready"

#define FL_TOPIC_SEND   "aws.ssm.sendCommand"
#define FL_TOPIC_CANCEL "aws.ssm.cancelCommand"

/* POST /v1/control-channel/{id} */
struct fl_msg_create_channel {
    char *schema_version; /* "1.0" */
    char *request_id;
};
/* First text frame. */
struct fl_msg_open_channel {
    struct fl_raw cookie; /* always null */
    char *schema_version;
    char *request_id;
    char *token;
    char *agent_version;
    char *platform_type;
    bool require_ack; /* agents 3.2.1478.0-3.2.2222.0 and 3.3.40.0: answer control_channel_ready */
};
struct fl_msg_job {
    char *content; /* JSON text */
    char *job_id;
    char *topic;
    int32_t schema_version;
};
/* Content of a sendCommand job. */
struct fl_msg_send_content {
    struct fl_raw parameters;
    struct fl_raw document_content;
    char *command_id;
    char *document_name;
    char *s3_bucket;
    char *s3_prefix;
    char *log_group;
    char *log_enabled; /* "true" or "false": a string */
};
struct fl_msg_cancel_content {
    char *cancel_message_id;
};
struct fl_msg_job_ack {
    char *job_id;
    char *acked_message_id;
    char *created_date;
    char *status_code; /* FL_ACK_* */
    char *error_message;
};
struct fl_msg_job_reply {
    int32_t schema_version; /* 1 */
    char *job_id;
    char *content; /* JSON text of struct fl_msg_result */
    char *topic;
};
struct fl_msg_job_reply_ack {
    char *job_id;
    char *acked_message_id;
};
struct fl_msg_agent_info {
    char *lang, *name, *os, *osver, *ver;
};
struct fl_msg_additional_info {
    struct fl_msg_agent_info *agent;
    char *date_time;
    char *run_id;
    struct fl_raw status_counts; /* null or {"Success":1} */
};
/* Inner reply; runtime_status is a JSON object keyed by step name, values as struct fl_msg_step. */
struct fl_msg_result {
    struct fl_msg_additional_info *info;
    char *document_status;
    char *trace_output;
    struct fl_raw runtime_status; /* null, {} or {step: {...}} */
};
struct fl_msg_step {
    char *status;
    int64_t code;
    char *name; /* plugin, e.g. aws:runShellScript */
    char *output;
    char *start_time, *end_time;
    char *s3_bucket, *s3_prefix;
    char *step_name;
    char *standard_output, *standard_error;
};
/* Its members and their keys, also for who has the texts as JSON. */
#define FL_MSG_STEP_MEMBERS(F)                                                  \
    F(status, "status"), F(code, "code"), F(name, "name"), F(output, "output"), \
        F(start_time, "startDateTime"), F(end_time, "endDateTime"),             \
        F(s3_bucket, "outputS3BucketName"), F(s3_prefix, "outputS3KeyPrefix"),  \
        F(step_name, "stepName"), F(standard_output, "standardOutput"),         \
        F(standard_error, "standardError")
/* Session start, told to agents by interactive_shell. */
struct fl_msg_task {
    char *content;
    char *task_id;
    char *topic;
    int32_t schema_version;
};

/* agent_job_ack status codes (protocol 2 §3.3). */
#define FL_ACK_OK          "200"
#define FL_ACK_CLOSED      "51401"
#define FL_ACK_BUFFER_FULL "51402"
#define FL_ACK_BAD_TYPE    "51403"
#define FL_ACK_TRANSLATION "51404"
#define FL_ACK_DUPLICATE   "51405"
#define FL_ACK_INVALID     "51406"
#define FL_ACK_CONTAINER   "51407"
#define FL_ACK_PARSE_ERROR "51408"
#define FL_ACK_UNEXPECTED  "51499"

/* Our close code of a control channel: another live machine has taken the node's place with the
 * same identity. Official agents treat all codes alike (protocol 2 §1.6). */
#define FL_CLOSE_CLONED 4090

/* The errorMessage that goes with a code; "UnexpectedError" for an unknown one. */
const char *fl_ack_text(const char *code);

extern const struct fl_shape fl_shape_create_channel, fl_shape_open_channel, fl_shape_job,
    fl_shape_send_content, fl_shape_cancel_content, fl_shape_job_ack, fl_shape_job_reply,
    fl_shape_job_reply_ack, fl_shape_result, fl_shape_step, fl_shape_task;

/* Command id inside a job id: the part before the last of "aws.ssm.<commandId>.<nodeId>", else the
 * whole (protocol 2 §3.2). Writes at most out_size bytes with NUL; -EINVAL if it does not fit. */
int fl_job_command_id(const char *job_id, char *out, size_t out_size);

/* The XML answer of CreateControlChannel / CreateDataChannel: build and read (root name ignored).
 * Reading: the token into fresh memory, -EBADMSG without a TokenValue. */
int fl_channel_token_xml(const char *root, const char *token, struct fl_buf *out);
int fl_channel_token_parse(const char *xml, size_t len, char **ret_token);
