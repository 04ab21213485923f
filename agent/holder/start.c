/* start.c - the user's process of a session: on a terminal of its own, or on pipes. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include "agent/holder/holder_priv.h"
#include "agent/holder/split.h"
#include "agent/lib/text.h"
#include "agent/lib/leftover.h"
#include "common/base/file.h"

#define DEFAULT_COLS      80
#define DEFAULT_ROWS      24
#define PAM_TEXT_MAX      2048 /* what a terminal takes while nobody reads it */
#define START_ARENA_BYTES (1u << 20)

/* What the process is given, and what stays here. */
struct ends {
    int child[FL_HOLDER_MAX_FDS]; /* as its 0, 1, 2 */
    int ours[FL_HOLDER_MAX_FDS];
    size_t n_ours;
    char tty[64]; /* "" for none */
};

static void close_all(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fds[i] < 0)
            continue;
        for (size_t j = i + 1; j < n; j++)
            if (fds[j] == fds[i])
                fds[j] = -1;
        close(FL_TAKE_FD(fds[i]));
    }
}

static int failed(struct fl_err *err, const char *what)
{
    return fl_err_set(err, -errno, NULL, "%s: %s", what, strerror(errno));
}

/* ---- a terminal ---- */

static uint16_t between(int32_t n, uint16_t otherwise)
{
    return n > 0 ? (uint16_t)n : otherwise; /* the low 16 bits (protocol 3 §8) */
}

static int open_terminal(const struct fl_sess_run *run, const struct fl_login *login,
                         struct ends *e, struct fl_err *err)
{
    const struct winsize size = { .ws_col = between(run->cols, DEFAULT_COLS),
                                  .ws_row = between(run->rows, DEFAULT_ROWS) };
    const struct group *tty = login->change ? getgrnam("tty") : NULL;
    struct termios modes;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;

    if (master < 0)
        return failed(err, "no terminal");
    e->ours[e->n_ours++] = master;
    if (grantpt(master) < 0 || unlockpt(master) < 0 ||
        ptsname_r(master, e->tty, sizeof(e->tty)) != 0)
        return failed(err, "no terminal");
    slave = open(e->tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return failed(err, e->tty);
    e->child[0] = e->child[1] = e->child[2] = slave;
    if (login->change &&
        (fchown(slave, login->uid, tty ? tty->gr_gid : login->gid) < 0 || fchmod(slave, 0620) < 0))
        return failed(err, e->tty);
    if (tcgetattr(slave, &modes) == 0) {
        modes.c_iflag |= IUTF8;
        tcsetattr(slave, TCSANOW, &modes);
    }
    if (ioctl(slave, TIOCSWINSZ, &size) < 0)
        return failed(err, e->tty);
    return 0;
}

/* ---- pipes ---- */

static int make_pipe(struct ends *e, int child_fd, bool child_reads, struct fl_err *err)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return failed(err, "no pipe");
    e->child[child_fd] = fds[child_reads ? 0 : 1];
    e->ours[e->n_ours++] = fds[child_reads ? 1 : 0];
    return 0;
}

static int open_pipes(const struct fl_session_plan *plan, struct ends *e, struct fl_err *err)
{
    int r = make_pipe(e, STDOUT_FILENO, false, err);

    if (r == 0 && plan->separate_output)
        r = make_pipe(e, STDERR_FILENO, false, err);
    else
        e->child[STDERR_FILENO] = e->child[STDOUT_FILENO];
    if (r == 0 && plan->has_stdin)
        r = make_pipe(e, STDIN_FILENO, true, err);
    return r;
}

/* ---- what is run ---- */

/* A program by its name, as execvp finds it. */
static int find_program(const char *name, const char *path, struct fl_arena *arena, char **ret_path,
                        struct fl_err *err)
{
    if (strchr(name, '/')) {
        *ret_path = fl_text(name);
        return 0;
    }
    while (path && *path) {
        size_t len = strcspn(path, ":");
        char *candidate = fl_arena_printf(arena, "%.*s/%s", (int)len, path, name);
        struct stat st;

        if (candidate && len > 0 && stat(candidate, &st) == 0 && S_ISREG(st.st_mode) &&
            access(candidate, X_OK) == 0) {
            *ret_path = candidate;
            return 0;
        }
        path += len + (path[len] == ':');
    }
    return fl_err_set(err, -ENOENT, NULL, "exec: \"%.200s\": executable file not found in $PATH",
                      name);
}

/* argv of the arena; *ret_path is the program. */
static int choose(const struct fl_session_plan *plan, const struct fl_login *login,
                  char *const *env, struct fl_arena *arena, char **ret_path, char ***ret_argv,
                  struct fl_err *err)
{
    char **argv;
    bool split = plan->kind == FL_SESSION_NON_INTERACTIVE && !plan->shell;

