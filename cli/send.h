/* send.h - SendCommand. */
#pragma once
#include "cli/commands.h"

struct fl_send {
    const char *document, *version, *comment, *concurrency, *max_errors;
    struct fl_strs nodes;
    struct fl_target *targets;
    size_t n_targets;
    struct fl_raw parameters; /* {"name": ["value", …]} */
    int64_t timeout_s;        /* for delivery; 0: the service's own */
};

/* Sends it, and follows it unless `detach`; f->id stays in the arena. From before it is sent Ctrl-C
 * is fl_follow's. The exit status, or what could not be done. */
int fl_send_and_follow(struct fl_cli *cli, const struct fl_send *in, struct fl_follow *f,
                       bool detach, struct fl_arena *arena, struct fl_err *err);
