/* values.h - the values of Parameter Store that a document refers to, asked for (protocol 4 §1.4).
 */
#pragma once
#include "agent/calls/calls.h"
#include "common/doc/ssm_refs.h"

/* Plain data: set the first four. */
struct fl_values {
    struct fl_calls *calls; /* NULL: no network */
    struct fl_ssm_refs *refs;
    void (*done)(void *arg, const struct fl_err *err); /* err NULL: every value is known */
    void *arg;
    uint32_t call; /* under way; 0: none */
};

/* Asks for all that `refs` wants, ten a call. `done` follows, once, later than the return, unless
 * this fails or it is cancelled. */
int fl_values_ask(struct fl_values *v, struct fl_err *err);
void fl_values_cancel(struct fl_values *v);
