/* loop.c - see loop.h. The only module that sees libuv.
 *
 * libuv frees handles asynchronously: *_free detaches the caller's callback at once and lets the
 * close callback release the memory.
 */
#include "common/base/loop.h"
#include <errno.h>
#include <pthread.h>
#include <sys/queue.h>
#include <uv.h>

#define POOL_VARIABLE "UV_THREADPOOL_SIZE"

struct post {
    struct post *next;
    fl_post_fn fn;
    void *arg;
};

struct fl_loop {
    uv_loop_t uv;
    uv_async_t async;
    pthread_mutex_t lock; /* guards the queue of posted calls */
    struct post *first, **last;
    TAILQ_HEAD(, fl_timer) next_turn; /* timers started with 0 ms by one that fires */
    unsigned turn;                    /* of next_turn */
    bool in_timer;
    void *child_state;
    void (*child_release)(void *);
};

struct fl_timer {
    uv_timer_t uv;
    fl_timer_fn fn;
    void *arg;
    TAILQ_ENTRY(fl_timer) entry;
    unsigned turn; /* it was queued in */
    bool queued;   /* in next_turn */
};

struct fl_io {
    uv_poll_t uv;
    fl_io_fn fn;
    void *arg;
    unsigned events;        /* asked for */
    struct fl_timer *pause; /* NULL: never paused */
};

struct fl_signal {
    uv_signal_t uv;
    fl_signal_fn fn;
    void *arg;
};

struct work {
    uv_work_t uv;
    fl_post_fn work, done;
    void *arg;
};

static char pool_size[2]; /* "": libuv's own */

static struct post *take_posts(struct fl_loop *loop)
{
    struct post *p;

    pthread_mutex_lock(&loop->lock);
    p = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    return p;
}

static struct fl_loop *loop_of(struct fl_timer *t)
{
    return FL_CONTAINER_OF(t->uv.loop, struct fl_loop, uv);
}

static void unqueue(struct fl_timer *t)
{
    if (t->queued)
        TAILQ_REMOVE(&loop_of(t)->next_turn, t, entry);
    t->queued = false;
}

static void fire(struct fl_timer *t)
{
    struct fl_loop *loop = loop_of(t);

    loop->in_timer = true;
    t->fn(t->arg); /* the timer may be gone now */
    loop->in_timer = false;
}

/* Those that are queued now: what they start comes with the next turn. */
static void fire_queued(struct fl_loop *loop)
{
    unsigned now = loop->turn++;
    struct fl_timer *t;

    while ((t = TAILQ_FIRST(&loop->next_turn)) && t->turn == now) {
        unqueue(t);
        fire(t);
    }
}

static void on_async(uv_async_t *async)
{
    struct fl_loop *loop = async->data;

    fire_queued(loop);
    for (struct post *p = take_posts(loop), *next; p; p = next) {
        next = p->next;
        p->fn(p->arg);
        free(p);
    }
}

int fl_loop_new(struct fl_loop **ret_loop)
{
    struct fl_loop *loop = calloc(1, sizeof(*loop));
    int r;

    if (!loop)
        return -ENOMEM;
    r = uv_loop_init(&loop->uv);
    if (r < 0) {
        free(loop);
        return r; /* libuv's codes are negative errnos on unix */
    }
    r = uv_async_init(&loop->uv, &loop->async, on_async);
    if (r < 0) {
        uv_loop_close(&loop->uv);
        free(loop);
        return r;
    }
    loop->async.data = loop;
    loop->last = &loop->first;
    TAILQ_INIT(&loop->next_turn);
    pthread_mutex_init(&loop->lock, NULL);
    *ret_loop = loop;
    return 0;
}

