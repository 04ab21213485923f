/* sandbox.h - how a role gives up what it does not need. Called first thing in its own process. */
#pragma once
#include "common/base/err.h"

enum fl_sandbox_role {
    FL_SANDBOX_NET,   /* sockets, TLS, name lookups; no exec, no writes, no ptrace */
    FL_SANDBOX_FETCH, /* the same for libcurl */
};

/* The uid/gid the unprivileged roles run as: `user` if it exists, else a stable id from the range
 * that systemd keeps for dynamic users (61184-65519). -EPERM is not an error of this call: an
 * ordinary user keeps its own ids (*ret_uid = getuid()). */
int fl_sandbox_ids(const char *user, unsigned *ret_uid, unsigned *ret_gid, struct fl_err *err);

/* no_new_privs, no dumps, all capabilities dropped, rlimits, seccomp. After it only what the role
 * needs is possible; a forbidden call gets EPERM, exec and ptrace kill the process. */
int fl_sandbox_enter(enum fl_sandbox_role role, struct fl_err *err);
