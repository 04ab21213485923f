/* deliver.h - the outputs of a document's steps, on their way to where the command wants them: a
 * bucket of S3, a group of CloudWatch Logs (protocol 4 §2.4, §4.3).
 *
 * One per document, one step at a time. What goes wrong is logged and changes no result; how long a
 * result waits for it has a bound: a minute, for S3 and a second more for each MiB; ten seconds
 * once the document is cancelled, and for a store that a step before waited for in vain.
 */
#pragma once
#include "agent/calls/calls.h"

struct fl_delivery;

struct fl_delivery_conf {
    struct fl_loop *loop;
    struct fl_calls *calls;
    const char *command_id, *node_id, *region, *document_name;
    const char *bucket, *prefix; /* no bucket (NULL or ""): nothing goes to S3 */
    const char *log_group;       /* NULL or "": named after the document */
    bool logs;                   /* false: nothing goes to CloudWatch Logs */
};

/* *ret_delivery is NULL if nothing is wanted. All is copied. */
int fl_delivery_new(const struct fl_delivery_conf *conf, struct fl_delivery **ret_delivery);
struct fl_delivery *fl_delivery_free(struct fl_delivery *d); /* without the callback */

struct fl_delivery_step {
    const char *action;
    const char *key;    /* in replies */
    const char *inputs; /* JSON text */
    bool by_id;         /* schema 1: it goes by the id among its inputs */
};

/* What the step's reply says of it (protocol 2 §3.4); all NULL without a bucket. */
struct fl_delivery_names {
    char *bucket, *prefix, *step; /* in the arena */
};
int fl_delivery_names(const struct fl_delivery *d, const struct fl_delivery_step *step,
                      struct fl_arena *arena, struct fl_delivery_names *ret_names);

/* The step begins: what it prints into its folder is streamed. `dir_fd` stays the caller's and open
 * until it is delivered. */
void fl_delivery_begin(struct fl_delivery *d, const struct fl_delivery_step *step, int dir_fd);

/* `all`: everything that was wanted arrived. */
typedef void (*fl_delivery_fn)(void *arg, bool all);

/* It is over, whether or not it was begun here. `done` runs once, later than the return; soon, if
 * the document was cancelled. */
void fl_delivery_end(struct fl_delivery *d, const struct fl_delivery_step *step, int dir_fd,
                     bool cancelled, fl_delivery_fn done, void *arg);

/* The document was cancelled: soon. */
void fl_delivery_hurry(struct fl_delivery *d);
