/* netproc.c - see netproc.h. */
#include "agent/monitor/netproc.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/lib/role.h"
#include "agent/monitor/fetchproc.h"
#include "common/base/backoff.h"
#include "common/base/log.h"
#include "common/base/rand.h"

#define RESTART_BASE_MS 200
#define RESTART_CAP_MS  60000
#define MAX_FETCHES     4     /* alive at once; net needs one, and a second while the first ends */
#define STEADY_MS       60000 /* having lived so long, its next end is not held against it */

struct fl_netproc {
    struct fl_loop *loop;
    const struct fl_paths *paths;
    const struct fl_agent_config *config;
    const struct fl_net_start *start;
    struct fl_netproc_events events;
    void *arg;
    struct fl_ipc_row rows[FL_N_NET_ROWS];
    struct fl_child *child;
    struct fl_fetchproc *fetches;
    struct fl_ipc *ipc;
    bool up, stopping;
    void (*stopped)(void *arg);
    struct fl_timer *timer; /* next start, or the end of patience */
    struct fl_timer *steady;
    struct fl_backoff backoff;
};

static int on_ready(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;

    fl_ipc_set_phase(net->ipc, FL_PHASE_RUNNING);
    net->up = true;
    net->events.on_up(net->arg);
    return 0;
}

static int on_token_result(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;

    net->events.on_token_result(net->arg, msg->in);
    return 0;
}

static int on_job(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;

    net->events.on_job(net->arg, msg->in);
    return 0;
}

static int on_reply_acked(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;
    const struct fl_net_reply_acked *in = msg->in;

    net->events.on_reply_acked(net->arg, in->message_id);
    return 0;
}

static int on_state(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;

    net->events.on_state(net->arg, msg->in);
    return 0;
}

static int on_audit(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;

    net->events.on_audit(net->arg, msg->in);
    return 0;
}

static int on_session(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;

    net->events.on_session(net->arg, msg->in);
    return 0;
}

static int on_session_close(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;
    const struct fl_net_session_close *in = msg->in;

    net->events.on_session_close(net->arg, in->session_id);
    return 0;
}

static int on_task_acked(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;
    const struct fl_net_reply_acked *in = msg->in;

    net->events.on_task_acked(net->arg, in->message_id);
    return 0;
}

static int on_need_fetch(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct fl_netproc *net = arg;
    struct fl_err why = { 0 };
    fl_autofd int fd = -1;
    int r = fl_fetchproc_start(net->fetches, &fd, &why);

    if (r == 0) {
        r = fl_ipc_send(net->ipc, FL_NET_FETCH, msg->id, &(struct fl_net_fetch){ .ok = true }, &fd,
                        1);
        if (r < 0)
            fl_err_set(&why, r, NULL, "cannot pass the socket: %s", strerror(-r));
    }
    if (r == 0)
        return 0;
    fl_log_error("fetch process not started", FL_S("error", fl_err_text(&why)));
    /* Without an answer net would never ask again. */
    fl_ipc_send(net->ipc, FL_NET_FETCH, msg->id,
                &(struct fl_net_fetch){ .ok = false, .error = why.text }, NULL, 0);
    return 0;
}

static const struct fl_ipc_binding bindings[] = {
    { FL_NET_READY, on_ready },
    { FL_NET_TOKEN_RESULT, on_token_result },
    { FL_NET_JOB, on_job },
    { FL_NET_REPLY_ACKED, on_reply_acked },
    { FL_NET_NEED_FETCH, on_need_fetch },
    { FL_NET_STATE, on_state },
    { FL_NET_AUDIT, on_audit },
    { FL_NET_SESSION, on_session },
    { FL_NET_SESSION_CLOSE, on_session_close },
    { FL_NET_TASK_ACKED, on_task_acked },
};

static void go_down(struct fl_netproc *net)
{
    net->ipc = fl_ipc_free(net->ipc);
    if (!net->up)
        return;
    net->up = false;
    net->events.on_down(net->arg);
}

/* Its socket closed: it is ending, or it broke the protocol and must end. */
static void on_ipc_close(void *arg, int why, const struct fl_err *err)
{
    struct fl_netproc *net = arg;

    if (why < 0)
        fl_log_error("net broke the protocol", FL_S("error", fl_err_text(err)));
    go_down(net);
    if (net->child && !net->stopping)
        fl_child_kill(net->child, SIGKILL);
}

static void start_later(struct fl_netproc *net);

