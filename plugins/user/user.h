/* user.h - actions that users add to a node: programs in a folder, named as the action
 * (docs/plugins.md). */
#pragma once
#include "plugins/plugin.h"

/* The folder; "" for the installation's own. The text outlives its use. */
void fl_user_plugins_dir(const char *dir);

/* "vendor:name" with a program of that name in the folder, whatever vendor but aws; else NULL.
 * Never freed: there are as many as actions that documents of this process name. */
const struct fl_plugin *fl_user_plugin_find(const char *name);
