/* doclimit.h - how many processes documents may have: a control group for each, below our own.
 *
 * Only where the service manager delegated our group to us (cgroup v2, `Delegate=pids` in the
 * unit); elsewhere nothing is limited. All documents together leave FL_DOCLIMIT_RESERVE tasks of
 * the unit's TasksMax to the agent, and one document has half of what they share: a fork bomb in a
 * script finds its limit, while the agent starts the worker of the next document.
 *
 *     fairlead-agent.service/                monitor, net, fetch
 *         documents/                         pids.max: TasksMax - reserve
 *             <command id>/                  pids.max: half of that; worker, scripts, what they
 * leave
 *
 * The groups are threaded ones: in such a tree processes may stand in inner nodes, so that the
 * service manager can start the agent anew while documents run (kernel, cgroup-v2.rst, "Threads").
 */
#pragma once
#include <stdint.h>

#define FL_DOCLIMIT_RESERVE 256

struct fl_doclimit {
    int dir_fd;   /* of documents/; -1: nothing is limited */
    int64_t each; /* tasks a document may have */
};

/* Finds out, and sets up; what fails is logged, and then nothing is limited. Removes what documents
 * left that have nobody any more. */
void fl_doclimit_open(struct fl_doclimit *d);
void fl_doclimit_close(struct fl_doclimit *d);

/* The group of a document, made if need be: a descriptor that a process joins by writing "0"
 * (fl_child_spec.cgroup_fd); the caller closes it. -1: there is none. */
int fl_doclimit_join(struct fl_doclimit *d, const char *command_id);

/* A document is over: its group goes, and those of earlier ones whose last process has ended since.
 * A group stays while somebody is in it: what a script left in the background, or what was killed a
 * moment ago. */
void fl_doclimit_sweep(struct fl_doclimit *d);