static void on_exit_status(void *arg, int status)
{
    struct fl_netproc *net = arg;

    net->child = fl_child_free(net->child);
    fl_timer_stop(net->steady);
    go_down(net);
    if (net->stopping) {
        fl_timer_stop(net->timer);
        net->stopped(net->arg);
        return;
    }
    if (WIFSIGNALED(status))
        fl_log_error("net ended", FL_I("signal", WTERMSIG(status)));
    else
        fl_log_error("net ended", FL_I("status", WEXITSTATUS(status)));
    start_later(net);
}

static int start_child(struct fl_netproc *net, struct fl_err *err)
{
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return fl_err_set(err, -errno, NULL, "cannot make a socket pair: %s", strerror(errno));
    r = fl_role_spawn(net->loop, net->paths,
                      &(struct fl_role_spec){
                          .program = "fairlead-agent-net",
                          .fds = (const struct fl_child_fd[]){ { FL_ROLE_SOCKET_FD, fds[1] } },
                          .n_fds = 1,
                          .user = net->config->net_user,
                          .ca_file = net->config->ca_file,
                      },
                      on_exit_status, net, &net->child, err);
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    r = fl_ipc_new(net->loop, fds[0], net->rows, FL_N_NET_ROWS, on_ipc_close, net, &net->ipc);
    if (r < 0)
        return fl_err_set(err, r, NULL, "cannot speak to net: %s", strerror(-r));
    fl_timer_start(net->steady, STEADY_MS);
    return fl_ipc_send(net->ipc, FL_NET_START, 0, net->start, NULL, 0);
}

static void start_now(void *arg)
{
    struct fl_netproc *net = arg;
    struct fl_err err = { 0 };

    if (start_child(net, &err) == 0)
        return;
    fl_log_error("net not started", FL_S("error", fl_err_text(&err)));
    /* A child without a socket ends by itself, and is then started again. */
    if (!net->child)
        start_later(net);
}

static void start_later(struct fl_netproc *net)
{
    fl_timer_start(net->timer, fl_backoff_next_ms(&net->backoff, fl_random_u32()));
}

static void on_timer(void *arg)
{
    struct fl_netproc *net = arg;

    if (!net->stopping)
        start_now(net);
    else if (net->child)
        fl_child_kill(net->child, SIGKILL);
}

static void on_steady(void *arg)
{
    struct fl_netproc *net = arg;

    fl_backoff_reset(&net->backoff);
}

int fl_netproc_new(struct fl_loop *loop, const struct fl_paths *paths,
                   const struct fl_agent_config *config, const struct fl_net_start *start,
                   const struct fl_netproc_events *events, void *arg, struct fl_netproc **ret_net,
                   struct fl_err *err)
{
    struct fl_netproc *net = calloc(1, sizeof(*net));
    int r;

    if (!net)
        return -ENOMEM;
    net->loop = loop;
    net->paths = paths;
    net->config = config;
    net->start = start;
    net->events = *events;
    net->arg = arg;
    net->backoff = (struct fl_backoff){ .base_ms = RESTART_BASE_MS, .cap_ms = RESTART_CAP_MS };
    fl_ipc_bind(fl_net_rows, FL_N_NET_ROWS, bindings, FL_ARRAY_LEN(bindings), net->rows);
    net->timer = fl_timer_new(loop, on_timer, net);
    net->steady = fl_timer_new(loop, on_steady, net);
    r = net->timer && net->steady ? 0 : -ENOMEM;
    if (r == 0)
        r = fl_fetchproc_new(loop, paths, config, MAX_FETCHES, &net->fetches);
    if (r == 0)
        r = start_child(net, err);
    if (r < 0) {
        fl_netproc_free(net);
        return r;
    }
    *ret_net = net;
    return 0;
}

struct fl_netproc *fl_netproc_free(struct fl_netproc *net)
{
    if (!net)
        return NULL;
    net->timer = fl_timer_free(net->timer);
    net->steady = fl_timer_free(net->steady);
    net->ipc = fl_ipc_free(net->ipc);
    net->child = fl_child_free(net->child);
    net->fetches = fl_fetchproc_free(net->fetches);
    free(net);
    return NULL;
}

int fl_netproc_send(struct fl_netproc *net, uint16_t type, const void *msg)
{
    return net->up && net->ipc ? fl_ipc_send(net->ipc, type, 0, msg, NULL, 0) : -ENOTCONN;
}

void fl_netproc_stop(struct fl_netproc *net, uint64_t timeout_ms, void (*done)(void *arg))
{
    if (net->stopping)
        return;
    net->stopping = true;
    net->stopped = done;
    fl_timer_stop(net->timer);
    if (!net->child) {
        done(net->arg);
        return;
    }
    if (!net->ipc || fl_ipc_send(net->ipc, FL_NET_STOP, 0, "", NULL, 0) < 0)
        fl_child_kill(net->child, SIGKILL);
    fl_timer_start(net->timer, timeout_ms);
}
