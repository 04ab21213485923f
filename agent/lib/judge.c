/* judge.c - see judge.h. */
#include "agent/lib/judge.h"
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/lib/role.h"

#define READ_BYTES 4096

#define F(member) FL_FIELD(struct fl_judgement, member, #member, FL_OMIT_ZERO)
static const struct fl_field fields[] = {
    F(error),       F(broken),       F(allowed),         F(why),       F(step),
    F(key),         F(action),       F(document_sha256), F(signed_by), F(nonce),
    F(not_after_s), F(by_signature), F(time_ms),
};
#undef F
const struct fl_shape fl_shape_judgement = FL_SHAPE(struct fl_judgement, "judgement", fields);

struct fl_judge {
    struct fl_child *child;
    struct fl_io *io;
    struct fl_timer *timer;
    int fd;
    struct fl_buf in;
    fl_judge_fn fn;
    void *arg;
};

/* The last thing done with `j`: the callback may free it. */
static void answer(struct fl_judge *j, const char *why)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_JUDGEMENT_MAX_BYTES);
    struct fl_judgement judgement;
    struct fl_err err = { 0 };
    bool ok;

    fl_timer_stop(j->timer);
    fl_io_set(j->io, 0);
    ok = !why && fl_json_decode(&fl_shape_judgement, j->in.data ? j->in.data : "", j->in.len, 0,
                                &arena, &judgement, &err) == 0;
    j->fn(j->arg, ok ? &judgement : NULL,
          why ? why : "fairlead-agent-policy ended before it had decided");
}

static void on_io(void *arg, unsigned events)
{
    struct fl_judge *j = arg;
    ssize_t n;

    if (fl_buf_reserve(&j->in, READ_BYTES) < 0) {
        answer(j, "fairlead-agent-policy answered with too much");
        return;
    }
    n = read(j->fd, j->in.data + j->in.len, READ_BYTES);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        answer(j, NULL);
        return;
    }
    j->in.len += (size_t)n;
}

static void on_timeout(void *arg)
{
    struct fl_judge *j = arg;

    if (j->child)
        fl_child_kill(j->child, SIGKILL);
    answer(j, "fairlead-agent-policy took too long");
}

static void on_ended(void *arg, int status)
{
    struct fl_judge *j = arg;

    /* The end of its output tells the rest. */
    j->child = fl_child_free(j->child);
}

int fl_judge_start(struct fl_loop *loop, const struct fl_paths *paths, const char *user,
                   const char *run_as, enum fl_judge_what what, int policy_fd, int job_fd,
                   fl_judge_fn fn, void *arg, struct fl_judge **ret_judge, struct fl_err *err)
{
    struct fl_judge *j = calloc(1, sizeof(*j));
    const char *args[] = { "--run-as", run_as, what == FL_JUDGE_SESSION ? "--session" : NULL,
                           NULL };
    int fds[2], r;

    if (!j)
        return fl_err_nomem(err);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        r = -errno;
        free(j);
        return fl_err_set(err, r, NULL, "cannot make a socket pair: %s", strerror(-r));
    }
    *j = (struct fl_judge){ .fd = fds[0], .fn = fn, .arg = arg };
    fl_buf_init(&j->in, FL_JUDGEMENT_MAX_BYTES + READ_BYTES);
    r = fl_role_spawn(loop, paths,
                      &(struct fl_role_spec){
                          .program = "fairlead-agent-policy",
                          .args = args,
                          .fds = (const struct fl_child_fd[]){ { STDOUT_FILENO, fds[1] },
                                                               { FL_JUDGE_POLICY_FD, policy_fd },
                                                               { FL_JUDGE_JOB_FD, job_fd } },
                          .n_fds = 3,
                          .user = user,
                      },
                      on_ended, j, &j->child, err);
    close(fds[1]);
    if (r == 0) {
        j->io = fl_io_new(loop, j->fd, on_io, j);
        j->timer = fl_timer_new(loop, on_timeout, j);
        if (!j->io || !j->timer || fl_io_set(j->io, FL_IO_READ) < 0)
            r = fl_err_nomem(err);
    }
    if (r < 0) {
        fl_judge_free(j);
        return r;
    }
    fl_timer_start(j->timer, FL_JUDGE_TIMEOUT_MS);
    *ret_judge = j;
    return 0;
}

struct fl_judge *fl_judge_free(struct fl_judge *j)
{
    if (!j)
        return NULL;
    fl_io_free(j->io);
    fl_timer_free(j->timer);
    if (j->child)
        fl_child_kill(j->child, SIGKILL);
    fl_child_free(j->child);
    close(j->fd);
    fl_buf_done(&j->in);
    free(j);
    return NULL;
}

void fl_judge_run_as(char *out, size_t out_size)
{
    /* The name of root is known; looking up others takes the name service's libraries. */
    const struct passwd *pw = geteuid() == 0 ? NULL : getpwuid(geteuid());

    if (geteuid() == 0)
        snprintf(out, out_size, "root");
    else if (pw)
        snprintf(out, out_size, "%s", pw->pw_name);
    else
        snprintf(out, out_size, "%u", (unsigned)geteuid());
}
