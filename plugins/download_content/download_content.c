/* download_content.c - see download_content.h. */
#include "plugins/download_content/download_content.h"
#include <errno.h>
#include <string.h>

struct in {
    char *source_type, *destination;
    struct fl_raw source_info; /* JSON text or object */
};
static const struct fl_field in_fields[] = {
    FL_FIELD(struct in, source_type, "sourceType", 0),
    FL_FIELD(struct in, source_info, "sourceInfo", 0),
    FL_FIELD(struct in, destination, "destinationPath", 0),
};
static const struct fl_shape in_shape = FL_SHAPE(struct in, "DownloadContentPlugin", in_fields);

static const char *const source_types[] = { "GitHub", "Git", "HTTP", "S3", "SSMDocument" };

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    const struct in *in = input;

    for (size_t i = 0; in->source_type && i < FL_ARRAY_LEN(source_types); i++)
        if (strcmp(in->source_type, source_types[i]) == 0)
            return fl_err_set(err, -EOPNOTSUPP, NULL,
                              "fairlead: this agent does not download content from %s",
                              source_types[i]);
    return fl_err_set(err, -EINVAL, NULL, "invalid input: Unsupported source type");
}

static void cancel(struct fl_step *step)
{
}

const struct fl_plugin fl_plugin_download_content = {
    .name = "aws:downloadContent",
    .summary = "Download files to the node",
    .input = &in_shape,
    .start = start,
    .cancel = cancel,
};
