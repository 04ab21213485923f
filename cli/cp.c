/* cp.c - `fairlead cp`: files and folders to and from a node, by way of a command on it
 * (cp_plan.h). */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/command.h"
#include "cli/cp_priv.h"
#include "cli/nodes.h"
#include "cli/params.h"
#include "cli/term.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define ARENA_BYTES (4 << 20)
#define DOCUMENT    "Fairlead-Exec"
#define NO_INPUT                                                    \
    "a copy needs a node of fairlead at a plane that has " DOCUMENT \
    "; by way of the node's own sshd: scp "                         \
    "-o ProxyCommand=\"fairlead ssh-proxy %h %p\""
#define SAID_BYTES     4096 /* of the node's standard error that stands in a complaint */
#define PROGRESS_MS    250
#define NAME_MAX_SHOWN 24
#define BAR_WIDTH      24
#define LEAVE_MS       30000 /* for a node to clean up; a second signal does not wait */

static void finish(struct fl_copy *c)
{
    if (c->tar_running || (!c->ended && c->r == 0 && !c->signo))
        return;
    if (!c->ended && c->up && c->conn && !c->told_end && !c->cut) {
        /* The node takes away what it has. */
        c->cut = true;
        fl_session_flag(c->session, FL_DATA_FLAG_END_OF_INPUT);
        fl_timer_start(c->timer, LEAVE_MS);
        if (!c->quiet)
            fl_progress("%s: %s removes what it has of it", c->name, c->node);
    }
    if (c->cut && !c->ended && !c->impatient)
        return;
    c->done = true;
    fl_loop_stop(c->loop);
}

int fl_copy_fail(struct fl_copy *c, int r, const char *fmt, ...)
{
    char text[FL_ERR_TEXT_BYTES];
    va_list ap;

    if (c->r == 0) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        c->r = fl_err_set(&c->err, r, NULL, "%s", text);
        if (c->tar_running)
            fl_child_kill(c->tar, SIGKILL);
    }
    finish(c);
    return r;
}

/* ---- progress ---- */

static void amount(double bytes, char *out, size_t size)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    size_t i = 0;

    while (bytes >= 1000 && i + 1 < FL_ARRAY_LEN(units)) {
        bytes /= 1000;
        i++;
    }
    snprintf(out, size, i ? "%.1f %s" : "%.0f %s", bytes, units[i]);
}

static void show_progress(struct fl_copy *c)
{
    double s = (double)FL_MAX(fl_mono_ms() - c->begun_ms, 1) / 1000;
    double rate = (double)c->bytes / s;
    char done[32], speed[32], bar[BAR_WIDTH + 1], left[32] = "";
    size_t n = 0;

    amount((double)c->bytes, done, sizeof(done));
    amount(rate, speed, sizeof(speed));
    if (c->size) {
        double part = FL_MIN((double)c->bytes / (double)c->size, 1.0);

        n = (size_t)(part * BAR_WIDTH);
        if (rate > 0) {
            long long seconds = (long long)((double)c->size * (1 - part) / rate);

            snprintf(left, sizeof(left), "  %lld:%02lld", seconds / 60, seconds % 60);
        }
        memset(bar, '=', n);
        memset(bar + n, ' ', BAR_WIDTH - n);
        bar[BAR_WIDTH] = '\0';
        fl_progress("%s [%s] %3d%%  %s  %s/s%s", c->name, bar, (int)(part * 100), done, speed,
                    left);
    } else {
        fl_progress("%s  %s  %s/s", c->name, done, speed);
    }
    fl_timer_start(c->timer, PROGRESS_MS);
}

static void on_timer(void *arg)
{
    struct fl_copy *c = arg;

    if (!c->cut) {
        show_progress(c);
        return;
    }
    c->impatient = true;
    fl_progress("%s", "");
    fprintf(stderr, "fairlead: %s does not say that it has removed what it had of %s\n", c->node,
            c->name);
    finish(c);
}

/* ---- tar ---- */

