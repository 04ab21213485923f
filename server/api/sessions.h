/* sessions.h - operations of Session Manager, between sessions.c and the files of their handlers.
 */
#pragma once
#include "server/op.h"

/* ---- StartSession, ResumeSession, TerminateSession ---- */
struct fl_start_session_in {
    char *target;
    char *document_name;
    char *reason;
    struct fl_listmap parameters;
};
struct fl_session_id_in {
    char *session_id;
};
struct fl_session_access_out {
    char *session_id;
    char *token; /* NULL: the session has ended */
    char *stream_url;
};
struct fl_session_id_out {
    char *session_id;
};

/* ---- DescribeSessions ---- */
struct fl_session_filter {
    char *key;
    char *value;
};
struct fl_describe_sessions_in {
    char *state;
    struct fl_opt_int max_results;
    char *next_token;
    struct fl_session_filter *filters;
    size_t n_filters;
};
struct fl_session_output_url {
    char *s3, *logs;
};
struct fl_session_out {
    char *session_id, *target;
    const char *status;
    struct fl_time started, ended;
    char *document_name, *owner, *reason, *details;
    struct fl_session_output_url *output_url;
    char *max_duration;
    const char *access_type;
};
struct fl_describe_sessions_out {
    struct fl_session_out *sessions;
    size_t n_sessions;
    char *next_token;
};
extern const struct fl_shape fl_session_out_shape;

/* sessions_start.c */
int fl_op_start_session(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_start_session_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                                  struct fl_err *err);
int fl_op_resume_session(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_terminate_session(struct fl_call *call, const void *in, void *out, struct fl_err *err);
/* of both */
int fl_op_session_resources(struct fl_call *call, const void *in, struct fl_resources *ret,
                            struct fl_err *err);

/* sessions_read.c */
int fl_op_describe_sessions(struct fl_call *call, const void *in, void *out, struct fl_err *err);
