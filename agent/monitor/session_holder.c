/* session_holder.c - a session's holder: decided about, started, attached to, looked after.
 *
 * A holder may be our child or one that an earlier monitor started. Whether it lives is told by the
 * lock on its journal; what became of the session, by the journal alone. A holder is never started
 * twice: what its session was cannot be brought back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/lib/ipc_worker.h"
#include "agent/monitor/sessions_priv.h"
#include "agent/lib/leftover.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define RECORD_MAX_BYTES (1u << 20)
#define PROBE_MS         20 /* after an attached holder's socket closed: its lock goes a moment later */
#define PROBE_BASE_MS    200
#define PROBE_CAP_MS     10000

void fl_session_detach(struct session *s)
{
    s->ipc = fl_ipc_free(s->ipc);
    s->child = fl_child_free(s->child);
    s->timer = fl_timer_free(s->timer);
    s->judge = fl_judge_free(s->judge);
}

/* What is left of a session whose holder died: its terminal is gone, but who has none would stay.
 */
static void kill_leftover(const struct session *s, const struct fl_session_log *log)
{
    struct fl_group group = { .leader = (pid_t)log->child.pid,
                              .start_ticks = log->child.start_ticks };

    if (log->child.pid <= 1)
        return;
    snprintf(group.boot_id, sizeof(group.boot_id), "%s",
             log->child.boot_id ? log->child.boot_id : "");
    fl_group_kill(&group, s->id);
}

/* Ends it if its journal says so; or, `gone`, if its holder is no more: why it is not. */
static void look(struct session *s, const char *gone)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    fl_autofd int dir_fd = fl_session_open_dir(s);
    struct fl_session_log log = { 0 };
    int r = dir_fd < 0 ? dir_fd : fl_sessiondir_follow(dir_fd, &arena, &log, NULL);

    if (r == 0 && log.ended) {
        fl_session_ended_by_journal(s, &log);
        return;
    }
    if (!gone)
        return;
    if (r == 0)
        kill_leftover(s, &log);
    fl_session_ended(s, s->end_asked ? FL_SESSION_SUCCESS : FL_SESSION_FAILED, gone, true);
}

/* ---- a holder's socket ---- */

static int on_look(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    look(arg, NULL);
    return 0;
}

static int on_need_creds(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    fl_session_tell_creds(arg);
    return 0;
}

static int on_need_fetch(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct session *s = arg;

    return fl_fetch_source_give(&s->all->conf.fetch, s->ipc, FL_HOLDER_FETCH, msg->id, "session",
                                s->id);
}

static const struct fl_ipc_binding bindings[] = {
    { FL_HOLDER_LOOK, on_look },
    { FL_HOLDER_NEED_CREDS, on_need_creds },
    { FL_HOLDER_NEED_FETCH, on_need_fetch },
};

static void on_probe(void *arg);

static void probe_later(struct session *s)
{
    if (s->backoff.base_ms == 0)
        s->backoff = (struct fl_backoff){ .base_ms = PROBE_BASE_MS, .cap_ms = PROBE_CAP_MS };
    fl_timer_free(s->timer);
    s->timer = fl_timer_new(s->all->conf.loop, on_probe, s);
    if (s->timer)
        fl_timer_start(s->timer, PROBE_MS + fl_backoff_next_ms(&s->backoff, 0) / 4);
}

static void on_ipc_close(void *arg, int why, const struct fl_err *err)
{
    struct session *s = arg;

    s->ipc = fl_ipc_free(s->ipc);
    /* Our own child tells its end itself. */
    if (!s->child)
        probe_later(s);
}

static int open_ipc(struct session *s, int fd)
{
    if (s->all->holder_rows[0].type == 0)
        fl_ipc_bind(fl_holder_rows, FL_N_HOLDER_ROWS, bindings, FL_ARRAY_LEN(bindings),
                    s->all->holder_rows);
    s->ipc = fl_ipc_free(s->ipc);
    return fl_ipc_new(s->all->conf.loop, fd, s->all->holder_rows, FL_N_HOLDER_ROWS, on_ipc_close, s,
                      &s->ipc);
}

void fl_session_tell_end(struct session *s)
{
    if (s->ipc)
        fl_ipc_send(s->ipc, FL_HOLDER_END, 0, "", NULL, 0);
}

void fl_session_tell_creds(struct session *s)
{
    struct fl_holder_creds out = { 0 };
    struct fl_net_creds creds;

    if (!s->ipc)
        return;
    creds = s->all->conf.creds(s->all->conf.arg, &out.offset_ms);
    out.access_key_id = creds.access_key_id;
    out.secret_access_key = creds.secret_access_key;
    out.session_token = creds.session_token;
    if (out.access_key_id)
        fl_ipc_send(s->ipc, FL_HOLDER_CREDS, 0, &out, NULL, 0);
}

/* ---- one that is not our child ---- */

static int attach(struct session *s)
{
    fl_autofd int dir_fd = fl_session_open_dir(s);
    int fd, r = dir_fd < 0 ? dir_fd : fl_worker_connect(dir_fd, &fd);

    if (r == 0)
        r = open_ipc(s, fd);
    if (r < 0)
        return r;
    fl_backoff_reset(&s->backoff);
    fl_session_tell_creds(s);
    if (s->end_asked)
        fl_session_tell_end(s);
    return 0; /* the holder says "look" to whoever connects */
}

void fl_session_attach_or_probe(struct session *s)
{
    if (attach(s) < 0)
        probe_later(s);
}

