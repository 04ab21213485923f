/* nodes.h - what other operations ask about nodes. */
#pragma once
#include "server/op.h"

#define FL_NODE_ID_BYTES 21 /* "mi-", 17 lower-case hex digits, NUL */

/* True for the form of a node's id: mi- and 17 lower-case hex digits. */
bool fl_node_id_valid(const char *id);

/* 1 a node of this id is registered, 0 not, or a negative errno. */
int fl_node_exists(struct fl_call *call, const char *id, struct fl_err *err);

/* Online, by protocol 1 §6.3: its control channel is up, or its last ping came within 15 minutes or
 * three of its reporting intervals, whichever is longer. */
struct fl_node_seen {
    int64_t last_ping_ms; /* 0: never */
    int64_t gap_ms;       /* between its last two pings; 0: unknown */
    int64_t prior_gap_ms; /* between the two before */
};
bool fl_node_online(struct fl_call *call, const char *id, const struct fl_node_seen *seen);

/* The ARN of a node, arn:aws:ssm:<region>:<account>:managed-instance/mi-…, with its tags, for a
 * policy; appends to `res`. An unknown node has no tags. */
int fl_node_resource(struct fl_call *call, const char *id, struct fl_resources *res,
                     struct fl_err *err);
