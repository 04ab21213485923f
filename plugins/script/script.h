/* script.h - lines of a script, written to a file and run by an interpreter: what the plugins that
 * run scripts share (protocol 4 §3). Not an action itself.
 */
#pragma once
#include "plugins/plugin.h"

/* What the interpreters differ in. */
struct fl_script_kind {
    const char *file_name;       /* of the script, mode 0700, in the step's folder */
    const char *head;            /* comes before the lines */
    const char *const *programs; /* names, NULL-terminated: the first that PATH has runs the file */
    const char *otherwise;       /* path that is tried, and named in the error, if there is none */
    const char *argv0;           /* NULL: the program's path */
    const char *option;          /* the argument before the file */
    bool shell_word;             /* the file's path is parsed by a shell: quoted if need be */
    bool no_terminal;            /* HOME=/ and the first variable with TERM in it left out */
};

/* Input, state and the three calls of such a plugin. */
extern const struct fl_shape fl_script_shape;
#define FL_SCRIPT_STATE_BYTES 16 /* at least what script.c needs, which it asserts */
int fl_script_start(struct fl_step *step, const struct fl_script_kind *kind, const void *input,
                    struct fl_err *err);
void fl_script_cancel(struct fl_step *step);
void fl_script_release(struct fl_step *step);

/* Seconds of the input `timeoutSeconds` (JSON text of a string or number, NULL if absent): 3600 for
 * anything that is not a number in 5..172800; fractions are cut. */
int64_t fl_script_timeout(const char *json_text);