static void close_leftover(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

struct fl_loop *fl_loop_free(struct fl_loop *loop)
{
    if (!loop)
        return NULL;
    if (loop->child_state)
        loop->child_release(loop->child_state);
    uv_close((uv_handle_t *)&loop->async, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    if (uv_loop_close(&loop->uv) == UV_EBUSY) {
        /* A library that borrowed the loop left handles behind: theirs to free, ours to close. */
        uv_walk(&loop->uv, close_leftover, NULL);
        uv_run(&loop->uv, UV_RUN_DEFAULT);
        uv_loop_close(&loop->uv);
    }
    for (struct post *p = take_posts(loop), *next; p; p = next) {
        next = p->next;
        free(p);
    }
    pthread_mutex_destroy(&loop->lock);
    free(loop);
    return NULL;
}

void fl_loop_run(struct fl_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void fl_loop_stop(struct fl_loop *loop)
{
    uv_stop(&loop->uv);
}

void fl_loop_run_once(struct fl_loop *loop, bool wait)
{
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

void *fl_loop_uv(struct fl_loop *loop)
{
    return &loop->uv;
}

void **fl_loop_child_slot(struct fl_loop *loop, void (*release)(void *))
{
    loop->child_release = release;
    return &loop->child_state;
}

int fl_loop_post(struct fl_loop *loop, fl_post_fn fn, void *arg)
{
    struct post *p = malloc(sizeof(*p));

    if (!p)
        return -ENOMEM;
    *p = (struct post){ .fn = fn, .arg = arg };
    pthread_mutex_lock(&loop->lock);
    *loop->last = p;
    loop->last = &p->next;
    pthread_mutex_unlock(&loop->lock);
    uv_async_send(&loop->async);
    return 0;
}

static void run_work(uv_work_t *uv)
{
    struct work *w = FL_CONTAINER_OF(uv, struct work, uv);

    w->work(w->arg);
}

static void work_done(uv_work_t *uv, int status)
{
    struct work *w = FL_CONTAINER_OF(uv, struct work, uv);

    w->done(w->arg);
    free(w);
}

void fl_loop_pool_size(unsigned threads)
{
    pool_size[0] = getenv(POOL_VARIABLE) ? '\0' : (char)('0' + threads);
}

int fl_loop_work(struct fl_loop *loop, fl_post_fn work, fl_post_fn done, void *arg)
{
    struct work *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    w->work = work;
    w->done = done;
    w->arg = arg;
    /* libuv reads it when the first work is queued; nothing we start is to inherit it. */
    if (pool_size[0])
        setenv(POOL_VARIABLE, pool_size, 1);
    r = uv_queue_work(&loop->uv, &w->uv, run_work, work_done);
    if (pool_size[0])
        unsetenv(POOL_VARIABLE);
    pool_size[0] = '\0';
    if (r < 0) {
        free(w);
        return -ENOMEM;
    }
    return 0;
}

static void release(uv_handle_t *h)
{
    free(h->data);
}

/* ---- timers ---- */

static void on_timer(uv_timer_t *uv)
{
    fire(uv->data);
}

struct fl_timer *fl_timer_new(struct fl_loop *loop, fl_timer_fn fn, void *arg)
{
    struct fl_timer *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    uv_timer_init(&loop->uv, &t->uv);
    t->uv.data = t;
    t->fn = fn;
    t->arg = arg;
    return t;
}

struct fl_timer *fl_timer_free(struct fl_timer *t)
{
    if (t) {
        fl_timer_stop(t);
        uv_close((uv_handle_t *)&t->uv, release);
    }
    return NULL;
}

void fl_timer_start(struct fl_timer *t, uint64_t ms)
{
    struct fl_loop *loop = loop_of(t);

    fl_timer_stop(t);
    /* libuv 1.44 would fire it before it looks at any descriptor, and so for ever. */
    if (ms == 0 && loop->in_timer) {
        TAILQ_INSERT_TAIL(&loop->next_turn, t, entry);
        t->turn = loop->turn;
        t->queued = true;
        uv_async_send(&loop->async);
        return;
    }
    /* libuv counts from the loop's cached time, which is old after a long callback. */
    uv_update_time(t->uv.loop);
    uv_timer_start(&t->uv, on_timer, ms, 0);
}

void fl_timer_stop(struct fl_timer *t)
{
    unqueue(t);
    uv_timer_stop(&t->uv);
}

bool fl_timer_active(const struct fl_timer *t)
{
    return t->queued || uv_is_active((const uv_handle_t *)&t->uv);
}

/* ---- descriptors ---- */

static void on_poll(uv_poll_t *uv, int status, int events)
{
    struct fl_io *io = uv->data;
    unsigned ready = 0;

    if (events & (UV_READABLE | UV_DISCONNECT))
        ready |= FL_IO_READ;
    if (events & UV_WRITABLE)
        ready |= FL_IO_WRITE;
    /* An error is found by whoever reads or writes next. */
    if (status < 0)
        ready = FL_IO_READ | FL_IO_WRITE;
    io->fn(io->arg, ready);
}

struct fl_io *fl_io_new(struct fl_loop *loop, int fd, fl_io_fn fn, void *arg)
{
    struct fl_io *io = calloc(1, sizeof(*io));

    if (!io)
        return NULL;
    if (uv_poll_init(&loop->uv, &io->uv, fd) < 0) {
        free(io);
        return NULL;
    }
    io->uv.data = io;
    io->fn = fn;
    io->arg = arg;
    return io;
}

struct fl_io *fl_io_free(struct fl_io *io)
{
    if (io) {
        fl_timer_free(io->pause);
        uv_poll_stop(&io->uv);
        uv_close((uv_handle_t *)&io->uv, release);
    }
    return NULL;
}

int fl_io_set(struct fl_io *io, unsigned events)
{
    int uv_events = 0;

    io->events = events;
    if (io->pause && fl_timer_active(io->pause))
        return 0;
    if (events & FL_IO_READ)
        uv_events |= UV_READABLE;
    if (events & FL_IO_WRITE)
        uv_events |= UV_WRITABLE;
    return uv_events ? uv_poll_start(&io->uv, uv_events, on_poll) : uv_poll_stop(&io->uv);
}

static void on_pause_over(void *arg)
{
    struct fl_io *io = arg;

    fl_io_set(io, io->events);
}

void fl_io_pause(struct fl_io *io, uint64_t ms)
{
    if (!io->pause)
        io->pause =
            fl_timer_new(FL_CONTAINER_OF(io->uv.loop, struct fl_loop, uv), on_pause_over, io);
    if (!io->pause)
        return;
    uv_poll_stop(&io->uv);
    fl_timer_start(io->pause, ms);
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *uv, int signo)
{
    struct fl_signal *s = uv->data;

    s->fn(s->arg, signo);
}

struct fl_signal *fl_signal_new(struct fl_loop *loop, int signo, fl_signal_fn fn, void *arg)
{
    struct fl_signal *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    uv_signal_init(&loop->uv, &s->uv);
    s->uv.data = s;
    s->fn = fn;
    s->arg = arg;
    if (uv_signal_start(&s->uv, on_signal, signo) < 0) {
        uv_close((uv_handle_t *)&s->uv, release);
        return NULL;
    }
    return s;
}

struct fl_signal *fl_signal_free(struct fl_signal *s)
{
    if (s) {
        uv_signal_stop(&s->uv);
        uv_close((uv_handle_t *)&s->uv, release);
    }
    return NULL;
}
