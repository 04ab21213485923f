/* ipc.h - framed requests between the agent's processes, over a stream socket, with fd passing.
 *
 * A frame is {u32 length of what follows the header, u16 type, u16 fd count, u32 id}, then the
 * packed struct of that type's row. Both ends share one table of rows; an unknown type, a row not
 * allowed in the current phase, or a struct that does not decode ends the connection with
 * `on_close`: the peer is wrong, not we. Descriptors that no handler takes are closed.
 */
#pragma once
#include "common/base/loop.h"
#include "common/codec/codec.h"

#define FL_IPC_MAX_FRAME_BYTES (4u << 20)
#define FL_IPC_MAX_QUEUE_BYTES (64u << 20)
#define FL_IPC_MAX_FDS         4

struct fl_ipc;

struct fl_ipc_msg {
    uint32_t id;    /* chosen by the sender; a reply repeats it */
    const void *in; /* decoded struct of the row's shape; dies after the handler returns */
    int *fds;       /* take one by setting it to -1 */
    size_t n_fds;
};

typedef int (*fl_ipc_handler_fn)(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err);

struct fl_ipc_row {
    uint16_t type;
    const char *name;
    const struct fl_shape *shape;
    unsigned phases;           /* bit mask: in which phases the peer may send it */
    fl_ipc_handler_fn handler; /* NULL: this end never receives it. Non-zero return ends the peer */
};

/* `why` is 0 for an orderly end of file, else a negative errno with its text. Runs once; the caller
 * then frees the object (may do so inside). */
typedef void (*fl_ipc_close_fn)(void *arg, int why, const struct fl_err *err);

/* Takes ownership of `fd` (a connected AF_UNIX stream socket; made non-blocking). `rows` must
 * outlive the object. The phase starts at 1. */
int fl_ipc_new(struct fl_loop *loop, int fd, const struct fl_ipc_row *rows, size_t n_rows,
               fl_ipc_close_fn on_close, void *arg, struct fl_ipc **ret_ipc);
struct fl_ipc *fl_ipc_free(struct fl_ipc *ipc);

void fl_ipc_set_phase(struct fl_ipc *ipc, unsigned phase_bit);

/* Queues one message; never blocks. fds are duplicated here, the caller keeps its own. 0, -EMSGSIZE
 * over the frame limit, -ENOBUFS over the queue limit, -EPIPE after the peer has gone. */
int fl_ipc_send(struct fl_ipc *ipc, uint16_t type, uint32_t id, const void *in, const int *fds,
                size_t n_fds);

/* Bytes queued and not yet written. */
size_t fl_ipc_queued(const struct fl_ipc *ipc);
