/* JSON of any kind through a shape: what decodes must encode, decode again and encode the same. */
#include <string.h>
#include "common/codec/codec.h"
#include "tests/common/codec/sample.h"
#include "tests/common/codec/sample.inc"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_arena arena;
    struct fl_buf one, two;
    struct sample s;
    struct fl_err err;

    fl_arena_init(&arena, 1 << 20);
    fl_buf_init(&one, 1 << 22);
    fl_buf_init(&two, 1 << 22);
    if (fl_json_decode(&sample_shape, (const char *)data, size, FL_DECODE_NOCASE | FL_DECODE_LAX,
                       &arena, &s, &err) == 0) {
        fl_shape_check(&sample_shape, &s, NULL, NULL, &err);
        if (fl_json_encode(&sample_shape, &s, &one) < 0)
            abort();
        if (fl_json_decode(&sample_shape, one.data, one.len, FL_DECODE_LAX, &arena, &s, NULL) ==
            0) {
            if (fl_json_encode(&sample_shape, &s, &two) < 0 || one.len != two.len ||
                memcmp(one.data, two.data, one.len) != 0)
                abort();
        }
    }
    fl_buf_done(&one);
    fl_buf_done(&two);
    fl_arena_done(&arena);
    return 0;
}
