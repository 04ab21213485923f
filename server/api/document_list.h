/* document_list.h - the built-in documents as documents.c and its operations share them. */
#pragma once
#include <stddef.h>

#define FL_BUILTIN_OWNER "Amazon" /* what AWS says of its own documents, and clients filter by */

struct fl_builtin {
    const char *name;
    const char *file; /* in server/builtin/ */
    const char *type;
    const char *const *platforms; /* NULL-terminated */
};

/* By index, in order of their names; NULL behind the last. */
const struct fl_builtin *fl_builtin_at(size_t i);
