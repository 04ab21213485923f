/* paths.h - where an agent keeps its things: system-wide as root, under the home as a user.
 *
 *            root                        ordinary user
 *   config   /etc/fairlead/agent.json    $XDG_CONFIG_HOME|~/.config/fairlead/agent.json
 *   state    /var/lib/fairlead           $XDG_STATE_HOME|~/.local/state/fairlead
 *   runtime  /run/fairlead               $XDG_RUNTIME_DIR/fairlead, else <state>/run
 *
 *   policy   policy.json beside the configuration
 *
 * --config, --state and --runtime override each; with --state alone, runtime is <state>/run. A
 * missing fairlead config falls back to the official agent's /etc/amazon/ssm/amazon-ssm-agent.json
 * (root only).
 */
#pragma once
#include "common/base/err.h"

struct fl_paths {
    char *config;
    char *policy; /* of the node; beside the configuration, also where that is the official one's */
    char *state;  /* 0700; Vault/, jobs/, registration, runtimeconfig/ below it */
    char *runtime; /* 0755; status.sock, monitor.lock, workers' sockets below it */
    char *libexec; /* where fairlead-agent-net, -fetch, -key are: beside the running binary if they
                    * are there (a build tree), else PREFIX/libexec/fairlead */
};

/* Overrides may be NULL. Fills every member or fails. */
int fl_paths_init(struct fl_paths *p, const char *config, const char *state, const char *runtime,
                  struct fl_err *err);
void fl_paths_done(struct fl_paths *p);
