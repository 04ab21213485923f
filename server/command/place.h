/* place.h - where a node may put the outputs of a command: keys and streams that hold
 * "<command>/<node>/", in the bucket and the log group that the command names (protocol 4 §4.3). */
#pragma once
#include "server/op.h"

struct fl_output_place {
    size_t at;             /* where the command's id begins in the name */
    const char *bucket;    /* in the call's arena, here and below; "" for none */
    const char *prefix;    /* as fl_output_prefix makes it */
    const char *log_group; /* NULL: not to logs */
};

/* 1: `name` is one of `node_id`'s own; 0: it is no output of a known command; -EACCES
 * (AccessDeniedException): it names another node. */
int fl_output_place(struct fl_call *call, const char *name, const char *node_id,
                    struct fl_output_place *ret_place, struct fl_err *err);

/* 1 if a command the node was sent lately logs to this group, 0 if not. */
int fl_output_group(struct fl_call *call, const char *group, const char *node_id,
                    struct fl_err *err);
