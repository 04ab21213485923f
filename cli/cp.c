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
#include "cli/conn.h"
#include "cli/cp_plan.h"
#include "cli/nodes.h"
#include "cli/params.h"
#include "cli/session.h"
#include "cli/term.h"
#include "common/aws/digest.h"
#include "common/base/child.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#define ARENA_BYTES    (4 << 20)
#define DOCUMENT       "Fairlead-Exec"
#define SAID_BYTES     4096 /* of the node's standard error that stands in a complaint */
#define HEAD_BYTES     128
#define PIPE_BYTES     (1 << 20) /* waits for tar, then the node waits */
#define PROGRESS_MS    250
#define NAME_MAX_SHOWN 24
#define BAR_WIDTH      24
#define PIECE_HEAD     16
#define TMP_SUFFIX     ".fairlead-XXXXXX"

struct copy {
    struct fl_cli *cli;
    struct fl_loop *loop;
    const char *node, *remote, *local; /* local: the path the user gave */
    bool up, recursive, force, quiet;
    char *name;         /* what progress calls it */
    char *target, *tmp; /* down: where it is to be, and where it is made */
    struct fl_session *session;
    struct fl_conn *conn; /* up: source; down: tar's input */
    struct fl_child *tar;
    int tar_status, fd;
    struct fl_digest *sum;
    struct fl_timer *timer;
    struct fl_buf said;
    uint64_t size, bytes; /* 0: not known; done */
    int64_t begun_ms;
    /* up */
    char piece[PIECE_HEAD + FL_CP_PIECE_BYTES]; /* the head ends where the data begins */
    size_t piece_len, sent_from, sent_to;       /* what is being sent of `piece`; equal: nothing */
    bool source_ended, trailer_sent;
    struct stat st;
    /* down */
    char line[HEAD_BYTES];
    size_t line_len;
    bool has_head, tar_running;
    struct fl_cp_head head;
    struct fl_cp_tail tail;
    bool ended, done;
    int code; /* of the command on the node; -1: none came */
    int r;
    int signo;
    struct fl_err err;
};

static void finish(struct copy *c)
{
    if (c->tar_running || (!c->ended && c->r == 0 && !c->signo))
        return;
    c->done = true;
    fl_loop_stop(c->loop);
}

static int FL_PRINTF(3, 4) fail(struct copy *c, int r, const char *fmt, ...)
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

