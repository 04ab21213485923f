/* A frame from a peer: what is accepted must be written and read again the same. */
#include <string.h>
#include "common/wire/agentmessage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autobuf struct fl_buf out = FL_BUF(1 << 24);
    struct fl_frame f, again;
    struct fl_err err;

    if (fl_frame_decode(data, size, &f, &err) < 0)
        return 0;
    if (fl_frame_encode(&f, &out) < 0 || out.len != size ||
        fl_frame_decode(out.data, out.len, &again, NULL) < 0)
        abort();
    if (strcmp(f.type, again.type) != 0 || f.created_ms != again.created_ms ||
        f.sequence != again.sequence || f.flags != again.flags ||
        f.payload_type != again.payload_type || f.payload_len != again.payload_len ||
        memcmp(f.message_id, again.message_id, sizeof(f.message_id)) != 0 ||
        memcmp(f.payload, again.payload, f.payload_len) != 0)
        abort();
    return 0;
}
