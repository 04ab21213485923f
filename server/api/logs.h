/* logs.h - between logs.c (groups, streams, the table) and log_events.c (events). */
#pragma once
#include "server/op.h"

#define FL_LOG_GROUP_LIMITS                                      \
    {                                                            \
        .min = 1, .max = 512, .pattern = "[\\.\\-_/#A-Za-z0-9]+" \
    }
#define FL_LOG_STREAM_LIMITS                      \
    {                                             \
        .min = 1, .max = 512, .pattern = "[^:*]*" \
    }

/* The ids in the arena, or ResourceNotFoundException. */
int fl_log_group_find(struct fl_call *call, const char *group, char **ret_id, struct fl_err *err);
int fl_log_stream_find(struct fl_call *call, const char *group_id, const char *stream,
                       char **ret_id, struct fl_err *err);

/* Events of the plane itself, in the order of their times: to a group that must be there, in a
 * stream that is made if it is not. Errors as PutLogEvents has them. */
struct fl_log_line {
    int64_t time_ms;
    const char *message;
};
int fl_log_append(struct fl_call *call, const char *group, const char *stream,
                  const struct fl_log_line *lines, size_t n, struct fl_err *err);

/* Makes the stream unless it is there. */
int fl_log_stream_ensure(struct fl_call *call, const char *group_id, const char *stream,
                         struct fl_err *err);

extern const struct fl_shape fl_log_put_in_shape, fl_log_put_out_shape;
extern const struct fl_shape fl_log_get_in_shape, fl_log_get_out_shape;
extern const struct fl_shape fl_log_filter_in_shape, fl_log_filter_out_shape;
int fl_op_put_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_get_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_filter_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err);
