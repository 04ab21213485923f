/* tree.h - the processes that came from this one, found by /proc. */
#pragma once
#include <sys/types.h>

/* SIGKILL to all descendants of this process, but to `spare` and its own. As this process is a
 * subreaper, those whose parents have ended are among them. */
void fl_tree_kill(pid_t spare);
