/* keyproc.c - see keyproc.h. */
#include "agent/lib/keyproc.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include "agent/lib/role.h"

#define GONE "fairlead-agent-key is gone"

#define F(member, flags) FL_FIELD(struct fl_key_request, member, #member, (flags) | FL_OMIT_ZERO)
static const struct fl_field request_fields[] = {
    F(op, FL_REQUIRED),
    F(url, 0),
    F(fingerprint, 0),
    F(node_id, 0),
    F(region, 0),
    F(body, 0),
    F(access_key_id, 0),
    F(secret_access_key, FL_SECRET),
    F(session_token, FL_SECRET),
    F(time_ms, 0),
    F(threshold, 0),
    F(pending, 0),
    F(disable_similarity, 0),
};
#undef F
const struct fl_shape fl_shape_key_request =
    FL_SHAPE(struct fl_key_request, "key_request", request_fields);

#define F(member) FL_FIELD(struct fl_key_answer, member, #member, FL_OMIT_ZERO)
static const struct fl_field answer_fields[] = {
    F(error), F(operation),   F(amz_date),   F(authorization),       F(content_sha256), F(host),
    F(body),  F(fingerprint), F(public_key), F(fingerprint_changed), F(has_pending),
};
#undef F
const struct fl_shape fl_shape_key_answer =
    FL_SHAPE(struct fl_key_answer, "key_answer", answer_fields);

struct fl_keyproc {
    struct fl_loop *loop;
    struct fl_child *child;
    struct fl_io *io;
    struct fl_timer *timer;
    int fd;
    bool busy;
    struct fl_buf in;
    struct fl_buf out; /* of the request, what is not sent yet */
    fl_keyproc_fn fn;
    void *arg;
};

static void forget(struct fl_buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    fl_buf_done(b);
}

/* The last thing done with `p`: the callback may free it. */
static void fail(struct fl_keyproc *p, const char *why)
{
    fl_timer_stop(p->timer);
    fl_io_set(p->io, 0);
    p->busy = false;
    p->fn(p->arg, NULL, why);
}

static void on_line(struct fl_keyproc *p, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(4 * FL_KEY_MAX_LINE_BYTES);
    struct fl_key_answer answer;
    struct fl_err err = { 0 };
    int r;

    r = fl_json_decode(&fl_shape_key_answer, p->in.data, len, 0, &arena, &answer, &err);
    fl_buf_consume(&p->in, len + 1);
    if (r < 0 || !p->busy) {
        fail(p, r < 0 ? fl_err_text(&err) : "fairlead-agent-key spoke without being asked");
        return;
    }
    p->busy = false;
    fl_timer_stop(p->timer);
    p->fn(p->arg, &answer, NULL);
}

/* Sends what the socket takes; the rest goes when it has room. A request may hold secrets. */
static int flush(struct fl_keyproc *p)
{
    ssize_t n;

    while (p->out.len > 0) {
        n = send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return fl_io_set(p->io, FL_IO_READ | FL_IO_WRITE);
        if (n < 0)
            return -errno;
        fl_buf_consume(&p->out, (size_t)n);
    }
    forget(&p->out);
    return fl_io_set(p->io, FL_IO_READ);
}

static void take(struct fl_keyproc *p)
{
    const char *end;
    ssize_t n;

    if (fl_buf_reserve(&p->in, 4096) < 0) {
        fail(p, "fairlead-agent-key answered with too much");
        return;
    }
    n = read(p->fd, p->in.data + p->in.len, 4096);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        fail(p, "fairlead-agent-key ended before it answered");
        return;
    }
    p->in.len += (size_t)n;
    p->in.data[p->in.len] = '\0';
    end = memchr(p->in.data, '\n', p->in.len);
    if (end)
        on_line(p, (size_t)(end - p->in.data));
}

static void on_io(void *arg, unsigned events)
{
    struct fl_keyproc *p = arg;

    if (events & FL_IO_WRITE && flush(p) < 0)
        fail(p, GONE);
    else if (events & FL_IO_READ)
        take(p);
}

static void on_timeout(void *arg)
{
    struct fl_keyproc *p = arg;

    if (p->child)
        fl_child_kill(p->child, SIGKILL);
    fail(p, "fairlead-agent-key took too long");
}

static void on_ended(void *arg, int status)
{
    struct fl_keyproc *p = arg;

    /* Its end of the socket tells the rest, after what it still wrote was read. */
    p->child = fl_child_free(p->child);
}

int fl_keyproc_new(struct fl_loop *loop, const struct fl_paths *paths, fl_keyproc_fn fn, void *arg,
                   struct fl_keyproc **ret_proc, struct fl_err *err)
{
    struct fl_keyproc *p = calloc(1, sizeof(*p));
    const char *args[] = { "--state", paths->state, NULL };
    int fds[2], r;

    if (!p)
        return fl_err_nomem(err);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        free(p);
        return fl_err_set(err, -errno, NULL, "cannot make a socket pair: %s", strerror(errno));
    }
    *p = (struct fl_keyproc){ .loop = loop, .fd = fds[0], .fn = fn, .arg = arg };
    fl_buf_init(&p->in, FL_KEY_MAX_LINE_BYTES + 4096);
    fl_buf_init(&p->out, FL_KEY_MAX_LINE_BYTES);
    r = fl_role_spawn(loop, paths,
                      &(struct fl_role_spec){
                          .program = "fairlead-agent-key",
                          .args = args,
                          .fds = (const struct fl_child_fd[]){ { 0, fds[1] }, { 1, fds[1] } },
                          .n_fds = 2,
                          .outlive_parent = true, /* a rotation step is finished once begun */
                      },
                      on_ended, p, &p->child, err);
    close(fds[1]);
    if (r == 0) {
        p->io = fl_io_new(loop, p->fd, on_io, p);
        p->timer = fl_timer_new(loop, on_timeout, p);
        if (!p->io || !p->timer || fl_io_set(p->io, FL_IO_READ) < 0)
            r = fl_err_nomem(err);
    }
    if (r < 0) {
        fl_keyproc_free(p);
        return r;
    }
    *ret_proc = p;
    return 0;
}

struct fl_keyproc *fl_keyproc_free(struct fl_keyproc *p)
{
    if (!p)
        return NULL;
    fl_io_free(p->io);
    fl_timer_free(p->timer);
    fl_child_free(p->child);
    close(p->fd);
    forget(&p->in);
    forget(&p->out);
    free(p);
    return NULL;
}

int fl_keyproc_ask(struct fl_keyproc *p, const struct fl_key_request *req, uint32_t timeout_ms,
                   struct fl_err *err)
{
    int r;

    if (p->busy)
        return fl_err_set(err, -EBUSY, NULL, "fairlead-agent-key is busy");
    r = fl_json_encode(&fl_shape_key_request, req, &p->out);
    if (r == 0)
        r = fl_buf_puts(&p->out, "\n");
    if (r < 0) {
        forget(&p->out);
        return fl_err_set(err, r, NULL, "request to fairlead-agent-key is too large");
    }
    r = flush(p);
    if (r < 0) {
        forget(&p->out);
        return fl_err_set(err, r, NULL, GONE);
    }
    p->busy = true;
    fl_timer_start(p->timer, timeout_ms);
    return 0;
}
