/* run_shell.h - aws:runShellScript: lines of shell, run by sh (protocol 4 §3). */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_run_shell;
