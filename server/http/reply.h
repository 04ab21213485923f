/* reply.h - answers in the three dialects the plane speaks: JSON 1.1, query/XML, REST/XML.
 *
 * Error names are those of the JSON services everywhere inside the plane; sts spells some of them
 * in its own way and answers 403 for those of authentication (protocol 6 §1.6).
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

enum fl_dialect { FL_DIALECT_JSON, FL_DIALECT_QUERY, FL_DIALECT_REST };

struct fl_error {
    const char *name;
    const char *message;
    int status; /* HTTP */
};

/* What the caller is told about `err` (and `r`, where err holds no name): failures of the store
 * become ServiceUnavailable, everything else without a name InternalServerError; their texts stay
 * inside. */
void fl_error_of(enum fl_dialect dialect, int r, const struct fl_err *err,
                 struct fl_error *ret_error);

/* Content type of the dialect's bodies. */
const char *fl_dialect_type(enum fl_dialect dialect);

/* Appends the error's body. */
int fl_error_body(enum fl_dialect dialect, const struct fl_error *error, const char *request_id,
                  struct fl_buf *out);
