/* fleet.h - one node asked by the documents AWSFleetManager-…: parameters there, rows back.
 *
 * A question is a command like any other, and what stands on standard output of its step is
 *     {"data": {"results": [row, …], "nextToken": "…" or null}, "error": "…" or null}
 * (protocol 4 §7; rows: server/builtin/fleet). The program waits for it by the rules of
 * `fairlead run`; Ctrl-C cancels it.
 */
#pragma once
#include <jansson.h>
#include "cli/command.h"
#include "cli/commands.h"

struct fl_fleet_node {
    const char *id;
    const char *label; /* as it was called on the command line */
};

/* A parameter; a list stands as several with one name. */
struct fl_fleet_param {
    const char *name, *value;
};

struct fl_fleet_ask {
    const char *document; /* without "AWSFleetManager-" */
    struct fl_fleet_param *params;
    size_t n_params;
    bool quiet; /* no progress: it comes again and again */
};

/* The one node that `word` means, or of "NODE:PATH" with *ret_path, which begins with a slash.
 * Memory of the arena. -EINVAL for what is no such word. */
int fl_fleet_find(struct fl_cli *cli, const char *word, struct fl_arena *arena,
                  struct fl_fleet_node *ret_node, struct fl_err *err);
int fl_fleet_find_path(struct fl_cli *cli, const char *word, struct fl_arena *arena,
                       struct fl_fleet_node *ret_node, const char **ret_path, struct fl_err *err);

/* The "data" of the answer (the caller's, json_decref). -EREMOTE with the node's own words, also
 * for what is no answer; -EINTR after Ctrl-C. */
int fl_fleet_call(struct fl_cli *cli, const struct fl_fleet_node *node,
                  const struct fl_fleet_ask *ask, json_t **ret_data, struct fl_err *err);

/* Rows as a table, in some order; each is a struct of `shape` that columns show. */
struct fl_fleet_order {
    const char *word; /* of --sort */
    int (*compare)(const void *a, const void *b);
};
struct fl_fleet_list {
    const struct fl_shape *shape;
    const struct fl_column *columns;
    size_t n_columns;
    const struct fl_fleet_order *orders; /* the first is that of no --sort */
    size_t n_orders;
    bool (*keep)(const void *options, const void *item); /* false: it is left out */
    void (*fill)(void *item); /* what columns show and rows do not have */
};

/* The order that goes by the word, or NULL means; NULL if there is none. */
const struct fl_fleet_order *fl_fleet_order(const struct fl_fleet_list *l, const char *word);

/* All pages, or the first `limit` rows in that order (0: all): a table, or with --json the rows as
 * the node told them, one a line. */
int fl_fleet_print(struct fl_cli *cli, const struct fl_fleet_node *node,
                   const struct fl_fleet_ask *ask, const struct fl_fleet_list *l,
                   const struct fl_fleet_order *order, const void *options, size_t limit,
                   struct fl_err *err);

/* What a node put out, read as an answer. Pure. */
int fl_fleet_read(const char *label, const struct fl_outcome *o, json_t **ret_data,
                  struct fl_err *err);

/* The complaint, and the exit status that goes with it. */
int fl_fleet_fail(int r, struct fl_err *err);
