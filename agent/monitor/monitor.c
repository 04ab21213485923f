/* monitor.c - see monitor.h. Ties together: net, identity, jobs, status. */
#include "agent/monitor/monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include "agent/lib/vault.h"
#include "agent/monitor/monitor_priv.h"
#include "common/aws/endpoint.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/nodump.h"

#define MEMORY_MAX_BYTES   (1u << 20) /* configuration and registration */
#define MAX_WORKER_FETCHES 32         /* alive at once */
#define NET_STOP_MAX_MS    5000
#define MMAP_THRESHOLD     65536 /* large buffers go back to the system when freed */

/* ---- net's events ---- */

static void on_net_up(void *arg)
{
    struct monitor *m = arg;

    fl_identity_keeper_net_up(m->keeper);
}

static void go_offline(struct monitor *m)
{
    if (!m->online)
        return;
    m->online = false;
    m->since_ms = fl_now_ms();
    fl_jobs_online(m->jobs, false);
    fl_sessions_online(m->sessions, false);
}

static void on_net_down(void *arg)
{
    struct monitor *m = arg;

    fl_identity_keeper_net_down(m->keeper);
    go_offline(m);
}

static void on_token_result(void *arg, const struct fl_net_token_result *res)
{
    struct monitor *m = arg;

    fl_identity_keeper_result(m->keeper, res);
}

static void on_job(void *arg, const struct fl_net_job *job)
{
    struct monitor *m = arg;

    fl_jobs_handle(m->jobs, job);
}

static void on_reply_acked(void *arg, const char *message_id)
{
    struct monitor *m = arg;

    fl_jobs_acked(m->jobs, message_id);
}

/* One line when the node goes online or offline, and some while it stays offline. */
static void log_state(struct monitor *m, bool was_online)
{
    if (m->online && !was_online)
        fl_log_info("online", FL_S("node", m->reg.node_id));
    if (m->online)
        fl_trouble_over(&m->offline);
    else if (m->last_error[0] && fl_trouble_is_due(&m->offline, fl_mono_ms()))
        fl_log_warn("offline", FL_S("node", m->reg.node_id), FL_S("error", m->last_error));
}

static void on_state(void *arg, const struct fl_net_state *state)
{
    struct monitor *m = arg;
    bool was_online = m->online;
    bool reopened = state->online && (!was_online || state->since_ms != m->since_ms);

    m->online = state->online;
    m->since_ms = state->since_ms;
    m->last_ping_ms = state->last_ping_ms;
    m->last_error_ms = state->last_error_ms;
    snprintf(m->last_error, sizeof(m->last_error), "%s",
             state->last_error ? state->last_error : "");
    log_state(m, was_online);
    if (reopened || was_online != m->online) {
        fl_jobs_online(m->jobs, m->online);
        fl_sessions_online(m->sessions, m->online);
    }
    if (reopened)
        fl_identity_keeper_online(m->keeper);
    if (state->creds_refused)
        fl_identity_keeper_refused(m->keeper);
}

static void on_audit(void *arg, const struct fl_net_audit *audit)
{
    fl_log_warn("audit", FL_S("event", audit->event), FL_S("subject", audit->subject),
                FL_S("detail", audit->detail));
}

static void on_session(void *arg, const struct fl_net_session *session)
{
    struct monitor *m = arg;

    fl_sessions_handle(m->sessions, session);
}

static void on_session_close(void *arg, const char *session_id)
{
    struct monitor *m = arg;

    fl_sessions_end(m->sessions, session_id);
}

static void on_task_acked(void *arg, const char *message_id)
{
    struct monitor *m = arg;

    fl_sessions_acked(m->sessions, message_id);
}

static const struct fl_netproc_events net_events = {
    .on_up = on_net_up,
    .on_down = on_net_down,
    .on_token_result = on_token_result,
    .on_job = on_job,
    .on_reply_acked = on_reply_acked,
    .on_state = on_state,
    .on_audit = on_audit,
    .on_session = on_session,
    .on_session_close = on_session_close,
    .on_task_acked = on_task_acked,
};

/* ---- what goes to net ---- */

static int send_call(void *arg, const struct fl_net_signed_call *call)
{
    struct monitor *m = arg;

    return fl_netproc_send(m->net, FL_NET_TOKEN_CALL, call);
}

static void send_creds(void *arg, const struct fl_net_creds *creds)
{
    struct monitor *m = arg;

    fl_netproc_send(m->net, FL_NET_CREDS, creds);
    fl_sessions_renew(m->sessions);
}