static void on_tar_exit(void *arg, int status)
{
    struct fl_copy *c = arg;

    c->tar_running = false;
    c->tar_status = status;
    if (status != 0 && c->r == 0 && !c->signo)
        fl_copy_fail(c, -EIO, "tar ended with status %d",
                     WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    else if (c->up && !c->ended)
        fl_copy_push(c);
    finish(c);
}

int fl_copy_start_tar(struct fl_copy *c, const char *const *argv, int child_fd, int *ret_fd)
{
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return fl_copy_fail(c, -errno, "a pipe: %s", strerror(errno));

    const struct fl_child_fd map[] = { { child_fd, fds[child_fd] }, { 2, 2 } };
    const struct fl_child_spec spec = { .path = "/bin/tar",
                                        .argv = (char *const *)argv,
                                        .fds = map,
                                        .n_fds = FL_ARRAY_LEN(map),
                                        .die_with_parent = true };
    r = fl_child_spawn(c->loop, &spec, on_tar_exit, c, &c->tar, &c->err);
    close(fds[child_fd]);
    if (r < 0) {
        close(fds[!child_fd]);
        return fl_copy_fail(c, r, "%s", fl_err_text(&c->err));
    }
    c->tar_running = true;
    *ret_fd = fds[!child_fd];
    return 0;
}

/* ---- the session ---- */

static void on_ready(void *arg, const struct fl_session_info *info)
{
    struct fl_copy *c = arg;

    if (c->done)
        return;
    c->begun_ms = fl_mono_ms();
    if (info->kind != FL_SESSION_COMMAND || !info->end_of_input)
        fl_copy_fail(c, -EOPNOTSUPP, "%s", NO_INPUT);
    else if (c->up)
        fl_copy_begin_up(c);
    else
        fl_session_flag(c->session, FL_DATA_FLAG_END_OF_INPUT);
}

static void on_output(void *arg, uint32_t type, const char *data, size_t len)
{
    struct fl_copy *c = arg;

    if (c->done)
        return;
    if (type == FL_DATA_TYPE_STDERR)
        fl_buf_append(&c->said, data, FL_MIN(len, SAID_BYTES - c->said.len));
    else if (!c->up)
        fl_copy_take(c, data, len);
}

static void on_exit_code(void *arg, int code)
{
    struct fl_copy *c = arg;

    c->code = code;
}

static void on_room(void *arg)
{
    struct fl_copy *c = arg;

    if (c->up && c->conn && !c->done)
        fl_copy_push(c);
}

static void on_note(void *arg, const char *text)
{
    const struct fl_copy *c = arg;

    if (c->quiet)
        return;
    fl_progress("%s", "");
    fprintf(stderr, "fairlead: %s\n", text);
}

static void on_end(void *arg, int r, const char *text)
{
    struct fl_copy *c = arg;

    c->ended = true;
    text = fl_session_words(text);
    if (c->cut)
        finish(c); /* why is known */
    if (c->done)
        return;
    if (!c->up)
        fl_copy_end_input(c);
    if (r < 0)
        fl_copy_fail(c, r, "%s", text);
    else if (c->code != 0 && c->said.len)
        fl_copy_fail(c, -EIO, "%s: %.*s", c->node, (int)strcspn(c->said.data, "\n"), c->said.data);
    else if (c->code != 0 || (c->up && !c->told_end))
        fl_copy_fail(c, -EIO, "%s: the copy ended early%s%s", c->node, *text ? ": " : "", text);
    finish(c);
}

static const struct fl_session_events session_events = {
    .on_ready = on_ready,
    .on_output = on_output,
    .on_exit_code = on_exit_code,
    .on_room = on_room,
    .on_note = on_note,
    .on_end = on_end,
};

/* ---- the command ---- */

struct cp_options {
    bool recursive, force, quiet;
    const char *reason;
};
static const struct fl_opt cp_options[] = {
#define O(...) FL_OPT(struct cp_options, __VA_ARGS__)
    O(recursive, 'r', "recursive", NULL, "copy a folder and all that is in it"),
    O(force, 'f', "force", NULL, "replace a folder that is there"),
    O(reason, 'm', "reason", "TEXT", "what it is for; lists and audit show it"),
    O(quiet, 'q', "quiet", NULL, "no progress, no notes"),
#undef O
};

extern const struct fl_command fl_cmd_cp;

static int make_line(const struct fl_copy *c, struct fl_buf *line)
{
    fl_autofree char *copy = NULL;
    const char *base;

    if (!c->up)
        return fl_cp_down_line(c->remote, c->recursive, line);
    copy = strdup(c->local);
    base = copy ? basename(copy) : "";
    if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        free(copy);
        copy = realpath(c->local, NULL);
        base = copy ? basename(copy) : "";
    }
    if (!copy)
        return -errno;

    const struct fl_cp_up up = { .target = c->remote,
                                 .base = base,
                                 .folder = S_ISDIR(c->st.st_mode),
                                 .force = c->force,
                                 .mode = c->st.st_mode };
    return fl_cp_up_line(&up, line);
}

static int start(struct fl_copy *c, const char *reason, struct fl_arena *arena)
{
    fl_autobuf struct fl_buf line = FL_BUF(FL_PARAMS_MAX_BYTES);
    struct fl_session_wish wish = { .document = DOCUMENT, .reason = reason };
    struct fl_session_grant grant;
    json_t *all = json_object();
    int r = fl_node_find_one(c->cli, c->node, arena, &wish.node, &c->err);

    if (r == 0)
        r = make_line(c, &line);
    if (r == 0)
        r = fl_params_add(all, "command", line.data);
    if (r == 0)
        r = fl_params_raw(all, arena, &wish.parameters);
    json_decref(all);
    if (r == 0)
        r = fl_session_start(c->cli, &wish, arena, &grant, &c->err);
    if (fl_api_refused(r, &c->err, "InvalidDocument"))
        return fl_err_set(&c->err, -EOPNOTSUPP, NULL, "%s", NO_INPUT);
    return r < 0 ? r : fl_session_new(c->cli, &grant, &session_events, c, &c->session, &c->err);
}

static void on_signal(void *arg, int signo)
{
    struct fl_copy *c = arg;

    c->impatient |= c->signo != 0;
    c->signo = signo;
    if (c->tar_running)
        fl_child_kill(c->tar, SIGKILL);
    finish(c);
}

