/* cloud_watch.h - aws:cloudWatch, which is Windows': elsewhere it fails (protocol 4 §5.5). */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_cloud_watch;
