/* term.h - the terminal: progress that leaves nothing behind, questions, text that is safe to show.
 *
 * A process has one terminal, so this has no object. Nothing is drawn unless standard error is a
 * terminal that can go back on a line.
 */
#pragma once
#include <stdio.h>
#include "cli/cli.h"

/* One line that is drawn over the last one; "" takes it away. Whoever prints takes it away first.
 */
void fl_progress(const char *fmt, ...) FL_PRINTF(1, 2);
bool fl_progress_on(void);

/* What is printed next takes the place of what was printed before: on a terminal the screen is
 * empty then, elsewhere a blank line parts the two. */
void fl_screen_next(bool first);

/* What was printed goes out: 0; -EPIPE if nobody reads it any more, which is no error of ours;
 * another error that the end of the program tells. */
int fl_flush(void);

/* Text from elsewhere: to a terminal without control characters (but line ends and tabs), to a file
 * or pipe as it is. */
void fl_put_text(FILE *out, const char *text);
void fl_put_textf(FILE *out, const char *fmt, ...) FL_PRINTF(2, 3);

/* A line of JSON to standard output. JSON may hold DEL and the control characters beyond it
 * unescaped: a terminal gets none of them. */
void fl_put_json(const char *json);

/* Asks on the terminal and reads one line; without `echo` what is typed is not shown. -ENOTTY if
 * standard input is none, -EINTR for Ctrl-C, -ENODATA for the end of input, -EMSGSIZE. */
int fl_ask(struct fl_cli *cli, bool echo, const char *prompt, char *out, size_t size);

/* A secret: asked for (as `prompt`) if standard input is a terminal, else its first line, or all of
 * it if `whole`. Fresh memory, for fl_free_secret. */
int fl_read_secret(struct fl_cli *cli, const char *prompt, bool whole, size_t max_bytes,
                   char **ret_secret, struct fl_err *err);

/* "y" or "yes" to the question: 1, else 0; errors as above. */
int fl_confirm(struct fl_cli *cli, const char *fmt, ...) FL_PRINTF(2, 3);
