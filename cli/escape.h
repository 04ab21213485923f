/* escape.h - what a person types to the client itself: "~." and its like behind a line end, as
 * OpenSSH has them. Pure.
 */
#pragma once
#include "common/base/util.h"

enum fl_escape_action {
    FL_ESCAPE_NONE,
    FL_ESCAPE_QUIT,    /* ~.  */
    FL_ESCAPE_SUSPEND, /* ~^Z */
    FL_ESCAPE_HELP,    /* ~?  */
};

struct fl_escape {
    int ch; /* -1: no escapes, everything is the node's */
    bool in_line, pending;
};

/* "~", "^]" or "none"; -EINVAL. */
int fl_escape_init(struct fl_escape *e, const char *text);

/* Takes typed bytes up to the first that asks for something, and copies to `out` (at least len + 1
 * bytes) what is for the node. *ret_used and *ret_out tell how many bytes that were. */
enum fl_escape_action fl_escape_feed(struct fl_escape *e, const char *in, size_t len,
                                     size_t *ret_used, char *out, size_t *ret_out);

/* The line of help for `~?`, CR LF at its ends. */
#define FL_ESCAPE_HELP_BYTES 512
void fl_escape_help(const struct fl_escape *e, char out[FL_ESCAPE_HELP_BYTES]);
