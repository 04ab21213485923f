/* refresh_association.h - aws:refreshAssociation. This agent runs no associations yet: it says so
 * and succeeds, as the official agent always does (protocol 4 §5.5). */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_refresh_association;
