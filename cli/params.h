/* params.h - the parameters of a document as a command line gives them, made into the API's
 * {"name": ["value", ...]}. */
#pragma once
#include <jansson.h>
#include "cli/command.h"

#define FL_PARAMS_MAX_BYTES 65536 /* what a document and its parameters may have */

/* From --parameters JSON ("@FILE" reads it; NULL for none) and --parameter NAME=VALUE; *ret_all is
 * the caller's. -EINVAL. */
int fl_params_read(const char *json, const struct fl_texts *pairs, json_t **ret_all,
                   struct fl_err *err);

/* One more value of a parameter. -EINVAL if it holds something else than a list, -EILSEQ for a
 * value that is no UTF-8. */
int fl_params_add(json_t *all, const char *name, const char *value);

/* As text in the arena; absent if there are none. */
int fl_params_raw(const json_t *all, struct fl_arena *arena, struct fl_raw *ret_raw);
