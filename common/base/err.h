/* err.h - what went wrong, in words.
 *
 * A function that can fail returns 0 or a negative errno and takes an optional `struct fl_err *` as
 * its last argument. The struct is filled once, where the failure is found; callers pass the number
 * on unchanged. Plain data: no allocation, no cleanup.
 */
#pragma once
#include "common/base/util.h"

#define FL_ERR_TEXT_BYTES 512

struct fl_err {
    int code;         /* the negative errno that was returned, 0 if no error was recorded */
    const char *name; /* name of the API error for the caller (static string), or NULL */
    char text[FL_ERR_TEXT_BYTES]; /* one sentence without a trailing newline; may be truncated */
};

/* Records the failure in *err (which may be NULL) and returns `code`. `name` is a static string
 * such as "InvalidInstanceId", or NULL where the failure has no name in an API. A text that does
 * not fit is cut at a UTF-8 boundary. Never put secrets into the text. */
int fl_err_set(struct fl_err *err, int code, const char *name, const char *fmt, ...)
    FL_PRINTF(4, 5);

/* The failure that all of us know: -ENOMEM, "out of memory". */
int fl_err_nomem(struct fl_err *err);

/* The text, or "unknown error" for NULL or an empty record. Never NULL. */
const char *fl_err_text(const struct fl_err *err);
