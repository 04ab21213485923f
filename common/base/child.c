/* child.c - see child.h.
 *
 * vfork, not fork: copying the page tables of the parent and then faulting its pages in again takes
 * longer than the child's own work. Until exec the child runs on the parent's memory while the
 * calling thread stands still: it makes system calls, writes to nothing but its own frames, and
 * tells its failure through a close-on-exec pipe. Reaping: one SIGCHLD watcher a loop, waitpid for
 * each known pid (never for -1: a library's own children are not ours to collect).
 */
#include "common/base/child.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "common/base/file.h"

struct fl_child {
    LIST_ENTRY(fl_child) entry;
    struct fl_loop *loop;
    pid_t pid;
    bool leads_group;
    bool ended;
    fl_child_fn fn; /* NULL: only reap */
    void *arg;
};

/* The watcher of one loop; it goes with the last child, so that an idle loop holds no handle. */
struct reaper {
    struct fl_loop *loop;
    struct fl_signal *signal;
    LIST_HEAD(, fl_child) children;
};

static void collect(struct fl_child *c)
{
    int status;
    pid_t pid;

    do
        pid = waitpid(c->pid, &status, WNOHANG);
    while (pid < 0 && errno == EINTR);
    if (pid == 0)
        return;
    if (pid < 0)
        status = 0; /* somebody else reaped it: it is gone, its status with it */
    c->ended = true;
    LIST_REMOVE(c, entry);
    if (c->fn)
        c->fn(c->arg, status);
    else
        free(c);
}

static void release_reaper(void *arg)
{
    struct reaper *r = arg;
    struct fl_child *c;

    while ((c = LIST_FIRST(&r->children))) {
        LIST_REMOVE(c, entry);
        c->ended = true;
        if (!c->fn)
            free(c);
    }
    fl_signal_free(r->signal);
    free(r);
}

static void on_sigchld(void *arg, int signo)
{
    struct reaper *r = arg;
    struct fl_child *c, *next;

    /* Callbacks may spawn or free children: `next` is taken before each, and a freed one stays
     * listed (without callback) until it is reaped. */
    for (c = LIST_FIRST(&r->children); c; c = next) {
        next = LIST_NEXT(c, entry);
        collect(c);
    }
    if (LIST_EMPTY(&r->children)) {
        *fl_loop_child_slot(r->loop, release_reaper) = NULL;
        release_reaper(r);
    }
}

static struct reaper *reaper_of(struct fl_loop *loop)
{
    struct reaper **slot = (struct reaper **)fl_loop_child_slot(loop, release_reaper);
    struct reaper *r = *slot;

    if (r)
        return r;
    r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->loop = loop;
    r->signal = fl_signal_new(loop, SIGCHLD, on_sigchld, r);
    if (!r->signal) {
        free(r);
        return NULL;
    }
    LIST_INIT(&r->children);
    *slot = r;
    return r;
}

/* ---- the child's side ---- */

enum step {
    STEP_SIGNALS,
    STEP_GROUP,
    STEP_FDS,
    STEP_TTY,
    STEP_CWD,
    STEP_CONFINE,
    STEP_IDS,
    STEP_EXEC
};
static const char *const step_text[] = {
    [STEP_SIGNALS] = "reset signals",
    [STEP_GROUP] = "make a process group",
    [STEP_FDS] = "arrange descriptors",
    [STEP_TTY] = "take the terminal",
    [STEP_CWD] = "change to the working directory",
    [STEP_CONFINE] = "give up rights",
    [STEP_IDS] = "change user",
    [STEP_EXEC] = "execute",
};

struct failure {
    int step;
    int error;
};

static int arrange_fds(const struct fl_child_spec *spec, int *status_fd)
{
    int high[FL_CHILD_MAX_FDS];
    int max = 2, null;

    for (size_t i = 0; i < spec->n_fds; i++)
        max = FL_MAX(max, spec->fds[i].child_fd);

    /* First everything out of the way of the target numbers, then down onto them. */
    *status_fd = fcntl(*status_fd, F_DUPFD_CLOEXEC, max + 1);
    if (*status_fd < 0)
        return -1;
    for (size_t i = 0; i < spec->n_fds; i++) {
        high[i] = fcntl(spec->fds[i].parent_fd, F_DUPFD_CLOEXEC, max + 1);
        if (high[i] < 0)
            return -1;
    }
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -1;
    for (int fd = 0; fd <= 2; fd++)
        if (dup2(null, fd) < 0)
            return -1;
    for (size_t i = 0; i < spec->n_fds; i++)
        if (dup2(high[i], spec->fds[i].child_fd) < 0)
            return -1;
    return 0;
}

