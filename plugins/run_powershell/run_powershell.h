/* run_powershell.h - aws:runPowerShellScript: lines of PowerShell, run by powershell or pwsh
 * (protocol 4 §3).
 */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_run_powershell;
