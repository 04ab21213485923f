/* What a process of the agent may be sent by another: frames over a socket, rows, phases. The first
 * byte picks the end ('0': the monitor's to net, then net's, fetch's, net's to fetch, the worker's,
 * the monitor's to a worker). In one write and in pieces the same messages must be handled and the
 * same end be met; descriptors do not stay behind. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/lib/ipc_net.h"
#include "agent/lib/ipc_worker.h"

#define MAX_ROWS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct side {
    const struct fl_ipc_row *rows;
    size_t n;
    unsigned from, to; /* types this end receives */
} sides[] = {
    { fl_net_rows, FL_N_NET_ROWS, 32, UINT16_MAX },
    { fl_net_rows, FL_N_NET_ROWS, 0, 31 },
    { fl_fetch_rows, FL_N_FETCH_ROWS, 0, 31 },
    { fl_fetch_rows, FL_N_FETCH_ROWS, 32, UINT16_MAX },
    { fl_worker_rows, FL_N_WORKER_ROWS, 0, 31 },
    { fl_worker_rows, FL_N_WORKER_ROWS, 32, UINT16_MAX },
};

static struct seen {
    uint64_t hash;
    unsigned messages, ends;
    int why;
} seen;
static struct fl_ipc *ipc;
static bool running;

static void add(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++)
        seen.hash = (seen.hash ^ p[i]) * 1099511628211u;
    seen.hash = (seen.hash ^ len) * 1099511628211u;
}

static int on_message(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    if (seen.ends || msg->n_fds > FL_IPC_MAX_FDS)
        abort();
    seen.messages++;
    add(&msg->id, sizeof(msg->id));
    return 0;
}

/* As the monitor's: before it nothing else is allowed, afterwards it is not. */
static int on_ready(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    if (running)
        abort();
    running = true;
    fl_ipc_set_phase(ipc, FL_PHASE_RUNNING);
    return on_message(arg, msg, err);
}

static int on_running(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    if (!running)
        abort();
    return on_message(arg, msg, err);
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    if (why < 0 && !err->text[0])
        abort();
    seen.ends++;
    seen.why = why;
}

static void bind_rows(const struct side *side, struct fl_ipc_row *rows)
{
    for (size_t i = 0; i < side->n; i++) {
        rows[i] = side->rows[i];
        if (rows[i].type < side->from || rows[i].type > side->to)
            continue;
        rows[i].handler = rows[i].phases == FL_PHASE_RUNNING                          ? on_running
                          : side->rows == fl_net_rows && rows[i].type == FL_NET_READY ? on_ready
                                                                                      : on_message;
    }
}

static void turn(struct fl_loop *loop)
{
    for (int i = 0; i < 3; i++)
        fl_loop_run_once(loop, false);
}

static void receive(struct fl_loop *loop, const struct side *side, const uint8_t *data, size_t size,
                    size_t step)
{
    struct fl_ipc_row rows[MAX_ROWS];
    int fds[2];

    bind_rows(side, rows);
    running = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
        fl_ipc_new(loop, fds[0], rows, side->n, on_close, NULL, &ipc) < 0)
        abort();
    for (size_t at = 0, n; at < size && !seen.ends; at += n) {
        n = FL_MIN(step, size - at);
        if (send(fds[1], data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
            abort();
        turn(loop);
    }
    close(fds[1]);
    turn(loop);
    if (seen.ends != 1)
        abort();
    ipc = fl_ipc_free(ipc);
}

static int lowest_free_fd(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

    close(fd);
    return fd;
}

static struct fl_loop *loop; /* for all inputs */

static void free_loop(void)
{
    loop = fl_loop_free(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = { SIZE_MAX, 7 };
    const struct side *side;
    struct seen first;
    int fd;

    if (size == 0)
        return 0;
    if (!loop && (fl_loop_new(&loop) < 0 || atexit(free_loop) != 0))
        abort();
    fd = lowest_free_fd();
    side = &sides[(uint8_t)(data[0] - '0') % FL_ARRAY_LEN(sides)];
    for (size_t i = 0; i < FL_ARRAY_LEN(steps); i++) {
        seen = (struct seen){ 0 };
        receive(loop, side, data + 1, size - 1, steps[i]);
        if (i == 0)
            first = seen;
        else if (memcmp(&first, &seen, sizeof(seen)) != 0)
            abort();
    }
    if (lowest_free_fd() != fd)
        abort();
    return 0;
}
