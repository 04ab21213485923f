/* node_filters.h - finding nodes: conditions over what the store knows, and targets of commands.
 *
 * A scan walks registered nodes in order of their ids, through the narrowest index its conditions
 * allow (ids, a tag, all), and hands each row that meets all of them to a callback. It holds one
 * row at a time, so its cost does not depend on the size of the fleet but on what it looks at.
 */
#pragma once
#include "server/op.h"

/* Columns of a row: the view node_info of server/store/schema/002-nodes.sql, in its order. */
enum fl_node_col {
    FL_NODE_ID,
    FL_NODE_AGENT_VERSION,
    FL_NODE_PLATFORM_TYPE,
    FL_NODE_PLATFORM_NAME,
    FL_NODE_PLATFORM_VERSION,
    FL_NODE_ACTIVATION_ID,
    FL_NODE_IAM_ROLE,
    FL_NODE_RESOURCE_TYPE,
    FL_NODE_NAME,
    FL_NODE_IP_ADDRESS,
    FL_NODE_COMPUTER_NAME,
    FL_NODE_SOURCE_ID,
    FL_NODE_SOURCE_TYPE,
    FL_NODE_AGENT_NAME,
    FL_NODE_REGISTERED_MS,
    FL_NODE_LAST_PING_MS,
    FL_NODE_PING_GAP_MS,
    FL_NODE_PRIOR_GAP_MS,
    FL_NODE_COL__N,

    /* What a condition may look at besides a column. */
    FL_NODE_PING_STATUS = FL_NODE_COL__N, /* Online, ConnectionLost */
    FL_NODE_LIVENESS,                     /* the same as Active, Inactive */
    FL_NODE_TAG,                          /* value of the tag `tag_key` */
    FL_NODE_TAG_KEY,                      /* carries a tag with one of the values as its key */
    FL_NODE_NEVER,                        /* no node matches */
};

enum fl_node_cmp { FL_CMP_EQUAL, FL_CMP_NOT_EQUAL, FL_CMP_BEGINS_WITH };

/* Holds if the looked-at text equals (begins with) one of the values, or for FL_CMP_NOT_EQUAL none.
 */
struct fl_node_cond {
    int what; /* enum fl_node_col */
    enum fl_node_cmp cmp;
    const char *tag_key; /* FL_NODE_TAG */
    struct fl_strs values;
};

/* 0: go on; positive: enough; negative errno: failed, with `err` set. The row is valid during the
 * call: fl_sql_text(row, FL_NODE_ID), fl_sql_row, … */
typedef int (*fl_node_row_fn)(void *arg, struct fl_cursor *row, struct fl_err *err);

/* Visits the nodes after id `after` (NULL: from the first) that meet all `n` conditions. Returns
 * what the callback ended with, 0 when all were visited. */
int fl_nodes_scan(struct fl_call *call, const struct fl_node_cond *conds, size_t n,
                  const char *after, fl_node_row_fn fn, void *arg, struct fl_err *err);

/* Whether the node of a scan's row is online. */
bool fl_node_row_online(struct fl_call *call, struct fl_cursor *row);

/* ---- targets of commands (protocol 6 §3.3) ---- */
struct fl_target {
    char *key;
    struct fl_strs values;
};
extern const struct fl_shape fl_target_shape; /* {Key 1-163, Values 0-50}; the model's Target */

#define FL_TARGETS_MAX 5

/* Whether the keys are ones that can be resolved: InstanceIds (any case), tag:<key>, tag-key,
 * resource-groups:Name, resource-groups:ResourceTypeFilters. -EINVAL named ValidationException. */
int fl_targets_check(const struct fl_target *targets, size_t n, struct fl_err *err);

/* Visits the nodes that all targets name, in order of their ids, from behind `after` (NULL: all).
 * Values of one target are alternatives; InstanceIds `*` is every node; an empty tag value means
 * nodes with the key and an empty value; resource groups do not exist here and match nothing. Works
 * for any fleet: a caller that wants batches returns 1 when it has enough and goes on with the last
 * id as `after`. */
int fl_targets_resolve(struct fl_call *call, const struct fl_target *targets, size_t n,
                       const char *after, fl_node_row_fn fn, void *arg, struct fl_err *err);