static const struct fl_identity_events identity_events = {
    .send_call = send_call,
    .on_creds = send_creds,
};

static int send_ack(void *arg, const struct fl_net_job_ack *ack)
{
    struct monitor *m = arg;

    return fl_netproc_send(m->net, FL_NET_JOB_ACK, ack);
}

static int send_reply(void *arg, const struct fl_net_job_reply *reply)
{
    struct monitor *m = arg;

    return fl_netproc_send(m->net, FL_NET_JOB_REPLY, reply);
}

static int send_complete(void *arg, const struct fl_net_task_complete *complete)
{
    struct monitor *m = arg;

    return fl_netproc_send(m->net, FL_NET_TASK_COMPLETE, complete);
}

static struct fl_net_creds session_creds(void *arg, int64_t *ret_offset_ms)
{
    struct monitor *m = arg;

    return fl_identity_keeper_creds(m->keeper, ret_offset_ms);
}

static int start_worker_fetch(void *arg, int *ret_fd, struct fl_err *err)
{
    struct monitor *m = arg;
    int64_t offset_ms;
    const struct fl_net_creds creds = fl_identity_keeper_creds(m->keeper, &offset_ms);

    return fl_fetchproc_start_for_worker(m->worker_fetches, &m->start, &creds, offset_ms, ret_fd,
                                         err);
}

/* ---- stopping ---- */

static void on_net_stopped(void *arg)
{
    struct monitor *m = arg;

    fl_loop_stop(m->loop);
}

/* Workers go on by themselves and are found again at the next start. */
static void on_stop_signal(void *arg, int signo)
{
    struct monitor *m = arg;

    if (m->stopping) {
        fl_loop_stop(m->loop);
        return;
    }
    m->stopping = true;
    fl_log_info("stopping", FL_I("signal", signo));
    fl_jobs_close(m->jobs);
    fl_sessions_close(m->sessions);
    fl_netproc_stop(m->net, (uint64_t)FL_MIN(m->config.stop_timeout_ms, (int64_t)NET_STOP_MAX_MS),
                    on_net_stopped);
}

/* `systemctl reload`. */
static void on_reload_signal(void *arg, int signo)
{
    struct monitor *m = arg;

    fl_policyfile_load(&m->policy);
}

/* ---- starting ---- */

static int load_config(struct monitor *m, const struct fl_cli *cli, struct fl_err *err)
{
    enum fl_log_level level = FL_LOG_INFO;
    enum fl_log_format format;
    int r = fl_agent_config_load(m->paths->config, &m->arena, &m->config, err);

    if (r < 0)
        return r;
    if (cli->log_level)
        m->config.log_level = fl_arena_strdup(&m->arena, cli->log_level);
    if (m->config.log_level && fl_log_level_parse(m->config.log_level, &level) < 0)
        return fl_err_set(err, -EINVAL, NULL, "log level %s: not error, warn, info or debug",
                          m->config.log_level);
    format = m->config.log_format && strcmp(m->config.log_format, "json") == 0 ? FL_LOG_JSON
                                                                               : FL_LOG_TEXT;
    fl_log_setup(level, format, "monitor");
    return 0;
}

/* One monitor for a runtime folder; the lock goes with the process. */
static int take_lock(struct monitor *m, struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(m->paths->runtime, "monitor.lock");
    char pid[24] = "";

    m->lock_fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (m->lock_fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path ? path : "lock", strerror(errno));
    if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        pid[fl_fd_read_upto(m->lock_fd, pid, sizeof(pid) - 1)] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        return fl_err_set(err, -EBUSY, NULL,
                          "another fairlead-agent already runs here (process %s)",
                          pid[0] ? pid : "unknown");
    }
    snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(m->lock_fd, 0) < 0 || fl_fd_write_all(m->lock_fd, pid, strlen(pid)) < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    return 0;
}

static bool given(const char *s)
{
    return s && s[0];
}

