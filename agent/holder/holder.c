/* holder.c - see holder.h: the role itself, from its begin to its end, and the monitor. */
#include "agent/holder/holder.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "agent/holder/holder_priv.h"
#include "agent/holder/tree.h"
#include "agent/lib/ipc_worker.h"
#include "agent/lib/role.h"
#include "agent/lib/text.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/nodump.h"

#define MONITOR_FD      3
#define ARENA_MAX_BYTES (8u << 20)
#define ACCEPT_PAUSE_MS 1000
#define LAST_WORD_MS    10000 /* for the session process, once it was told to end */

/* ---- the end ---- */

static void on_record_gone(void *arg)
{
    struct holder *h = arg;

    fl_loop_stop(h->loop);
}

static void note_places(struct holder *h)
{
    struct fl_srec_places places;

    if (h->record && fl_record_places(h->record, &h->arena, &places) == 0 &&
        (places.bucket || places.log_group))
        fl_journal_append(&h->journal, FL_SREC_PLACES, &places, NULL);
}

void fl_holder_finish(struct holder *h, const char *status, const char *output)
{
    struct fl_err err = { 0 };

    if (h->ended)
        return;
    h->ended = true;
    fl_tree_kill(h->net_child ? fl_child_pid(h->net_child) : 0);
    if (h->net_child)
        fl_child_kill(h->net_child, SIGKILL);
    fl_utmp_end(&h->utmp, NULL);
    h->pam = fl_pam_close(h->pam);
    note_places(h);
    if (fl_sessiondir_note(&h->journal, FL_SREC_END,
                           &(struct fl_srec_end){ .status = fl_text(status),
                                                  .output = fl_text(output ? output : "") },
                           &err) < 0) {
        fl_log_error("end of a session cannot be kept", FL_S("session", h->session.session_id),
                     FL_S("error", fl_err_text(&err)));
        h->exit_status = FL_HOLDER_EXIT_IO;
    }
    if (h->monitor)
        fl_ipc_send(h->monitor, FL_HOLDER_LOOK, 0, "", NULL, 0);
    fl_values_cancel(&h->values);
    if (h->record)
        fl_record_end(h->record, on_record_gone, h);
    else
        fl_loop_stop(h->loop);
}

void fl_holder_fail(struct holder *h, const char *why)
{
    char text[FL_ERR_TEXT_BYTES + 64];

    snprintf(text, sizeof(text), "fairlead: %s", why);
    fl_holder_finish(h, FL_SESSION_FAILED, text);
}

static void on_deadline(void *arg)
{
    fl_holder_finish(arg, FL_SESSION_SUCCESS, ""); /* as it was asked for */
}

/* The service ended the session. */
static void end(struct holder *h)
{
    if (h->ending)
        return;
    h->ending = true;
    if (!h->net || fl_ipc_send(h->net, FL_SESS_END, 0, "", NULL, 0) < 0)
        fl_holder_finish(h, FL_SESSION_SUCCESS, "");
    else
        fl_timer_start(h->deadline, LAST_WORD_MS);
}

/* ---- the user's process ---- */

