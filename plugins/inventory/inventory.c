/* inventory.c - see inventory.h. */
#include "plugins/inventory/inventory.h"
#include <errno.h>

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    return fl_err_set(err, -EOPNOTSUPP, NULL,
                      "aws:softwareInventory plugin can only be invoked via ssm-associate");
}

static void cancel(struct fl_step *step)
{
}

const struct fl_plugin fl_plugin_inventory = {
    .name = "aws:softwareInventory",
    .summary = "Collect inventory of the node",
    .input = &fl_shape_empty,
    .start = start,
    .cancel = cancel,
};
