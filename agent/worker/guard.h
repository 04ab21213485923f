/* guard.h - the node's policy at each step, in the worker.
 *
 * The whole document was decided about before the worker began (agent/monitor/job_policy.c), with
 * the policy that stands in the job folder. Each step is held against that once more when its turn
 * comes: by then its inputs may have come from elsewhere, or the folder may be another machine's.
 * Documents inside it (nested.h) were not there to be decided about: their steps are decided about
 * here alone.
 */
#pragma once
#include "common/doc/doc.h"

struct fl_step_guard;

/* *ret_guard is NULL if the document began without a policy. Texts are those of the job's content,
 * and copied. An error forbids the document. */
int fl_step_guard_new(int job_dir_fd, const char *document_name, const char *document,
                      const char *parameters, struct fl_step_guard **ret_guard, struct fl_err *err);
/* For a document inside the one of `outer`, which outlives it: the same policy, time and user; its
 * own name (NULL or "": none), content and parameters. No signature: nobody signed what is in it.
 * An error forbids the document. */
int fl_step_guard_nest(const struct fl_step_guard *outer, const char *name, const char *document,
                       const char *parameters, struct fl_step_guard **ret_guard,
                       struct fl_err *err);
struct fl_step_guard *fl_step_guard_free(struct fl_step_guard *g);

/* True without a guard. False: *ret_text (arena) says why, naming the rule. */
bool fl_step_guard_allows(const struct fl_step_guard *g, const struct fl_doc_step *step,
                          struct fl_arena *arena, char **ret_text);
