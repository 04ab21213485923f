/* Packed structs between our own processes: what decodes must encode to the same bytes. */
#include <string.h>
#include "common/codec/codec.h"
#include "tests/common/codec/sample.h"
#include "tests/common/codec/sample.inc"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_arena arena;
    struct fl_buf out;
    struct sample s;

    fl_arena_init(&arena, 1 << 20);
    fl_buf_init(&out, 1 << 20);
    if (fl_pack_decode(&sample_shape, data, size, &arena, &s) == 0) {
        if (fl_pack_encode(&sample_shape, &s, &out) < 0 || out.len != size ||
            memcmp(out.data, data, size) != 0)
            abort();
    }
    fl_buf_done(&out);
    fl_arena_done(&arena);
    return 0;
}
