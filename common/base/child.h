/* child.h - child processes: spawned with exactly the descriptors, identity and group asked for,
 * reaped on the loop, never left behind as zombies.
 */
#pragma once
#include <sys/types.h>
#include "common/base/err.h"
#include "common/base/loop.h"

#define FL_CHILD_MAX_FDS        16
#define FL_CHILD_CONFINED_FILES 256

struct fl_child;

/* `status` is the wait status (WIFEXITED, WTERMSIG, …). Runs once, on the loop. */
typedef void (*fl_child_fn)(void *arg, int status);

struct fl_child_fd {
    int child_fd;  /* number in the child */
    int parent_fd; /* what it is here; stays the caller's */
};

struct fl_child_limit {
    int resource; /* RLIMIT_… */
    uint64_t max;
};

struct fl_child_spec {
    const char *path;              /* executable; no PATH search */
    char *const *argv;             /* NULL-terminated */
    char *const *envp;             /* NULL-terminated; NULL: the parent's */
    const char *cwd;               /* NULL: the parent's */
    const struct fl_child_fd *fds; /* everything else is closed; 0-2 default to /dev/null */
    size_t n_fds;
    bool new_group; /* the child leads its own process group (and session: setsid) */
    bool tty;       /* with new_group: its descriptor 0 becomes the session's terminal */
    int cgroup_fd;  /* above 0: the cgroup.procs of the control group it joins, if it can */
    bool set_ids;   /* change to uid/gid below; supplementary groups are then those below */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t n_groups;
    bool die_with_parent; /* PR_SET_PDEATHSIG SIGKILL */
    /* Nothing to gain by any later exec: no_new_privs, no capabilities, an empty bounding set (as
     * far as we may empty it), no core files, at most FL_CHILD_CONFINED_FILES descriptors. */
    bool confine;
    const struct fl_child_limit *limits; /* lowered to these, soft and hard */
    size_t n_limits;
};

/* Starts the child. An exec failure is reported here as its errno, with the step that failed in
 * `err`; no callback runs then. `fn` may be NULL if only reaping is wanted. */
int fl_child_spawn(struct fl_loop *loop, const struct fl_child_spec *spec, fl_child_fn fn,
                   void *arg, struct fl_child **ret_child, struct fl_err *err);

pid_t fl_child_pid(const struct fl_child *c);

/* Sends a signal to the child, or to its whole group if it leads one. 0 or -ESRCH if it has ended.
 */
int fl_child_kill(struct fl_child *c, int signo);

/* Forgets the child: no callback any more; it is still reaped. To be called once for every spawned
 * child, before or after (or in) its callback. NULL is fine. */
struct fl_child *fl_child_free(struct fl_child *c);
