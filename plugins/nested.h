/* nested.h - a whole document run inside a step, for plugins (aws:runDocument). */
#pragma once
#include "common/base/err.h"
#include "plugins/status.h"

struct fl_step;

/* A document that runs another that runs another, and no more (protocol 4 §5.1). */
#define FL_NESTED_MAX_DEPTH 3

struct fl_nested_result {
    enum fl_status status; /* the worst of its steps */
    const char *error;     /* NULL, or why it could not be run: a document error */
};
typedef void (*fl_nested_fn)(void *arg, const struct fl_nested_result *result);

/* Runs the document with all rules for its steps; what they print becomes the output of this step,
 * in their order. `name` is the document's, "" for none: the node's policy judges by it. `document`
 * and `parameters` are JSON text; parameters may be NULL. All are copied. `done` runs once, later
 * than the return, and never after the step is over. */
int fl_step_nest(struct fl_step *step, const char *name, const char *document,
                 const char *parameters, fl_nested_fn done, void *arg, struct fl_err *err);
bool fl_step_nests(const struct fl_step *step); /* one runs */
/* Cancels it: `done` still comes. */
void fl_step_nest_cancel(struct fl_step *step);
