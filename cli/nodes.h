/* nodes.h - managed nodes: their list, and the ids that names on a command line mean. */
#pragma once
#include "cli/list.h"

#define FL_NODES_MAX 50 /* ids in one call (protocol 6 §3.3) */

struct fl_node {
    char *id, *ping, *name, *computer, *ip, *platform, *platform_type, *version, *agent;
    char *activation, *role;
    struct fl_time seen, registered;
    struct fl_strs tags; /* `node show` fills them: "Key=Value" */
};

extern const struct fl_list fl_node_list;

/* "mi-…" or "i-…": taken as an id without a question. */
bool fl_node_is_id(const char *word);

/* The ids that `words` mean: ids, names of nodes, names of computers, or patterns of them
 * (fnmatch(3)). Each id once, in the arena. -ENOENT names a word that fits no node, -ENOTUNIQ a
 * name without pattern that fits several. Ids alone need no call. */
int fl_nodes_find(struct fl_cli *cli, char *const *words, size_t n, struct fl_arena *arena,
                  struct fl_strs *ret_ids, struct fl_err *err);

/* The one node that a word means; *ret_id in the arena. -ENOTUNIQ for a pattern of several. */
int fl_node_find_one(struct fl_cli *cli, const char *word, struct fl_arena *arena,
                     const char **ret_id, struct fl_err *err);
