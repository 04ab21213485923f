/* ec2messages.c - the agents' older message service, answered so that they settle on the control
 * channel: polls are held and empty, replies go the way of all replies.
 *
 * Source: protocol 2 §4, with the MGS-only recipe of §4.2.
 */
#include "server/api/registry.h"
#include "server/command/engine.h"
#include "server/plane.h"

#include <errno.h>
#include <string.h>

#define POLL_HOLD_MS 12000 /* protocol 2 §4.2: 10 to 15 s; the client gives up after 20 */

struct get_messages_in {
    char *destination, *request_id;
    struct fl_opt_int visibility_s;
    char *next_token;
};
struct get_messages_out {
    char *destination, *request_id;
    struct fl_strs messages; /* never any */
};
struct message_in {
    char *message_id;
    char *failure_type; /* FailMessage */
};
struct send_reply_in {
    char *message_id, *payload, *reply_id, *delivery_options;
};
struct send_reply_out {
    char *message_id, *reply_id, *status, *description;
};
struct endpoint_in {
    char *destination;
};
struct endpoint_out {
    char *endpoint;
};

#define F(type, member, key, ...) FL_FIELD(struct type, member, key, __VA_ARGS__)
static const struct fl_field get_messages_in_fields[] = {
    F(get_messages_in, destination, "Destination", FL_REQUIRED, .limits = { .min = 10 }),
    F(get_messages_in, request_id, "MessagesRequestId", FL_REQUIRED, .limits = { .min = 16 }),
    F(get_messages_in, visibility_s, "VisibilityTimeoutInSeconds", 0),
    F(get_messages_in, next_token, "NextToken", 0),
};
static const struct fl_field get_messages_out_fields[] = {
    F(get_messages_out, destination, "Destination", FL_ALWAYS),
    F(get_messages_out, request_id, "MessagesRequestId", FL_ALWAYS),
    F(get_messages_out, messages, "Messages", FL_ALWAYS),
};
static const struct fl_field message_in_fields[] = {
    F(message_in, message_id, "MessageId", FL_REQUIRED),
};
static const struct fl_field fail_message_in_fields[] = {
    F(message_in, message_id, "MessageId", FL_REQUIRED),
    F(message_in, failure_type, "FailureType", FL_REQUIRED),
};
static const struct fl_field send_reply_in_fields[] = {
    F(send_reply_in, message_id, "MessageId", FL_REQUIRED),
    F(send_reply_in, payload, "Payload", FL_REQUIRED),
    F(send_reply_in, reply_id, "ReplyId", FL_REQUIRED),
    F(send_reply_in, delivery_options, "DeliveryOptions", 0),
};
static const struct fl_field send_reply_out_fields[] = {
    F(send_reply_out, message_id, "MessageId", FL_ALWAYS),
    F(send_reply_out, reply_id, "ReplyId", FL_ALWAYS),
    F(send_reply_out, status, "ReplyStatus", FL_ALWAYS),
    F(send_reply_out, description, "Description", FL_ALWAYS),
};
static const struct fl_field endpoint_in_fields[] = {
    F(endpoint_in, destination, "Destination", FL_REQUIRED),
};
static const struct fl_field endpoint_out_fields[] = {
    F(endpoint_out, endpoint, "Endpoint", FL_ALWAYS),
};
#undef F
static const struct fl_shape get_messages_in_shape =
    FL_SHAPE(struct get_messages_in, "GetMessages", get_messages_in_fields);
static const struct fl_shape get_messages_out_shape =
    FL_SHAPE(struct get_messages_out, "GetMessagesResult", get_messages_out_fields);
static const struct fl_shape message_in_shape =
    FL_SHAPE(struct message_in, "Message", message_in_fields);
static const struct fl_shape fail_message_in_shape =
    FL_SHAPE(struct message_in, "FailMessage", fail_message_in_fields);
static const struct fl_shape send_reply_in_shape =
    FL_SHAPE(struct send_reply_in, "SendReply", send_reply_in_fields);
static const struct fl_shape send_reply_out_shape =
    FL_SHAPE(struct send_reply_out, "SendReplyResult", send_reply_out_fields);
static const struct fl_shape endpoint_in_shape =
    FL_SHAPE(struct endpoint_in, "GetEndpoint", endpoint_in_fields);
static const struct fl_shape endpoint_out_shape =
    FL_SHAPE(struct endpoint_out, "GetEndpointResult", endpoint_out_fields);

static int op_get_messages(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct get_messages_in *req = in;
    struct get_messages_out *res = out;

    res->destination = req->destination;
    res->request_id = req->request_id;
    call->hold_ms = POLL_HOLD_MS;
    return 0;
}

/* No message is ever given out this way, so there is none to acknowledge, delete or fail. */
static int op_nothing(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    return 0;
}

static int op_send_reply(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    const struct send_reply_in *req = in;
    struct send_reply_out *res = out;
    struct fl_engine engine = { .call = call };
    struct fl_reply reply;
    struct fl_err found = { 0 };
    int r;

    r = fl_reply_decode_content(req->message_id, req->payload, strlen(req->payload), call->arena,
                                &reply, &found);
    if (r < 0)
        return fl_err_set(err, r, "InvalidMessageIdException", "%s", fl_err_text(&found));
    r = fl_engine_reply(&engine, call->who->node_id, &reply, err);
    if (r < 0)
        return r;
    fl_engine_count(call->plane, &engine.effects);
    fl_metrics_count(call->plane->metrics, FL_CTR_JOB_REPLIES);
    *res = (struct send_reply_out){ .message_id = req->message_id,
                                    .reply_id = req->reply_id,
                                    .status = (char *)"SUCCESS" };
    return 0;
}

static int op_get_endpoint(struct fl_call *call, const void *in, void *out, struct fl_err *err)
{
    struct endpoint_out *res = out;

    res->endpoint = fl_arena_printf(call->arena, "https://%s:%u", call->plane->conf.public_host,
                                    (unsigned)call->plane->conf.port);
    return res->endpoint ? 0 : fl_err_nomem(err);
}

static const struct fl_op ops[] = {
    { "GetMessages", &get_messages_in_shape, &get_messages_out_shape, op_get_messages, FL_LANE_READ,
      FL_AUTH_NODE, NULL },
    { "AcknowledgeMessage", &message_in_shape, &fl_shape_empty, op_nothing, FL_LANE_READ,
      FL_AUTH_NODE, NULL },
    { "DeleteMessage", &message_in_shape, &fl_shape_empty, op_nothing, FL_LANE_READ, FL_AUTH_NODE,
      NULL },
    { "FailMessage", &fail_message_in_shape, &fl_shape_empty, op_nothing, FL_LANE_READ,
      FL_AUTH_NODE, NULL },
    { "SendReply", &send_reply_in_shape, &send_reply_out_shape, op_send_reply, FL_LANE_WRITE,
      FL_AUTH_NODE, NULL },
    { "GetEndpoint", &endpoint_in_shape, &endpoint_out_shape, op_get_endpoint, FL_LANE_READ,
      FL_AUTH_NODE, NULL },
};

const struct fl_op_table fl_ops_ec2messages = {
    .service = "ec2messages",
    .target_prefix = "EC2WindowsMessageDeliveryService.",
    .ops = ops,
    .n_ops = FL_ARRAY_LEN(ops),
};