    if (split) {
        int r = fl_split(plan->commands, arena, ret_argv, err);

        return r < 0 ? r
                     : find_program((*ret_argv)[0], fl_env_get(env, "PATH"), arena, ret_path, err);
    }
    argv = fl_arena_calloc(arena, 4, sizeof(*argv));
    if (!argv)
        return fl_err_nomem(err);
    if (plan->kind == FL_SESSION_STANDARD) {
        const char *base = strrchr(login->shell, '/');

        *ret_path = login->shell;
        argv[0] = fl_text(base ? base + 1 : login->shell);
        argv[1] = fl_text("-l");
    } else {
        *ret_path = argv[0] = fl_text("/bin/sh");
        argv[1] = fl_text("-c");
        argv[2] = plan->commands;
    }
    *ret_argv = argv;
    return 0;
}

static int spawn(struct holder *h, const struct fl_login *login, const struct ends *e,
                 struct fl_arena *arena, struct fl_err *err)
{
    struct fl_child_fd fds[FL_HOLDER_MAX_FDS];
    bool terminal = e->tty[0];
    char **env = fl_login_env(login, terminal, fl_pam_env(h->pam), arena);
    struct fl_child_spec spec = {
        .envp = env,
        .cwd = login->home,
        .fds = fds,
        .new_group = true,
        .tty = terminal,
        .set_ids = login->change,
        .uid = login->uid,
        .gid = login->gid,
        .groups = login->groups,
        .n_groups = login->n_groups,
    };
    char **argv = NULL, *path = NULL;
    int r = env ? choose(&h->plan, login, env, arena, &path, &argv, err) : fl_err_nomem(err);

    if (r < 0)
        return r;
    spec.path = path;
    spec.argv = argv;
    if (access(login->home, X_OK) < 0)
        spec.cwd = "/";
    for (int i = 0; i < FL_HOLDER_MAX_FDS; i++)
        if (e->child[i] >= 0)
            fds[spec.n_fds++] = (struct fl_child_fd){ i, e->child[i] };
    return fl_child_spawn(h->loop, &spec, fl_holder_child_ended, h, &h->user_child, err);
}

/* What PAM's modules set in this process is for the user's, which inherits it. A limit on files,
 * say, would end this one at its next record. */
struct own {
    struct rlimit limits[RLIM_NLIMITS];
    mode_t mask;
};

static void save_own(struct own *own)
{
    own->mask = umask(0);
    umask(own->mask);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit((__rlimit_resource_t)i, &own->limits[i]);
}

static void restore_own(const struct own *own)
{
    struct rlimit now;

    umask(own->mask);
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        if (setrlimit((__rlimit_resource_t)i, &own->limits[i]) == 0 ||
            getrlimit((__rlimit_resource_t)i, &now) < 0)
            continue;
        /* A container's root may not raise the hard one. */
        now.rlim_cur = FL_MIN(own->limits[i].rlim_cur, now.rlim_max);
        setrlimit((__rlimit_resource_t)i, &now);
    }
}

/* For whoever ends what is left, should this process die. */
static void note_child(struct holder *h)
{
    struct fl_group group;

    fl_group_describe(fl_child_pid(h->user_child), &group);
    fl_journal_append(&h->journal, FL_SREC_CHILD,
                      &(struct fl_srec_child){ .pid = group.leader,
                                               .start_ticks = group.start_ticks,
                                               .boot_id = group.boot_id },
                      NULL);
}

int fl_holder_start_child(struct holder *h, const struct fl_sess_run *run,
                          int ret_fds[FL_HOLDER_MAX_FDS], size_t *ret_n, struct fl_err *err)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(START_ARENA_BYTES);
    fl_autobuf struct fl_buf text = FL_BUF(PAM_TEXT_MAX);
    bool pipes = h->plan.kind == FL_SESSION_NON_INTERACTIVE;
    struct ends e = { .child = { -1, -1, -1 }, .ours = { -1, -1, -1 } };
    fl_autofd int sessions_fd = openat(h->dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct fl_login login;
    struct own own;
    int r = sessions_fd < 0
                ? failed(err, h->path)
                : fl_login_find(&h->plan, h->session.user, sessions_fd, &arena, &login, err);

    if (r == 0)
        r = pipes ? open_pipes(&h->plan, &e, err) : open_terminal(run, &login, &e, err);
    save_own(&own);
    if (r == 0 && login.change)
        r = fl_pam_open(h->session.pam_service, login.name, e.tty[0] ? e.tty : NULL, &text, &h->pam,
                        err);
    if (r == 0 && text.len > 0 && !pipes)
        fl_fd_write_all(e.child[STDOUT_FILENO], text.data, text.len);
    if (r == 0)
        r = spawn(h, &login, &e, &arena, err);
    restore_own(&own);
    close_all(e.child, FL_ARRAY_LEN(e.child));
    if (r < 0) {
        close_all(e.ours, FL_ARRAY_LEN(e.ours));
        return r;
    }
    note_child(h);
    if (h->pam && e.tty[0]) /* "none": it is no login */
        fl_utmp_begin(&h->utmp, e.tty, fl_child_pid(h->user_child), login.name,
                      h->session.session_id, NULL);
    memcpy(ret_fds, e.ours, sizeof(e.ours));
    *ret_n = e.n_ours;
    return 0;
}
