/* worker.c - see worker.h: the role itself, from its arguments to its exit status. */
#include "agent/worker/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "agent/lib/ipc_net.h"
#include "agent/calls/calls.h"
#include "agent/worker/guard.h"
#include "agent/worker/worker_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/nodump.h"
#include "common/doc/ssm_refs.h"
#include "plugins/user/user.h"

#define MONITOR_FD      3
#define JOB_MAX_BYTES   (4u << 20)  /* memory a job record decodes into */
#define DOC_MAX_BYTES   (32u << 20) /* memory a document decodes into */
#define ACCEPT_PAUSE_MS 1000
#define REBOOTS_MAX     15 /* what Mds.CommandRetryLimit is by default */
#define NET_USER        "fairlead"
#define TOO_OLD_TEXT                                                                               \
    "fairlead: the machine came back more than 48 hours after the document was sent: it does not " \
    "go on"

/* ---- the monitor's socket ---- */

static int on_cancel(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct worker *w = arg;
    bool again = w->cancelled;

    w->cancelled = true;
    /* Told again by every monitor that comes: steps that clean up go on. */
    if (w->step && !again)
        fl_step_cancel(w->step);
    else if (!w->step)
        fl_worker_load_cancel(w);
    fl_delivery_hurry(w->delivery);
    return 0;
}

static int on_fetch(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct worker *w = arg;

    fl_calls_take(w->calls, msg);
    return 0;
}

static int need_fetch(void *arg)
{
    static const char nothing[1];
    struct worker *w = arg;

    return w->ipc ? fl_ipc_send(w->ipc, FL_WORKER_NEED_FETCH, 0, nothing, NULL, 0) : -ENOTCONN;
}

static void on_ipc_close(void *arg, int why, const struct fl_err *err)
{
    struct worker *w = arg;

    w->ipc = fl_ipc_free(w->ipc);
}

static void attach(struct worker *w, int fd)
{
    w->ipc = fl_ipc_free(w->ipc);
    if (fl_ipc_new(w->loop, fd, w->rows, FL_N_WORKER_ROWS, on_ipc_close, w, &w->ipc) < 0)
        w->ipc = NULL;
    else
        fl_calls_monitor(w->calls);
}

/* A monitor that was restarted. Only our own user or root can be one. */
static void on_connection(void *arg, unsigned events)
{
    struct worker *w = arg;
    struct ucred peer = { .uid = (uid_t)-1 };
    socklen_t len = sizeof(peer);
    fl_autofd int fd = accept4(w->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        fl_io_pause(w->listener, ACCEPT_PAUSE_MS); /* no descriptor left: asked again at once */
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return;
    if (peer.uid == 0 || peer.uid == geteuid())
        attach(w, FL_TAKE_FD(fd));
    fl_worker_look(w); /* whatever happened while nobody listened */
}

static const struct fl_ipc_binding bindings[] = {
    { FL_WORKER_CANCEL, on_cancel },
    { FL_WORKER_FETCH, on_fetch },
};

/* Without a socket the worker still does its work; a cancel then has to wait for its end. */
static void open_sockets(struct worker *w)
{
    struct stat st;

    fl_ipc_bind(fl_worker_rows, FL_N_WORKER_ROWS, bindings, FL_ARRAY_LEN(bindings), w->rows);
    if (fstat(MONITOR_FD, &st) == 0 && S_ISSOCK(st.st_mode)) {
        fcntl(MONITOR_FD, F_SETFD, FD_CLOEXEC);
        attach(w, MONITOR_FD);
    }
    if (fl_worker_listen(w->dir_fd, &w->listen_fd) == 0)
        w->listener = fl_io_new(w->loop, w->listen_fd, on_connection, w);
    if (w->listener)
        fl_io_set(w->listener, FL_IO_READ);
    else
        fl_log_warn("worker cannot listen", FL_S("command", w->job.command_id));
}

/* ---- the role ---- */

static int parse_args(struct worker *w, int argc, char **argv)
{
    enum fl_log_level level = FL_LOG_INFO;
    enum fl_log_format format = FL_LOG_TEXT;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cancel") == 0)
            w->cancelled = true;
        else if (strcmp(argv[i], "--reboots") == 0 && i + 1 < argc)
            w->reboots_max = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--net-user") == 0 && i + 1 < argc)
            w->net_user = argv[++i];
        else if (strcmp(argv[i], "--plugins") == 0 && i + 1 < argc)
            fl_user_plugins_dir(argv[++i]);
        else if (strcmp(argv[i], "--log-level") == 0 && i + 1 < argc)
            fl_log_level_parse(argv[++i], &level);
        else if (strcmp(argv[i], "--log-format") == 0 && i + 1 < argc)
            format = strcmp(argv[++i], "json") == 0 ? FL_LOG_JSON : FL_LOG_TEXT;
        else
            w->path = argv[i];
    }
    fl_log_setup(level, format, "worker");
    return w->path ? 0 : -EINVAL;
}

