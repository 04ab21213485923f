/* process.c - see process.h. */
#include "plugins/process.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include "common/base/child.h"
#include "common/base/file.h"
#include "plugins/exit.h"

#define READ_BYTES       65536
#define READS_PER_WAKEUP 16
#define KILL_GRACE_MS \
    5000 /* a process that cannot die (stuck in the kernel) is given up after this */

struct fl_process {
    struct fl_step *step;
    struct fl_process_spec spec; /* its last three members */
    struct fl_child *child;
    struct fl_timer *grace;
    struct stream {
        struct fl_process *process;
        enum fl_step_stream which;
        struct fl_io *io;
        int fd; /* -1: closed */
    } streams[2];
    bool exited, killed, told;
    int wait_status;
};

static void close_stream(struct stream *s)
{
    s->io = fl_io_free(s->io);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void maybe_over(struct fl_process *p)
{
    if (!p->exited || p->streams[0].fd >= 0 || p->streams[1].fd >= 0 || p->told)
        return;
    p->told = true;
    p->spec.over(p->spec.arg, p->wait_status);
}

static void take(struct stream *s, const void *data, size_t len)
{
    struct fl_process *p = s->process;

    if (p->spec.output)
        p->spec.output(p->spec.arg, s->which, data, len);
    else
        fl_step_write(p->step, s->which, data, len);
}

/* Reads what is there, up to `reads` chunks. False once the pipe is closed by every writer. */
static bool drain(struct stream *s, int reads)
{
    char chunk[READ_BYTES];

    while (reads-- > 0) {
        ssize_t n = read(s->fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        take(s, chunk, (size_t)n);
    }
    return true;
}

static void on_output(void *arg, unsigned events)
{
    struct stream *s = arg;

    if (drain(s, READS_PER_WAKEUP))
        return;
    close_stream(s);
    maybe_over(s->process);
}

/* A killed process ends with what it had written; one that left the group may hold the pipes open
 * for ever. */
static void cut_output(struct fl_process *p)
{
    for (size_t i = 0; i < 2; i++)
        if (p->streams[i].fd >= 0) {
            drain(&p->streams[i], READS_PER_WAKEUP);
            close_stream(&p->streams[i]);
        }
}

static void on_exit_status(void *arg, int status)
{
    struct fl_process *p = arg;

    p->exited = true;
    p->wait_status = status;
    if (p->killed)
        cut_output(p);
    maybe_over(p);
}

static void on_grace(void *arg)
{
    struct fl_process *p = arg;

    if (!p->exited) {
        p->exited = true;
        p->wait_status = SIGKILL;
    }
    cut_output(p);
    maybe_over(p);
}

static int open_stream(struct fl_process *p, enum fl_step_stream which, int *ret_write_fd)
{
    struct stream *s = &p->streams[which];
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    s->fd = fds[0];
    *ret_write_fd = fds[1];
    if (fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    s->io = fl_io_new(fl_step_loop(p->step), s->fd, on_output, s);
    return s->io ? fl_io_set(s->io, FL_IO_READ) : -ENOMEM;
}

/* Memory, not a pipe: whoever does not read it stops nobody. */
static int open_input(const struct fl_process_spec *spec)
{
    fl_autofd int fd = memfd_create("fairlead-input", MFD_CLOEXEC);
    int r = fd < 0 ? -errno : fl_fd_write_all(fd, spec->input, spec->input_len);

    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : FL_TAKE_FD(fd);
}

static int spawn(struct fl_process *p, const struct fl_process_spec *spec, struct fl_err *err)
{
    fl_autofd int in = -1;
    fl_autofd int out = -1;
    fl_autofd int errors = -1;
    uid_t uid = 0;
    gid_t gid = 0;
    int r = spec->confine ? fl_step_unprivileged(p->step, &uid, &gid, err) : 0;

    if (r == 0)
        r = open_stream(p, FL_STEP_STDOUT, &out);
    if (r == 0)
        r = open_stream(p, FL_STEP_STDERR, &errors);
    if (r == 0 && spec->input)
        in = r = open_input(spec);
    if (r >= 0) {
        const struct fl_child_fd fds[] = { { 1, out }, { 2, errors }, { 0, in } };
        const struct fl_child_spec child = {
            .path = spec->path,
            .argv = spec->argv,
            .envp = spec->envp,
            .cwd = spec->cwd,
            .fds = fds,
            .n_fds = FL_ARRAY_LEN(fds) - !spec->input,
            .new_group = true,
            .die_with_parent = true,
            .set_ids = spec->confine && geteuid() == 0,
            .uid = uid,
            .gid = gid,
            .confine = spec->confine,
            .limits = spec->limits,
            .n_limits = spec->n_limits,
        };

        r = fl_child_spawn(fl_step_loop(p->step), &child, on_exit_status, p, &p->child, NULL);
    }
    return r;
}

int fl_process_start(struct fl_step *step, const struct fl_process_spec *spec,
                     struct fl_process **ret_process, struct fl_err *err)
{
    struct fl_process *p = calloc(1, sizeof(*p));
    char text[512];
    int r = p ? 0 : -ENOMEM;

    if (r == 0) {
        p->step = step;
        p->spec = *spec;
        for (size_t i = 0; i < 2; i++)
            p->streams[i] =
                (struct stream){ .process = p, .which = (enum fl_step_stream)i, .fd = -1 };
        r = spawn(p, spec, err);
    }
    if (r < 0) {
        fl_process_free(p);
        if (err && err->code)
            return r;
        fl_exit_spawn_error(spec->path, -r, text, sizeof(text));
        return fl_err_set(err, r, NULL, "%s", text);
    }
    fl_step_note_group(step, fl_child_pid(p->child));
    *ret_process = p;
    return 0;
}

void fl_process_kill(struct fl_process *p)
{
    if (p->killed || p->told)
        return;
    p->killed = true;
    if (p->exited) {
        /* Only the pipes kept it going: the group is what is left of it. */
        fl_step_kill_group(p->step);
        p->wait_status = SIGKILL;
    } else {
        fl_child_kill(p->child, SIGKILL);
    }
    p->grace = fl_timer_new(fl_step_loop(p->step), on_grace, p);
    if (p->grace)
        fl_timer_start(p->grace, p->exited ? 0 : KILL_GRACE_MS);
}

struct fl_process *fl_process_free(struct fl_process *p)
{
    if (!p)
        return NULL;
    if (p->child && !p->exited)
        fl_child_kill(p->child, SIGKILL);
    close_stream(&p->streams[0]);
    close_stream(&p->streams[1]);
    p->grace = fl_timer_free(p->grace);
    p->child = fl_child_free(p->child);
    free(p);
    return NULL;
}

void fl_process_done(struct fl_step *step, int wait_status)
{
    struct fl_exit e;

    fl_exit_map(wait_status, fl_step_ending(step), &e);
    fl_step_puts(step, FL_STEP_STDERR, e.text);
    fl_step_done(step, e.status, e.code);
}
