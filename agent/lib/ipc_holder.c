/* ipc_holder.c - see ipc_holder.h: shapes and rows. */
#include "agent/lib/ipc_holder.h"
#include "agent/lib/ipc_worker.h"

#define F(member, flags) FL_FIELD(struct fl_holder_creds, member, #member, flags)
static const struct fl_field creds_fields[] = {
    F(access_key_id, 0),
    F(secret_access_key, FL_SECRET),
    F(session_token, FL_SECRET),
    F(offset_ms, 0),
};
#undef F
static const struct fl_shape creds_shape =
    FL_SHAPE(struct fl_holder_creds, "holder_creds", creds_fields);

const struct fl_ipc_row fl_holder_rows[FL_N_HOLDER_ROWS] = {
    { .type = FL_HOLDER_CREDS, .name = "creds", .shape = &creds_shape, .phases = 1 },
    { .type = FL_HOLDER_END, .name = "end", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_HOLDER_FETCH, .name = "fetch", .shape = &fl_shape_worker_fetch, .phases = 1 },
    { .type = FL_HOLDER_LOOK, .name = "look", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_HOLDER_NEED_CREDS, .name = "need-creds", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_HOLDER_NEED_FETCH, .name = "need-fetch", .shape = &fl_shape_empty, .phases = 1 },
};

#define F(member) FL_FIELD(struct fl_sess_start, member, #member, 0)
static const struct fl_field start_fields[] = {
    F(session_id),      F(node_id),           F(region),        F(mgs_region),    F(mgs_url),
    F(kms_url),         F(agent_version),     F(ca_file),       F(proxy_http),    F(proxy_https),
    F(no_proxy),        F(log_level),         F(log_format),    F(type),          F(properties),
    F(kms_key_id),      F(require_challenge), F(handshake),     F(max_payload),   F(end_of_input),
    F(separate_output), F(has_stdin),         F(stdout_prefix), F(stderr_prefix), F(profile),
    F(denied_ips),      F(record_max_bytes),
};
#undef F
static const struct fl_shape start_shape =
    FL_SHAPE(struct fl_sess_start, "sess_start", start_fields);

static const struct fl_field run_fields[] = {
    FL_FIELD(struct fl_sess_run, cols, "cols", 0),
    FL_FIELD(struct fl_sess_run, rows, "rows", 0),
};
static const struct fl_shape run_shape = FL_SHAPE(struct fl_sess_run, "sess_run", run_fields);

static const struct fl_field child_fields[] = {
    FL_FIELD(struct fl_sess_child, ok, "ok", 0),
    FL_FIELD(struct fl_sess_child, error, "error", 0),
};
static const struct fl_shape child_shape =
    FL_SHAPE(struct fl_sess_child, "sess_child", child_fields);

static const struct fl_field exited_fields[] = {
    FL_FIELD(struct fl_sess_exited, code, "code", 0),
};
static const struct fl_shape exited_shape =
    FL_SHAPE(struct fl_sess_exited, "sess_exited", exited_fields);

static const struct fl_field signal_fields[] = {
    FL_FIELD(struct fl_sess_signal, signo, "signo", 0),
};
static const struct fl_shape signal_shape =
    FL_SHAPE(struct fl_sess_signal, "sess_signal", signal_fields);

static const struct fl_field over_fields[] = {
    FL_FIELD(struct fl_sess_over, status, "status", 0),
    FL_FIELD(struct fl_sess_over, output, "output", 0),
};
static const struct fl_shape over_shape = FL_SHAPE(struct fl_sess_over, "sess_over", over_fields);

const struct fl_ipc_row fl_sess_rows[FL_N_SESS_ROWS] = {
    { .type = FL_SESS_START, .name = "start", .shape = &start_shape, .phases = 1 },
    { .type = FL_SESS_CREDS, .name = "creds", .shape = &creds_shape, .phases = 1 },
    { .type = FL_SESS_CHILD, .name = "child", .shape = &child_shape, .phases = 1 },
    { .type = FL_SESS_EXITED, .name = "exited", .shape = &exited_shape, .phases = 1 },
    { .type = FL_SESS_END, .name = "end", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_SESS_KEPT, .name = "kept", .shape = &fl_shape_empty, .phases = 1 },
    { .type = FL_SESS_RUN, .name = "run", .shape = &run_shape, .phases = 1 },
    { .type = FL_SESS_SIGNAL, .name = "signal", .shape = &signal_shape, .phases = 1 },
    { .type = FL_SESS_OVER, .name = "over", .shape = &over_shape, .phases = 1 },
    { .type = FL_SESS_NEED_CREDS, .name = "need-creds", .shape = &fl_shape_empty, .phases = 1 },
};
