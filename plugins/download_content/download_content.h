/* download_content.h - aws:downloadContent: files from HTTP, S3, GitHub and SSM documents
 * (protocol 4 §5.2, §5.3).
 */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_download_content;
