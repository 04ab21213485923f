/* document_builtin.h - the documents that every plane has: server/builtin/, in the binary. */
#pragma once
#include "server/api/documents.h"

/* By index, in order of their names: everything but what follows from the content. False: there
 * are no more. */
bool fl_builtin_at(size_t i, struct fl_document *ret_doc);

/* The same by name. */
bool fl_builtin_find(const char *name, struct fl_document *ret_doc);

/* The text of a file of server/builtin/, also of one that is no document by itself: what holds
 * until an account has its own (SSM-SessionManagerRunShell). NULL: there is none. */
const char *fl_builtin_text(const char *name);
