/* process.h - one process of a step: its output on the loop, its end, and its end by force.
 *
 * What the actions that run programs share. A process is over when it has ended and both its pipes
 * are closed, so `sleep 600 &` keeps it going; once it is being killed, nobody waits for the pipes.
 */
#pragma once
#include "plugins/plugin.h"

struct fl_process;

struct fl_process_spec {
    const char *path;  /* no PATH search */
    char *const *argv; /* NULL-terminated */
    char *const *envp;
    const char *cwd;   /* NULL: the agent's */
    const void *input; /* all of its standard input; NULL: none */
    size_t input_len;
    /* Without rights: the user of fl_step_unprivileged, confined (common/base/child.h), and with
     * these limits. */
    bool confine;
    const struct fl_child_limit *limits;
    size_t n_limits;
    /* What it prints; NULL: to the same stream of the step. May call fl_process_kill. */
    void (*output)(void *arg, enum fl_step_stream stream, const void *data, size_t len);
    /* It is over: once, unless freed before. `wait_status` is that of wait(2). */
    void (*over)(void *arg, int wait_status);
    void *arg;
};

/* Starts it as the leader of a process group that is noted with the step. The error's number is
 * that of what failed, with fl_exit_spawn_error's text. */
int fl_process_start(struct fl_step *step, const struct fl_process_spec *spec,
                     struct fl_process **ret_process, struct fl_err *err);

/* SIGKILL to the group; `over` runs soon, whatever becomes of it. Once or more. */
void fl_process_kill(struct fl_process *p);

/* A process that still runs is killed, and nobody told. NULL is fine. */
struct fl_process *fl_process_free(struct fl_process *p);

/* The step's end as the process's makes it: fl_exit_map, its text to stderr, fl_step_done. */
void fl_process_done(struct fl_step *step, int wait_status);
