/* params.h - the parameters of a document: what was supplied, the defaults of the rest, and what a
 * value must look like (protocol 4 §1.2, §1.3 step 1, §1.5). Pure.
 */
#pragma once
#include "common/doc/doc.h"

/* Puts every parameter's value into `params` (json_t object) and the variables of scripts into
 * ret_doc->env; checks and variables see what `refs` (may be NULL) puts in place of references.
 * `supplied` and `declared` are JSON text or NULL. `nested`: of a document inside another, where
 * all of a declaration is checked and a supplied null counts as not supplied. -EINVAL with the
 * official agent's words for a value that its declaration does not allow. */
int fl_params_collect(const char *supplied, const char *declared, bool nested,
                      struct fl_ssm_refs *refs, struct fl_arena *arena, void *params,
                      struct fl_doc *ret_doc, struct fl_err *err);
