/* commands.h - private to commands*.c: structures of Run Command's operations.
 *
 * Constraints are those of the public model (ssm 2014-11-06); defaults of replies: protocol 6 §3.3.
 */
#pragma once
#include "server/api/node_filters.h"
#include "server/op.h"

#define FL_INSTANCE_PATTERN "(^i-(\\w{8}|\\w{17})$)|(^mi-\\w{17}$)"

struct fl_notification {
    char *arn;
    struct fl_strs events;
    char *type;
};
struct fl_log_config {
    char *group;
    bool enabled;
};
struct fl_alarm {
    char *name;
};
struct fl_alarms {
    struct fl_opt_bool ignore_failure;
    struct fl_alarm *alarms;
    size_t n_alarms;
};

/* Command. */
struct fl_command_out {
    char *command_id, *document_name, *document_version, *comment;
    struct fl_time expires_after;
    struct fl_listmap parameters;
    struct fl_strs instance_ids;
    struct fl_target *targets;
    size_t n_targets;
    struct fl_time requested;
    char *status, *status_details;
    char *s3_region, *s3_bucket, *s3_prefix;
    char *max_concurrency, *max_errors;
    int64_t target_count, completed_count, error_count, delivery_timed_out_count;
    char *service_role;
    struct fl_notification *notification;
    struct fl_log_config *log;
    int64_t timeout_s;
    struct fl_alarms *alarms;
};

extern const struct fl_shape fl_notification_shape; /* as requests may have it */
extern const struct fl_shape fl_log_config_shape;
extern const struct fl_shape fl_alarms_shape;
extern const struct fl_shape fl_notification_out_shape; /* with every member */
extern const struct fl_shape fl_log_config_out_shape;
extern const struct fl_shape fl_command_out_shape;
extern const struct fl_shape fl_invocation_out_shape;

/* A step of the document, in its order. */
struct fl_doc_step_name {
    char *name; /* key of its results: step name (2.x) or action (1.x) */
    char *action;
};
extern const struct fl_shape fl_doc_step_name_shape;

/* ---- requests and replies ---- */
struct fl_send_in {
    struct fl_strs instance_ids;
    struct fl_target *targets;
    size_t n_targets;
    char *document_name, *document_version, *document_hash, *document_hash_type;
    struct fl_opt_int timeout_s;
    char *comment;
    struct fl_listmap parameters;
    char *s3_region, *s3_bucket, *s3_prefix;
    char *max_concurrency, *max_errors;
    char *service_role;
    struct fl_notification *notification;
    struct fl_log_config *log;
    struct fl_alarms *alarms;
};
struct fl_send_out {
    struct fl_command_out *command;
};
struct fl_cancel_in {
    char *command_id;
    struct fl_strs instance_ids;
};
struct fl_command_filter {
    char *key, *value;
};
struct fl_list_commands_in {
    char *command_id, *instance_id;
    struct fl_opt_int max_results;
    char *next_token;
    struct fl_command_filter *filters;
    size_t n_filters;
    bool details; /* ListCommandInvocations */
};
struct fl_list_commands_out {
    struct fl_command_out *commands;
    size_t n_commands;
    char *next_token;
};
struct fl_plugin_out {
    char *name, *status, *status_details;
    int64_t response_code;
    struct fl_time started, finished;
    char *output, *stdout_url, *stderr_url;
    char *s3_region, *s3_bucket, *s3_prefix;
};
struct fl_invocation_out {
    char *command_id, *instance_id, *instance_name, *comment, *document_name, *document_version;
    struct fl_time requested;
    char *status, *status_details, *trace, *stdout_url, *stderr_url;
    struct fl_plugin_out *plugins;
    size_t n_plugins;
    char *service_role;
    struct fl_notification *notification;
    struct fl_log_config *log;
};
struct fl_list_invocations_out {
    struct fl_invocation_out *invocations;
    size_t n_invocations;
    char *next_token;
};
struct fl_get_invocation_in {
    char *command_id, *instance_id, *plugin_name;
};
struct fl_get_invocation_out {
    char *command_id, *instance_id, *comment, *document_name, *document_version, *plugin_name;
    int64_t response_code;
    char *started, *elapsed, *finished;
    char *status, *status_details;
    char *out, *out_url, *err, *err_url;
    struct fl_log_config *log;
};

extern const struct fl_shape fl_send_in_shape, fl_send_out_shape, fl_cancel_in_shape,
    fl_list_commands_in_shape, fl_list_commands_out_shape, fl_list_invocations_in_shape,
    fl_list_invocations_out_shape, fl_get_invocation_in_shape, fl_get_invocation_out_shape;

/* ---- handlers ---- */
int fl_op_send_command(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_send_command_resources(struct fl_call *call, const void *in,
                                 struct fl_resources *ret_resources, struct fl_err *err);
int fl_op_cancel_command(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_list_commands(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_list_command_invocations(struct fl_call *call, const void *in, void *out,
                                   struct fl_err *err);
int fl_op_get_command_invocation(struct fl_call *call, const void *in, void *out,
                                 struct fl_err *err);

/* Fills members that are always present and not in the row. `state`: enum fl_cmd_state. */
int fl_command_complete(struct fl_call *call, struct fl_command_out *cmd, int64_t state,
                        struct fl_err *err);
int fl_notification_complete(struct fl_call *call, struct fl_notification **config,
                             struct fl_err *err);
int fl_log_config_complete(struct fl_call *call, struct fl_log_config **config, struct fl_err *err);
