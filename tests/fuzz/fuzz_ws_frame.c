/* WebSocket frames of either side: in one piece and byte by byte, the same messages must come out.
 */
#include <string.h>
#include "common/net/ws_frame.h"

#define MAX_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct summary {
    unsigned messages;
    uint64_t hash;
    int error;
};

static void add(struct summary *s, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        s->hash = (s->hash ^ p[i]) * 1099511628211u;
    s->hash ^= len;
}

static struct summary read_all(const uint8_t *data, size_t size, size_t step, bool from_client)
{
    struct summary s = { 0 };
    struct fl_ws_reader r;
    uint8_t *copy = malloc(size + 1);
    size_t at = 0;
    int op = 0;

    memcpy(copy, data, size);
    fl_ws_reader_init(&r, from_client, MAX_BYTES);
    while (at < size && op >= 0) {
        size_t n = FL_MIN(step, size - at), used = 0;

        op = fl_ws_reader_feed(&r, copy + at, n, &used);
        if (used > n || (op == 0 && used != n))
            abort();
        at += used;
        if (op > 0) {
            s.messages++;
            if (op >= FL_WS_OP_CLOSE)
                add(&s, r.control, r.control_len);
            else
                add(&s, r.message.data, r.message.len);
        }
        if (r.message.len > MAX_BYTES || r.control_len > FL_WS_CONTROL_MAX_BYTES)
            abort();
    }
    s.error = op < 0 ? op : 0;
    fl_ws_reader_done(&r);
    free(copy);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int from_client = 0; from_client < 2; from_client++) {
        struct summary a = read_all(data, size, SIZE_MAX, from_client);
        struct summary b = read_all(data, size, 1, from_client);

        if (a.messages != b.messages || a.hash != b.hash || a.error != b.error)
            abort();
    }
    return 0;
}
