/* download_content.h - aws:downloadContent: checks its input as the official agent does; this agent
 * fetches from no source, and says so (protocol 4 §5.2).
 */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_download_content;