static void clean(struct fl_copy *c)
{
    fl_progress("%s", "");
    if (c->tmp && c->head.folder)
        fl_dir_remove(c->tmp, NULL);
    else if (c->tmp)
        unlink(c->tmp);
    if (c->fd >= 0)
        close(c->fd);
    if (c->session && !c->ended)
        fl_session_terminate(c->cli, fl_session_id(c->session), NULL);
    fl_session_free(c->session);
    fl_conn_free(c->conn);
    fl_child_free(c->tar);
    fl_timer_free(c->timer);
    fl_digest_free(c->sum);
    fl_buf_done(&c->said);
    free(c->name);
    free(c->target);
    free(c->tmp);
}

static int copy_it(struct fl_copy *c, const char *reason)
{
    static const int signos[] = { SIGINT, SIGTERM, SIGHUP };
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct fl_signal *signals[FL_ARRAY_LEN(signos)] = { 0 };
    int r;

    c->loop = fl_cli_loop(c->cli, &c->err);
    c->sum = fl_digest_new(FL_DIGEST_SHA256);
    c->timer = c->loop ? fl_timer_new(c->loop, on_timer, c) : NULL;
    r = c->sum && c->timer ? 0 : -ENOMEM;
    for (size_t i = 0; i < FL_ARRAY_LEN(signos) && r == 0; i++) {
        signals[i] = fl_signal_new(c->loop, signos[i], on_signal, c);
        r = signals[i] ? 0 : -ENOMEM;
    }
    if (r == 0 && c->up)
        r = fl_copy_open_source(c);
    if (r == 0)
        r = start(c, reason, &arena);
    if (r == 0) {
        c->begun_ms = fl_mono_ms();
        if (!c->quiet)
            fl_timer_start(c->timer, PROGRESS_MS);
        fl_cli_wait(c->cli, &c->done, 0);
        r = c->r;
    }
    if (r == 0 && !c->up && !c->signo)
        r = fl_copy_end_down(c);
    for (size_t i = 0; i < FL_ARRAY_LEN(signos); i++)
        fl_signal_free(signals[i]);
    return r;
}

/* The last part of a path, as far as it leaves room for the rest of the line. */
static char *name_of(const char *path)
{
    fl_autofree char *copy = strdup(path);

    return copy ? strndup(basename(copy), NAME_MAX_SHOWN) : NULL;
}

static int run_cp(struct fl_cli *cli, const void *options, const struct fl_args *args)
{
    const struct cp_options *o = options;
    size_t from = fl_cp_node_len(args->v[0]), to = fl_cp_node_len(args->v[1]);
    bool up = to > 0;
    char *there = args->v[up ? 1 : 0];
    struct fl_copy *c;
    int r, status = FL_EXIT_OK;

    if ((from > 0) == (to > 0))
        return fl_usage(&fl_cmd_cp, "%s",
                        from ? "one of the two must be local" : "neither is NODE:PATH");
    c = calloc(1, sizeof(*c));
    if (!c)
        return fl_cli_failed(-ENOMEM, &(struct fl_err){ 0 });
    there[up ? to : from] = '\0';
    c->cli = cli;
    c->up = up;
    c->node = there;
    c->remote = there + (up ? to : from) + 1;
    c->local = args->v[up ? 0 : 1];
    c->recursive = o->recursive;
    c->force = o->force;
    c->quiet = o->quiet;
    c->fd = c->code = -1;
    fl_buf_init(&c->said, SAID_BYTES);
    c->name = name_of(up ? c->local : c->remote);
    r = c->name ? copy_it(c, o->reason) : -ENOMEM;
    if (r < 0 && !c->err.code)
        fl_err_set(&c->err, r, NULL, "%s", strerror(-r));
    if (r < 0)
        status = fl_cli_fail(&c->err) == FL_EXIT_SERVICE && c->session ? FL_EXIT_FAILED
                                                                       : FL_EXIT_SERVICE;
    else if (c->signo)
        status = 128 + c->signo;
    clean(c);
    free(c);
    return status;
}

const struct fl_command fl_cmd_cp = {
    .name = "cp",
    .args = "SOURCE TARGET",
    .summary = "Copy a file or folder to or from a node",
    .text =
        "One of the two is NODE:PATH, the other a local path; \"./a:b\" is local. A path on the "
        "node that is not absolute begins in the home folder of the user the session runs as. If "
        "TARGET is a folder, the copy goes into it under the name of SOURCE.\n\n"
        "A file takes its place at once and whole, after its SHA-256 was compared at both ends; "
        "until then, and if anything fails, TARGET is as it was. A folder that is there is "
        "replaced as a whole, by --force alone.\n\n"
        "    fairlead cp app.conf web1:/etc/app.conf\n"
        "    fairlead cp -r web1:/var/log/app logs",
    FL_OPTIONS(struct cp_options, cp_options),
    .min_args = 2,
    .max_args = 2,
    .complete = FL_COMPLETE_FILE,
    .run = run_cp,
};
