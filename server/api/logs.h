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

extern const struct fl_shape fl_log_put_in_shape, fl_log_put_out_shape;
extern const struct fl_shape fl_log_get_in_shape, fl_log_get_out_shape;
extern const struct fl_shape fl_log_filter_in_shape, fl_log_filter_out_shape;
int fl_op_put_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_get_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err);
int fl_op_filter_log_events(struct fl_call *call, const void *in, void *out, struct fl_err *err);
