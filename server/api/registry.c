/* registry.c - the list of operation families, and looking one up. */
#include "server/api/registry.h"

#include <string.h>

const struct fl_op_table *const fl_op_tables[] = {
    &fl_ops_sts,         &fl_ops_activations,
    &fl_ops_nodes,       &fl_ops_tags,
    &fl_ops_agent,       &fl_ops_documents,
    &fl_ops_commands,    &fl_ops_ec2messages,
    &fl_ops_parameters,  &fl_ops_logs,
    &fl_ops_kms,         &fl_ops_sessions,
    &fl_ops_transcripts, NULL,
};

static const struct fl_op *find_in(const struct fl_op_table *table, const char *name)
{
    for (size_t i = 0; i < table->n_ops; i++)
        if (strcmp(table->ops[i].name, name) == 0)
            return &table->ops[i];
    return NULL;
}

const struct fl_op *fl_op_find(const char *service, const char *name)
{
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++) {
        const struct fl_op *op;

        if (strcmp((*t)->service, service) == 0 && (op = find_in(*t, name)))
            return op;
    }
    return NULL;
}

const struct fl_op *fl_op_find_target(const char *target, const char **ret_service)
{
    for (const struct fl_op_table *const *t = fl_op_tables; *t; t++) {
        const char *prefix = (*t)->target_prefix;
        const struct fl_op *op;

        if (!prefix || strncmp(target, prefix, strlen(prefix)) != 0)
            continue;
        op = find_in(*t, target + strlen(prefix));
        if (op) {
            *ret_service = (*t)->service;
            return op;
        }
    }
    return NULL;
}
