/* Messages between monitor, net and fetch: the first byte picks the row ('a' is the first of net's,
 * 'o' of fetch's), the rest is the packed struct. What decodes encodes to the same bytes. */
#include <string.h>
#include "agent/lib/ipc_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 24);
    fl_autobuf struct fl_buf again = FL_BUF(FL_IPC_MAX_FRAME_BYTES);
    const struct fl_ipc_row *row;
    size_t pick;
    void *msg;

    if (size == 0)
        return 0;
    pick = (uint8_t)(data[0] - 'a') % (FL_N_NET_ROWS + FL_N_FETCH_ROWS);
    row = pick < FL_N_NET_ROWS ? &fl_net_rows[pick] : &fl_fetch_rows[pick - FL_N_NET_ROWS];
    msg = fl_arena_alloc(&arena, row->shape->size);
    if (!msg || fl_pack_decode(row->shape, data + 1, size - 1, &arena, msg) < 0)
        return 0;
    if (fl_pack_encode(row->shape, msg, &again) < 0 || again.len != size - 1 ||
        (again.len && memcmp(again.data, data + 1, again.len) != 0))
        abort();
    return 0;
}
