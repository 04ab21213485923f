/* monitor_priv.h - what monitor.c and status.c share. */
#pragma once
#include "agent/lib/agent_status.h"
#include "agent/lib/config.h"
#include "agent/lib/trouble.h"
#include "agent/monitor/fetchproc.h"
#include "agent/monitor/identity.h"
#include "agent/monitor/jobs.h"
#include "agent/monitor/netproc.h"
#include "agent/monitor/policyfile.h"
#include "agent/monitor/sessions.h"
#include "agent/monitor/status_socket.h"
#include "common/net/proxy.h"

#define ERROR_TEXT_BYTES 512

enum { ON_TERM, ON_INT, ON_HUP, N_SIGNALS };

struct monitor {
    const struct fl_paths *paths;
    struct fl_arena arena;
    struct fl_agent_config config;
    struct fl_registration reg;
    struct fl_platform platform;
    struct fl_proxy_conf proxy;
    char *ssm_url, *mgs_url, *kms_url;
    char *worker, *holder; /* their programs */
    struct fl_net_start start;
    int lock_fd;

    struct fl_loop *loop;
    struct fl_signal *signals[N_SIGNALS];
    struct fl_netproc *net;
    struct fl_fetchproc *worker_fetches;
    struct fl_identity_keeper *keeper;
    struct fl_jobs *jobs;
    struct fl_sessions *sessions;
    struct fl_status_socket *status;
    struct fl_policyfile policy;
    bool stopping;

    /* for status */
    int64_t started_ms;
    bool online;
    int64_t since_ms, last_ping_ms, last_error_ms;
    char last_error[ERROR_TEXT_BYTES];
    struct fl_trouble offline; /* how often it is logged */
};

/* What `fairlead-agent status` shows: a fl_status_fill_fn, `arg` is the monitor. */
void fl_monitor_status(void *arg, struct fl_arena *arena, struct fl_agent_status *out);
