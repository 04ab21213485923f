/* holder.h - fairlead-agent-holder: one process that holds one session from its start to its end.
 *
 *     fairlead-agent-holder <session folder>
 *
 * It has the rights: it finds the user, opens the login (PAM), starts the user's process on a
 * terminal or pipes, and ends what is left of it. It faces no network: that is the session process
 * (agent/session), which it starts without rights and hands the terminal to. Both survive monitor
 * and net. Descriptor 3, if open, is a socket to the monitor (ipc_holder.h).
 */
#pragma once

/* Returns the exit status (FL_HOLDER_EXIT_*). */
int fl_holder_main(int argc, char **argv);
