/* commands.h - Run Command as the client sees it: a command, what became of it on each node. */
#pragma once
#include "cli/list.h"

struct fl_target {
    const char *key;
    struct fl_strs values;
};

struct fl_sent { /* Command of the API */
    char *id, *document, *version, *comment, *status, *details;
    struct fl_time requested, expires;
    int32_t n_targets, n_completed, n_errors, n_lost;
    char *concurrency, *max_errors;
    struct fl_strs nodes;
};

struct fl_step {
    char *name, *status, *output;
    int32_t code;
};

struct fl_invocation {
    char *node, *name, *status, *details;
    struct fl_time requested;
    struct fl_step *steps;
    size_t n_steps;
};

/* What ListCommands and ListCommandInvocations are asked. */
struct fl_sent_filter {
    const char *key, *value;
};
struct fl_sent_query {
    const char *command, *node; /* NULL: all */
    bool steps;                 /* of ListCommandInvocations */
    struct fl_sent_filter *filters;
    size_t n_filters;
};

extern const struct fl_shape fl_target_shape, fl_sent_shape, fl_sent_query_shape;
extern const struct fl_list fl_sent_list, fl_invocation_list;

/* The command with this id. */
int fl_sent_get(struct fl_cli *cli, const char *id, struct fl_arena *arena, struct fl_sent *ret,
                struct fl_err *err);

/* True for a status that will not change any more. */
bool fl_status_is_final(const char *status);

/* Asks for it to be cancelled, on these nodes (none: on all). */
int fl_sent_cancel(struct fl_cli *cli, const char *id, const struct fl_strs *nodes,
                   struct fl_err *err);

/* What became of a command on a node. Texts last as long as the call. */
struct fl_outcome {
    const char *node, *name, *status, *details;
    const char *out, *error; /* standard output and error of its last step; NULL: none */
};
typedef int (*fl_outcome_fn)(void *arg, const struct fl_outcome *o);

struct fl_follow {
    bool all;             /* also nodes that have not finished, once, and no waiting */
    bool yes;             /* Ctrl-C cancels without a question */
    bool quiet;           /* outputs alone */
    const char *only;     /* id of the one node that matters; NULL: all */
    unsigned interrupted; /* how often Ctrl-C came */
    const char *id;       /* of the command; NULL until it is known */
    fl_outcome_fn take;   /* gets each outcome, and nothing is printed; NULL: all is */
    void *take_arg;
    bool cancelled;          /* after the first Ctrl-C */
    void (*wake)(void *arg); /* fl_follow's own */
    void *wake_arg;
};

/* From here on Ctrl-C is counted in `f`, and the second one leaves at once. Begins before a command
 * is sent, so that its id is always told. NULL without memory. */
struct fl_signal *fl_follow_signals(struct fl_cli *cli, struct fl_follow *f, struct fl_err *err);

/* Prints each node's output once it has finished, shows progress, until all have. The exit status,
 * or what could not be done. */
int fl_follow(struct fl_cli *cli, struct fl_follow *f, struct fl_err *err);