static bool lives(const struct session *s)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    fl_autofd int dir_fd = fl_session_open_dir(s);
    struct fl_journal j fl_autojournal = { .fd = -1 };

    return dir_fd >= 0 && fl_sessiondir_open(dir_fd, true, &arena, &j, NULL, NULL) == -EWOULDBLOCK;
}

/* Does it still live? Then attach again. */
static void on_probe(void *arg)
{
    struct session *s = arg;

    s->timer = fl_timer_free(s->timer);
    if (lives(s)) {
        look(s, NULL);
        fl_session_attach_or_probe(s);
        return;
    }
    look(s, "fairlead: the process that held this session ended");
    fl_session_left(s);
}

/* ---- one of our own ---- */

static void on_exit_status(void *arg, int status)
{
    struct session *s = arg;
    char why[128];

    s->child = fl_child_free(s->child);
    s->ipc = fl_ipc_free(s->ipc);
    if (WIFEXITED(status) && WEXITSTATUS(status) == FL_HOLDER_EXIT_BUSY) {
        probe_later(s); /* another monitor's, started a moment before we looked */
        return;
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) /* agent/holder/pam.h */
        snprintf(why, sizeof(why), "fairlead: PAM did not answer in time");
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof(why),
                 "fairlead: the process that held this session was killed by signal %d",
                 WTERMSIG(status));
    else
        snprintf(why, sizeof(why),
                 "fairlead: the process that held this session ended with status %d",
                 WEXITSTATUS(status));
    look(s, why);
    fl_session_left(s);
}

static int spawn(struct session *s, struct fl_err *err)
{
    const struct fl_sessions_conf *conf = &s->all->conf;
    fl_autofree char *path = fl_path_join(s->dir, s->id);
    fl_autofd int cgroup_fd = conf->limit ? fl_doclimit_join(conf->limit, s->id) : -1;
    char *const argv[] = { (char *)"fairlead-agent-holder", path, NULL };
    int fds[2], r;

    if (!path || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        r = path ? -errno : -ENOMEM;
        return fl_err_set(err, r, NULL, "cannot make a socket pair: %s", strerror(-r));
    }
    {
        const struct fl_child_fd child_fds[] = { { STDERR_FILENO, STDERR_FILENO }, { 3, fds[1] } };
        const struct fl_child_spec spec = {
            .path = conf->holder,
            .argv = argv,
            .fds = child_fds,
            .n_fds = FL_ARRAY_LEN(child_fds),
            .new_group = true,
            .cgroup_fd = cgroup_fd,
        };

        r = fl_child_spawn(conf->loop, &spec, on_exit_status, s, &s->child, err);
    }
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    return open_ipc(s, fds[0]); /* it asks for credentials when it has somebody to give them to */
}

int fl_session_salvage(struct session *s, struct fl_err *err)
{
    return spawn(s, err);
}

bool fl_session_is_held(const struct session *s)
{
    return s->child || s->ipc || s->timer;
}

static void fail(struct session *s, const char *why)
{
    char text[FL_ERR_TEXT_BYTES + 64];

    snprintf(text, sizeof(text), "fairlead: %s", why);
    fl_session_ended(s, FL_SESSION_FAILED, text, true);
}

static void hold(struct session *s)
{
    struct fl_err err = { 0 };

    s->state = SESSION_RUNNING;
    if (spawn(s, &err) == 0)
        return;
    fl_session_detach(s);
    fail(s, fl_err_text(&err));
}

/* ---- the node's policy ---- */

static void on_judged(void *arg, const struct fl_judgement *j, const char *why)
{
    static const char refused[] = "refused by the policy of this node";
    struct session *s = arg;
    char text[FL_ERR_TEXT_BYTES];

    /* The judgement lives until this returns. */
    s->judge = fl_judge_free(s->judge);
    if (j && j->allowed && !j->error && !j->broken) {
        fl_log_info("session allowed by policy", FL_S("session", s->id), FL_S("by", j->why));
        hold(s);
        return;
    }
    if (j && j->broken)
        snprintf(text, sizeof(text), "%s", j->broken);
    else if (!j || j->error)
        snprintf(text, sizeof(text), "%s: %s", refused, j ? j->error : why);
    else
        snprintf(text, sizeof(text), "%s: %s", refused, j->why ? j->why : "");
    fail(s, text);
}

static int ask_policy(struct session *s, struct fl_err *err)
{
    const struct fl_sessions_conf *conf = &s->all->conf;
    fl_autofd int policy_fd = -1;
    fl_autofd int dir_fd = -1;
    fl_autofd int file_fd = -1;
    char run_as[64];
    int r = conf->policy ? fl_policyfile_open(conf->policy, &policy_fd) : 0;

    if (r == 0)
        return 0;
    if (r < 0)
        return fl_err_set(err, r, NULL, "refused by the policy of this node: %s",
                          conf->policy->fault);
    dir_fd = fl_session_open_dir(s);
    if (dir_fd >= 0)
        file_fd = openat(dir_fd, "session", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file_fd < 0)
        return fl_err_set(err, -errno, NULL, "session: %s", strerror(errno));
    fl_judge_run_as(run_as, sizeof(run_as));
    r = fl_judge_start(conf->loop, conf->paths, conf->config->net_user, run_as, FL_JUDGE_SESSION,
                       policy_fd, file_fd, on_judged, s, &s->judge, err);
    return r < 0 ? r : 1;
}

void fl_session_start(struct session *s)
{
    struct fl_err err = { 0 };
    int r = ask_policy(s, &err);

    if (r == 0)
        hold(s);
    else if (r < 0)
        fail(s, fl_err_text(&err));
}
