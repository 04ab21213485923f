/* datachannel.c - see datachannel.h. The rows stand in the order of the official programs. */
#include "common/wire/datachannel.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include "common/base/rand.h"

#define ACK_ARENA_BYTES  16384
#define EXIT_CODE_PREFIX "EXIT_CODE:"

#define F(member, key, flags) FL_FIELD(struct fl_msg_extras, member, key, flags)
static const struct fl_field extras_fields[] = {
    F(max_payload, "MaxPayload", FL_OMIT_ZERO),   F(end_of_input, "EndOfInput", FL_OMIT_ZERO),
    F(handshake, "Handshake", FL_OMIT_ZERO),      F(beats, "Beats", FL_OMIT_ZERO),
    F(keeps_bucket, "KeepsBucket", FL_OMIT_ZERO), F(keeps_group, "KeepsGroup", FL_OMIT_ZERO),
};
#undef F
const struct fl_shape fl_shape_extras = FL_SHAPE(struct fl_msg_extras, "Fairlead", extras_fields);

/* protocol 3 §3 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_create_data, member, key, flags)
static const struct fl_field create_data_fields[] = {
    F(schema_version, "MessageSchemaVersion", FL_ALWAYS),
    F(request_id, "RequestId", FL_ALWAYS),
    F(client_id, "ClientId", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_create_data =
    FL_SHAPE(struct fl_msg_create_data, "CreateDataChannel", create_data_fields);

/* protocol 3 §3: one shape for both sides, as the agent alone has an instance id */
#define F(member, key, flags) FL_FIELD(struct fl_msg_open_data, member, key, flags)
static const struct fl_field open_data_fields[] = {
    F(schema_version, "MessageSchemaVersion", FL_ALWAYS),
    F(request_id, "RequestId", FL_ALWAYS),
    F(token, "TokenValue", FL_REQUIRED | FL_ALWAYS | FL_SECRET),
    F(instance_id, "ClientInstanceId", 0),
    F(client_id, "ClientId", FL_ALWAYS),
    F(client_version, "ClientVersion", 0),
    F(require_ack, "RequireAcknowledgement", FL_OMIT_ZERO),
    FL_FIELD_STRUCT(struct fl_msg_open_data, extras, "Fairlead", 0, &fl_shape_extras),
};
#undef F
const struct fl_shape fl_shape_open_data =
    FL_SHAPE(struct fl_msg_open_data, "OpenDataChannel", open_data_fields);

/* protocol 3 §4 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_data_ack, member, key, flags)
static const struct fl_field data_ack_fields[] = {
    F(type, "AcknowledgedMessageType", FL_ALWAYS),
    F(message_id, "AcknowledgedMessageId", FL_ALWAYS),
    F(sequence, "AcknowledgedMessageSequenceNumber", FL_REQUIRED | FL_ALWAYS),
    F(sequential, "IsSequentialMessage", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_data_ack =
    FL_SHAPE(struct fl_msg_data_ack, FL_DATA_ACK, data_ack_fields);

/* protocol 3 §4 */
#define F(member, key) FL_FIELD(struct fl_msg_session_state, member, key, FL_ALWAYS)
static const struct fl_field session_state_fields[] = {
    F(schema_version, "SchemaVersion"),
    F(state, "SessionState"),
    F(session_id, "SessionId"),
};
#undef F
const struct fl_shape fl_shape_session_state =
    FL_SHAPE(struct fl_msg_session_state, FL_DATA_SESSION_STATE, session_state_fields);

/* protocol 3 §4 */
#define F(member, key) FL_FIELD(struct fl_msg_channel_closed, member, key, FL_ALWAYS)
static const struct fl_field channel_closed_fields[] = {
    F(message_type, "MessageType"),
    F(message_id, "MessageId"),
    F(destination_id, "DestinationId"),
    F(session_id, "SessionId"),
    F(schema_version, "SchemaVersion"),
    F(created_date, "CreatedDate"),
    F(output, "Output"),
};
#undef F
const struct fl_shape fl_shape_channel_closed =
    FL_SHAPE(struct fl_msg_channel_closed, FL_MSG_CHANNEL_CLOSED, channel_closed_fields);

