/* guard.c - counting wrong guesses. */
#include "server/auth/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_CHARS 64

struct entry {
    uint64_t key; /* hash; 0: free */
    unsigned wrong;
    unsigned held; /* answers that are kept back */
    int64_t last_ms;
    int64_t told_ms;
};

struct fl_guard {
    pthread_mutex_t lock;
    struct entry v[FL_GUARD_SETS][FL_GUARD_WAYS];
};

/* What one host commands: an IPv4 address, or the /64 of an IPv6 one. */
static void host_of(const char *address, char out[ADDRESS_CHARS])
{
    struct in6_addr v6;

    if (address && strchr(address, ':') && inet_pton(AF_INET6, address, &v6) == 1) {
        memset(v6.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &v6, out, ADDRESS_CHARS);
    } else {
        snprintf(out, ADDRESS_CHARS, "%s", address ? address : "");
    }
}

static uint64_t add(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 1099511628211u;
    return (h ^ 0xff) * 1099511628211u; /* where it ends */
}

/* FNV-1a; a collision only makes two keys share their count. Never 0. */
static uint64_t hash(const char *host, const char *target)
{
    uint64_t h = add(add(14695981039346656037u, host), target);

    return h ? h : 1;
}

static struct entry *find(struct fl_guard *g, uint64_t key)
{
    struct entry *set = g->v[key % FL_GUARD_SETS];

    for (size_t i = 0; i < FL_GUARD_WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

static struct entry *get(struct fl_guard *g, uint64_t key)
{
    struct entry *set = g->v[key % FL_GUARD_SETS];
    struct entry *e = find(g, key), *oldest = &set[0];

    if (e)
        return e;
    for (size_t i = 1; i < FL_GUARD_WAYS && oldest->key; i++)
        if (!set[i].key || set[i].last_ms < oldest->last_ms)
            oldest = &set[i];
    *oldest = (struct entry){ .key = key, .told_ms = -FL_GUARD_LOG_MS };
    return oldest;
}

/* Counts, and tells how many there were. */
static unsigned count(struct entry *e, int64_t now_ms)
{
    if (now_ms - e->last_ms > FL_GUARD_FORGET_MS)
        e->wrong = 0;
    e->last_ms = now_ms;
    return ++e->wrong;
}

static uint32_t delay(unsigned wrong, unsigned without)
{
    uint32_t ms = FL_GUARD_DELAY_MS;

    if (wrong <= without)
        return 0;
    for (unsigned i = without + 1; i < wrong && ms < FL_GUARD_MAX_MS; i++)
        ms *= 2;
    return FL_MIN(ms, (uint32_t)FL_GUARD_MAX_MS);
}

int fl_guard_new(struct fl_guard **ret_guard)
{
    struct fl_guard *g = calloc(1, sizeof(*g));

    if (!g)
        return -ENOMEM;
    pthread_mutex_init(&g->lock, NULL);
    *ret_guard = g;
    return 0;
}

struct fl_guard *fl_guard_free(struct fl_guard *g)
{
    if (g)
        pthread_mutex_destroy(&g->lock);
    free(g);
    return NULL;
}

bool fl_guard_refuses(struct fl_guard *g, const char *address, const char *target, int64_t mono_ms)
{
    char host[ADDRESS_CHARS];
    const struct entry *e;
    bool refuses;

    host_of(address, host);
    pthread_mutex_lock(&g->lock);
    e = find(g, hash(host, target));
    /* An answer is never kept back longer than this: a lost count does not last. */
    refuses = e && e->held >= FL_GUARD_HELD && mono_ms - e->last_ms <= FL_GUARD_MAX_MS;
    pthread_mutex_unlock(&g->lock);
    return refuses;
}

uint32_t fl_guard_wrong(struct fl_guard *g, const char *address, const char *target,
                        int64_t mono_ms, bool *ret_tell)
{
    char host[ADDRESS_CHARS];
    uint32_t by_address, by_target = 0, by_pair = 0;
    struct entry *e;

    host_of(address, host);
    pthread_mutex_lock(&g->lock);
    e = get(g, hash(host, ""));
    by_address = delay(count(e, mono_ms), FL_GUARD_FREE_ADDRESS);
    *ret_tell = mono_ms - e->told_ms >= FL_GUARD_LOG_MS;
    if (*ret_tell)
        e->told_ms = mono_ms;
    if (target) {
        by_target = delay(count(get(g, hash("", target)), mono_ms), FL_GUARD_FREE_TARGET);
        e = get(g, hash(host, target));
        by_pair = delay(count(e, mono_ms), FL_GUARD_FREE_PAIR);
        e->held++;
    }
    pthread_mutex_unlock(&g->lock);
    return FL_MAX(by_address, FL_MAX(by_target, by_pair));
}

void fl_guard_answered(struct fl_guard *g, const char *address, const char *target)
{
    char host[ADDRESS_CHARS];
    struct entry *e;

    if (!target)
        return;
    host_of(address, host);
    pthread_mutex_lock(&g->lock);
    e = find(g, hash(host, target));
    if (e && e->held)
        e->held--;
    pthread_mutex_unlock(&g->lock);
}