/* As this process is a subreaper, also the user's orphans are to be reaped. */
static void reap(void *arg)
{
    struct holder *h = arg;
    siginfo_t info = { 0 };

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
        /* Ours is reaped by who started it, a moment later; others may stand behind it. */
        if ((h->user_child && info.si_pid == fl_child_pid(h->user_child)) ||
            (h->net_child && info.si_pid == fl_child_pid(h->net_child))) {
            fl_timer_start(h->reap_timer, 0);
            return;
        }
        waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

static void on_sigchld(void *arg, int signo)
{
    reap(arg);
}

void fl_holder_child_ended(void *arg, int status)
{
    struct holder *h = arg;
    const struct fl_sess_exited out = { .code = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                                                    : WEXITSTATUS(status) };

    h->user_child = fl_child_free(h->user_child);
    fl_utmp_end(&h->utmp, NULL);
    if (h->net)
        fl_ipc_send(h->net, FL_SESS_EXITED, 0, &out, NULL, 0);
}

/* ---- the monitor ---- */

/* Where the disk takes nothing the session lives on without: whoever is to mend it must get in. */
static void keep(struct holder *h)
{
    struct fl_err err = { 0 };

    h->kept = true;
    if (fl_sessiondir_sync(h->dir_fd, &h->journal, &err) < 0)
        fl_log_warn("session may be forgotten if the power fails",
                    FL_S("session", h->session.session_id), FL_S("error", fl_err_text(&err)));
    fl_ipc_send(h->net, FL_SESS_KEPT, 0, "", NULL, 0);
}

static int on_creds(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct holder *h = arg;

    if (!h->net)
        return 0;
    fl_ipc_send(h->net, FL_SESS_CREDS, 0, msg->in, NULL, 0);
    /* While the session process is on its way with them: a slow disk is waited for once. */
    if (!h->kept)
        keep(h);
    return 0;
}

static int on_end(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    end(arg);
    return 0;
}

static int on_fetch(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct holder *h = arg;

    fl_calls_take(h->calls, msg);
    return 0;
}

static const struct fl_ipc_binding monitor_bindings[] = {
    { FL_HOLDER_CREDS, on_creds },
    { FL_HOLDER_END, on_end },
    { FL_HOLDER_FETCH, on_fetch },
};

static void on_monitor_close(void *arg, int why, const struct fl_err *err)
{
    struct holder *h = arg;

    h->monitor = fl_ipc_free(h->monitor);
}

static void attach(struct holder *h, int fd)
{
    h->monitor = fl_ipc_free(h->monitor);
    if (fl_ipc_new(h->loop, fd, h->monitor_rows, FL_N_HOLDER_ROWS, on_monitor_close, h,
                   &h->monitor) < 0)
        h->monitor = NULL;
    else
        fl_calls_monitor(h->calls);
}

static int need_fetch(void *arg)
{
    struct holder *h = arg;

    return h->monitor ? fl_ipc_send(h->monitor, FL_HOLDER_NEED_FETCH, 0, "", NULL, 0) : -ENOTCONN;
}

/* A monitor that was restarted. Only our own user or root can be one. */
static void on_connection(void *arg, unsigned events)
{
    struct holder *h = arg;
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t len = sizeof(peer);
    fl_autofd int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        fl_io_pause(h->listener, ACCEPT_PAUSE_MS); /* no descriptor left: asked again at once */
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return;
    if (peer.uid == 0 || peer.uid == geteuid())
        attach(h, FL_TAKE_FD(fd));
    if (h->monitor)
        fl_ipc_send(h->monitor, FL_HOLDER_LOOK, 0, "", NULL, 0);
}

static void open_sockets(struct holder *h)
{
    struct stat st;

    fl_ipc_bind(fl_holder_rows, FL_N_HOLDER_ROWS, monitor_bindings, FL_ARRAY_LEN(monitor_bindings),
                h->monitor_rows);
    if (fstat(MONITOR_FD, &st) == 0 && S_ISSOCK(st.st_mode)) {
        fcntl(MONITOR_FD, F_SETFD, FD_CLOEXEC);
        attach(h, MONITOR_FD);
    }
    if (fl_worker_listen(h->dir_fd, &h->listen_fd) == 0)
        h->listener = fl_io_new(h->loop, h->listen_fd, on_connection, h);
    if (h->listener)
        fl_io_set(h->listener, FL_IO_READ);
    else
        fl_log_warn("session cannot be found by an agent that is restarted",
                    FL_S("session", h->session.session_id));
}

/* ---- the role ---- */

static int open_folder(struct holder *h, struct fl_err *err)
{
    struct fl_session_log log;
    int r;

    h->dir_fd = open(h->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (h->dir_fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", h->path, strerror(errno));
    r = fl_sessiondir_load(h->dir_fd, &h->arena, &h->session, err);
    if (r == 0)
        r = fl_sessiondir_open(h->dir_fd, true, &h->arena, &h->journal, &log, err);
    h->salvage = r == 0 && log.ended &&
                 faccessat(h->dir_fd, FL_SESSION_RECORD, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    if (r == 0 && !h->salvage && (log.run || log.ended))
        r = fl_err_set(err, -EBUSY, NULL, "the session was held before");
    if (r == 0 && !h->salvage)
        r = fl_journal_append(&h->journal, FL_SREC_RUN,
                              &(struct fl_srec_run){ .time_ms = fl_now_ms(), .pid = getpid() },
                              err);
    return r;
}

/* The places where it is to be logged are as they should be. */
static void on_checked(void *arg, const struct fl_err *err)
{
    struct holder *h = arg;
    struct fl_err why = { 0 };

    if (h->ended)
        return;
    if (err)
        fl_holder_fail(h, fl_err_text(err));
    else if (fl_holder_start_net(h, &why) < 0)
        fl_holder_fail(h, fl_err_text(&why));
}

/* As whom a session runs, for its log; the arena's. */
static const char *run_as(struct holder *h)
{
    const char *name = fl_session_plan_user(&h->plan, geteuid() == 0, h->session.user);
    const struct passwd *pw = name ? NULL : getpwuid(geteuid());

    name = name ? name : pw ? pw->pw_name : "";
    return fl_arena_strdup(&h->arena, name);
}

/* With every value known. */
static int proceed(struct holder *h, struct fl_err *err)
{
    const struct fl_record_conf conf = { .loop = h->loop,
                                         .calls = h->calls,
                                         .dir_fd = h->dir_fd,
                                         .session = &h->session,
                                         .plan = &h->plan,
                                         .run_as = run_as(h) };
    int r = conf.run_as ? fl_record_new(&conf, &h->record, err) : fl_err_nomem(err);

    if (r < 0 || h->salvage)
        return r;
    if (!h->record)
        return fl_holder_start_net(h, err);
    fl_record_check(h->record, on_checked, h);
    return 0;
}

static int load_plan(struct holder *h, struct fl_err *err)
{
    int r = fl_session_plan_load(h->session.content, h->refs, &h->arena, &h->plan, err);

    if (r == 0 && strcmp(h->plan.session_id, h->session.session_id) != 0)
        r = fl_err_set(err, -EINVAL, NULL, "SessionId: there are two");
    return r;
}

/* It has ended long ago: its record goes where it can. */
static void salvage(struct holder *h, const char *why)
{
    h->ended = true;
    if (why)
        fl_log_warn("what a session printed is not delivered",
                    FL_S("session", h->session.session_id), FL_S("error", why));
    if (h->record)
        fl_record_end(h->record, on_record_gone, h);
    else
        fl_loop_stop(h->loop);
}

static void go_on(struct holder *h, int r, const struct fl_err *err)
{
    if (h->salvage)
        salvage(h, r < 0 ? fl_err_text(err) : NULL);
    else if (r < 0)
        fl_holder_fail(h, fl_err_text(err));
}

static void on_values(void *arg, const struct fl_err *err)
{
    struct holder *h = arg;
    struct fl_err why = { 0 };
    int r = err ? (why = *err, why.code) : load_plan(h, &why);

    if (r == 0)
        r = proceed(h, &why);
    go_on(h, r, &why);
}

static void begin(void *arg)
{
    struct holder *h = arg;
    struct fl_err err = { 0 };
    int r = load_plan(h, &err);

    if (h->ended)
        return; /* before it began */
    if (r == 0 && fl_ssm_refs_wanting(h->refs)) {
        h->values = (struct fl_values){ h->calls, h->refs, on_values, h, 0 };
        r = fl_values_ask(&h->values, &err);
        if (r == 0)
            return;
    }
    if (r == 0)
        r = proceed(h, &err);
    go_on(h, r, &err);
}

static int set_up(struct holder *h, struct fl_err *err)
{
    int r = fl_loop_new(&h->loop);

    if (r == 0) {
        fl_loop_pool_size(1);
        h->deadline = fl_timer_new(h->loop, on_deadline, h);
        h->reap_timer = fl_timer_new(h->loop, reap, h);
        h->reap_signal = fl_signal_new(h->loop, SIGCHLD, on_sigchld, h);
        h->refs = fl_ssm_refs_new();
        r = h->deadline && h->reap_timer && h->reap_signal && h->refs
                ? fl_calls_new(h->loop, need_fetch, h, &h->calls)
                : -ENOMEM;
    }
    if (r == 0)
        r = fl_loop_post(h->loop, begin, h);
    return r < 0 ? fl_err_set(err, r, NULL, "no event loop: %s", strerror(-r)) : 0;
}

static void done(struct holder *h)
{
    h->record = fl_record_free(h->record);
    fl_values_cancel(&h->values);
    h->calls = fl_calls_free(h->calls);
    h->refs = fl_ssm_refs_free(h->refs);
    h->listener = fl_io_free(h->listener);
    h->monitor = fl_ipc_free(h->monitor);
    h->net = fl_ipc_free(h->net);
    h->net_child = fl_child_free(h->net_child);
    h->user_child = fl_child_free(h->user_child);
    h->deadline = fl_timer_free(h->deadline);
    h->reap_timer = fl_timer_free(h->reap_timer);
    h->reap_signal = fl_signal_free(h->reap_signal);
    h->loop = fl_loop_free(h->loop);
    fl_journal_done(&h->journal);
    if (h->dir_fd >= 0)
        close(h->dir_fd);
    if (h->listen_fd >= 0)
        close(h->listen_fd);
    fl_paths_done(&h->paths);
    fl_arena_done(&h->arena);
}

int fl_holder_main(int argc, char **argv)
{
    struct holder h = { .dir_fd = -1, .listen_fd = -1, .journal = { .fd = -1 } };
    struct fl_err err = { 0 };
    int r;

    prctl(PR_SET_NAME, "fairlead-holder");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    mallopt(M_ARENA_MAX, 1);
    fl_nodump(false); /* the node's credentials pass through it */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit of the user's that cannot be taken back is a full disk */
    fl_role_log_setup(NULL, NULL, "session");
    fl_arena_init(&h.arena, ARENA_MAX_BYTES);
    h.path = argc == 2 ? argv[1] : "";
    r = fl_paths_init(&h.paths, h.path, h.path, h.path, &err) /* for libexec */;
    if (r == 0)
        r = open_folder(&h, &err);
    if (r == 0)
        fl_role_log_setup(h.session.log_level, h.session.log_format, "session");
    if (r == 0)
        r = set_up(&h, &err);
    if (r < 0) {
        h.exit_status = r == -EWOULDBLOCK || r == -EBUSY ? FL_HOLDER_EXIT_BUSY : FL_HOLDER_EXIT_IO;
        if (h.exit_status == FL_HOLDER_EXIT_IO)
            fl_log_error("session cannot begin", FL_S("folder", h.path),
                         FL_S("error", fl_err_text(&err)));
        done(&h);
        return h.exit_status;
    }
    open_sockets(&h);
    fl_loop_run(h.loop);
    done(&h);
    return h.exit_status;
}
