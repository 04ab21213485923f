/* Payloads of a data channel: the first byte picks the shape ('a' is the first), the rest is JSON.
 * What decodes must encode, and decode again to the same text. An acknowledgement must be read as
 * its shape reads it, whichever way it goes. */
#include <string.h>
#include "common/wire/datachannel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fl_shape *const shapes[] = {
    &fl_shape_data_ack,           &fl_shape_create_data,     &fl_shape_open_data,
    &fl_shape_session_state,      &fl_shape_channel_closed,  &fl_shape_size,
    &fl_shape_handshake_request,  &fl_shape_session_type,    &fl_shape_kms_request,
    &fl_shape_handshake_response, &fl_shape_kms_result,      &fl_shape_challenge,
    &fl_shape_handshake_complete, &fl_shape_session_content, &fl_shape_task_complete,
    &fl_shape_task_ack,
};

static void check_ack(const char *text, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(16384);
    struct fl_msg_data_ack ack;
    int64_t sequence;
    bool ok = fl_data_ack_decode(text, len, &sequence) == 0;
    bool by_shape =
        fl_json_decode(&fl_shape_data_ack, text, len, FL_DECODE_NOCASE, &arena, &ack, NULL) == 0 &&
        ack.sequence >= 0;

    if (ok != by_shape || (ok && sequence != ack.sequence))
        abort();
}

static int decode(const struct fl_shape *shape, const char *text, size_t len, struct fl_buf *out)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 22);
    void *msg = fl_arena_alloc(&arena, shape->size);
    struct fl_err err;

    if (!msg)
        return -1;
    if (fl_json_decode(shape, text, len, FL_DECODE_NOCASE, &arena, msg, &err) < 0)
        return -1;
    return fl_json_encode(shape, msg, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data + 1;
    fl_autobuf struct fl_buf once = FL_BUF(1 << 22), again = FL_BUF(1 << 22);
    const struct fl_shape *shape;
    char reason[FL_DATA_REASON_BYTES + 1];
    uint32_t flag;
    int code;

    if (size == 0)
        return 0;
    shape = shapes[(uint8_t)(data[0] - 'a') % FL_ARRAY_LEN(shapes)];
    check_ack(text, size - 1);
    fl_data_exit_code_decode(text, size - 1, &code);
    fl_data_flag_decode(text, size - 1, &flag);
    fl_data_reason_decode(text, size - 1, reason);
    if (decode(shape, text, size - 1, &once) < 0)
        return 0;
    if (decode(shape, once.data, once.len, &again) < 0 || strcmp(once.data, again.data) != 0)
        abort();
    return 0;
}
