/* run_powershell.c - see run_powershell.h. */
#include "plugins/run_powershell/run_powershell.h"
#include "plugins/script/script.h"

static const char *const programs[] = { "powershell", "pwsh", NULL };
static const struct fl_script_kind kind = {
    .file_name = "_script.ps1",
    .head = "\xef\xbb\xbf", /* without a byte order mark PowerShell 5 takes the text for ANSI */
    .programs = programs,
    .otherwise = "/usr/bin/pwsh",
    .option = "-f",
    .no_terminal = true,
};

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    return fl_script_start(step, &kind, input, err);
}

const struct fl_plugin fl_plugin_run_powershell = {
    .name = "aws:runPowerShellScript",
    .summary = "Run lines of PowerShell on the node",
    .input = &fl_script_shape,
    .state_size = FL_SCRIPT_STATE_BYTES,
    .start = start,
    .cancel = fl_script_cancel,
    .release = fl_script_release,
};
