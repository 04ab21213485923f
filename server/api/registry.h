/* registry.h - every family of operations, by name; server/api/registry.c lists them.
 *
 * A family is one file: it defines its table and nothing else outside it is public.
 */
#pragma once
#include "server/op.h"

extern const struct fl_op_table fl_ops_sts;         /* server/api/sts.c */
extern const struct fl_op_table fl_ops_activations; /* server/api/activations.c */
extern const struct fl_op_table fl_ops_nodes;       /* server/api/nodes.c */
extern const struct fl_op_table fl_ops_tags;        /* server/api/tags.c */
extern const struct fl_op_table fl_ops_agent;       /* server/api/agent.c */
extern const struct fl_op_table fl_ops_documents;   /* server/api/document_ops.c */
extern const struct fl_op_table fl_ops_commands;    /* server/api/commands.c */
extern const struct fl_op_table fl_ops_ec2messages; /* server/api/ec2messages.c */
extern const struct fl_op_table fl_ops_parameters;  /* server/api/parameters.c */
extern const struct fl_op_table fl_ops_logs;        /* server/api/logs.c */
extern const struct fl_op_table fl_ops_kms;         /* server/api/kms.c */
extern const struct fl_op_table fl_ops_sessions;    /* server/api/sessions.c */
extern const struct fl_op_table fl_ops_transcripts; /* server/api/transcripts.c */

/* The operation `name` of `service`, or NULL. */
const struct fl_op *fl_op_find(const char *service, const char *name);

/* The operation an X-Amz-Target header means, and its service; NULL for an unknown one. */
const struct fl_op *fl_op_find_target(const char *target, const char **ret_service);
