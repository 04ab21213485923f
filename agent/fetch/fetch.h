/* fetch.h - the fetch process: what its parts share. main.c owns it and talks to whoever asks,
 * call.c takes one call to its end.
 */
#pragma once
#include <sys/queue.h>
#include "agent/lib/ipc_net.h"
#include "common/net/http.h"

struct fl_fetch_task;

struct fl_fetch {
    struct fl_loop *loop;
    struct fl_ipc *ipc;
    struct fl_timer *idle;
    struct fl_http *http;
    struct fl_proxy_conf proxy;
    struct fl_arena conf_arena;
    struct fl_fetch_conf conf;
    int64_t offset_ms; /* conf.offset_ms, set right by what services answer */
    LIST_HEAD(, fl_fetch_task) tasks;
    unsigned n_tasks;
    int argc;
    char **argv;
};

/* A call: answered in any case, unless it makes no sense (-EPROTO) or memory ends. Takes the
 * descriptors that belong to it. */
int fl_fetch_begin(struct fl_fetch *f, const struct fl_ipc_msg *msg, struct fl_err *err);
void fl_fetch_cancel(struct fl_fetch *f, uint32_t id);
