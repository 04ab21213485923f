/* netproc.h - the net process, from the monitor's side: started, spoken to, started again when it
 * dies, ended in order. It gets fetch processes when it asks for one.
 */
#pragma once
#include "agent/lib/config.h"
#include "agent/lib/ipc_net.h"
#include "agent/lib/paths.h"

struct fl_netproc;

/* What net says. Structs die after the call. */
struct fl_netproc_events {
    void (*on_up)(void *arg);   /* net has started and can be spoken to */
    void (*on_down)(void *arg); /* it is gone; it will be started again */
    void (*on_token_result)(void *arg, const struct fl_net_token_result *res);
    void (*on_job)(void *arg, const struct fl_net_job *job);
    void (*on_reply_acked)(void *arg, const char *message_id);
    void (*on_state)(void *arg, const struct fl_net_state *state);
    void (*on_audit)(void *arg, const struct fl_net_audit *audit);
    void (*on_session)(void *arg, const struct fl_net_session *session);
    void (*on_session_close)(void *arg, const char *session_id);
    void (*on_task_acked)(void *arg, const char *message_id);
};

/* `start` and what it points to outlive the object. */
int fl_netproc_new(struct fl_loop *loop, const struct fl_paths *paths,
                   const struct fl_agent_config *config, const struct fl_net_start *start,
                   const struct fl_netproc_events *events, void *arg, struct fl_netproc **ret_net,
                   struct fl_err *err);
struct fl_netproc *fl_netproc_free(struct fl_netproc *net);

/* One message of enum fl_net_msg. -ENOTCONN while net is not up. */
int fl_netproc_send(struct fl_netproc *net, uint16_t type, const void *msg);

/* Asks net to close its channel in order; `done` runs once when it has ended, at the latest after
 * `timeout_ms`, when it is killed. */
void fl_netproc_stop(struct fl_netproc *net, uint64_t timeout_ms, void (*done)(void *arg));
