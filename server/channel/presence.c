/* presence.c - node id -> open control channels, under one lock. */
#include "server/channel/presence.h"

#include <errno.h>
#include <pthread.h>
#include "server/counts.h"

struct fl_presence {
    pthread_mutex_t lock;
    struct fl_counts nodes;
};

int fl_presence_new(struct fl_presence **ret_presence)
{
    struct fl_presence *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    *ret_presence = p;
    return 0;
}

struct fl_presence *fl_presence_free(struct fl_presence *p)
{
    if (!p)
        return NULL;
    fl_counts_done(&p->nodes);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

int fl_presence_add(struct fl_presence *p, const char *node_id)
{
    int64_t *n;

    pthread_mutex_lock(&p->lock);
    n = fl_counts_put(&p->nodes, node_id);
    if (n)
        (*n)++;
    pthread_mutex_unlock(&p->lock);
    return n ? 0 : -ENOMEM;
}

void fl_presence_drop(struct fl_presence *p, const char *node_id)
{
    int64_t *n;

    pthread_mutex_lock(&p->lock);
    n = fl_counts_get(&p->nodes, node_id);
    if (n && --*n <= 0)
        fl_counts_remove(&p->nodes, node_id);
    pthread_mutex_unlock(&p->lock);
}

unsigned fl_presence_channels(struct fl_presence *p, const char *node_id)
{
    const int64_t *n;
    unsigned channels;

    pthread_mutex_lock(&p->lock);
    n = fl_counts_get(&p->nodes, node_id);
    channels = n ? (unsigned)*n : 0;
    pthread_mutex_unlock(&p->lock);
    return channels;
}

bool fl_presence_connected(struct fl_presence *p, const char *node_id)
{
    return fl_presence_channels(p, node_id) > 0;
}

size_t fl_presence_count(struct fl_presence *p)
{
    size_t n;

    pthread_mutex_lock(&p->lock);
    n = p->nodes.n;
    pthread_mutex_unlock(&p->lock);
    return n;
}
