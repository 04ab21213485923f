/* guess.c - counting wrong guesses. */
#include "server/api/guess.h"

#include <string.h>

/* FNV-1a; a collision only makes two keys share their count. Never 0. */
static uint64_t hash(const char *key)
{
    uint64_t h = 14695981039346656037u;

    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 1099511628211u;
    return h ? h : 1;
}

static struct fl_guess *find(struct fl_guesses *g, uint64_t key)
{
    struct fl_guess *set = g->v[key % FL_GUESS_SETS];

    for (size_t i = 0; i < FL_GUESS_WAYS; i++)
        if (set[i].key == key)
            return &set[i];
    return NULL;
}

static struct fl_guess *make(struct fl_guesses *g, uint64_t key, int64_t now_ms)
{
    struct fl_guess *set = g->v[key % FL_GUESS_SETS];
    struct fl_guess *oldest = &set[0];

    for (size_t i = 1; i < FL_GUESS_WAYS && oldest->key; i++)
        if (!set[i].key || set[i].last_ms < oldest->last_ms)
            oldest = &set[i];
    *oldest = (struct fl_guess){ .key = key, .since_ms = now_ms };
    return oldest;
}

bool fl_guess_blocked(struct fl_guesses *g, const char *key, int64_t now_ms)
{
    const struct fl_guess *e;
    bool blocked;

    pthread_mutex_lock(&g->lock);
    e = find(g, hash(key));
    blocked = e && now_ms < e->blocked_until_ms;
    pthread_mutex_unlock(&g->lock);
    return blocked;
}

bool fl_guess_wrong(struct fl_guesses *g, const char *key, unsigned limit, int64_t now_ms)
{
    uint64_t h = hash(key);
    struct fl_guess *e;
    bool blocks;

    pthread_mutex_lock(&g->lock);
    e = find(g, h);
    if (!e)
        e = make(g, h, now_ms);
    if (now_ms - e->since_ms > FL_GUESS_WINDOW_MS || now_ms < e->since_ms) {
        e->since_ms = now_ms;
        e->wrong = 0;
    }
    e->last_ms = now_ms;
    blocks = ++e->wrong == limit;
    if (blocks) {
        e->blocked_until_ms = now_ms + FL_GUESS_BLOCK_MS;
        e->wrong = 0;
        e->since_ms = now_ms;
    }
    pthread_mutex_unlock(&g->lock);
    return blocks;
}
