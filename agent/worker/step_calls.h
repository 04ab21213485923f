/* step_calls.h - the calls of one step's run (plugins/call.h): none outlives it. */
#pragma once
#include <sys/queue.h>
#include "agent/calls/calls.h"

struct fl_step_calls {
    struct fl_calls *calls; /* NULL: this host has none */
    LIST_HEAD(, fl_step_call_entry) list;
};

void fl_step_calls_init(struct fl_step_calls *s, struct fl_calls *calls);
/* Ends those under way, without their callbacks. May be used again. */
void fl_step_calls_end(struct fl_step_calls *s);

/* As their namesakes in plugins/call.h. */
int fl_step_calls_start(struct fl_step_calls *s, const struct fl_step_request *request,
                        fl_step_answer_fn done, void *arg, uint32_t *ret_id, struct fl_err *err);
int fl_step_calls_ssm(struct fl_step_calls *s, const char *operation,
                      const struct fl_shape *in_shape, const void *in,
                      const struct fl_shape *out_shape, fl_step_reply_fn done, void *arg,
                      uint32_t *ret_id, struct fl_err *err);
void fl_step_calls_cancel(struct fl_step_calls *s, uint32_t id);
