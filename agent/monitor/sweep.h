/* sweep.h - removes the folders of finished jobs: what is too old, then the oldest of what is too
 * much.
 *
 *     fairlead-agent sweep <done folder> <max bytes> <max files> <max hours>
 */
#pragma once
#include "common/base/err.h"

struct fl_sweep_limits {
    int64_t max_bytes, max_files; /* of all folders together */
    int64_t max_age_ms;           /* since the job ended */
};

/* 0, or the first error after having done what could be done. Blocks; meant for a process of its
 * own. */
int fl_sweep(const char *done_dir, const struct fl_sweep_limits *limits, int64_t now_ms,
             struct fl_err *err);

/* The role; argv[0] is "sweep". */
int fl_sweep_main(int argc, char **argv);