static int fill_start(struct monitor *m, struct fl_err *err)
{
    const struct fl_agent_config *c = &m->config;
    char *region = given(c->agent_region) ? c->agent_region : m->reg.region;
    char *mgs_region = given(c->mgs_region) ? c->mgs_region : m->reg.region;
    int r;

    m->proxy = (struct fl_proxy_conf){
        .http = given(c->proxy_http) ? strdup(c->proxy_http) : NULL,
        .https = given(c->proxy_https) ? strdup(c->proxy_https) : NULL,
        .no_proxy = given(c->no_proxy) ? strdup(c->no_proxy) : NULL,
    };
    r = fl_proxy_from_env(&m->proxy);
    /* Where the identity is registered: its key signs for this host. */
    if (r == 0)
        r = fl_endpoint_url("ssm", m->reg.region, c->service_domain, c->ssm_endpoint, &m->ssm_url,
                            err);
    if (r == 0)
        r = fl_endpoint_url("ssmmessages", mgs_region, c->service_domain, c->mgs_endpoint,
                            &m->mgs_url, err);
    if (r == 0)
        r = fl_endpoint_url("kms", region, c->service_domain, c->kms_endpoint, &m->kms_url, err);
    if (r < 0)
        return r;
    fl_platform_get(&m->platform);
    m->start = (struct fl_net_start){
        .node_id = m->reg.node_id,
        .region = region,
        .mgs_region = mgs_region,
        .ssm_url = m->ssm_url,
        .mgs_url = m->mgs_url,
        .ca_file = given(c->ca_file) ? c->ca_file : NULL,
        .proxy_http = m->proxy.http,
        .proxy_https = m->proxy.https,
        .no_proxy = m->proxy.no_proxy,
        .agent_name = c->agent_name,
        .agent_version = fl_arena_strdup(&m->arena, FL_AGENT_WIRE_VERSION),
        .platform_type = m->platform.type,
        .platform_name = m->platform.name,
        .platform_version = m->platform.version,
        .computer_name = m->platform.computer_name,
        .ip_address = m->platform.ip_address,
        .log_level = c->log_level,
        .log_format = c->log_format,
        .health_ms = c->health_minutes * 60 * 1000,
    };
    return 0;
}

static int load_registration(struct monitor *m, struct fl_err *err)
{
    int r = fl_vault_load(m->paths->state, false, &m->arena, &m->reg, err);

    if (r < 0)
        return r;
    if (m->reg.node_id && m->reg.region)
        return 0;
    return fl_err_set(
        err, -ENOKEY, NULL,
        "this machine is not registered. Create an activation, then run: fairlead-agent "
        "-register -id <activation id> -code <activation code> -region <region>");
}

static int prepare(struct monitor *m, const struct fl_cli *cli, struct fl_err *err)
{
    int r = load_config(m, cli, err);

    if (r == 0)
        r = fl_dir_make(m->paths->state, 0700, err);
    if (r == 0)
        r = fl_dir_make(m->paths->runtime, 0755, err);
    if (r == 0)
        r = take_lock(m, err);
    if (r == 0)
        r = load_registration(m, err);
    if (r == 0)
        r = fill_start(m, err);
    return r;
}

