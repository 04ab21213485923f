/* status_lines.h - what a user's plugin says on its standard output (docs/plugins.md): a JSON
 * object a line.
 *
 *     {"stdout":"text"}  {"stderr":"text"}  {"status":"Success","code":0}
 *
 * Pure. Anything else is an error, so that a mistake shows and is not half understood.
 */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"
#include "plugins/plugin.h"

#define FL_STATUS_LINE_MAX_BYTES (1u << 20)

struct fl_status_lines {
    struct fl_buf pending; /* of a line that has not ended */
    size_t n;              /* lines so far */
    bool has_status;
    enum fl_status status;
    int code;
};

void fl_status_lines_init(struct fl_status_lines *s);
void fl_status_lines_done(struct fl_status_lines *s);

typedef void (*fl_status_text_fn)(void *arg, enum fl_step_stream stream, const char *text);

/* Takes more bytes; `text` is called for each text in them. -EBADMSG names the line that is no such
 * object, comes after the status, or is longer than FL_STATUS_LINE_MAX_BYTES. */
int fl_status_lines_feed(struct fl_status_lines *s, const void *data, size_t len,
                         fl_status_text_fn text, void *arg, struct fl_err *err);

/* No more bytes come: a last line may lack its line feed. */
int fl_status_lines_end(struct fl_status_lines *s, fl_status_text_fn text, void *arg,
                        struct fl_err *err);
