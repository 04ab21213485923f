/* fetcher.c - see fetcher.h. */
#include "agent/lib/fetcher.h"
#include "agent/lib/text.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>
#include "common/base/clock.h"

/* The fetch process ends its calls in time by itself; this is for one that hangs or never came. */
#define GRACE_MS       10000
#define MAX_CALL_BYTES FL_IPC_MAX_FRAME_BYTES
#define SENDS_PER_CALL 2

struct call {
    LIST_ENTRY(call) entry;
    struct fl_fetcher *owner;
    uint32_t id;
    unsigned sends;
    struct peer *peer; /* that has it; NULL: not sent */
    bool due;          /* in the round that is being worked through */
    bool late;         /* its time is over, its process was given a little more */
    struct fl_buf packed;
    int body_fd, to_fd;
    off_t to_offset;
    int64_t deadline_ms; /* monotonic */
    struct fl_timer *timer;
    fl_fetcher_done_fn done;
    void *arg;
};

/* A fetch process. One whose credentials ended gets no new calls, and stays for those it has. */
struct peer {
    LIST_ENTRY(peer) entry;
    struct fl_fetcher *owner;
    struct fl_ipc *ipc;
    unsigned n_calls;
};

struct fl_fetcher {
    struct fl_loop *loop;
    const struct fl_fetch_conf *conf;
    fl_fetcher_need_fn need;
    void *arg;
    struct peer *current; /* gets new calls; NULL: none */
    LIST_HEAD(, peer) peers;
    struct fl_timer *kick; /* asks and fails from the loop, never inside fl_fetcher_call */
    bool asked;
    char *excuse;
    uint32_t last_id;
    unsigned n_calls;
    LIST_HEAD(, call) calls;
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
};

static void free_peer(struct peer *p)
{
    if (p->owner->current == p)
        p->owner->current = NULL;
    LIST_REMOVE(p, entry);
    fl_ipc_free(p->ipc);
    free(p);
}

/* Takes the call from its process. */
static void unsend(struct call *c)
{
    struct peer *p = c->peer;

    c->peer = NULL;
    if (p && --p->n_calls == 0 && p != c->owner->current)
        free_peer(p);
}

static void free_call(struct call *c)
{
    LIST_REMOVE(c, entry);
    c->owner->n_calls--;
    unsend(c);
    fl_timer_free(c->timer);
    if (c->body_fd >= 0)
        close(c->body_fd);
    if (c->to_fd >= 0)
        close(c->to_fd);
    if (c->packed.data)
        explicit_bzero(c->packed.data, c->packed.len); /* headers hold tokens */
    fl_buf_done(&c->packed);
    free(c);
}

static void finish(struct call *c, const struct fl_fetch_answer *answer)
{
    fl_fetcher_done_fn done = c->done;
    void *arg = c->arg;

    free_call(c);
    done(arg, answer);
}

static void finish_failed(struct call *c, int error, const char *why)
{
    finish(c, &(struct fl_fetch_answer){ .error = error, .error_text = fl_text(why) });
}

static struct call *find(struct fl_fetcher *f, uint32_t id)
{
    struct call *c;

    LIST_FOREACH (c, &f->calls, entry)
        if (c->id == id)
            return c;
    return NULL;
}

/* Callbacks start and cancel calls: a round marks its calls first, then looks for marked ones. */
static void mark_unsent(struct fl_fetcher *f)
{
    struct call *c;

    LIST_FOREACH (c, &f->calls, entry)
        c->due = !c->peer;
}

static struct call *next_due(struct fl_fetcher *f)
{
    struct call *c;

    LIST_FOREACH (c, &f->calls, entry) {
        if (c->due) {
            c->due = false;
            return c;
        }
    }
    return NULL;
}

