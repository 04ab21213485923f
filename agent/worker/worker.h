/* worker.h - the worker role: one process that takes one job folder to its end.
 *
 *     fairlead-agent-worker [--cancel] [--reboots N] [--log-level L] [--log-format F] <job folder>
 *
 * It survives the monitor and net: the journal in the folder is all it needs and all it leaves.
 * Started again on the same folder it goes on where the journal ends; a step that was running is
 * reported as failed and never run twice. A step that asked for a reboot (at most N do) runs again
 * once the machine was booted anew; until then the worker ends at once. Descriptor 3, if open, is a
 * socket to the monitor (ipc_worker.h).
 */
#pragma once

/* Returns the exit status (FL_WORKER_EXIT_*). */
int fl_worker_main(int argc, char **argv);
