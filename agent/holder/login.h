/* login.h - the user a session runs as, and the environment of a login.
 *
 * Rules: protocol 3 §8, with a login shell and a clean environment in place of a bare sh.
 */
#pragma once
#include <sys/types.h>
#include "agent/lib/session_plan.h"

struct fl_login {
    char *name, *home, *shell;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t n_groups;
    bool change; /* to this user; false: it is this process's own */
};

/* Strings are of the arena. `configured` is SessionUser of the settings, NULL for none: then, as
 * root, ssm-user is made if it is missing, with the right to become root, as the official agent
 * makes it. `lock_fd` is of a folder that only this agent opens: it is locked meanwhile. 0;
 * -EINVAL, -ENOENT, -EPERM, -ETIMEDOUT with words for the operator. */
int fl_login_find(const struct fl_session_plan *plan, const char *configured, int lock_fd,
                  struct fl_arena *arena, struct fl_login *ret_login, struct fl_err *err);

/* NAME=VALUE strings of the arena, NULL at the end: what a login sets, then `more` (NULL for none;
 * NULL at its end), whose names win. */
char **fl_login_env(const struct fl_login *login, bool terminal, char *const *more,
                    struct fl_arena *arena);

/* The value of a name, or NULL. */
const char *fl_env_get(char *const *env, const char *name);
