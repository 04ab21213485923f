/* environment.h - the variables that processes of a step see (protocol 4 §3). */
#pragma once
#include "plugins/plugin.h"

struct fl_env;

/* The agent's own environment, the document's parameters, `own` (may be NULL), then the agent's
 * SSM_… and AWS_…: the last one of a name wins. NULL without memory or with more than 4096. */
struct fl_env *fl_env_new(const struct fl_step_context *ctx, const struct fl_strmap *own);
struct fl_env *fl_env_free(struct fl_env *e);

/* One more, in place of any of that name. A NULL value changes nothing. 0, -ENOMEM, -E2BIG. */
int fl_env_set(struct fl_env *e, const char *name, const char *value);

/* Leaves out the first one, in the order they were set, with `word` anywhere in it. */
void fl_env_drop(struct fl_env *e, const char *word);

/* For execve; the object's. */
char *const *fl_env_list(const struct fl_env *e);

/* The first of `programs` (NULL-terminated) that PATH has; `otherwise` if it has none. */
void fl_env_find_program(const char *const *programs, const char *otherwise, char *out,
                         size_t out_size);
