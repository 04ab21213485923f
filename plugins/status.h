/* status.h - what can become of a step and of a document (protocol 4 §2.1, §2.4). Pure. */
#pragma once
#include "common/base/util.h"

/* In the order in which one result outweighs another when a step has several. */
enum fl_status {
    FL_STATUS_SKIPPED,
    FL_STATUS_SUCCESS,
    FL_STATUS_SUCCESS_AND_REBOOT,
    FL_STATUS_NOT_STARTED,
    FL_STATUS_IN_PROGRESS,
    FL_STATUS_FAILED,
    FL_STATUS_CANCELLED,
    FL_STATUS_TIMED_OUT,
    FL_STATUS__N,
};

/* As on the wire: "SuccessAndReboot". */
const char *fl_status_name(enum fl_status s);
int fl_status_parse(const char *name, enum fl_status *ret_status); /* 0 or -EINVAL */

enum fl_status fl_status_worse(enum fl_status a, enum fl_status b);

/* After a reboot only results that are bad count on, and are told once more: the good ones were. */
bool fl_status_is_bad(enum fl_status s);

/* Status of a document from the number of its results by status. */
enum fl_status fl_status_aggregate(const uint32_t counts[FL_STATUS__N]);