/* protocol 3 §4 */
#define F(member, key) FL_FIELD(struct fl_msg_size, member, key, FL_REQUIRED | FL_ALWAYS)
static const struct fl_field size_fields[] = { F(cols, "cols"), F(rows, "rows") };
#undef F
const struct fl_shape fl_shape_size = FL_SHAPE(struct fl_msg_size, "Size", size_fields);

/* protocol 3 §6 */
#define F(member, key) FL_FIELD(struct fl_msg_client_action, member, key, FL_ALWAYS)
static const struct fl_field client_action_fields[] = {
    F(type, "ActionType"),
    F(parameters, "ActionParameters"),
};
#undef F
static const struct fl_shape client_action_shape =
    FL_SHAPE(struct fl_msg_client_action, "RequestedClientActions", client_action_fields);

#define T struct fl_msg_handshake_request
static const struct fl_field handshake_request_fields[] = {
    FL_FIELD(T, agent_version, "AgentVersion", FL_ALWAYS),
    FL_FIELD_LIST(T, actions, n_actions, "RequestedClientActions", FL_ALWAYS, &client_action_shape),
    FL_FIELD_STRUCT(T, extras, "Fairlead", 0, &fl_shape_extras),
};
const struct fl_shape fl_shape_handshake_request =
    FL_SHAPE(T, "HandshakeRequest", handshake_request_fields);
#undef T

#define F(member, key) FL_FIELD(struct fl_msg_session_type, member, key, FL_ALWAYS)
static const struct fl_field session_type_fields[] = {
    F(type, "SessionType"),
    F(properties, "Properties"),
};
#undef F
const struct fl_shape fl_shape_session_type =
    FL_SHAPE(struct fl_msg_session_type, "SessionType", session_type_fields);

#define F(member, key) FL_FIELD(struct fl_msg_kms_request, member, key, FL_ALWAYS)
static const struct fl_field kms_request_fields[] = {
    F(key_id, "KMSKeyId"),
    F(challenge, "Challenge"),
};
#undef F
const struct fl_shape fl_shape_kms_request =
    FL_SHAPE(struct fl_msg_kms_request, "KMSEncryption", kms_request_fields);

#define F(member, key) FL_FIELD(struct fl_msg_processed_action, member, key, FL_ALWAYS)
static const struct fl_field processed_action_fields[] = {
    F(type, "ActionType"),
    F(status, "ActionStatus"),
    F(result, "ActionResult"),
    F(error, "Error"),
};
#undef F
static const struct fl_shape processed_action_shape =
    FL_SHAPE(struct fl_msg_processed_action, "ProcessedClientActions", processed_action_fields);

#define T struct fl_msg_handshake_response
static const struct fl_field handshake_response_fields[] = {
    FL_FIELD(T, client_version, "ClientVersion", FL_ALWAYS),
    FL_FIELD_LIST(T, actions, n_actions, "ProcessedClientActions", FL_ALWAYS,
                  &processed_action_shape, .limits = { .max = 16 }),
    FL_FIELD(T, errors, "Errors", FL_ALWAYS),
    FL_FIELD_STRUCT(T, extras, "Fairlead", 0, &fl_shape_extras),
};
const struct fl_shape fl_shape_handshake_response =
    FL_SHAPE(T, "HandshakeResponse", handshake_response_fields);
#undef T

/* protocol 3 §7 */
#define F(member, key, flags) FL_FIELD(struct fl_msg_kms_result, member, key, flags)
static const struct fl_field kms_result_fields[] = {
    F(cipher_text_key, "KMSCipherTextKey", FL_ALWAYS),
    F(cipher_text_hash, "KMSCipherTextHash", FL_ALWAYS),
    F(challenge_acknowledged, "ChallengeAcknowledgement", FL_OMIT_ZERO),
};
#undef F
const struct fl_shape fl_shape_kms_result =
    FL_SHAPE(struct fl_msg_kms_result, "KMSEncryption", kms_result_fields);

static const struct fl_field challenge_fields[] = {
    FL_FIELD(struct fl_msg_challenge, challenge, "Challenge", FL_REQUIRED | FL_ALWAYS),
};
const struct fl_shape fl_shape_challenge =
    FL_SHAPE(struct fl_msg_challenge, "EncChallenge", challenge_fields);

