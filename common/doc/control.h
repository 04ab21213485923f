/* control.h - what a step says beside its inputs: timeoutSeconds, maxAttempts, onFailure, onCancel,
 * nextStep, isEnd. Pure.
 *
 * The official agent reads none of it (protocol 4 §1.1). Here it counts in documents that ask for
 * it, by a parameter FL_DOC_CONTROL_PARAMETER with the value "written": any service that keeps
 * documents takes a parameter, and an agent that does not know this one ignores it.
 */
#pragma once
#include "common/codec/codec.h"

#define FL_DOC_CONTROL_PARAMETER "fairleadSteps"
#define FL_DOC_MAX_ATTEMPTS      100
#define FL_DOC_MAX_TIMEOUT_S     172800

enum fl_doc_on_failure {
    FL_ON_FAILURE_DEFAULT, /* what the inputs say; else the next step */
    FL_ON_FAILURE_ABORT,
    FL_ON_FAILURE_SUCCEED, /* and later steps are skipped */
    FL_ON_FAILURE_GO_TO,
};

/* All zero: nothing written. A step that is gone to is a later one: its index is never 0. */
struct fl_doc_control {
    int64_t timeout_s;     /* of one attempt */
    uint32_t max_attempts; /* 0 as 1 */
    enum fl_doc_on_failure on_failure;
    size_t failure_step, cancel_step, next_step;
    bool is_end;
};

/* The members as they stand in a step. */
struct fl_doc_control_in {
    const char *on_failure;
    int64_t max_attempts, timeout_seconds;
    const char *on_cancel, *next_step, *is_end; /* JSON text or NULL */
};

/* Does the document ask for it? `value` is the parameter's (json_t *, NULL: not declared): 1, 0 or
 * -EINVAL for anything but "written" and "official". */
int fl_doc_control_wanted(const void *value, struct fl_err *err);

/* Reads the members of step `index` of those with these names. -EINVAL for what they cannot say. */
int fl_doc_control_read(const struct fl_doc_control_in *in, size_t index, const char *const *names,
                        size_t n_names, struct fl_doc_control *ret, struct fl_err *err);