static void on_progress(void *arg)
{
    struct copy *c = arg;
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

/* ---- tar ---- */

static void on_tar_exit(void *arg, int status)
{
    struct copy *c = arg;

    c->tar_running = false;
    c->tar_status = status;
    if (status != 0 && c->r == 0)
        fail(c, -EIO, "tar ended with status %d",
             WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    finish(c);
}

/* tar with one end of a pipe; the other is *ret_fd. */
static int start_tar(struct copy *c, const char *const *argv, int child_fd, int *ret_fd)
{
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return fail(c, -errno, "a pipe: %s", strerror(errno));

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
        return fail(c, r, "%s", fl_err_text(&c->err));
    }
    c->tar_running = true;
    *ret_fd = fds[!child_fd];
    return 0;
}

/* ---- up ---- */

static void send_more(struct copy *c)
{
    while (c->sent_from < c->sent_to) {
        size_t n = FL_MIN(fl_session_room(c->session), c->sent_to - c->sent_from);

        if (!n || fl_session_write(c->session, c->piece + c->sent_from, n) < 0)
            return;
        c->sent_from += n;
    }
}

/* The piece goes out behind its length. */
static void begin_piece(struct copy *c)
{
    char head[PIECE_HEAD];
    int n = snprintf(head, sizeof(head), "%zu\n", c->piece_len);

    fl_digest_add(c->sum, c->piece + PIECE_HEAD, c->piece_len);
    c->bytes += c->piece_len;
    memcpy(c->piece + PIECE_HEAD - n, head, (size_t)n);
    c->sent_from = PIECE_HEAD - (size_t)n;
    c->sent_to = PIECE_HEAD + c->piece_len;
    c->piece_len = 0;
}

static void begin_trailer(struct copy *c)
{
    char digest[FL_DIGEST_MAX_HEX_BYTES];

    fl_digest_end_hex(c->sum, digest);
    c->sent_from = 0;
    c->sent_to = (size_t)snprintf(c->piece, sizeof(c->piece), "0\n%s\n", digest);
    c->trailer_sent = true;
}

static void push(struct copy *c)
{
    send_more(c);
    if (c->sent_from < c->sent_to || c->r < 0)
        return;
    if (c->piece_len == FL_CP_PIECE_BYTES || (c->source_ended && c->piece_len > 0)) {
        begin_piece(c);
        push(c);
    } else if (c->source_ended && !c->trailer_sent) {
        begin_trailer(c);
        push(c);
    } else if (c->source_ended) {
        fl_session_flag(c->session, FL_DATA_FLAG_END_OF_INPUT);
    } else {
        fl_conn_kick(c->conn);
    }
}

static size_t source_room(void *arg)
{
    const struct copy *c = arg;

    return c->sent_from < c->sent_to ? 0 : FL_CP_PIECE_BYTES - c->piece_len;
}

static void on_source(void *arg, const char *data, size_t len)
{
    struct copy *c = arg;

    memcpy(c->piece + PIECE_HEAD + c->piece_len, data, len);
    c->piece_len += len;
    if (c->piece_len == FL_CP_PIECE_BYTES)
        push(c);
}

static void on_source_end(void *arg, int r)
{
    struct copy *c = arg;

    if (r < 0) {
        fail(c, r, "%s: %s", c->local, strerror(-r));
        return;
    }
    c->source_ended = true;
    push(c);
}

static const struct fl_conn_events source_events = { .room = source_room,
                                                     .on_data = on_source,
                                                     .on_eof = on_source_end };

static int begin_up(struct copy *c)
{
    const char *const argv[] = { "tar", "-cf", "-", "-C", c->local, ".", NULL };
    int r = 0, fd = FL_TAKE_FD(c->fd);

    if (S_ISDIR(c->st.st_mode))
        r = start_tar(c, argv, STDOUT_FILENO, &fd);
    if (r == 0)
        r = fl_conn_new(c->loop, fd, &source_events, c, &c->conn);
    if (r == 0)
        fl_conn_kick(c->conn);
    return r;
}

/* ---- down ---- */

static void sink_drained(void *arg)
{
    struct copy *c = arg;

    fl_session_hold(c->session, false);
}

static void sink_broken(void *arg, int r)
{
    struct copy *c = arg;

    if (!c->done)
        fail(c, r, "tar takes no more: %s", strerror(-r));
}

static const struct fl_conn_events sink_events = { .on_drain = sink_drained,
                                                   .on_broken = sink_broken };

static int put(void *arg, const char *data, size_t len)
{
    struct copy *c = arg;
    int r;

    fl_digest_add(c->sum, data, len);
    c->bytes += len;
    r = c->conn ? fl_conn_write(c->conn, data, len) : fl_fd_write_all(c->fd, data, len);
    if (r < 0 && !c->conn)
        return fail(c, r, "%s: %s", c->target, strerror(-r));
    if (c->conn && fl_conn_queued(c->conn) > PIPE_BYTES)
        fl_session_hold(c->session, true);
    return 0;
}

/* Where it is to be: the path given, or in the folder that it is. */
static int set_target(struct copy *c)
{
    fl_autofree char *copy = strdup(c->remote);
    struct stat st;
    size_t len = strlen(c->local);
    bool slash = len > 0 && c->local[len - 1] == '/';

    if (!copy)
        return -ENOMEM;
    if (stat(c->local, &st) == 0 && S_ISDIR(st.st_mode))
        c->target = fl_path_join(c->local, basename(copy));
    else if (slash)
        return fail(c, -ENOENT, "%s: no such folder", c->local);
    else
        c->target = strdup(c->local);
    if (!c->target)
        return -ENOMEM;
    if (stat(c->target, &st) < 0)
        return 0;
    if (!c->head.folder && S_ISDIR(st.st_mode))
        return fail(c, -EISDIR, "%s: is a folder", c->target);
    if (c->head.folder && !c->force)
        return fail(c, -EEXIST, "%s: exists; --force replaces it", c->target);
    return 0;
}

static int make_tmp(struct copy *c)
{
    if (asprintf(&c->tmp, "%s" TMP_SUFFIX, c->target) < 0) {
        c->tmp = NULL;
        return -ENOMEM;
    }
    c->fd = -1;
    if (c->head.folder ? !mkdtemp(c->tmp) : (c->fd = mkostemp(c->tmp, O_CLOEXEC)) < 0) {
        int r = -errno;

        free(c->tmp);
        c->tmp = NULL;
        return fail(c, r, "%s: %s", c->target, strerror(-r));
    }
    return 0;
}

static int begin_down(struct copy *c)
{
    int fd, r;

    c->line[c->line_len] = '\0';
    if (fl_cp_head_parse(c->line, &c->head) < 0)
        return fail(c, -EBADMSG, "the node answered what is no file");
    c->has_head = true;
    c->size = c->head.size;
    r = set_target(c);
    if (r == 0)
        r = make_tmp(c);
    if (r < 0 || !c->head.folder)
        return r;

    const char *const argv[] = { "tar", "-xof", "-", "-C", c->tmp, NULL };

    r = start_tar(c, argv, STDIN_FILENO, &fd);
    return r < 0 ? r : fl_conn_new(c->loop, fd, &sink_events, c, &c->conn);
}

static void take(struct copy *c, const char *data, size_t len)
{
    while (len && !c->has_head && c->r == 0) {
        char b = *data++;

        len--;
        if (b == '\n')
            begin_down(c);
        else if (c->line_len + 1 == sizeof(c->line))
            fail(c, -EBADMSG, "the node answered what is no file");
        else
            c->line[c->line_len++] = b;
    }
    if (len && c->r == 0)
        fl_cp_tail_feed(&c->tail, data, len, put, c);
}

/* The file or folder takes its name; nothing of it was there before. */
static int commit(struct copy *c)
{
    fl_autofree char *old = NULL;
    fl_autofree char *copy = strdup(c->target);
    mode_t mask = umask(0);
    int r;

    umask(mask);
    if (!copy)
        return -ENOMEM;
    if (!c->head.folder && (fchmod(c->fd, c->head.mode & ~mask) < 0 || fsync(c->fd) < 0))
        return fail(c, -errno, "%s: %s", c->target, strerror(errno));
    if (c->head.folder && access(c->target, F_OK) == 0) {
        if (asprintf(&old, "%s.old", c->tmp) < 0) {
            old = NULL;
            return -ENOMEM;
        }
        if (rename(c->target, old) < 0)
            return fail(c, -errno, "%s: %s", c->target, strerror(errno));
    }
    if (rename(c->tmp, c->target) < 0) {
        r = -errno;
        if (old)
            rename(old, c->target);
        return fail(c, r, "%s: %s", c->target, strerror(-r));
    }
    free(c->tmp);
    c->tmp = NULL;
    fl_dir_sync(dirname(copy), NULL);
    return old ? fl_dir_remove(old, &c->err) : 0;
}

static int end_down(struct copy *c)
{
    char mine[FL_DIGEST_MAX_HEX_BYTES], nodes[FL_CP_TRAILER_BYTES];

    fl_digest_end_hex(c->sum, mine);
    if (!c->has_head || fl_cp_tail_digest(&c->tail, nodes) < 0 || strcmp(mine, nodes) != 0)
        return fail(c, -EBADMSG, "%s: what came is not what was sent", c->target ? c->target : "");
    return commit(c);
}

/* ---- the session ---- */

static void on_ready(void *arg, const struct fl_session_info *info)
{
    struct copy *c = arg;

    if (c->done)
        return;
    c->begun_ms = fl_mono_ms();
    if (info->kind != FL_SESSION_COMMAND || (c->up && !info->end_of_input))
        fail(c, -EOPNOTSUPP, "the node's agent gives commands no input; it is not fairlead's");
    else if (c->up)
        begin_up(c);
    else if (info->end_of_input)
        fl_session_flag(c->session, FL_DATA_FLAG_END_OF_INPUT);
}

static void on_output(void *arg, uint32_t type, const char *data, size_t len)
{
    struct copy *c = arg;

    if (c->done)
        return;
    if (type == FL_DATA_TYPE_STDERR)
        fl_buf_append(&c->said, data, FL_MIN(len, SAID_BYTES - c->said.len));
    else if (!c->up)
        take(c, data, len);
}

static void on_exit_code(void *arg, int code)
{
    struct copy *c = arg;

    c->code = code;
}

static void on_room(void *arg)
{
    struct copy *c = arg;

    if (c->up && c->conn && !c->done)
        push(c);
}

static void on_note(void *arg, const char *text)
{
    const struct copy *c = arg;

    if (c->quiet)
        return;
    fl_progress("%s", "");
    fprintf(stderr, "fairlead: %s\n", text);
}

static void on_end(void *arg, int r, const char *text)
{
    struct copy *c = arg;

    c->ended = true;
    if (c->done)
        return;
    if (c->conn && !c->up)
        c->conn = fl_conn_free(c->conn); /* tar's end of input, as all of it was written */
    if (r < 0)
        fail(c, r, "%s", text);
    else if (c->code != 0 && c->said.len)
        fail(c, -EIO, "%s: %.*s", c->node, (int)strcspn(c->said.data, "\n"), c->said.data);
    else if (c->code != 0)
        fail(c, -EIO, "%s: the copy ended early%s%s", c->node, *text ? ": " : "", text);
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

static int open_source(struct copy *c)
{
    c->fd = open(c->local, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (c->fd < 0 || fstat(c->fd, &c->st) < 0)
        return fl_err_set(&c->err, -errno, NULL, "%s: %s", c->local, strerror(errno));
    if (S_ISDIR(c->st.st_mode) && !c->recursive)
        return fl_err_set(&c->err, -EISDIR, NULL, "%s: is a folder; -r copies it", c->local);
    if (!S_ISDIR(c->st.st_mode) && !S_ISREG(c->st.st_mode))
        return fl_err_set(&c->err, -EINVAL, NULL, "%s: neither file nor folder", c->local);
    c->size = S_ISREG(c->st.st_mode) ? (uint64_t)c->st.st_size : 0;
    return 0;
}

static int make_line(const struct copy *c, struct fl_buf *line)
{
    fl_autofree char *copy = NULL;

    if (!c->up)
        return fl_cp_down_line(c->remote, c->recursive, line);
    copy = realpath(c->local, NULL); /* the name of "." */
    if (!copy)
        return -errno;

    const struct fl_cp_up up = { .target = c->remote,
                                 .base = basename(copy),
                                 .folder = S_ISDIR(c->st.st_mode),
                                 .force = c->force,
                                 .mode = c->st.st_mode };
    return fl_cp_up_line(&up, line);
}

static int start(struct copy *c, const char *reason, struct fl_arena *arena)
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
    return r < 0 ? r : fl_session_new(c->cli, &grant, &session_events, c, &c->session, &c->err);
}

static void on_signal(void *arg, int signo)
{
    struct copy *c = arg;

    c->signo = signo;
    if (c->tar_running)
        fl_child_kill(c->tar, SIGKILL);
    finish(c);
}

static void clean(struct copy *c)
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

static int copy_it(struct copy *c, const char *reason)
{
    static const int signos[] = { SIGINT, SIGTERM, SIGHUP };
    fl_autoarena struct fl_arena arena = FL_ARENA(ARENA_BYTES);
    struct fl_signal *signals[FL_ARRAY_LEN(signos)] = { 0 };
    int r;

    c->loop = fl_cli_loop(c->cli, &c->err);
    c->sum = fl_digest_new(FL_DIGEST_SHA256);
    c->timer = c->loop ? fl_timer_new(c->loop, on_progress, c) : NULL;
    r = c->sum && c->timer ? 0 : -ENOMEM;
    for (size_t i = 0; i < FL_ARRAY_LEN(signos) && r == 0; i++) {
        signals[i] = fl_signal_new(c->loop, signos[i], on_signal, c);
        r = signals[i] ? 0 : -ENOMEM;
    }
    if (r == 0 && c->up)
        r = open_source(c);
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
        r = end_down(c);
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
    struct copy *c;
    int r, status = FL_EXIT_OK;

    if ((from > 0) == (to > 0))
        return fl_usage(&fl_cmd_cp, "%s",
                        from ? "one of the two must be local" : "neither is NODE:PATH");
    c = calloc(1, sizeof(*c));
    if (!c)
        return fl_cli_fail(&(struct fl_err){ .code = -ENOMEM, .text = "out of memory" });
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
