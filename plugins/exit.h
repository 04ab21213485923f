/* exit.h - how the end of a script's process becomes a step's result (protocol 4 §3). Pure. */
#pragma once
#include "plugins/plugin.h"

/* Codes by which a script ends its document (protocol 4 §2.3). */
#define FL_EXIT_SUCCEED 168
#define FL_EXIT_FAIL    169

struct fl_exit {
    enum fl_status status;
    int code;
    char text[128]; /* to be added to stderr, "" for nothing */
};

/* `wait_status` is what wait(2) gives, `ending` why the step was being ended, if it was. */
void fl_exit_map(int wait_status, enum fl_step_ending ending, struct fl_exit *ret_exit);

/* The text for a process that could not be started: Go's wording of errno `error`. */
void fl_exit_spawn_error(const char *path, int error, char *out, size_t out_size);
