/* dispatch.h - reads what comes over the control channel: frames, then the JSON inside, then what
 * to do about it (protocol 2 §2, §3). No I/O of its own; whatever is wrong with a frame is said to
 * `audit` and ends there, the channel stays.
 */
#pragma once
#include "agent/lib/ipc_net.h"
#include "common/base/rand.h"

struct fl_dispatch_out {
    /* A message for the service: text of `payload` under a fresh id. */
    void (*send)(void *arg, const char *type, const char *payload, size_t len);
    /* 0, or negative when the monitor cannot take it now. */
    int (*job)(void *arg, const struct fl_net_job *job);
    void (*acked)(void *arg, const char *message_id);
    int (*session)(void *arg, const struct fl_net_session *session); /* as `job` */
    void (*session_close)(void *arg, const char *session_id);
    void (*task_acked)(void *arg, const char *message_id);
    void (*audit)(void *arg, const char *event, const char *subject, const char *detail);
};

struct fl_dispatch {
    const char *node_id;
    const char *agent_version;
    const struct fl_dispatch_out *out;
    void *arg;
    /* Audit lines a hostile or broken peer can cause are bounded. */
    int64_t audit_window_ms;
    unsigned audits, audits_dropped;
};

void fl_dispatch_message(struct fl_dispatch *d, const char *data, size_t len);

/* Sends agent_job_ack with the text that goes with the code. */
void fl_dispatch_ack(struct fl_dispatch *d, const struct fl_net_job_ack *ack);
