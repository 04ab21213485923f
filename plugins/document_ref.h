/* document_ref.h - documents named in inputs of actions, and the service's GetDocument for them
 * (protocol 4 §5.1, §5.3). Pure.
 */
#pragma once
#include "common/codec/codec.h"

struct fl_get_document_in {
    char *name, *version;
};
struct fl_get_document_out {
    char *name, *content;
};
extern const struct fl_shape fl_shape_get_document_in, fl_shape_get_document_out;

/* "NAME", "NAME:VERSION", or the same with the ARN of a document in place of the name. Fills what
 * GetDocument wants (version NULL for none) and the bare name, which can be a file's; in `arena`.
 * -EINVAL for a name that no document can have. */
int fl_document_ref_parse(const char *text, struct fl_arena *arena,
                          struct fl_get_document_in *ret_in, char **ret_bare);
