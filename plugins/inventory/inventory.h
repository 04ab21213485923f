/* inventory.h - aws:softwareInventory. In a document that a command sends it can only fail: the
 * official agent takes inventory for associations (protocol 4 §5.5), which this agent has none of.
 */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_inventory;
