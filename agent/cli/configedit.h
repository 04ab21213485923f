/* configedit.h - setting a few string keys in agent.json, leaving everything else as it is. */
#pragma once
#include "common/base/err.h"

struct fl_config_edit {
    const char *section, *key; /* any letter case finds an existing one */
    const char *value;         /* NULL: leave this one alone */
};

/* Reads `from` (absent: starts from an empty object), applies the edits and replaces `to`. Nothing
 * is written if every value is NULL. `only_try` does everything but replace: the directory is made,
 * and a temporary file is written and removed. */
int fl_config_edit(const char *from, const char *to, const struct fl_config_edit *edits, size_t n,
                   bool only_try, struct fl_err *err);
