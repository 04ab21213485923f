/* Chunked bodies: in one piece and byte by byte, the same must come out. */
#include <string.h>
#include "common/net/chunked.h"

#define MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int decode(const uint8_t *data, size_t size, size_t step, struct fl_buf *out,
                  size_t *ret_used)
{
    struct fl_chunked c;
    int r = 0;

    *ret_used = 0;
    fl_chunked_init(&c);
    fl_buf_init(out, MAX_BYTES);
    while (r == 0 && *ret_used < size) {
        size_t n = FL_MIN(step, size - *ret_used), used = 0;

        r = fl_chunked_feed(&c, (const char *)data + *ret_used, n, out, &used);
        if (used > n || (r == 0 && used != n))
            abort();
        *ret_used += used;
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fl_buf whole, bytes;
    size_t used_whole, used_bytes;
    int a = decode(data, size, SIZE_MAX, &whole, &used_whole);
    int b = decode(data, size, 1, &bytes, &used_bytes);

    if (a != b || (a >= 0 && (used_whole != used_bytes || whole.len != bytes.len)))
        abort();
    if (a >= 0 && whole.len && memcmp(whole.data, bytes.data, whole.len) != 0)
        abort();
    fl_buf_done(&whole);
    fl_buf_done(&bytes);
    return 0;
}
