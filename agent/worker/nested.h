/* nested.h - a document that runs inside a step (plugins/nested.h): its steps one after the other,
 * by the rules that hold for every document.
 *
 * It has no journal of its own: when the worker dies, the step that it belongs to was interrupted.
 */
#pragma once
#include "agent/worker/guard.h"
#include "agent/worker/step.h"
#include "plugins/nested.h"

struct fl_nested;

/* What the step it runs in lends it. Pointers outlive the object. */
struct fl_nested_host {
    struct fl_loop *loop;
    const struct fl_step_context *context;
    const struct fl_step_host *step_host; /* network, guard, where groups are noted */
    struct fl_output *outputs;            /* two, in the order of enum fl_step_stream */
    int64_t output_max_bytes;
};

int fl_nested_new(const struct fl_nested_host *host, const char *name, const char *document,
                  const char *parameters, fl_nested_fn done, void *arg,
                  struct fl_nested **ret_nested, struct fl_err *err);
/* Ends it without its callback. May be called in it. NULL is fine. */
struct fl_nested *fl_nested_free(struct fl_nested *n);
void fl_nested_cancel(struct fl_nested *n);
