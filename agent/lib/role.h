/* role.h - starting the agent's other programs: net, fetch and key.
 *
 * The unprivileged ones must start even where their user may not walk to them (a build tree or a CA
 * file below a 0700 home): the executable is opened here and run through its descriptor, and the CA
 * file goes along as a memory file, descriptor FL_ROLE_CA_FD.
 */
#pragma once
#include "agent/lib/paths.h"
#include "common/base/child.h"

#define FL_ROLE_SOCKET_FD 3 /* the ipc socket of net and fetch */
#define FL_ROLE_CA_FD     4 /* with "--ca-fd" on its command line */

struct fl_role_spec {
    const char *program;     /* "fairlead-agent-net" */
    const char *const *args; /* after argv[0]; NULL-terminated; NULL for none */
    const struct fl_child_fd *fds;
    size_t n_fds;
    /* NULL: keeps ours and all that comes with it. Else the program is confined (child.h), gets no
     * AWS_* variables, and as root becomes this user (fl_sandbox_ids). */
    const char *user;
    const char *ca_file; /* handed over readable; NULL for none */
    bool outlive_parent; /* not killed when this process dies */
};

/* As fl_child_spawn; stderr (2) is always passed on. */
int fl_role_spawn(struct fl_loop *loop, const struct fl_paths *paths,
                  const struct fl_role_spec *spec, fl_child_fn fn, void *arg,
                  struct fl_child **ret_child, struct fl_err *err);

/* In net and fetch: the path under which the CA file named `ca_file` is to be opened: the
 * handed-over copy if the program got "--ca-fd", else `ca_file` itself. */
const char *fl_role_ca_path(int argc, char **argv, const char *ca_file);

/* Error texts name the memory file; this puts the name that the user knows in its place. */
void fl_role_ca_rename(struct fl_err *err, const char *ca_file);

/* Starts fetch with one end of a fresh socket pair; the other end is *ret_fd (the caller's). `user`
 * as above; the rest as fl_child_spawn. */
int fl_role_spawn_fetch(struct fl_loop *loop, const struct fl_paths *paths, const char *user,
                        const char *ca_file, fl_child_fn fn, void *arg, struct fl_child **ret_child,
                        int *ret_fd, struct fl_err *err);

/* Sets up the log from the texts of the configuration; NULL or unknown: info, text. */
void fl_role_log_setup(const char *level, const char *format, const char *tag);
