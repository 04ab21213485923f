/* cloud_watch.c - see cloud_watch.h. */
#include "plugins/cloud_watch/cloud_watch.h"
#include <errno.h>

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    return fl_err_set(err, -EOPNOTSUPP, NULL, "Plugin aws:cloudWatch is not registered by agent");
}

static void cancel(struct fl_step *step)
{
}

const struct fl_plugin fl_plugin_cloud_watch = {
    .name = "aws:cloudWatch",
    .summary = "Send metrics and logs (Windows)",
    .start = start,
    .cancel = cancel,
};
