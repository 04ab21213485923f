/* net.c - the session process, which has the data channel: started, and what it asks for. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/holder/holder_priv.h"
#include "agent/lib/role.h"
#include "agent/lib/text.h"
#include "common/base/log.h"

#define SESSION_FILE_MAX_BYTES ((rlim_t)1 << 30)

static int on_run(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct holder *h = arg;
    int fds[FL_HOLDER_MAX_FDS] = { -1, -1, -1 };
    struct fl_err why = { 0 };
    size_t n = 0;
    int r;

    if (h->started || h->plan.kind == FL_SESSION_PORT)
        return fl_err_set(err, -EPROTO, NULL, "not to be started");
    h->started = true;
    r = fl_holder_start_child(h, msg->in, fds, &n, &why);
    if (r < 0)
        fl_log_warn("session not started", FL_S("session", h->session.session_id),
                    FL_S("error", fl_err_text(&why)));
    r = fl_ipc_send(h->net, FL_SESS_CHILD, 0,
                    &(struct fl_sess_child){ .ok = r == 0, .error = why.text }, fds, n);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    malloc_trim(0);
    return r;
}

static int on_signal(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_sess_signal *in = msg->in;
    struct holder *h = arg;

    if (in->signo != SIGINT && in->signo != SIGQUIT)
        return fl_err_set(err, -EPROTO, NULL, "no such signal");
    if (h->user_child)
        fl_child_kill(h->user_child, in->signo);
    return 0;
}

static int on_over(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_sess_over *in = msg->in;
    bool ok = in->status && strcmp(in->status, FL_SESSION_SUCCESS) == 0;

    fl_holder_finish(arg, ok ? FL_SESSION_SUCCESS : FL_SESSION_FAILED, in->output);
    return 0;
}

static void ask_creds(struct holder *h)
{
    if (h->monitor)
        fl_ipc_send(h->monitor, FL_HOLDER_NEED_CREDS, 0, "", NULL, 0);
}

static int on_net_needs_creds(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    ask_creds(arg);
    return 0;
}

static const struct fl_ipc_binding net_bindings[] = {
    { FL_SESS_RUN, on_run },
    { FL_SESS_SIGNAL, on_signal },
    { FL_SESS_OVER, on_over },
    { FL_SESS_NEED_CREDS, on_net_needs_creds },
};

static void on_net_close(void *arg, int why, const struct fl_err *err)
{
    struct holder *h = arg;

    if (why < 0)
        fl_log_error("the session process broke the protocol",
                     FL_S("session", h->session.session_id), FL_S("error", fl_err_text(err)));
    h->net = fl_ipc_free(h->net);
    if (h->net_child)
        fl_child_kill(h->net_child, SIGKILL);
}

static void on_net_exit(void *arg, int status)
{
    struct holder *h = arg;
    char text[128];

    h->net_child = fl_child_free(h->net_child);
    h->net = fl_ipc_free(h->net);
    if (h->ending) {
        fl_holder_finish(h, FL_SESSION_SUCCESS, "");
        return;
    }
    if (WIFSIGNALED(status))
        snprintf(text, sizeof(text),
                 "the process of this session's data channel was killed by "
                 "signal %d",
                 WTERMSIG(status));
    else
        snprintf(text, sizeof(text),
                 "the process of this session's data channel ended with "
                 "status %d",
                 WEXITSTATUS(status));
    fl_holder_fail(h, text);
}

/* A session process gone bad fills no disk. */
static void limit_files(struct holder *h)
{
    const struct rlimit limit = { SESSION_FILE_MAX_BYTES, SESSION_FILE_MAX_BYTES };

    prlimit(fl_child_pid(h->net_child), RLIMIT_FSIZE, &limit, NULL);
}

/* What is not kept is no reason to have no session. */
static int open_record(struct holder *h, int64_t *ret_max_bytes)
{
    struct fl_err err = { 0 };
    int fd = -1;

    if (h->record && fl_record_open(h->record, &fd, ret_max_bytes, &err) < 0)
        fl_log_warn("what the session prints is not kept", FL_S("session", h->session.session_id),
                    FL_S("error", fl_err_text(&err)));
    return fd;
}

int fl_holder_start_net(struct holder *h, struct fl_err *err)
{
    int64_t record_max_bytes = 0;
    fl_autofd int record_fd = open_record(h, &record_max_bytes);
    const struct fl_session *s = &h->session;
    const struct fl_session_plan *p = &h->plan;
    const struct fl_sess_start start = {
        .session_id = s->session_id,
        .node_id = s->node_id,
        .region = s->region,
        .mgs_region = s->mgs_region,
        .mgs_url = s->mgs_url,
        .kms_url = s->kms_url,
        .agent_version = s->agent_version,
        .ca_file = s->ca_file,
        .proxy_http = s->proxy_http,
        .proxy_https = s->proxy_https,
        .no_proxy = s->no_proxy,
        .log_level = s->log_level,
        .log_format = s->log_format,
        .type = fl_text(p->type),
        .properties = p->properties,
        .kms_key_id = p->kms_key_id,
        .require_challenge = s->require_challenge,
        .handshake = p->extras.handshake,
        .max_payload = p->extras.max_payload,
        .end_of_input = p->extras.end_of_input,
        .separate_output = p->separate_output,
        .has_stdin = p->has_stdin,
        .stdout_prefix = p->stdout_prefix,
        .stderr_prefix = p->stderr_prefix,
        .profile = p->profile,
        .denied_ips = s->denied_ips,
        .record_max_bytes = record_max_bytes,
    };
    int fds[2], r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return fl_err_set(err, -errno, NULL, "cannot make a socket pair: %s", strerror(errno));
    r = fl_role_spawn(h->loop, &h->paths,
                      &(struct fl_role_spec){
                          .program = "fairlead-agent-session",
                          .fds = (const struct fl_child_fd[]){ { FL_ROLE_SOCKET_FD, fds[1] } },
                          .n_fds = 1,
                          .user = s->net_user,
                          .ca_file = s->ca_file,
                      },
                      on_net_exit, h, &h->net_child, err);
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    limit_files(h);
    fl_ipc_bind(fl_sess_rows, FL_N_SESS_ROWS, net_bindings, FL_ARRAY_LEN(net_bindings),
                h->net_rows);
    r = fl_ipc_new(h->loop, fds[0], h->net_rows, FL_N_SESS_ROWS, on_net_close, h, &h->net);
    if (r == 0)
        r = fl_ipc_send(h->net, FL_SESS_START, 0, &start, &record_fd, record_fd >= 0);
    if (r == 0)
        ask_creds(h); /* what came before went nowhere */
    return r < 0 ? fl_err_set(err, r, NULL, "cannot speak to the session process: %s", strerror(-r))
                 : 0;
}
