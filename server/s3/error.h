/* error.h - errors as s3 spells them: <Error><Code>…</Code>…, with its own names and statuses. */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

struct fl_s3_error {
    const char *code;
    const char *message;
    int status;
};

/* What the caller is told about `err` (and `r`): names of the plane's other services become s3's,
 * failures of the store ServiceUnavailable, everything else without a name InternalError. */
void fl_s3_error_of(int r, const struct fl_err *err, struct fl_s3_error *ret_error);

/* Appends the body. `resource`: bucket and key. */
int fl_s3_error_body(const struct fl_s3_error *e, const char *resource, const char *request_id,
                     struct fl_buf *out);