void fl_worker_loaded(struct worker *w)
{
    if (w->resumed && fl_now_ms() - w->job.accepted_ms > FL_JOB_RESUME_MS) {
        fl_worker_finish(w, FL_STATUS_FAILED, TOO_OLD_TEXT);
        return;
    }
    if (w->started && w->next < w->doc.n_steps && fl_worker_report_interrupted(w) < 0)
        return;
    fl_worker_advance(w);
}

static void begin(void *arg)
{
    fl_worker_load(arg);
}

static void done(struct worker *w)
{
    w->step = fl_step_free(w->step);
    w->delivery = fl_delivery_free(w->delivery);
    w->calls = fl_calls_free(w->calls);
    w->guard = fl_step_guard_free(w->guard);
    w->cleanup_timer = fl_timer_free(w->cleanup_timer);
    w->refs = fl_ssm_refs_free(w->refs);
    w->listener = fl_io_free(w->listener);
    w->ipc = fl_ipc_free(w->ipc);
    fl_journal_done(&w->journal);
    w->loop = fl_loop_free(w->loop);
    for (int *fd = (int[]){ w->dir_fd, w->step_fd, w->listen_fd, -2 }; *fd != -2; fd++)
        if (*fd >= 0)
            close(*fd);
    free(w->step_dir);
    free(w->downloads);
    free(w->data);
    fl_paths_done(&w->paths);
    fl_arena_done(&w->arena);
}

int fl_worker_main(int argc, char **argv)
{
    struct worker w = { .dir_fd = -1,
                        .step_fd = -1,
                        .listen_fd = -1,
                        .journal = { .fd = -1 },
                        .net_user = NET_USER,
                        .reboots_max = REBOOTS_MAX };
    struct fl_err err = { 0 };
    int r;

    prctl(PR_SET_NAME, "fairlead-worker");
    fl_nodump(
        false); /* a document's parameters may be secrets; its scripts may dump as they like */
    signal(SIGPIPE, SIG_IGN);
    fl_arena_init(&w.arena, JOB_MAX_BYTES + DOC_MAX_BYTES);
    r = parse_args(&w, argc, argv);
    if (r == 0)
        r = fl_paths_init(&w.paths, w.path, w.path, w.path, &err) /* for libexec */;
    if (r == 0)
        r = fl_worker_open_folder(&w, &err);
    if (r == 0 && !w.done)
        r = fl_loop_new(&w.loop);
    if (r == 0 && !w.done)
        r = fl_calls_new(w.loop, need_fetch, &w, &w.calls);
    if (r < 0) {
        int status = r == -EWOULDBLOCK   ? FL_WORKER_EXIT_BUSY
                     : r == -EINPROGRESS ? FL_WORKER_EXIT_BOOT
                                         : FL_WORKER_EXIT_IO;

        if (status == FL_WORKER_EXIT_IO)
            fl_log_error("worker cannot begin", FL_S("folder", w.path),
                         FL_S("error", fl_err_text(&err)));
        done(&w);
        return status;
    }
    if (!w.done) {
        open_sockets(&w);
        if (fl_loop_post(w.loop, begin, &w) < 0)
            w.exit_status = FL_WORKER_EXIT_IO;
        else
            fl_loop_run(w.loop);
    }
    done(&w);
    return w.exit_status;
}
