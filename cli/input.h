/* input.h - texts that a command line names instead of holding them. */
#pragma once
#include "common/base/buf.h"
#include "common/base/err.h"

/* The file, or standard input for "-"; fresh memory. -EILSEQ for a text that holds a NUL. */
int fl_input_file(const char *path, size_t max_bytes, char **ret_text, struct fl_err *err);

/* "@FILE" (also "@-") as above, any other text a copy of itself. */
int fl_input_text(const char *word, size_t max_bytes, char **ret_text, struct fl_err *err);

/* Appends a word that a POSIX shell reads back as it was, behind a blank if asked for. */
int fl_shell_quote(struct fl_buf *out, const char *word, bool blank);
