/* run_docker.h - aws:runDockerAction: the node's own docker client (protocol 4 §5.5). */
#pragma once
#include "plugins/plugin.h"

extern const struct fl_plugin fl_plugin_run_docker;
