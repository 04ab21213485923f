/* Bytes of smux to either role, with and without ends of one direction: in one piece and byte by
 * byte the same must come of them, with readers that pause, refuse and close. Once more where there
 * is often no room to answer. */
#include <errno.h>
#include <string.h>
#include "common/session/smux.h"

#define MAX_KEPT 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
    struct fl_smux *smux;
    struct fl_smux_stream *paused;
    uint64_t hash;  /* of what happened; the pieces that data comes in do not count */
    uint64_t total; /* bytes of data */
    size_t said;
    bool tight; /* every other time there is no room */
    unsigned asked;
};

static void add(struct end *e, uint64_t what)
{
    e->hash = (e->hash ^ what) * 1099511628211u;
}

static size_t on_room(void *arg)
{
    struct end *e = arg;

    return e->tight && ++e->asked % 2 ? 0 : 4096;
}

static int on_write(void *arg, const struct iovec *iov, size_t n)
{
    struct end *e = arg;

    for (size_t i = 0; i < n; i++)
        e->said += iov[i].iov_len;
    return 0;
}

static int on_open(void *arg, struct fl_smux_stream *st)
{
    struct end *e = arg;
    uint32_t id = fl_smux_stream_id(st);

    add(e, id);
    if (id % 7 == 0)
        return -ECONNREFUSED;
    if (id % 5 == 0 && !e->paused) {
        e->paused = st;
        fl_smux_stream_pause(st, true);
    }
    return 0;
}

static void on_data(void *arg, struct fl_smux_stream *st, const char *data, size_t len)
{
    struct end *e = arg;

    if (len == 0)
        abort();
    for (size_t i = 0; i < len; i++)
        add(e, (uint8_t)data[i]);
    e->total += len;
    if (fl_smux_stream_id(st) % 11 == 0)
        fl_smux_stream_write(st, data, FL_MIN(len, (size_t)16));
}

static void on_fin(void *arg, struct fl_smux_stream *st)
{
    struct end *e = arg;

    add(e, ~(uint64_t)fl_smux_stream_id(st));
    if (e->paused == st)
        e->paused = NULL;
    if (fl_smux_stream_write(st, "x", 1) != -EPIPE)
        abort();
    fl_smux_stream_close(st);
}

static void on_end(void *arg, struct fl_smux_stream *st)
{
    add(arg, 0x100 + fl_smux_stream_id(st));
    fl_smux_stream_end(st);
}

static struct end run(const uint8_t *data, size_t size, size_t step, bool server, bool half_close,
                      bool tight, int *ret_error)
{
    static const struct fl_smux_events events = { on_room, on_write, on_open,
                                                  on_data, on_end,   on_fin };
    const struct fl_smux_conf conf = { .server = server,
                                       .keepalive = half_close,
                                       .half_close = half_close,
                                       .max_streams = 8,
                                       .max_kept_bytes = MAX_KEPT };
    struct fl_smux_stream *st;
    struct end e = { .tight = tight };
    int64_t next_ms;
    int r = fl_smux_new(&conf, &events, &e, 0, &e.smux);

    for (int i = 0; i < 4 && !server && r == 0; i++)
        r = fl_smux_open(e.smux, NULL, &st);
    for (size_t at = 0; at < size && r == 0; at += step) {
        r = fl_smux_input(e.smux, data + at, FL_MIN(step, size - at), 0);
        if (fl_smux_streams(e.smux) > 8)
            abort();
    }
    if (r == 0 && e.paused)
        fl_smux_stream_pause(e.paused, false);
    if (r == 0 && fl_smux_kick(e.smux) == 0 && fl_smux_tick(e.smux, 12000, &next_ms) == 0 &&
        next_ms <= 12000)
        abort();
    fl_smux_free(e.smux);
    *ret_error = r;
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int way = 0; way < 4; way++) {
        bool server = way & 1, half_close = way & 2;
        int whole_error, bytes_error, tight_error;
        struct end whole = run(data, size, SIZE_MAX / 2, server, half_close, false, &whole_error);
        struct end bytes = run(data, size, 1, server, half_close, false, &bytes_error);
        struct end tight = run(data, size, 7, server, half_close, true, &tight_error);

        if (whole_error != bytes_error)
            abort();
        if (whole.total != bytes.total || whole.hash != bytes.hash)
            abort();
        if (whole.total > size || tight.total > size)
            abort();
    }
    return 0;
}
