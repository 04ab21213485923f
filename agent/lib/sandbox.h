/* sandbox.h - how net and fetch give up what they do not need, first thing in their own process. */
#pragma once
#include "common/base/err.h"

/* The uid/gid the unprivileged roles run as: `user` if it exists, else a stable id from the range
 * that systemd keeps for dynamic users (61184-65519). -EPERM is not an error of this call: an
 * ordinary user keeps its own ids (*ret_uid = getuid()). */
int fl_sandbox_ids(const char *user, unsigned *ret_uid, unsigned *ret_gid, struct fl_err *err);

/* The system calls that the unprivileged roles need, and no others; undumpable. User, capabilities,
 * no_new_privs and limits were taken before the program began (fl_role_spawn): they do not hang on
 * its good will. A forbidden call gets EPERM; exec, ptrace and the like kill the process. */
int fl_sandbox_enter(struct fl_err *err);
