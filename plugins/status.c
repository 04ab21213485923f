/* status.c - see status.h. */
#include "plugins/status.h"
#include <errno.h>
#include <string.h>

static const char *const names[FL_STATUS__N] = {
    [FL_STATUS_SKIPPED] = "Skipped",
    [FL_STATUS_SUCCESS] = "Success",
    [FL_STATUS_SUCCESS_AND_REBOOT] = "SuccessAndReboot",
    [FL_STATUS_NOT_STARTED] = "NotStarted",
    [FL_STATUS_IN_PROGRESS] = "InProgress",
    [FL_STATUS_FAILED] = "Failed",
    [FL_STATUS_CANCELLED] = "Cancelled",
    [FL_STATUS_TIMED_OUT] = "TimedOut",
};

const char *fl_status_name(enum fl_status s)
{
    return names[s];
}

int fl_status_parse(const char *name, enum fl_status *ret_status)
{
    for (size_t i = 0; i < FL_STATUS__N; i++)
        if (name && strcmp(name, names[i]) == 0) {
            *ret_status = (enum fl_status)i;
            return 0;
        }
    return -EINVAL;
}

enum fl_status fl_status_worse(enum fl_status a, enum fl_status b)
{
    return FL_MAX(a, b);
}

bool fl_status_is_bad(enum fl_status s)
{
    return s == FL_STATUS_FAILED || s == FL_STATUS_TIMED_OUT || s == FL_STATUS_CANCELLED;
}

enum fl_status fl_status_aggregate(const uint32_t counts[FL_STATUS__N])
{
    static const enum fl_status first_match[] = { FL_STATUS_SUCCESS_AND_REBOOT, FL_STATUS_FAILED,
                                                  FL_STATUS_TIMED_OUT, FL_STATUS_CANCELLED };

    for (size_t i = 0; i < FL_ARRAY_LEN(first_match); i++)
        if (counts[first_match[i]])
            return first_match[i];
    if (counts[FL_STATUS_NOT_STARTED] || counts[FL_STATUS_IN_PROGRESS])
        return FL_STATUS_IN_PROGRESS;
    return FL_STATUS_SUCCESS;
}
