/* precondition.h - may a step run? The operators of a `precondition` member (protocol 4 §2.2).
 * Pure. */
#pragma once
#include "common/doc/doc.h"
#include "common/doc/subst.h"

/* Fills step->precondition and step->precondition_text from the operators. 0, -ENOMEM or -EMSGSIZE.
 */
int fl_precondition_eval(const struct fl_listmap *operators, struct fl_subst *subst,
                         const char *platform, struct fl_arena *arena, struct fl_doc_step *step);