#define F(member, key) FL_FIELD(struct fl_msg_handshake_complete, member, key, FL_ALWAYS)
static const struct fl_field handshake_complete_fields[] = {
    F(took_ns, "HandshakeTimeToComplete"),
    F(customer_message, "CustomerMessage"),
};
#undef F
const struct fl_shape fl_shape_handshake_complete =
    FL_SHAPE(struct fl_msg_handshake_complete, "HandshakeComplete", handshake_complete_fields);

/* protocol 3 §3 */
#define T                     struct fl_msg_session_content
#define F(member, key, flags) FL_FIELD(T, member, key, flags)
static const struct fl_field session_content_fields[] = {
    F(session_id, "SessionId", FL_REQUIRED | FL_ALWAYS),
    F(document_name, "DocumentName", FL_ALWAYS),
    F(document_content, "DocumentContent", FL_REQUIRED | FL_ALWAYS),
    F(parameters, "Parameters", FL_ALWAYS),
    F(run_as_user, "RunAsUser", FL_ALWAYS),
    F(session_owner, "SessionOwner", FL_ALWAYS),
    FL_FIELD_STRUCT(T, extras, "Fairlead", 0, &fl_shape_extras),
};
#undef F
const struct fl_shape fl_shape_session_content =
    FL_SHAPE(T, "interactive_shell", session_content_fields);
#undef T

/* protocol 3 §10 */
#define F(member, key) FL_FIELD(struct fl_msg_task_complete, member, key, FL_ALWAYS)
static const struct fl_field task_complete_fields[] = {
    F(schema_version, "SchemaVersion"),
    F(task_id, "TaskId"),
    F(topic, "Topic"),
    F(final_status, "FinalTaskStatus"),
    F(routing_failure, "IsRoutingFailure"),
    F(account_id, "AwsAccountId"),
    F(instance_id, "InstanceId"),
    F(output, "Output"),
    F(s3_bucket, "S3Bucket"),
    F(s3_suffix, "S3UrlSuffix"),
    F(log_group, "CwlGroup"),
    F(log_stream, "CwlStream"),
    F(retry_number, "RetryNumber"),
};
#undef F
const struct fl_shape fl_shape_task_complete =
    FL_SHAPE(struct fl_msg_task_complete, FL_MSG_AGENT_TASK_COMPLETE, task_complete_fields);