static int pass(struct fl_fetcher *f, struct call *c)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(2 * MAX_CALL_BYTES);
    struct fl_fetch_call call;
    int fds[2];
    size_t n = 0;
    int r;

    r = fl_pack_decode(&fl_shape_fetch_call, c->packed.data, c->packed.len, &arena, &call);
    if (r < 0)
        return r;
    if (c->body_fd >= 0)
        fds[n++] = c->body_fd;
    if (c->to_fd >= 0)
        fds[n++] = c->to_fd;
    /* What an earlier try wrote. */
    if (c->to_fd >= 0 && c->sends > 0 &&
        (ftruncate(c->to_fd, c->to_offset) < 0 || lseek(c->to_fd, c->to_offset, SEEK_SET) < 0))
        return -errno;
    call.timeout_ms = FL_MAX(c->deadline_ms - fl_mono_ms(), 1);
    return fl_ipc_send(f->current->ipc, FL_FETCH_CALL, c->id, &call, fds, n);
}

static void send_call(struct fl_fetcher *f, struct call *c)
{
    if (!f->current || pass(f, c) < 0) {
        finish_failed(c, -EIO, "cannot pass the call to the fetch process");
        return;
    }
    c->peer = f->current;
    c->peer->n_calls++;
    c->sends++;
}

/* Ends the call at its process, too. */
static void take_back(struct call *c)
{
    static const char nothing[1];

    if (c->peer)
        fl_ipc_send(c->peer->ipc, FL_FETCH_CANCEL, c->id, nothing, NULL, 0);
}

static void on_answer_timeout(void *arg)
{
    struct call *c = arg;
    struct fl_fetcher *f = c->owner;
    fl_autofree char *why = !c->peer && f->excuse ? strdup(f->excuse) : NULL;

    if (c->peer && !c->late) {
        c->late = true;
        fl_timer_start(c->timer, GRACE_MS);
        return;
    }
    take_back(c);
    finish_failed(c, -ETIMEDOUT, why ? why : "no answer from the fetch process");
}

static void on_kick(void *arg)
{
    struct fl_fetcher *f = arg;
    struct call *c;

    mark_unsent(f);
    while ((c = next_due(f))) {
        if (f->current) {
            send_call(f, c);
        } else if (!f->asked) {
            f->asked = true;
            f->need(f->arg);
        }
    }
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    struct peer *p = arg;
    struct fl_fetcher *f = p->owner;
    struct call *c;

    LIST_FOREACH (c, &f->calls, entry) {
        c->due = c->peer == p && c->sends >= SENDS_PER_CALL;
        if (c->peer == p)
            c->peer = NULL;
    }
    free_peer(p);
    while ((c = next_due(f)))
        finish_failed(c, -EIO, "the fetch process ended during the call");
    fl_timer_start(f->kick, 0);
}

/* The process has no good credentials: the call waits for the next one, others it has go on. */
static void wait_for_credentials(struct fl_fetcher *f, struct call *c, const char *why)
{
    struct peer *p = c->peer;

    fl_fetcher_excuse(f, why ? why : "no credentials");
    c->sends--;
    if (f->current == p)
        f->current = NULL;
    unsend(c);
    fl_timer_start(f->kick, 0);
}

static int on_answer(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_fetch_answer *answer = msg->in;
    struct peer *p = arg;
    struct call *c = find(p->owner, msg->id);

    if (!c || c->peer != p)
        return 0;
    /* A process that ends because it was idle cancels a call that came at the last moment: the call
     * is lost with it, and on_close sends it again. Passed on it would mean that we end. */
    if (answer->error == -EKEYEXPIRED)
        wait_for_credentials(p->owner, c, answer->error_text);
    else if (answer->error != -ECANCELED)
        finish(c, answer);
    return 0;
}

int fl_fetcher_new(struct fl_loop *loop, const struct fl_fetch_conf *conf, fl_fetcher_need_fn need,
                   void *arg, struct fl_fetcher **ret_fetcher)
{
    struct fl_fetcher *f = calloc(1, sizeof(*f));

    if (!f)
        return -ENOMEM;
    f->loop = loop;
    f->conf = conf;
    f->need = need;
    f->arg = arg;
    LIST_INIT(&f->calls);
    LIST_INIT(&f->peers);
    fl_ipc_bind(fl_fetch_rows, fl_n_fetch_rows,
                &(struct fl_ipc_binding){ FL_FETCH_ANSWER, on_answer }, 1, f->rows);
    f->kick = fl_timer_new(loop, on_kick, f);
    if (!f->kick) {
        free(f);
        return -ENOMEM;
    }
    *ret_fetcher = f;
    return 0;
}

