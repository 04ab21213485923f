/* fetcher.c - see fetcher.h. */
#include "agent/lib/fetcher.h"
#include "agent/lib/text.h"
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

/* The fetch process ends its calls in time by itself; this is for one that hangs or never came. */
#define GRACE_MS       10000
#define MAX_CALL_BYTES FL_IPC_MAX_FRAME_BYTES
#define SENDS_PER_CALL 2

struct call {
    LIST_ENTRY(call) entry;
    struct fl_fetcher *owner;
    uint32_t id;
    unsigned sends;
    bool sent; /* to the process attached now */
    bool due;  /* in the round that is being worked through */
    struct fl_buf packed;
    struct fl_timer *timer;
    fl_fetcher_done_fn done;
    void *arg;
};

struct fl_fetcher {
    struct fl_loop *loop;
    const struct fl_fetch_conf *conf;
    fl_fetcher_need_fn need;
    void *arg;
    struct fl_ipc *ipc;
    struct fl_timer *kick; /* asks and fails from the loop, never inside fl_fetcher_call */
    bool asked;
    uint32_t last_id;
    unsigned n_calls;
    LIST_HEAD(, call) calls;
    struct fl_ipc_row rows[FL_N_FETCH_ROWS];
};

static void free_call(struct call *c)
{
    LIST_REMOVE(c, entry);
    c->owner->n_calls--;
    fl_timer_free(c->timer);
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
        c->due = !c->sent;
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

static void send_call(struct fl_fetcher *f, struct call *c)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(2 * MAX_CALL_BYTES);
    struct fl_fetch_call call;
    int r;

    r = f->ipc ? 0 : -EPIPE;
    if (r == 0)
        r = fl_pack_decode(&fl_shape_fetch_call, c->packed.data, c->packed.len, &arena, &call);
    if (r == 0)
        r = fl_ipc_send(f->ipc, FL_FETCH_CALL, c->id, &call, NULL, 0);
    if (r < 0) {
        finish_failed(c, -EIO, "cannot pass the call to the fetch process");
        return;
    }
    c->sent = true;
    c->sends++;
}

static void on_answer_timeout(void *arg)
{
    finish_failed(arg, -ETIMEDOUT, "no answer from the fetch process");
}

static void on_kick(void *arg)
{
    struct fl_fetcher *f = arg;
    struct call *c;

    if (LIST_EMPTY(&f->calls))
        return;
    if (!f->ipc) {
        if (!f->asked) {
            f->asked = true;
            f->need(f->arg);
        }
        return;
    }
    mark_unsent(f);
    while ((c = next_due(f)))
        send_call(f, c);
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    struct fl_fetcher *f = arg;
    struct call *c;

    f->ipc = fl_ipc_free(f->ipc);
    LIST_FOREACH (c, &f->calls, entry) {
        c->sent = false;
        c->due = c->sends >= SENDS_PER_CALL;
    }
    while ((c = next_due(f)))
        finish_failed(c, -EIO, "the fetch process ended during the call");
    fl_timer_start(f->kick, 0);
}

static int on_answer(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    const struct fl_fetch_answer *answer = msg->in;
    struct fl_fetcher *f = arg;
    struct call *c = find(f, msg->id);

    /* A process that ends because it was idle cancels a call that came at the last moment: the call
     * is lost with it, and on_close sends it again. Passed on it would mean that we end. */
    if (c && answer->error != -ECANCELED)
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
    fl_ipc_free(f->ipc);
    fl_timer_free(f->kick);
    free(f);
    return NULL;
}

void fl_fetcher_attach(struct fl_fetcher *f, int fd)
{
    f->asked = false;
    if (f->ipc) {
        close(fd);
        return;
    }
    if (fl_ipc_new(f->loop, fd, f->rows, fl_n_fetch_rows, on_close, f, &f->ipc) < 0 ||
        fl_ipc_send(f->ipc, FL_FETCH_CONF, 0, f->conf, NULL, 0) < 0) {
        f->ipc = fl_ipc_free(f->ipc);
        fl_fetcher_refused(f, "out of memory");
        return;
    }
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

int fl_fetcher_call(struct fl_fetcher *f, const struct fl_fetch_call *call, fl_fetcher_done_fn done,
                    void *arg, uint32_t *ret_id)
{
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
    c->id = ++f->last_id ? f->last_id : ++f->last_id;
    LIST_INSERT_HEAD(&f->calls, c, entry);
    f->n_calls++;
    fl_buf_init(&c->packed, MAX_CALL_BYTES);
    c->timer = fl_timer_new(f->loop, on_answer_timeout, c);
    r = c->timer ? fl_pack_encode(&fl_shape_fetch_call, call, &c->packed) : -ENOMEM;
    if (r < 0) {
        free_call(c);
        return r;
    }
    fl_timer_start(c->timer, (uint64_t)call->timeout_ms + GRACE_MS);
    fl_timer_start(f->kick, 0);
    if (ret_id)
        *ret_id = c->id;
    return 0;
}

void fl_fetcher_cancel(struct fl_fetcher *f, uint32_t id)
{
    struct call *c = find(f, id);

    if (c)
        free_call(c);
}
