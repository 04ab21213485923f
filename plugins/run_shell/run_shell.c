/* run_shell.c - see run_shell.h.
 *
 * The script is a file of mode 0700 run as `sh -c <path>`: the kernel honours its #! line, without
 * one the shell runs the text itself.
 */
#include "plugins/run_shell/run_shell.h"
#include "plugins/script/script.h"

static const char *const programs[] = { "sh", NULL };
static const struct fl_script_kind kind = {
    .file_name = "_script.sh",
    .head = "",
    .programs = programs,
    .otherwise = "/bin/sh",
    .argv0 = "sh",
    .option = "-c",
    .shell_word = true,
};

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    return fl_script_start(step, &kind, input, err);
}

const struct fl_plugin fl_plugin_run_shell = {
    .name = "aws:runShellScript",
    .summary = "Run lines of shell on the node",
    .input = &fl_script_shape,
    .state_size = FL_SCRIPT_STATE_BYTES,
    .start = start,
    .cancel = fl_script_cancel,
    .release = fl_script_release,
};
