/* pass.c - see pass.h. */
#include "server/session/pass.h"

#include <pthread.h>
#include <stdatomic.h>

struct fl_pass {
    atomic_uint refs;
    atomic_llong before[FL_SIDE__N], first[FL_SIDE__N];
    atomic_bool shut, posted;
    bool strict;
    pthread_mutex_t lock; /* the loop is there as long as `loop` is */
    struct fl_loop *loop;
    fl_pass_moved_fn moved; /* the loop's own */
    void *arg;
};

struct fl_pass *fl_pass_new(struct fl_loop *loop, fl_pass_moved_fn moved, void *arg)
{
    struct fl_pass *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    atomic_init(&p->refs, 1);
    for (int side = 0; side < FL_SIDE__N; side++) {
        atomic_init(&p->before[side], INT64_MAX);
        atomic_init(&p->first[side], FL_PASS_ANY);
    }
    pthread_mutex_init(&p->lock, NULL);
    p->loop = loop;
    p->moved = moved;
    p->arg = arg;
    return p;
}

struct fl_pass *fl_pass_ref(struct fl_pass *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

struct fl_pass *fl_pass_unref(struct fl_pass *p)
{
    if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&p->lock);
        free(p);
    }
    return NULL;
}

void fl_pass_leave(struct fl_pass *p)
{
    pthread_mutex_lock(&p->lock);
    p->loop = NULL;
    pthread_mutex_unlock(&p->lock);
    p->moved = NULL;
}

static void on_post(void *arg)
{
    struct fl_pass *p = arg;

    atomic_store(&p->posted,
                 false); /* before it is looked at: what moves from now on posts again */
    if (p->moved)
        p->moved(p->arg);
    fl_pass_unref(p);
}

static void post(struct fl_pass *p)
{
    if (atomic_exchange(&p->posted, true))
        return;
    fl_pass_ref(p);
    pthread_mutex_lock(&p->lock);
    if (!p->loop || fl_loop_post(p->loop, on_post, p) < 0) {
        atomic_store(&p->posted, false);
        fl_pass_unref(p); /* not the last: the caller has one */
    }
    pthread_mutex_unlock(&p->lock);
}

void fl_pass_set(struct fl_pass *p, enum fl_side from, int64_t before, bool tell)
{
    atomic_store(&p->before[from], before);
    if (tell)
        post(p);
}

int64_t fl_pass_get(const struct fl_pass *p, enum fl_side from)
{
    return atomic_load(&p->before[from]);
}

void fl_pass_begin(struct fl_pass *p, enum fl_side from, int64_t first)
{
    atomic_store(&p->first[from], first);
}

int64_t fl_pass_first(const struct fl_pass *p, enum fl_side from)
{
    return atomic_load(&p->first[from]);
}

void fl_pass_shut(struct fl_pass *p)
{
    atomic_store(&p->shut, true);
    post(p);
}

bool fl_pass_is_shut(const struct fl_pass *p)
{
    return atomic_load(&p->shut);
}

void fl_pass_set_strict(struct fl_pass *p)
{
    p->strict = true;
}

bool fl_pass_is_strict(const struct fl_pass *p)
{
    return p->strict;
}