/* Everything from 3 up closes at exec except the descriptors asked for. */
static void close_rest(const struct fl_child_spec *spec)
{
    long limit;

    if (syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */) < 0) {
        limit = sysconf(_SC_OPEN_MAX);
        for (int fd = 3; fd < limit; fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    for (size_t i = 0; i < spec->n_fds; i++)
        fcntl(spec->fds[i].child_fd, F_SETFD, 0);
}

static int reset_signals(void)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        sigaction(s, &dfl, NULL);
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The bare system calls: the C library's would change every thread of the parent, whose list this
 * memory holds. */
static int change_ids(const struct fl_child_spec *spec)
{
    /* An ordinary user keeps its own ids; setgroups would be refused. */
    if (geteuid() == 0 && syscall(SYS_setgroups, spec->n_groups, spec->groups) < 0)
        return -1;
    if (syscall(SYS_setresgid, spec->gid, spec->gid, spec->gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, spec->uid, spec->uid, spec->uid);
}

/* What only root may do comes before the change of user, which takes the rest: see give_up_caps. */
static int confine(void)
{
    const struct rlimit no_core = { 0, 0 };
    struct rlimit files;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    /* Fails without CAP_SETPCAP, and then no_new_privs keeps the bounding set from mattering. */
    for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (setrlimit(RLIMIT_CORE, &no_core) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
        return -1;
    files.rlim_max = FL_MIN(files.rlim_max, (rlim_t)FL_CHILD_CONFINED_FILES);
    files.rlim_cur = FL_MIN(files.rlim_cur, files.rlim_max);
    return setrlimit(RLIMIT_NOFILE, &files);
}

static int lower_limits(const struct fl_child_spec *spec)
{
    for (size_t i = 0; i < spec->n_limits; i++) {
        const struct fl_child_limit *l = &spec->limits[i];
        struct rlimit lim;

        if (getrlimit((__rlimit_resource_t)l->resource, &lim) < 0)
            return -1;
        lim.rlim_max = FL_MIN(lim.rlim_max, (rlim_t)l->max);
        lim.rlim_cur = lim.rlim_max;
        if (setrlimit((__rlimit_resource_t)l->resource, &lim) < 0)
            return -1;
    }
    return 0;
}

/* After the change of user: root's go with it, but those of an ordinary user or of a securebits
 * setup would stay. */
static int give_up_caps(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[2] = { { 0 } };

    return (int)syscall(SYS_capset, &head, none);
}

static void __attribute__((noreturn))
run_child(const struct fl_child_spec *spec, int status_fd, pid_t parent)
{
    struct failure f = { .step = STEP_SIGNALS };

    if (reset_signals() < 0)
        goto fail;
    if (spec->cgroup_fd > 0)
        (void)!write(spec->cgroup_fd, "0", 1);
    f.step = STEP_GROUP;
    if (spec->new_group && setsid() < 0)
        goto fail;
    f.step = STEP_FDS;
    if (arrange_fds(spec, &status_fd) < 0)
        goto fail;
    close_rest(spec);
    f.step = STEP_TTY;
    if (spec->tty && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0)
        goto fail;
    f.step = STEP_CWD;
    if (spec->cwd && chdir(spec->cwd) < 0)
        goto fail;
    f.step = STEP_CONFINE;
    if ((spec->confine && confine() < 0) || lower_limits(spec) < 0)
        goto fail;
    f.step = STEP_IDS;
    if (spec->set_ids && change_ids(spec) < 0)
        goto fail;
    f.step = STEP_CONFINE;
    if (spec->confine && give_up_caps() < 0)
        goto fail;
    /* After the change of user, which clears the setting. */
    if (spec->die_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(127);
    }
    f.step = STEP_EXEC;
    execve(spec->path, spec->argv, spec->envp ? spec->envp : environ);
fail:
    f.error = errno;
    while (write(status_fd, &f, sizeof(f)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

/* A function of its own: whoever calls vfork keeps no local variable that could be lost by it. */
static pid_t __attribute__((noinline))
vfork_child(const struct fl_child_spec *spec, int status_fd, pid_t parent)
{
    pid_t pid = vfork();

    if (pid == 0)
        run_child(spec, status_fd, parent);
    return pid;
}

/* ---- the parent's side ---- */

int fl_child_spawn(struct fl_loop *loop, const struct fl_child_spec *spec, fl_child_fn fn,
                   void *arg, struct fl_child **ret_child, struct fl_err *err)
{
    fl_autofree struct fl_child *c = calloc(1, sizeof(*c));
    fl_autofd int status_r = -1;
    fl_autofd int status_w = -1;
    struct reaper *reaper;
    struct failure f;
    sigset_t all, old;
    int pipe_fds[2];
    pid_t self = getpid();

    if (spec->n_fds > FL_CHILD_MAX_FDS)
        return fl_err_set(err, -EINVAL, NULL, "%s: more than %d descriptors", spec->path,
                          FL_CHILD_MAX_FDS);
    reaper = c ? reaper_of(loop) : NULL;
    if (!reaper)
        return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", spec->path);
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fl_err_set(err, -errno, NULL, "%s: cannot make a pipe: %s", spec->path,
                          strerror(errno));
    status_r = pipe_fds[0];
    status_w = pipe_fds[1];

    /* No handler of ours may run in the child before it has reset them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    c->pid = vfork_child(spec, status_w, self);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (c->pid < 0)
        return fl_err_set(err, -errno, NULL, "%s: cannot fork: %s", spec->path, strerror(errno));

    close(FL_TAKE_FD(status_w));
    if (fl_fd_read_upto(status_r, &f, sizeof(f)) == sizeof(f)) {
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return fl_err_set(err, -f.error, NULL, "%s: cannot %s: %s", spec->path, step_text[f.step],
                          strerror(f.error));
    }

    c->loop = loop;
    c->leads_group = spec->new_group;
    c->fn = fn;
    c->arg = arg;
    LIST_INSERT_HEAD(&reaper->children, c, entry);
    *ret_child = FL_TAKE(c);
    return 0;
}

pid_t fl_child_pid(const struct fl_child *c)
{
    return c->pid;
}

int fl_child_kill(struct fl_child *c, int signo)
{
    if (c->ended)
        return -ESRCH;
    return kill(c->leads_group ? -c->pid : c->pid, signo) < 0 ? -errno : 0;
}

struct fl_child *fl_child_free(struct fl_child *c)
{
    if (!c)
        return NULL;
    if (c->ended)
        free(c);
    else
        c->fn = NULL;
    return NULL;
}
