/* actions.h - the actions that documents may name, where they run, and their inputs.
 *
 * What the services know, not what a node can do: an agent that lacks an action says so itself.
 */
#pragma once
#include "common/doc/check_priv.h"

struct fl_action {
    const char *name;
    unsigned platforms;       /* FL_DOC_LINUX | … */
    struct fl_members inputs; /* those whose type is checked */
};

/* An action of Automation runbooks, or of documents that nodes run; NULL: unknown. On nodes users
 * may have actions of their own, "vendor:name"; any vendor but aws is one. */
const struct fl_action *fl_action_find(bool runbook, const char *name);
