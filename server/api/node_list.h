/* node_list.h - ListNodes and ListNodesSummary; rows of the table in nodes.c. */
#pragma once
#include "server/op.h"

extern const struct fl_shape fl_list_nodes_in_shape;
extern const struct fl_shape fl_list_nodes_out_shape;
int fl_op_list_nodes(struct fl_call *call, const void *in, void *out, struct fl_err *err);

extern const struct fl_shape fl_nodes_summary_in_shape;
extern const struct fl_shape fl_nodes_summary_out_shape;
int fl_op_nodes_summary(struct fl_call *call, const void *in, void *out, struct fl_err *err);
