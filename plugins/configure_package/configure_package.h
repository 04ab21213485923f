/* configure_package.h - aws:configurePackage: packages that are documents with attachments, put on
 * the node and taken off it by their own scripts (protocol 4 §5.4). */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_configure_package;
