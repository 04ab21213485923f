/* run_document.h - aws:runDocument: a document of the service or of a file, run inside a step
 * (protocol 4 §5.1).
 */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_run_document;
