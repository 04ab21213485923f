/* registry.c - every document action that is compiled in. */
#include <string.h>
#include "plugins/plugin.h"
#include "plugins/download_content/download_content.h"
#include "plugins/inventory/inventory.h"
#include "plugins/run_document/run_document.h"
#include "plugins/run_powershell/run_powershell.h"
#include "plugins/run_shell/run_shell.h"

const struct fl_plugin *const fl_plugins[] = {
    &fl_plugin_run_shell,    &fl_plugin_run_powershell, &fl_plugin_download_content,
    &fl_plugin_run_document, &fl_plugin_inventory,      NULL,
};

const struct fl_plugin *fl_plugin_find(const char *name)
{
    for (size_t i = 0; fl_plugins[i]; i++)
        if (strcmp(name, fl_plugins[i]->name) == 0)
            return fl_plugins[i];
    return NULL;
}
