/* sessions.c - Session Manager's operations: their shapes and their table (protocol 3 §1). */
#include "server/api/sessions.h"
#include "server/api/registry.h"

#define SESSION_ID          \
    {                       \
        .min = 1, .max = 96 \
    }

#define T              struct fl_start_session_in
#define F(member, ...) FL_FIELD(T, member, __VA_ARGS__)
static const struct fl_field start_in_fields[] = {
    F(target, "Target", FL_REQUIRED, .limits = { .min = 1, .max = 400 }),
    F(document_name, "DocumentName", 0, .limits = { .pattern = "^[a-zA-Z0-9_\\-.:/]{3,128}$" }),
    F(reason, "Reason", 0, .limits = { .min = 1, .max = 256, .pattern = "^.{1,256}$" }),
    F(parameters, "Parameters", 0, .elem = { .min = 1, .max = 65535 },
      .map_key = { .min = 1, .max = 255 }),
};
#undef F
#undef T
static const struct fl_shape start_in_shape =
    FL_SHAPE(struct fl_start_session_in, "StartSession", start_in_fields);

static const struct fl_field id_in_fields[] = {
    FL_FIELD(struct fl_session_id_in, session_id, "SessionId", FL_REQUIRED, .limits = SESSION_ID),
};
static const struct fl_shape resume_in_shape =
    FL_SHAPE(struct fl_session_id_in, "ResumeSession", id_in_fields);
static const struct fl_shape terminate_in_shape =
    FL_SHAPE(struct fl_session_id_in, "TerminateSession", id_in_fields);

static const struct fl_field access_out_fields[] = {
    FL_FIELD(struct fl_session_access_out, session_id, "SessionId", 0),
    FL_FIELD(struct fl_session_access_out, token, "TokenValue", FL_SECRET),
    FL_FIELD(struct fl_session_access_out, stream_url, "StreamUrl", 0),
};
static const struct fl_shape start_out_shape =
    FL_SHAPE(struct fl_session_access_out, "StartSessionResponse", access_out_fields);
static const struct fl_shape resume_out_shape =
    FL_SHAPE(struct fl_session_access_out, "ResumeSessionResponse", access_out_fields);

static const struct fl_field id_out_fields[] = {
    FL_FIELD(struct fl_session_id_out, session_id, "SessionId", 0),
};
static const struct fl_shape terminate_out_shape =
    FL_SHAPE(struct fl_session_id_out, "TerminateSessionResponse", id_out_fields);

static const char *const states[] = { "Active", "History", NULL };
static const char *const filter_keys[] = { "InvokedAfter", "InvokedBefore", "Target",     "Owner",
                                           "Status",       "SessionId",     "AccessType", NULL };

static const struct fl_field filter_fields[] = {
    FL_FIELD(struct fl_session_filter, key, "key", FL_REQUIRED, .limits = { .enums = filter_keys }),
    FL_FIELD(struct fl_session_filter, value, "value", FL_REQUIRED,
             .limits = { .min = 1, .max = 400 }),
};
static const struct fl_shape filter_shape =
    FL_SHAPE(struct fl_session_filter, "SessionFilter", filter_fields);

#define T              struct fl_describe_sessions_in
#define F(member, ...) FL_FIELD(T, member, __VA_ARGS__)
static const struct fl_field describe_in_fields[] = {
    F(state, "State", FL_REQUIRED, .limits = { .enums = states }),
    F(max_results, "MaxResults", 0, .limits = { .min = 1, .max = 200 }),
    F(next_token, "NextToken", 0),
    FL_FIELD_LIST(T, filters, n_filters, "Filters", 0, &filter_shape,
                  .limits = { .min = 1, .max = 6 }),
};
#undef F
#undef T
static const struct fl_shape describe_in_shape =
    FL_SHAPE(struct fl_describe_sessions_in, "DescribeSessions", describe_in_fields);

static const struct fl_field output_url_fields[] = {
    FL_FIELD(struct fl_session_output_url, s3, "S3OutputUrl", 0),
    FL_FIELD(struct fl_session_output_url, logs, "CloudWatchOutputUrl", 0),
};
static const struct fl_shape output_url_shape =
    FL_SHAPE(struct fl_session_output_url, "SessionManagerOutputUrl", output_url_fields);

#define F(member, key) FL_FIELD(struct fl_session_out, member, key, 0)
static const struct fl_field session_fields[] = {
    F(session_id, "SessionId"),
    F(target, "Target"),
    F(status, "Status"),
    F(started, "StartDate"),
    F(ended, "EndDate"),
    F(document_name, "DocumentName"),
    F(owner, "Owner"),
    F(reason, "Reason"),
    F(details, "Details"),
    FL_FIELD_STRUCT(struct fl_session_out, output_url, "OutputUrl", 0, &output_url_shape),
    F(max_duration, "MaxSessionDuration"),
    F(access_type, "AccessType"),
};
#undef F
const struct fl_shape fl_session_out_shape =
    FL_SHAPE(struct fl_session_out, "Session", session_fields);

static const struct fl_field describe_out_fields[] = {
    FL_FIELD_LIST(struct fl_describe_sessions_out, sessions, n_sessions, "Sessions", FL_ALWAYS,
                  &fl_session_out_shape),
    FL_FIELD(struct fl_describe_sessions_out, next_token, "NextToken", 0),
};
static const struct fl_shape describe_out_shape =
    FL_SHAPE(struct fl_describe_sessions_out, "DescribeSessionsResponse", describe_out_fields);

static const struct fl_op ops[] = {
    { "StartSession", &start_in_shape, &start_out_shape, fl_op_start_session, FL_LANE_WRITE,
      FL_AUTH_SIGV4, fl_op_start_session_resources },
    { "ResumeSession", &resume_in_shape, &resume_out_shape, fl_op_resume_session, FL_LANE_READ,
      FL_AUTH_SIGV4, fl_op_session_resources },
    { "TerminateSession", &terminate_in_shape, &terminate_out_shape, fl_op_terminate_session,
      FL_LANE_WRITE, FL_AUTH_SIGV4, fl_op_session_resources },
    { "DescribeSessions", &describe_in_shape, &describe_out_shape, fl_op_describe_sessions,
      FL_LANE_READ, FL_AUTH_SIGV4, NULL },
};

const struct fl_op_table fl_ops_sessions = { "ssm", "AmazonSSM.", ops, FL_ARRAY_LEN(ops) };
