/* git_run.h - the program git in a folder of its own: without rights, with no configuration but
 * ours, for an hour at most. One at a time. */
#pragma once
#include "common/base/err.h"
#include "plugins/process.h"

#define FL_GIT_COMPLAINT_BYTES 400

/* What it says on its standard output. Negative with `err` ends it. */
typedef int (*fl_git_output_fn)(void *arg, const char *data, size_t len, struct fl_err *err);
/* It has ended; well if `err` is NULL. It may be started again from here. */
typedef void (*fl_git_over_fn)(void *arg, const struct fl_err *err);

struct fl_git_run {
    struct fl_step *step;
    fl_git_output_fn output;
    fl_git_over_fn over;
    void *arg;
    char program[512];
    struct fl_process *process;
    struct fl_timer *deadline;
    struct fl_err error; /* why it was killed */
    char complaint[FL_GIT_COMPLAINT_BYTES];
    size_t complaint_len;
};

int fl_git_run_init(struct fl_git_run *g, struct fl_step *step, fl_git_output_fn output,
                    fl_git_over_fn over, void *arg, struct fl_err *err);
/* Kills it; nothing more is told. Also for one that is all zero. */
void fl_git_run_done(struct fl_git_run *g);

/* -ENOENT if the node has no git. */
int fl_git_run_find(struct fl_git_run *g, struct fl_err *err);

/* `folder` is the bare repository; `args` end with NULL, 8 at most. */
int fl_git_run_start(struct fl_git_run *g, const char *folder, const char *const *args,
                     const void *input, size_t input_len, struct fl_err *err);

/* False: it does not run. */
bool fl_git_run_kill(struct fl_git_run *g);
