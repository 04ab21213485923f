/* dataframe.c - frames of the data channel (datachannel.h): apart from the shapes, which programs
 * use that have no need of digests and of the library that makes them.
 */
#include <stdio.h>
#include "common/base/rand.h"
#include "common/wire/datachannel.h"

#define JSON_MAX_BYTES (1 << 20)

int fl_data_frame(const char *type, uint64_t flags, const struct fl_shape *shape, const void *msg,
                  int64_t wall_ms, struct fl_buf *out)
{
    fl_autobuf struct fl_buf json = FL_BUF(JSON_MAX_BYTES);
    struct fl_frame f = { .schema_version = 1, .created_ms = (uint64_t)wall_ms, .flags = flags };
    char id[FL_UUID_BYTES];
    int r = fl_json_encode(shape, msg, &json);

    if (r < 0)
        return r;
    snprintf(f.type, sizeof(f.type), "%s", type);
    fl_uuid4(id);
    fl_uuid_parse(id, f.message_id);
    f.payload = json.data;
    f.payload_len = json.len;
    return fl_frame_encode(&f, out);
}
