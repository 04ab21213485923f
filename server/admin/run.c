/* run.c - `fairlead-server run`: the control plane itself. */
#include "server/admin/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "server/admin/notify.h"
#include "server/api/parameter_seal.h"
#include "server/audit.h"
#include "server/conf.h"
#include "server/http/front.h"
#include "server/pki.h"

#define ARENA_BYTES (1024 * 1024)

static const char usage[] =
    "Usage: fairlead-server [run] [options]\n"
    "Runs the control plane that \"fairlead-server init\" made.\n"
    "\n"
    "  --data DIR    its data directory (default: /var/lib/fairlead-server for root, else\n"
    "                ~/.local/state/fairlead-server)\n"
    "\n"
    "SIGTERM and SIGINT stop it gracefully, a second one at once. SIGHUP reads the server\n"
    "certificate again. The port stands in DIR/run/port once it listens, and DIR/run/ready exists\n"
    "while it does.\n";

struct server {
    struct fl_arena arena;
    struct fl_conf conf;
    struct fl_plane plane;
    struct fl_front *front;
    struct fl_signal *signals[3];
    struct fl_err *err;
};

static const struct option options[] = {
    { "data", required_argument, NULL, 'd' },
    { "help", no_argument, NULL, 'h' },
    { 0 },
};

static char *path_of(struct server *s, const char *name)
{
    return fl_data_path(&s->arena, s->plane.conf.data_dir, name);
}

/* One descriptor a connection: take all that the system lets us have. */
static void raise_limits(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
            fl_log_warn("cannot raise the limit of open files", FL_S("error", strerror(errno)));
    }
}

static void setup_log(const struct fl_conf *conf)
{
    enum fl_log_level level = FL_LOG_INFO;

    fl_log_level_parse(conf->log_level, &level);
    fl_log_setup(level, strcmp(conf->log_format, "json") == 0 ? FL_LOG_JSON : FL_LOG_TEXT, NULL);
}

/* ---- signals ---- */

static void on_stop(void *arg, int signo)
{
    struct server *s = arg;

    fl_log_info("stopping", FL_S("signal", strsignal(signo)));
    fl_notify("STOPPING=1");
    fl_front_stop(s->front);
}

/* One that is about to end. */
static int renew_certificate(struct server *s, struct fl_err *err)
{
    fl_autofree char *pki = fl_path_join(s->plane.conf.data_dir, FL_DATA_PKI);
    int r = pki ? fl_pki_renew(pki, &s->conf.hosts, fl_now_ms(), err) : fl_err_nomem(err);

    if (r > 0)
        fl_log_info("server certificate renewed");
    return r;
}

static void on_hangup(void *arg, int signo)
{
    struct server *s = arg;
    struct fl_err err = { 0 };

    if (renew_certificate(s, &err) < 0)
        fl_log_error("server certificate cannot be renewed", FL_S("error", fl_err_text(&err)));
    fl_front_reload(s->front);
}

static int watch_signals(struct server *s)
{
    static const struct {
        int signo;
        fl_signal_fn fn;
    } table[] = { { SIGTERM, on_stop }, { SIGINT, on_stop }, { SIGHUP, on_hangup } };

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < FL_ARRAY_LEN(table); i++) {
        s->signals[i] = fl_signal_new(fl_front_loop(s->front), table[i].signo, table[i].fn, s);
        if (!s->signals[i])
            return fl_err_set(s->err, -ENOMEM, NULL, "cannot watch signals");
    }
    return 0;
}

/* ---- start ---- */

static int prepare(struct server *s, const char *dir)
{
    const char *audit;
    int r = fl_conf_load(dir, &s->arena, &s->conf, s->err);

    if (r < 0)
        return r;
    setup_log(&s->conf);
    fl_conf_plane(&s->conf, dir, &s->plane.conf);
    r = fl_data_key_load(dir, FL_DATA_SEAL, s->plane.seal_key, s->err);
    if (r >= 0)
        r = fl_plane_open(&s->plane, s->err);
    if (r >= 0)
        r = fl_parameter_key_open(&s->plane, s->err);
    if (r < 0)
        return r;
    audit = path_of(s, FL_DATA_AUDIT);
    if (!audit)
        return fl_err_nomem(s->err);
    r = renew_certificate(s, s->err);
    return r < 0 ? r : fl_audit_new(audit, &s->plane.audit, s->err);
}

static int announce(struct server *s)
{
    const char *run = path_of(s, FL_DATA_RUN), *port = path_of(s, FL_DATA_PORT);
    const char *ready = path_of(s, FL_DATA_READY);
    char text[16];
    int n = snprintf(text, sizeof(text), "%u\n", s->plane.conf.port);
    int r = run && port && ready ? fl_dir_make(run, 0755, s->err) : fl_err_nomem(s->err);

    if (r >= 0)
        r = fl_file_replace(port, 0644, text, (size_t)n, s->err);
    if (r >= 0)
        r = fl_file_replace(ready, 0644, text, (size_t)n, s->err);
    if (r < 0)
        return r;
    fl_notify("READY=1");
    fl_log_info("control plane ready", FL_S("bind", s->plane.conf.bind),
                FL_I("port", s->plane.conf.port), FL_S("region", s->plane.conf.region),
                FL_S("account", s->plane.conf.account), FL_S("version", FL_VERSION));
    return 0;
}

/* What a process that was killed left behind must not look like a plane that is ready. */
static void withdraw(struct server *s)
{
    static const char *const files[] = { FL_DATA_READY, FL_DATA_PORT };

    for (size_t i = 0; i < FL_ARRAY_LEN(files); i++) {
        const char *path = path_of(s, files[i]);

        if (path && unlink(path) < 0 && errno != ENOENT)
            fl_log_warn("cannot remove a file", FL_S("path", path));
    }
}

static int serve(struct server *s)
{
    const struct fl_front_conf fc = { .cert_file = path_of(s, FL_DATA_CERT),
                                      .key_file = path_of(s, FL_DATA_KEY) };
    int r;

    if (!fc.cert_file || !fc.key_file)
        return fl_err_nomem(s->err);
    withdraw(s);
    r = fl_front_new(&s->plane, &fc, &s->front, s->err);
    if (r < 0)
        return r;
    r = watch_signals(s);
    if (r >= 0)
        r = announce(s);
    if (r >= 0)
        r = fl_front_run(s->front, s->err);
    withdraw(s);
    for (size_t i = 0; i < FL_ARRAY_LEN(s->signals); i++)
        if (s->signals[i])
            fl_signal_free(s->signals[i]);
    s->front = fl_front_free(s->front);
    return r;
}

static int run(const char *data)
{
    struct fl_err err = { 0 };
    struct server s = { .err = &err };
    fl_autofree char *dir = NULL;
    int r = fl_data_dir(data, &dir, &err);

    fl_arena_init(&s.arena, ARENA_BYTES);
    if (r >= 0)
        r = prepare(&s, dir);
    if (r >= 0) {
        raise_limits();
        r = serve(&s);
        if (r >= 0)
            fl_log_info("stopped");
    }
    fl_plane_close(&s.plane);
    fl_arena_done(&s.arena);
    return r < 0 ? fl_cli_fail(&err) : 0;
}

int fl_cmd_run(int argc, char **argv)
{
    const char *data = NULL;
    int opt;

    while ((opt = fl_cli_option("run", argc, argv, options)) != -1) {
        if (opt == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (opt != 'd')
            return 2;
        data = optarg;
    }
    if (optind < argc)
        return fl_cli_usage("run", "unexpected argument \"%s\"", argv[optind]);
    return run(data);
}
