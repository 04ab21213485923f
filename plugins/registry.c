/* registry.c - every document action that is compiled in, and how others are found. */
#include <string.h>
#include "plugins/plugin.h"
#include "plugins/cloud_watch/cloud_watch.h"
#include "plugins/configure_package/configure_package.h"
#include "plugins/download_content/download_content.h"
#include "plugins/inventory/inventory.h"
#include "plugins/run_document/run_document.h"
#include "plugins/refresh_association/refresh_association.h"
#include "plugins/run_docker/run_docker.h"
#include "plugins/run_powershell/run_powershell.h"
#include "plugins/run_shell/run_shell.h"
#include "plugins/user/user.h"

const struct fl_plugin *const fl_plugins[] = {
    &fl_plugin_run_shell,           &fl_plugin_run_powershell,
    &fl_plugin_download_content,    &fl_plugin_run_document,
    &fl_plugin_inventory,           &fl_plugin_run_docker,
    &fl_plugin_refresh_association, &fl_plugin_cloud_watch,
    &fl_plugin_configure_package,   NULL,
};

const struct fl_plugin *fl_plugin_find(const char *name)
{
    for (size_t i = 0; fl_plugins[i]; i++)
        if (strcmp(name, fl_plugins[i]->name) == 0)
            return fl_plugins[i];
    return fl_user_plugin_find(name);
}
