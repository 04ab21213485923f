/* bus.c - the in-process bus: each subscription is a queue of distinct keys drained on its loop. */
#include "server/bus/bus.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "server/counts.h"

#define SUBSCRIPTIONS_MAX 1024 /* subjects x loop threads */

struct waiting {
    struct waiting *next;
    char key[];
};

struct subscription {
    const char *subject; /* static string of bus.h */
    struct fl_loop *loop;
    fl_bus_fn fn;
    void *arg;
    pthread_mutex_t lock;
    struct waiting *head, **tail;
    struct fl_counts keys; /* those in the queue */
    bool posted;           /* a drain is on its way */
};

struct fl_bus {
    struct subscription *subs[SUBSCRIPTIONS_MAX];
    size_t n;
};

int fl_bus_new(struct fl_bus **ret_bus)
{
    struct fl_bus *bus = calloc(1, sizeof(*bus));

    if (!bus)
        return -ENOMEM;
    *ret_bus = bus;
    return 0;
}

struct fl_bus *fl_bus_free(struct fl_bus *bus)
{
    if (!bus)
        return NULL;
    for (size_t i = 0; i < bus->n; i++) {
        struct subscription *s = bus->subs[i];

        while (s->head) {
            struct waiting *w = s->head;

            s->head = w->next;
            free(w);
        }
        fl_counts_done(&s->keys);
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
    free(bus);
    return NULL;
}

int fl_bus_subscribe(struct fl_bus *bus, const char *subject, struct fl_loop *loop, fl_bus_fn fn,
                     void *arg)
{
    struct subscription *s;

    if (bus->n == SUBSCRIPTIONS_MAX)
        return -ENOBUFS;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    *s = (struct subscription){ .subject = subject, .loop = loop, .fn = fn, .arg = arg };
    pthread_mutex_init(&s->lock, NULL);
    s->tail = &s->head;
    bus->subs[bus->n++] = s;
    return 0;
}

static struct waiting *take_all(struct subscription *s)
{
    struct waiting *all;

    pthread_mutex_lock(&s->lock);
    all = s->head;
    s->head = NULL;
    s->tail = &s->head;
    s->posted = false;
    fl_counts_done(&s->keys);
    pthread_mutex_unlock(&s->lock);
    return all;
}

static void drain(void *arg)
{
    struct subscription *s = arg;
    struct waiting *w = take_all(s);

    while (w) {
        struct waiting *next = w->next;

        s->fn(s->arg, w->key);
        free(w);
        w = next;
    }
}

/* Called with the lock held. */
static int enqueue(struct subscription *s, const char *key)
{
    size_t len = strlen(key) + 1;
    struct waiting *w;

    if (fl_counts_get(&s->keys, key))
        return 0;
    w = malloc(sizeof(*w) + len);
    if (!w || !fl_counts_put(&s->keys, key)) {
        free(w);
        return -ENOMEM;
    }
    w->next = NULL;
    memcpy(w->key, key, len);
    *s->tail = w;
    s->tail = &w->next;
    return 0;
}

int fl_bus_publish(struct fl_bus *bus, const char *subject, const char *key)
{
    int result = 0;

    for (size_t i = 0; i < bus->n; i++) {
        struct subscription *s = bus->subs[i];
        int r;

        if (strcmp(s->subject, subject) != 0)
            continue;
        pthread_mutex_lock(&s->lock);
        r = enqueue(s, key);
        if (r >= 0 && !s->posted) {
            r = fl_loop_post(s->loop, drain, s);
            s->posted = r >= 0;
        }
        pthread_mutex_unlock(&s->lock);
        if (r < 0)
            result = r;
    }
    return result;
}