#define F(member, key, flags) FL_FIELD(struct fl_msg_task_ack, member, key, flags)
static const struct fl_field task_ack_fields[] = {
    F(schema_version, "SchemaVersion", FL_ALWAYS),
    F(message_id, "MessageId", FL_REQUIRED | FL_ALWAYS),
    F(task_id, "TaskId", FL_ALWAYS),
    F(topic, "Topic", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_shape_task_ack =
    FL_SHAPE(struct fl_msg_task_ack, FL_MSG_AGENT_TASK_ACK, task_ack_fields);

/* The parts of an acknowledgement around its values, as every official program writes them. */
static const char ack_type[] = "{\"AcknowledgedMessageType\":\"";
static const char ack_id[] = "\",\"AcknowledgedMessageId\":\"";
static const char ack_sequence[] = "\",\"AcknowledgedMessageSequenceNumber\":";
static const char ack_tail[] = ",\"IsSequentialMessage\":true}";

static char *put(char *to, const char *text, size_t len)
{
    memcpy(to, text, len);
    return to + len;
}

size_t fl_data_ack_encode(const char *type, const uint8_t message_id[16], int64_t sequence,
                          char out[FL_DATA_ACK_MAX_BYTES])
{
    char id[FL_UUID_BYTES], digits[20], *d = digits + sizeof(digits), *p = out;
    uint64_t left = (uint64_t)sequence;

    fl_uuid_format(message_id, id);
    do
        *--d = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    p = put(p, ack_type, sizeof(ack_type) - 1);
    p = put(p, type, strnlen(type, FL_FRAME_TYPE_BYTES));
    p = put(p, ack_id, sizeof(ack_id) - 1);
    p = put(p, id, sizeof(id) - 1);
    p = put(p, ack_sequence, sizeof(ack_sequence) - 1);
    p = put(p, d, (size_t)(digits + sizeof(digits) - d));
    p = put(p, ack_tail, sizeof(ack_tail)); /* and its NUL */
    return (size_t)(p - out) - 1;
}

static bool take(const char **p, const char *end, const char *text, size_t len)
{
    if ((size_t)(end - *p) < len || memcmp(*p, text, len) != 0)
        return false;
    *p += len;
    return true;
}

static void skip(const char **p, const char *end, const char *set)
{
    while (*p < end && **p && strchr(set, **p))
        (*p)++;
}

/* The number of an acknowledgement of that form, letter by letter; -1 for any other. */
static int64_t plain_ack(const char *p, size_t len)
{
    const char *end = p + len;
    int64_t n = 0;

    if (!take(&p, end, ack_type, sizeof(ack_type) - 1))
        return -1;
    skip(&p, end, "abcdefghijklmnopqrstuvwxyz_");
    if (!take(&p, end, ack_id, sizeof(ack_id) - 1))
        return -1;
    skip(&p, end, "0123456789abcdef-");
    if (!take(&p, end, ack_sequence, sizeof(ack_sequence) - 1))
        return -1;
    if (p == end || *p < '1' || *p > '9')
        return take(&p, end, "0", 1) && take(&p, end, ack_tail, sizeof(ack_tail) - 1) && p == end
                   ? 0
                   : -1;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
            return -1;
    return take(&p, end, ack_tail, sizeof(ack_tail) - 1) && p == end ? n : -1;
}

int fl_data_ack_decode(const char *payload, size_t len, int64_t *ret_sequence)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(ACK_ARENA_BYTES);
    struct fl_msg_data_ack ack;
    int64_t n = plain_ack(payload, len);

    if (n < 0) {
        if (fl_json_decode(&fl_shape_data_ack, payload, len, FL_DECODE_NOCASE, &arena, &ack, NULL) <
                0 ||
            ack.sequence < 0)
            return -EBADMSG;
        n = ack.sequence;
    }
    *ret_sequence = n;
    return 0;
}

size_t fl_data_exit_code_encode(int code, char out[FL_DATA_EXIT_CODE_BYTES])
{
    return (size_t)snprintf(out, FL_DATA_EXIT_CODE_BYTES, EXIT_CODE_PREFIX " %d", code);
}

int fl_data_exit_code_decode(const char *payload, size_t len, int *ret_code)
{
    char text[FL_DATA_EXIT_CODE_BYTES], *end;
    size_t prefix = strlen(EXIT_CODE_PREFIX);
    long n;

    if (len >= sizeof(text) || len <= prefix || memcmp(payload, EXIT_CODE_PREFIX, prefix) != 0)
        return -EBADMSG;
    memcpy(text, payload, len);
    text[len] = '\0';
    n = strtol(text + prefix, &end, 10);
    if (end == text + prefix || *end != '\0' || end != text + len || n < INT_MIN || n > INT_MAX)
        return -EBADMSG;
    *ret_code = (int)n;
    return 0;
}

void fl_data_flag_encode(uint32_t flag, uint8_t out[4])
{
    for (size_t i = 0; i < 4; i++)
        out[i] = (uint8_t)(flag >> (24 - 8 * i));
}

int fl_data_flag_decode(const char *payload, size_t len, uint32_t *ret_flag)
{
    uint32_t flag = 0;

    if (len != 4)
        return -EBADMSG;
    for (size_t i = 0; i < 4; i++)
        flag = flag << 8 | (uint8_t)payload[i];
    *ret_flag = flag;
    return 0;
}

size_t fl_data_reason_encode(const char *text, char out[4 + FL_DATA_REASON_BYTES])
{
    size_t len = strnlen(text, FL_DATA_REASON_BYTES);

    fl_data_flag_encode(FL_DATA_FLAG_CONNECT_REASON, (uint8_t *)out);
    memcpy(out + 4, text, len);
    return 4 + len;
}

int fl_data_reason_decode(const char *payload, size_t len, char out[FL_DATA_REASON_BYTES + 1])
{
    uint32_t flag;

    if (len < 4 || len > 4 + FL_DATA_REASON_BYTES || fl_data_flag_decode(payload, 4, &flag) < 0 ||
        flag != FL_DATA_FLAG_CONNECT_REASON)
        return -EBADMSG;
    memcpy(out, payload + 4, len - 4);
    out[len - 4] = '\0';
    return 0;
}

bool fl_session_id_valid(const char *id)
{
    size_t len = id ? strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "._-")
                    : 0;

    return len > 0 && len < FL_SESSION_ID_BYTES && id[len] == '\0' && id[0] != '.';
}
