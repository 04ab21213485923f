/* commands.c - Run Command's operations: their shapes and their table. */
#include "server/api/commands.h"
#include "server/api/registry.h"
#include "server/command/status.h"

#include <errno.h>

/* clang-format off */
static const char *const event_names[] = { "All", "InProgress", "Success", "TimedOut", "Cancelled", "Failed", NULL };
static const char *const notification_types[] = { "Command", "Invocation", NULL };
static const char *const hash_types[] = { "Sha256", "Sha1", NULL };

/* Limits that several operations share. */
#define INSTANCE_LIMITS    { .pattern = FL_INSTANCE_PATTERN }
#define COMMAND_ID_LIMITS  { .min = 36, .max = 36 }
#define INSTANCE_IDS(type) FL_FIELD(type, instance_ids, "InstanceIds", 0, .limits = { .max = 50 }, .elem = INSTANCE_LIMITS)

/* ---- structures ---- */
#define F(member, key, ...) FL_FIELD(struct fl_notification, member, key, __VA_ARGS__)
static const struct fl_field notification_fields[] = {
    F(arn, "NotificationArn", 0),
    F(events, "NotificationEvents", 0, .elem = { .enums = event_names }),
    F(type, "NotificationType", 0, .limits = { .enums = notification_types }),
};
static const struct fl_field notification_out_fields[] = {
    F(arn, "NotificationArn", FL_ALWAYS),
    F(events, "NotificationEvents", FL_ALWAYS),
    F(type, "NotificationType", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_notification_shape =
    FL_SHAPE(struct fl_notification, "NotificationConfig", notification_fields);
const struct fl_shape fl_notification_out_shape =
    FL_SHAPE(struct fl_notification, "NotificationConfig", notification_out_fields);

#define F(member, key, ...) FL_FIELD(struct fl_log_config, member, key, __VA_ARGS__)
static const struct fl_field log_config_fields[] = {
    F(group, "CloudWatchLogGroupName", 0, .limits = { .min = 1, .max = 512 }),
    F(enabled, "CloudWatchOutputEnabled", 0),
};
static const struct fl_field log_config_out_fields[] = {
    F(group, "CloudWatchLogGroupName", FL_ALWAYS),
    F(enabled, "CloudWatchOutputEnabled", FL_ALWAYS),
};
#undef F
const struct fl_shape fl_log_config_shape =
    FL_SHAPE(struct fl_log_config, "CloudWatchOutputConfig", log_config_fields);
const struct fl_shape fl_log_config_out_shape =
    FL_SHAPE(struct fl_log_config, "CloudWatchOutputConfig", log_config_out_fields);

static const struct fl_field alarm_fields[] = {
    FL_FIELD(struct fl_alarm, name, "Name", FL_REQUIRED,
             .limits = { .min = 1, .max = 255, .pattern = "^(?!\\s*$).+" }),
};
static const struct fl_shape alarm_shape = FL_SHAPE(struct fl_alarm, "Alarm", alarm_fields);
static const struct fl_field alarms_fields[] = {
    FL_FIELD(struct fl_alarms, ignore_failure, "IgnorePollAlarmFailure", 0),
    FL_FIELD_LIST(struct fl_alarms, alarms, n_alarms, "Alarms", FL_REQUIRED, &alarm_shape,
                  .limits = { .min = 1, .max = 1 }),
};
const struct fl_shape fl_alarms_shape =
    FL_SHAPE(struct fl_alarms, "AlarmConfiguration", alarms_fields);

static const struct fl_field doc_step_name_fields[] = {
    FL_FIELD(struct fl_doc_step_name, name, "name", FL_ALWAYS),
    FL_FIELD(struct fl_doc_step_name, action, "action", FL_ALWAYS),
};
const struct fl_shape fl_doc_step_name_shape =
    FL_SHAPE(struct fl_doc_step_name, "Step", doc_step_name_fields);

#define T struct fl_command_out
#define F(member, key, flags) FL_FIELD(T, member, key, flags)
static const struct fl_field command_fields[] = {
    F(command_id, "CommandId", FL_ALWAYS),
    F(document_name, "DocumentName", FL_ALWAYS),
    F(document_version, "DocumentVersion", FL_ALWAYS),
    F(comment, "Comment", FL_ALWAYS),
    F(expires_after, "ExpiresAfter", FL_ALWAYS),
    F(parameters, "Parameters", FL_ALWAYS),
    F(instance_ids, "InstanceIds", FL_ALWAYS),
    FL_FIELD_LIST(T, targets, n_targets, "Targets", FL_ALWAYS, &fl_target_shape),
    F(requested, "RequestedDateTime", FL_ALWAYS),
    F(status, "Status", FL_ALWAYS),
    F(status_details, "StatusDetails", FL_ALWAYS),
    F(s3_region, "OutputS3Region", 0),
    F(s3_bucket, "OutputS3BucketName", FL_ALWAYS),
    F(s3_prefix, "OutputS3KeyPrefix", FL_ALWAYS),
    F(max_concurrency, "MaxConcurrency", FL_ALWAYS),
    F(max_errors, "MaxErrors", FL_ALWAYS),
    F(target_count, "TargetCount", FL_ALWAYS),
    F(completed_count, "CompletedCount", FL_ALWAYS),
    F(error_count, "ErrorCount", FL_ALWAYS),
    F(delivery_timed_out_count, "DeliveryTimedOutCount", FL_ALWAYS),
    F(service_role, "ServiceRole", FL_ALWAYS),
    FL_FIELD_STRUCT(T, notification, "NotificationConfig", 0, &fl_notification_out_shape),
    FL_FIELD_STRUCT(T, log, "CloudWatchOutputConfig", 0, &fl_log_config_out_shape),
    F(timeout_s, "TimeoutSeconds", FL_ALWAYS),
    FL_FIELD_STRUCT(T, alarms, "AlarmConfiguration", 0, &fl_alarms_shape),
};
#undef F
#undef T
const struct fl_shape fl_command_out_shape =
    FL_SHAPE(struct fl_command_out, "Command", command_fields);

/* ---- SendCommand, CancelCommand ---- */
#define T struct fl_send_in
#define F(member, key, ...) FL_FIELD(T, member, key, __VA_ARGS__)
static const struct fl_field send_in_fields[] = {
    INSTANCE_IDS(T),
    FL_FIELD_LIST(T, targets, n_targets, "Targets", 0, &fl_target_shape, .limits = { .max = 5 }),
    F(document_name, "DocumentName", FL_REQUIRED,
      .limits = { .pattern = "^[a-zA-Z0-9_\\-.:/]{3,128}$" }),
    F(document_version, "DocumentVersion", 0,
      .limits = { .pattern = "([$]LATEST|[$]DEFAULT|^[1-9][0-9]*$)" }),
    F(document_hash, "DocumentHash", 0, .limits = { .max = 256 }),
    F(document_hash_type, "DocumentHashType", 0, .limits = { .enums = hash_types }),
    F(timeout_s, "TimeoutSeconds", 0, .limits = { .min = 30, .max = 2592000 }),
    F(comment, "Comment", 0, .limits = { .max = 100 }),
    F(parameters, "Parameters", 0),
    F(s3_region, "OutputS3Region", 0, .limits = { .min = 3, .max = 20 }),
    F(s3_bucket, "OutputS3BucketName", 0, .limits = { .min = 3, .max = 63 }),
    F(s3_prefix, "OutputS3KeyPrefix", 0, .limits = { .max = 500 }),
    F(max_concurrency, "MaxConcurrency", 0,
      .limits = { .min = 1, .max = 7, .pattern = "^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%)$" }),
    F(max_errors, "MaxErrors", 0,
      .limits = { .min = 1, .max = 7, .pattern = "^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$" }),
    F(service_role, "ServiceRoleArn", 0),
    FL_FIELD_STRUCT(T, notification, "NotificationConfig", 0, &fl_notification_shape),
    FL_FIELD_STRUCT(T, log, "CloudWatchOutputConfig", 0, &fl_log_config_shape),
    FL_FIELD_STRUCT(T, alarms, "AlarmConfiguration", 0, &fl_alarms_shape),
};
#undef F
#undef T
const struct fl_shape fl_send_in_shape = FL_SHAPE(struct fl_send_in, "SendCommand", send_in_fields);

static const struct fl_field send_out_fields[] = {
    FL_FIELD_STRUCT(struct fl_send_out, command, "Command", 0, &fl_command_out_shape),
};
const struct fl_shape fl_send_out_shape =
    FL_SHAPE(struct fl_send_out, "SendCommandResult", send_out_fields);

static const struct fl_field cancel_in_fields[] = {
    FL_FIELD(struct fl_cancel_in, command_id, "CommandId", FL_REQUIRED, .limits = COMMAND_ID_LIMITS),
    INSTANCE_IDS(struct fl_cancel_in),
};
const struct fl_shape fl_cancel_in_shape =
    FL_SHAPE(struct fl_cancel_in, "CancelCommand", cancel_in_fields);

/* ---- ListCommands, ListCommandInvocations ---- */
static const char *const filter_keys[] = { "InvokedAfter", "InvokedBefore", "Status",
                                           "ExecutionStage", "DocumentName", NULL };
static const struct fl_field filter_fields[] = {
    FL_FIELD(struct fl_command_filter, key, "key", FL_REQUIRED, .limits = { .enums = filter_keys }),
    FL_FIELD(struct fl_command_filter, value, "value", FL_REQUIRED, .limits = { .min = 1, .max = 128 }),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct fl_command_filter, "CommandFilter", filter_fields);

#define T struct fl_list_commands_in
#define LIST_FIELDS                                                                                \
    FL_FIELD(T, command_id, "CommandId", 0, .limits = COMMAND_ID_LIMITS),                          \
    FL_FIELD(T, instance_id, "InstanceId", 0, .limits = INSTANCE_LIMITS),                          \
    FL_FIELD(T, max_results, "MaxResults", 0, .limits = { .min = 1, .max = 50 }),                  \
    FL_FIELD(T, next_token, "NextToken", 0),                                                       \
    FL_FIELD_LIST(T, filters, n_filters, "Filters", 0, &filter_shape,                              \
                  .limits = { .min = 1, .max = 5 })
static const struct fl_field list_commands_in_fields[] = { LIST_FIELDS };
static const struct fl_field list_invocations_in_fields[] = {
    LIST_FIELDS,
    FL_FIELD(T, details, "Details", 0),
};
#undef LIST_FIELDS
#undef T
const struct fl_shape fl_list_commands_in_shape =
    FL_SHAPE(struct fl_list_commands_in, "ListCommands", list_commands_in_fields);
const struct fl_shape fl_list_invocations_in_shape =
    FL_SHAPE(struct fl_list_commands_in, "ListCommandInvocations", list_invocations_in_fields);

static const struct fl_field list_commands_out_fields[] = {
    FL_FIELD_LIST(struct fl_list_commands_out, commands, n_commands, "Commands", FL_ALWAYS,
                  &fl_command_out_shape),
    FL_FIELD(struct fl_list_commands_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_list_commands_out_shape =
    FL_SHAPE(struct fl_list_commands_out, "ListCommandsResult", list_commands_out_fields);

#define F(member, key, flags) FL_FIELD(struct fl_plugin_out, member, key, flags)
static const struct fl_field plugin_fields[] = {
    F(name, "Name", FL_ALWAYS),
    F(status, "Status", FL_ALWAYS),
    F(status_details, "StatusDetails", FL_ALWAYS),
    F(response_code, "ResponseCode", FL_ALWAYS),
    F(started, "ResponseStartDateTime", 0),
    F(finished, "ResponseFinishDateTime", 0),
    F(output, "Output", FL_ALWAYS),
    F(stdout_url, "StandardOutputUrl", FL_ALWAYS),
    F(stderr_url, "StandardErrorUrl", FL_ALWAYS),
    F(s3_region, "OutputS3Region", 0),
    F(s3_bucket, "OutputS3BucketName", FL_ALWAYS),
    F(s3_prefix, "OutputS3KeyPrefix", FL_ALWAYS),
};
#undef F
static const struct fl_shape plugin_shape =
    FL_SHAPE(struct fl_plugin_out, "CommandPlugin", plugin_fields);

#define T struct fl_invocation_out
#define F(member, key, flags) FL_FIELD(T, member, key, flags)
static const struct fl_field invocation_fields[] = {
    F(command_id, "CommandId", FL_ALWAYS),
    F(instance_id, "InstanceId", FL_ALWAYS),
    F(instance_name, "InstanceName", FL_ALWAYS),
    F(comment, "Comment", FL_ALWAYS),
    F(document_name, "DocumentName", FL_ALWAYS),
    F(document_version, "DocumentVersion", FL_ALWAYS),
    F(requested, "RequestedDateTime", FL_ALWAYS),
    F(status, "Status", FL_ALWAYS),
    F(status_details, "StatusDetails", FL_ALWAYS),
    F(trace, "TraceOutput", FL_ALWAYS),
    F(stdout_url, "StandardOutputUrl", FL_ALWAYS),
    F(stderr_url, "StandardErrorUrl", FL_ALWAYS),
    FL_FIELD_LIST(T, plugins, n_plugins, "CommandPlugins", FL_ALWAYS, &plugin_shape),
    F(service_role, "ServiceRole", FL_ALWAYS),
    FL_FIELD_STRUCT(T, notification, "NotificationConfig", 0, &fl_notification_out_shape),
    FL_FIELD_STRUCT(T, log, "CloudWatchOutputConfig", 0, &fl_log_config_out_shape),
};
#undef F
#undef T
const struct fl_shape fl_invocation_out_shape =
    FL_SHAPE(struct fl_invocation_out, "CommandInvocation", invocation_fields);

static const struct fl_field list_invocations_out_fields[] = {
    FL_FIELD_LIST(struct fl_list_invocations_out, invocations, n_invocations, "CommandInvocations",
                  FL_ALWAYS, &fl_invocation_out_shape),
    FL_FIELD(struct fl_list_invocations_out, next_token, "NextToken", 0),
};
const struct fl_shape fl_list_invocations_out_shape = FL_SHAPE(
    struct fl_list_invocations_out, "ListCommandInvocationsResult", list_invocations_out_fields);

/* ---- GetCommandInvocation ---- */
#define F(member, key, ...) FL_FIELD(struct fl_get_invocation_in, member, key, __VA_ARGS__)
static const struct fl_field get_invocation_in_fields[] = {
    F(command_id, "CommandId", FL_REQUIRED, .limits = COMMAND_ID_LIMITS),
    F(instance_id, "InstanceId", FL_REQUIRED, .limits = INSTANCE_LIMITS),
    F(plugin_name, "PluginName", 0, .limits = { .min = 4 }),
};
#undef F
const struct fl_shape fl_get_invocation_in_shape =
    FL_SHAPE(struct fl_get_invocation_in, "GetCommandInvocation", get_invocation_in_fields);

#define T struct fl_get_invocation_out
#define F(member, key) FL_FIELD(T, member, key, FL_ALWAYS)
static const struct fl_field get_invocation_out_fields[] = {
    F(command_id, "CommandId"),
    F(instance_id, "InstanceId"),
    F(comment, "Comment"),
    F(document_name, "DocumentName"),
    F(document_version, "DocumentVersion"),
    F(plugin_name, "PluginName"),
    F(response_code, "ResponseCode"),
    F(started, "ExecutionStartDateTime"),
    F(elapsed, "ExecutionElapsedTime"),
    F(finished, "ExecutionEndDateTime"),
    F(status, "Status"),
    F(status_details, "StatusDetails"),
    F(out, "StandardOutputContent"),
    F(out_url, "StandardOutputUrl"),
    F(err, "StandardErrorContent"),
    F(err_url, "StandardErrorUrl"),
    FL_FIELD_STRUCT(T, log, "CloudWatchOutputConfig", 0, &fl_log_config_out_shape),
};
#undef F
#undef T
const struct fl_shape fl_get_invocation_out_shape =
    FL_SHAPE(struct fl_get_invocation_out, "GetCommandInvocationResult", get_invocation_out_fields);
/* clang-format on */

/* ---- what replies always carry ---- */
int fl_notification_complete(struct fl_call *call, struct fl_notification **config,
                             struct fl_err *err)
{
    if (!*config)
        *config = fl_arena_alloc(call->arena, sizeof(**config));
    return *config ? 0 : fl_err_nomem(err);
}

int fl_log_config_complete(struct fl_call *call, struct fl_log_config **config, struct fl_err *err)
{
    if (!*config)
        *config = fl_arena_alloc(call->arena, sizeof(**config));
    return *config ? 0 : fl_err_nomem(err);
}

int fl_command_complete(struct fl_call *call, struct fl_command_out *cmd, int64_t state,
                        struct fl_err *err)
{
    int r = fl_notification_complete(call, &cmd->notification, err);

    if (r == 0)
        r = fl_log_config_complete(call, &cmd->log, err);
    if (r < 0)
        return r;
    if (state < 0 || state >= FL_CMD__N)
        return fl_err_set(err, -EINVAL, NULL, "command %s: unknown state", cmd->command_id);
    cmd->status = (char *)fl_cmd_info[state].status;
    cmd->status_details = (char *)fl_cmd_info[state].details;
    if (cmd->s3_region && !*cmd->s3_region)
        cmd->s3_region = NULL;
    return 0;
}

static const struct fl_op ops[] = {
    { "SendCommand", &fl_send_in_shape, &fl_send_out_shape, fl_op_send_command, FL_LANE_WRITE,
      FL_AUTH_SIGV4, fl_op_send_command_resources },
    { "CancelCommand", &fl_cancel_in_shape, &fl_shape_empty, fl_op_cancel_command, FL_LANE_WRITE,
      FL_AUTH_SIGV4, NULL },
    { "ListCommands", &fl_list_commands_in_shape, &fl_list_commands_out_shape, fl_op_list_commands,
      FL_LANE_READ, FL_AUTH_SIGV4, NULL },
    { "ListCommandInvocations", &fl_list_invocations_in_shape, &fl_list_invocations_out_shape,
      fl_op_list_command_invocations, FL_LANE_READ, FL_AUTH_SIGV4, NULL },
    { "GetCommandInvocation", &fl_get_invocation_in_shape, &fl_get_invocation_out_shape,
      fl_op_get_command_invocation, FL_LANE_READ, FL_AUTH_SIGV4, NULL },
};

const struct fl_op_table fl_ops_commands = {
    .service = "ssm",
    .target_prefix = "AmazonSSM.",
    .ops = ops,
    .n_ops = FL_ARRAY_LEN(ops),
};
