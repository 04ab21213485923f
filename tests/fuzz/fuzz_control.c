/* Control-channel payloads: the first byte picks the shape ('a' is the first), the rest is JSON.
 * What decodes must encode, and decode again to the same text. */
#include <string.h>
#include "common/wire/control.h"

#define MAX_NESTING 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fl_shape *const shapes[] = {
    &fl_shape_create_channel, &fl_shape_open_channel, &fl_shape_job,       &fl_shape_send_content,
    &fl_shape_cancel_content, &fl_shape_job_ack,      &fl_shape_job_reply, &fl_shape_job_reply_ack,
    &fl_shape_result,         &fl_shape_step,         &fl_shape_task,
};

static int decode(const struct fl_shape *shape, const char *text, size_t len, struct fl_buf *out)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 22);
    void *msg = fl_arena_alloc(&arena, shape->size);
    struct fl_err err;
    char id[64];
    int r = fl_json_decode(shape, text, len, FL_DECODE_NOCASE, &arena, msg, &err);

    if (r < 0)
        return r;
    if (shape == &fl_shape_job && ((struct fl_msg_job *)msg)->job_id)
        fl_job_command_id(((struct fl_msg_job *)msg)->job_id, id, sizeof(id));
    if (fl_json_encode(shape, msg, out) < 0)
        abort();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autobuf struct fl_buf text = FL_BUF(1 << 24);
    const struct fl_shape *shape;

    if (size == 0)
        return 0;
    shape = shapes[(uint8_t)(data[0] - 'a') % FL_ARRAY_LEN(shapes)];
    if (decode(shape, (const char *)data + 1, size - 1, &text) < 0)
        return 0;
    for (int round = 0; round < MAX_NESTING; round++) {
        fl_autobuf struct fl_buf next = FL_BUF(1 << 24);

        if (decode(shape, text.data, text.len, &next) < 0)
            abort();
        if (strcmp(text.data, next.data) == 0)
            return 0;
        fl_buf_reset(&text);
        if (fl_buf_puts(&text, next.data) < 0)
            abort();
    }
    abort();
}
