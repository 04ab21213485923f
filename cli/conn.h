/* conn.h - a descriptor of the client's own on the loop, read and written without ever blocking it:
 * standard streams (terminals, pipes, files, sockets) and local connections.
 */
#pragma once
#include "common/base/loop.h"

struct fl_conn;

/* Callbacks come from the loop, never before the call that causes them returns. NULL members are
 * skipped. A callback may free the object. */
struct fl_conn_events {
    /* How many bytes may come now; 0 ends reading until fl_conn_kick. */
    size_t (*room)(void *arg);
    void (*on_data)(void *arg, const char *data, size_t len);
    /* Reading has ended: 0 at the end of the stream, or -errno. Once. */
    void (*on_eof)(void *arg, int r);
    void (*on_drain)(void *arg); /* everything queued was written */
    /* Writing has ended with -errno (-EPIPE: nobody reads; -ENOMEM); what is queued is gone, and a
     * socket's peer sees a reset when it is freed. Once. */
    void (*on_broken)(void *arg, int r);
};

/* A socket; taken over (closed in the end, also on failure). */
int fl_conn_new(struct fl_loop *loop, int fd, const struct fl_conn_events *events, void *arg,
                struct fl_conn **ret_conn);

/* Standard input (0), output (1) or error (2), which stay open and as they were: pipes and
 * terminals are opened anew, because others share their flags with us. */
int fl_conn_std(struct fl_loop *loop, int fd, const struct fl_conn_events *events, void *arg,
                struct fl_conn **ret_conn);

struct fl_conn *fl_conn_free(struct fl_conn *c);

/* There is room again, or for the first time: nothing is read before the first kick. */
void fl_conn_kick(struct fl_conn *c);

/* Writes what the kernel takes and keeps a copy of the rest. 0, or writing has ended, of which
 * on_broken tells. The caller limits fl_conn_queued. */
int fl_conn_write(struct fl_conn *c, const void *data, size_t len);
size_t fl_conn_queued(const struct fl_conn *c);

/* End of stream to the peer once everything is written. */
void fl_conn_finish(struct fl_conn *c);
