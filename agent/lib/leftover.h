/* leftover.h - the process group of a step whose worker died, or whose leader did: found again by
 * /proc, and ended.
 */
#pragma once
#include <sys/types.h>
#include "agent/lib/boot.h"
#include "common/base/util.h"

struct fl_group {
    pid_t leader;
    int64_t start_ticks;
    char boot_id[FL_BOOT_ID_BYTES];
};

/* Describes the group of a process just started. */
void fl_group_describe(pid_t leader, struct fl_group *ret_group);

/* SIGKILL to the group if it is still the same one: its leader with the same start time, or, the
 * leader gone, members whose environment has SSM_COMMAND_ID=<command_id>. True if something was
 * there. */
bool fl_group_kill(const struct fl_group *group, const char *command_id);