struct fl_fetcher *fl_fetcher_free(struct fl_fetcher *f)
{
    if (!f)
        return NULL;
    while (!LIST_EMPTY(&f->calls))
        finish_failed(LIST_FIRST(&f->calls), -ECANCELED, "cancelled");
    while (!LIST_EMPTY(&f->peers))
        free_peer(LIST_FIRST(&f->peers));
    fl_timer_free(f->kick);
    free(f->excuse);
    free(f);
    return NULL;
}

static int add_peer(struct fl_fetcher *f, int fd)
{
    struct peer *p = calloc(1, sizeof(*p));
    int r;

    if (!p) {
        close(fd);
        return -ENOMEM;
    }
    p->owner = f;
    r = fl_ipc_new(f->loop, fd, f->rows, fl_n_fetch_rows, on_close, p, &p->ipc);
    if (r < 0) {
        free(p);
        return r;
    }
    LIST_INSERT_HEAD(&f->peers, p, entry);
    if (f->conf)
        r = fl_ipc_send(p->ipc, FL_FETCH_CONF, 0, f->conf, NULL, 0);
    if (r < 0)
        free_peer(p);
    else
        f->current = p;
    return r;
}

void fl_fetcher_attach(struct fl_fetcher *f, int fd)
{
    f->asked = false;
    if (f->current) {
        close(fd);
        return;
    }
    if (add_peer(f, fd) < 0)
        fl_fetcher_refused(f, "out of memory");
    else
        fl_timer_start(f->kick, 0);
}

void fl_fetcher_refused(struct fl_fetcher *f, const char *why)
{
    struct call *c;

    f->asked = false;
    mark_unsent(f);
    while ((c = next_due(f)))
        finish_failed(c, -EIO, why);
}

void fl_fetcher_excuse(struct fl_fetcher *f, const char *why)
{
    free(f->excuse);
    f->excuse = strdup(why);
}

static int keep_files(struct call *c, const struct fl_fetcher_files *files)
{
    if (files->body_fd >= 0) {
        c->body_fd = fcntl(files->body_fd, F_DUPFD_CLOEXEC, 3);
        if (c->body_fd < 0)
            return -errno;
    }
    if (files->to_fd >= 0) {
        c->to_fd = fcntl(files->to_fd, F_DUPFD_CLOEXEC, 3);
        if (c->to_fd < 0)
            return -errno;
        c->to_offset = lseek(c->to_fd, 0, SEEK_CUR);
        if (c->to_offset < 0)
            return -errno;
    }
    return 0;
}

int fl_fetcher_call(struct fl_fetcher *f, const struct fl_fetch_call *call,
                    const struct fl_fetcher_files *files, fl_fetcher_done_fn done, void *arg,
                    uint32_t *ret_id)
{
    struct fl_fetch_call with_files = *call;
    struct call *c;
    int r;

    if (f->n_calls >= FL_FETCHER_MAX_CALLS)
        return -EBUSY;
    c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->owner = f;
    c->done = done;
    c->arg = arg;
    c->body_fd = c->to_fd = -1;
    c->id = ++f->last_id ? f->last_id : ++f->last_id;
    LIST_INSERT_HEAD(&f->calls, c, entry);
    f->n_calls++;
    fl_buf_init(&c->packed, MAX_CALL_BYTES);
    c->timer = fl_timer_new(f->loop, on_answer_timeout, c);
    r = c->timer ? 0 : -ENOMEM;
    if (r == 0 && files)
        r = keep_files(c, files);
    with_files.body_file = c->body_fd >= 0;
    with_files.to_file = c->to_fd >= 0;
    if (r == 0)
        r = fl_pack_encode(&fl_shape_fetch_call, &with_files, &c->packed);
    if (r < 0) {
        free_call(c);
        return r;
    }
    c->deadline_ms = fl_mono_ms() + call->timeout_ms;
    fl_timer_start(c->timer, (uint64_t)call->timeout_ms);
    fl_timer_start(f->kick, 0);
    if (ret_id)
        *ret_id = c->id;
    return 0;
}

void fl_fetcher_cancel(struct fl_fetcher *f, uint32_t id)
{
    struct call *c = find(f, id);

    if (!c)
        return;
    take_back(c);
    free_call(c);
}
