/* refresh_association.c - see refresh_association.h. */
#include "plugins/refresh_association/refresh_association.h"

struct in {
    struct fl_strs ids;
};
static const struct fl_field in_fields[] = { FL_FIELD(struct in, ids, "associationIds", 0) };
static const struct fl_shape in_shape =
    FL_SHAPE(struct in, "RefreshAssociationPluginInput", in_fields);

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    fl_step_puts(step, FL_STEP_STDOUT,
                 "fairlead: this agent runs no associations: there is nothing to refresh");
    fl_step_done(step, FL_STATUS_SUCCESS, 0);
    return 0;
}

static void cancel(struct fl_step *step)
{
}

const struct fl_plugin fl_plugin_refresh_association = {
    .name = "aws:refreshAssociation",
    .summary = "Run the node's associations now",
    .input = &in_shape,
    .start = start,
    .cancel = cancel,
};