static int start(struct monitor *m, struct fl_err *err)
{
    /* To an agent that was started from a terminal, SIGHUP says that the terminal is gone. */
    const struct {
        int signo;
        void (*fn)(void *arg, int signo);
    } signals[] = {
        [ON_TERM] = { SIGTERM, on_stop_signal },
        [ON_INT] = { SIGINT, on_stop_signal },
        [ON_HUP] = { SIGHUP, isatty(STDIN_FILENO) ? on_stop_signal : on_reload_signal },
    };
    const struct fl_jobs_out out = { .ack = send_ack, .reply = send_reply, .arg = m };
    int r = fl_loop_new(&m->loop);

    fl_loop_pool_size(FL_MONITOR_POOL_THREADS);
    if (r < 0)
        return fl_err_set(err, r, NULL, "no event loop: %s", strerror(-r));
    for (size_t i = 0; i < FL_ARRAY_LEN(signals); i++) {
        m->signals[i] = fl_signal_new(m->loop, signals[i].signo, signals[i].fn, m);
        if (!m->signals[i])
            return fl_err_nomem(err);
    }
    m->policy = (struct fl_policyfile){
        .path = given(m->config.policy_file) ? m->config.policy_file : m->paths->policy,
        .required = given(m->config.policy_file),
    };
    fl_policyfile_load(&m->policy);
    r = fl_identity_keeper_new(m->loop, m->paths, &m->config, &m->reg, &identity_events, m,
                               &m->keeper, err);
    /* Net first: it gets its connection ready while the jobs are looked through. */
    if (r == 0)
        r = fl_netproc_new(m->loop, m->paths, &m->config, &m->start, &net_events, m, &m->net, err);
    if (r == 0)
        r = fl_fetchproc_new(m->loop, m->paths, &m->config, MAX_WORKER_FETCHES, &m->worker_fetches);
    m->worker = fl_path_join(m->paths->libexec, "fairlead-agent-worker");
    m->holder = fl_path_join(m->paths->libexec, "fairlead-agent-holder");
    if (r == 0 && (!m->worker || !m->holder))
        r = fl_err_nomem(err);
    if (r == 0)
        r = fl_jobs_new(&(struct fl_jobs_conf){ .loop = m->loop,
                                                .state_dir = m->paths->state,
                                                .config = &m->config,
                                                .platform = &m->platform,
                                                .node_id = m->reg.node_id,
                                                .region = m->start.region,
                                                .program = "/proc/self/exe",
                                                .worker = m->worker,
                                                .paths = m->paths,
                                                .policy = &m->policy,
                                                .out = out,
                                                .fetch = { start_worker_fetch, m } },
                        &m->jobs, err);
    if (r == 0)
        r = fl_sessions_new(&(struct fl_sessions_conf){ .loop = m->loop,
                                                        .config = &m->config,
                                                        .paths = m->paths,
                                                        .net = &m->start,
                                                        .kms_url = m->kms_url,
                                                        .holder = m->holder,
                                                        .policy = &m->policy,
                                                        .limit = fl_jobs_limit(m->jobs),
                                                        .complete = send_complete,
                                                        .creds = session_creds,
                                                        .arg = m,
                                                        .fetch = { start_worker_fetch, m } },
                            &m->sessions, err);
    if (r == 0)
        r = fl_status_socket_new(m->loop, m->paths->runtime, fl_monitor_status, m, &m->status, err);
    return r;
}

static void done(struct monitor *m)
{
    m->status = fl_status_socket_free(m->status);
    m->sessions = fl_sessions_free(m->sessions);
    m->jobs = fl_jobs_free(m->jobs);
    m->net = fl_netproc_free(m->net);
    m->worker_fetches = fl_fetchproc_free(m->worker_fetches);
    m->keeper = fl_identity_keeper_free(m->keeper);
    for (size_t i = 0; i < FL_ARRAY_LEN(m->signals); i++)
        m->signals[i] = fl_signal_free(m->signals[i]);
    m->loop = fl_loop_free(m->loop);
    if (m->lock_fd >= 0)
        close(m->lock_fd);
    fl_proxy_conf_done(&m->proxy);
    free(m->ssm_url);
    free(m->worker);
    free(m->holder);
    free(m->mgs_url);
    free(m->kms_url);
    fl_arena_done(&m->arena);
}

static int exit_status(int error)
{
    static const struct {
        int error, status;
    } rows[] = {
        { 0, 0 },
        { -EBUSY, FL_MONITOR_EXIT_RUNNING },
        { -ENOKEY, FL_MONITOR_EXIT_NOT_REGISTERED },
        { -EINVAL, FL_MONITOR_EXIT_NOT_REGISTERED },
        { -EBADMSG, FL_MONITOR_EXIT_NOT_REGISTERED },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(rows); i++)
        if (rows[i].error == error)
            return rows[i].status;
    return 1;
}

int fl_monitor_main(const struct fl_cli *cli, const struct fl_paths *paths)
{
    struct monitor m = { .paths = paths, .lock_fd = -1, .started_ms = fl_now_ms() };
    struct fl_err err = { 0 };
    int r;

    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    mallopt(M_TRIM_THRESHOLD, MMAP_THRESHOLD);
    signal(SIGPIPE, SIG_IGN);
    umask(022);       /* scripts inherit it */
    fl_nodump(false); /* it holds the node's credentials and documents with their parameters */
    prctl(PR_SET_NAME, "fairlead-agent");
    fl_log_setup(FL_LOG_INFO, FL_LOG_TEXT, "monitor");
    fl_arena_init(&m.arena, MEMORY_MAX_BYTES);
    m.since_ms = m.started_ms;

    r = prepare(&m, cli, &err);
    if (r == 0)
        r = start(&m, &err);
    if (r == 0) {
        fl_log_info("started", FL_S("version", FL_VERSION), FL_S("node", m.reg.node_id),
                    FL_S("region", m.start.region));
        fl_loop_run(m.loop);
    } else {
        fl_log_error(fl_err_text(&err));
    }
    done(&m);
    return exit_status(r);
}
