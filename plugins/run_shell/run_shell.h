/* run_shell.h - aws:runShellScript: lines of shell, run by sh (protocol 4 §3). */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_run_shell;

/* Seconds of the input `timeoutSeconds` (JSON text of a string or number, NULL if absent): 3600 for
 * anything that is not a number in 5..172800; fractions are cut. */
int64_t fl_run_shell_timeout(const char *json_text);
