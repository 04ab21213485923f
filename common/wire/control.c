/* control.c - see control.h. The rows stand in the order of the official agent's examples. */
#include "common/wire/control.h"
#include <errno.h>
#include <string.h>
#include "common/codec/xml.h"

#define JOB_ID_PREFIX   "aws.ssm."
#define TOKEN_MAX_BYTES 16384 /* of a channel token as read */

/* protocol 2 §1.2 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_create_channel, member, key, flags)
static const struct fl_field create_channel_fields[] = {
    F(schema_version, "MessageSchemaVersion", FL_ALWAYS),
    F(request_id, "RequestId", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_create_channel =
    FL_SHAPE(struct fl_msg_create_channel, "CreateChannel", create_channel_fields);

/* protocol 2 §1.4 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_open_channel, member, key, flags)
static const struct fl_field open_channel_fields[] = {
    F(cookie, "Cookie", FL_ALWAYS),
    F(schema_version, "MessageSchemaVersion", FL_ALWAYS),
    F(request_id, "RequestId", FL_ALWAYS),
    F(token, "TokenValue", FL_REQUIRED | FL_ALWAYS | FL_SECRET),
    F(agent_version, "AgentVersion", FL_ALWAYS),
    F(platform_type, "PlatformType", FL_ALWAYS),
    F(require_ack, "RequireAcknowledgement", FL_OMIT_ZERO),
};
#undef F
const struct fl_shape fl_shape_open_channel =
    FL_SHAPE(struct fl_msg_open_channel, "OpenControlChannel", open_channel_fields);

/* protocol 2 §3.2; a blank job id has an answer of its own (51406), so the decoder lets it pass */
#define F(member, key, flags) FL_FIELD(struct fl_msg_job, member, key, flags)
static const struct fl_field job_fields[] = {
    F(content, "Content", FL_REQUIRED | FL_ALWAYS),
    F(job_id, "JobId", FL_ALWAYS),
    F(topic, "Topic", FL_REQUIRED | FL_ALWAYS),
    F(schema_version, "SchemaVersion", 0),
};
#undef F
const struct fl_shape fl_shape_job = FL_SHAPE(struct fl_msg_job, "agent_job", job_fields);

