/* monitor.h - the service's main process: owns the registration, the jobs and the other processes.
 * It opens no network socket and parses nothing but the bounded requests that net hands it.
 */
#pragma once
#include "agent/cli/cli.h"
#include "agent/lib/paths.h"

/* Exit statuses besides 0 and 1; from sysexits.h, so that a unit file can tell them apart. */
enum {
    FL_MONITOR_EXIT_RUNNING = 75,        /* another monitor uses these folders */
    FL_MONITOR_EXIT_NOT_REGISTERED = 78, /* or the configuration is wrong */
};

/* Credentials are written by one at a time, new jobs by another: a home directory on a network that
 * is gone holds up no document. */
#define FL_MONITOR_POOL_THREADS 2

/* Runs until SIGTERM or SIGINT; returns the exit status. */
int fl_monitor_main(const struct fl_cli *cli, const struct fl_paths *paths);