#define F(member, key, flags) FL_FIELD(struct fl_msg_send_content, member, key, flags)
static const struct fl_field send_content_fields[] = {
    F(parameters, "Parameters", FL_ALWAYS),
    F(document_content, "DocumentContent", FL_REQUIRED | FL_ALWAYS),
    F(command_id, "CommandId", FL_ALWAYS),
    F(document_name, "DocumentName", FL_ALWAYS),
    F(s3_bucket, "OutputS3BucketName", FL_ALWAYS),
    F(s3_prefix, "OutputS3KeyPrefix", FL_ALWAYS),
    F(log_group, "CloudWatchLogGroupName", FL_ALWAYS),
    F(log_enabled, "CloudWatchOutputEnabled", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_send_content =
    FL_SHAPE(struct fl_msg_send_content, "SendCommand", send_content_fields);

static const struct fl_field cancel_content_fields[] = {
    FL_FIELD(struct fl_msg_cancel_content, cancel_message_id, "CancelMessageId",
             FL_REQUIRED | FL_ALWAYS),
};
const struct fl_shape fl_shape_cancel_content =
    FL_SHAPE(struct fl_msg_cancel_content, "CancelCommand", cancel_content_fields);

/* protocol 2 §3.3; old agents send neither code nor date, which means success */
#define F(member, key, flags) FL_FIELD(struct fl_msg_job_ack, member, key, flags)
static const struct fl_field job_ack_fields[] = {
    F(job_id, "jobId", FL_ALWAYS),
    F(acked_message_id, "acknowledgedMessageId", FL_REQUIRED | FL_ALWAYS),
    F(created_date, "createdDate", FL_ALWAYS),
    F(status_code, "statusCode", FL_ALWAYS),
    F(error_message, "errorMessage", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_job_ack =
    FL_SHAPE(struct fl_msg_job_ack, "agent_job_ack", job_ack_fields);

/* protocol 2 §3.4 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_job_reply, member, key, flags)
static const struct fl_field job_reply_fields[] = {
    F(schema_version, "schemaVersion", 0),
    F(job_id, "jobId", FL_REQUIRED | FL_ALWAYS),
    F(content, "content", FL_REQUIRED | FL_ALWAYS),
    F(topic, "topic", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_job_reply =
    FL_SHAPE(struct fl_msg_job_reply, "agent_job_reply", job_reply_fields);

/* protocol 2 §3.1 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_job_reply_ack, member, key, flags)
static const struct fl_field job_reply_ack_fields[] = {
    F(job_id, "jobId", FL_ALWAYS),
    F(acked_message_id, "acknowledgedMessageId", FL_REQUIRED | FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_job_reply_ack =
    FL_SHAPE(struct fl_msg_job_reply_ack, "agent_job_reply_ack", job_reply_ack_fields);

#define F(member, key) FL_FIELD(struct fl_msg_agent_info, member, key, FL_ALWAYS)
static const struct fl_field agent_info_fields[] = {
    F(lang, "lang"), F(name, "name"), F(os, "os"), F(osver, "osver"), F(ver, "ver"),
};
#undef F
static const struct fl_shape agent_info_shape =
    FL_SHAPE(struct fl_msg_agent_info, "agent", agent_info_fields);

#define F(member, key) FL_FIELD(struct fl_msg_additional_info, member, key, FL_ALWAYS)
static const struct fl_field additional_info_fields[] = {
    FL_FIELD_STRUCT(struct fl_msg_additional_info, agent, "agent", FL_ALWAYS, &agent_info_shape),
    F(date_time, "dateTime"),
    F(run_id, "runId"),
    F(status_counts, "runtimeStatusCounts"),
};
#undef F
static const struct fl_shape additional_info_shape =
    FL_SHAPE(struct fl_msg_additional_info, "additionalInfo", additional_info_fields);

#define F(member, key) FL_FIELD(struct fl_msg_result, member, key, FL_ALWAYS)
static const struct fl_field result_fields[] = {
    FL_FIELD_STRUCT(struct fl_msg_result, info, "additionalInfo", FL_ALWAYS,
                    &additional_info_shape),
    F(document_status, "documentStatus"),
    F(trace_output, "documentTraceOutput"),
    F(runtime_status, "runtimeStatus"),
};
#undef F
const struct fl_shape fl_shape_result = FL_SHAPE(struct fl_msg_result, "result", result_fields);

#define F(member, key) FL_FIELD(struct fl_msg_step, member, key, FL_ALWAYS)
static const struct fl_field step_fields[] = {
    FL_MSG_STEP_MEMBERS(F),
};
#undef F
const struct fl_shape fl_shape_step = FL_SHAPE(struct fl_msg_step, "step", step_fields);

/* protocol 2 §3.7 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_task, member, key, flags)
static const struct fl_field task_fields[] = {
    F(content, "Content", FL_REQUIRED | FL_ALWAYS),
    F(task_id, "TaskId", FL_ALWAYS),
    F(topic, "Topic", FL_ALWAYS),
    F(schema_version, "SchemaVersion", 0),
};
#undef F
const struct fl_shape fl_shape_task =
    FL_SHAPE(struct fl_msg_task, "interactive_shell", task_fields);

/* protocol 2 §3.3 */
static const struct {
    const char *code, *text;
} ack_texts[] = {
    { FL_ACK_OK, "Successful" },
    { FL_ACK_CLOSED, "ClosedProcessor" },
    { FL_ACK_BUFFER_FULL, "ProcessorBufferFull" },
    { FL_ACK_BAD_TYPE, "UnexpectedDocumentType" },
    { FL_ACK_TRANSLATION, "ProcessorErrorCodeTranslationFailed" },
    { FL_ACK_DUPLICATE, "DuplicateCommand" },
    { FL_ACK_INVALID, "InvalidDocument" },
    { FL_ACK_CONTAINER, "ContainerNotSupported" },
    { FL_ACK_PARSE_ERROR, "AgentJobMessageParseError" },
};

const char *fl_ack_text(const char *code)
{
    for (size_t i = 0; code && i < FL_ARRAY_LEN(ack_texts); i++)
        if (strcmp(ack_texts[i].code, code) == 0)
            return ack_texts[i].text;
    return "UnexpectedError";
}

int fl_job_command_id(const char *job_id, char *out, size_t out_size)
{
    const char *from = job_id, *end = job_id + strlen(job_id);
    size_t prefix = strlen(JOB_ID_PREFIX);

    if (strncmp(job_id, JOB_ID_PREFIX, prefix) == 0) {
        const char *last = strrchr(job_id + prefix, '.');

        if (last && last > job_id + prefix) {
            end = last;
            for (from = end; from[-1] != '.'; from--)
                ;
        }
    }
    if ((size_t)(end - from) >= out_size || end == from)
        return -EINVAL;
    memcpy(out, from, (size_t)(end - from));
    out[end - from] = '\0';
    return 0;
}

int fl_channel_token_xml(const char *root, const char *token, struct fl_buf *out)
{
    int r = fl_buf_printf(out, "<%s><MessageSchemaVersion>1.0</MessageSchemaVersion>", root);

    if (r == 0)
        r = fl_xml_element(out, "TokenValue", token);
    return r < 0 ? r : fl_buf_printf(out, "</%s>", root);
}

int fl_channel_token_parse(const char *xml, size_t len, char **ret_token)
{
    fl_autobuf struct fl_buf token = FL_BUF(TOKEN_MAX_BYTES);
    char *text;

    if (fl_xml_find_text(xml, len, "TokenValue", &token) < 0 || token.len == 0 ||
        memchr(token.data, '\0', token.len))
        return -EBADMSG;
    text = fl_buf_take(&token, NULL);
    if (!text)
        return -ENOMEM;
    *ret_token = text;
    return 0;
}
