/* counts.c - open addressing with linear probing; removal moves followers back, so no tombstones.
 */
#include "server/counts.h"

#include <string.h>

#define SLOTS_MIN 16

/* FNV-1a. Keys are ids this plane made or checked, so nobody can aim at one slot. */
static size_t hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *s; s++)
        h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return (size_t)(h ^ (h >> 32));
}

void fl_counts_done(struct fl_counts *m)
{
    for (size_t i = 0; i < m->n_slots; i++)
        free(m->slots[i].key);
    free(m->slots);
    *m = (struct fl_counts){ 0 };
}

static size_t find(const struct fl_counts *m, const char *key)
{
    size_t i = hash(key) & (m->n_slots - 1);

    while (m->slots[i].key && strcmp(m->slots[i].key, key) != 0)
        i = (i + 1) & (m->n_slots - 1);
    return i;
}

int64_t *fl_counts_get(const struct fl_counts *m, const char *key)
{
    struct fl_counts_slot *s;

    if (m->n_slots == 0)
        return NULL;
    s = &m->slots[find(m, key)];
    return s->key ? &s->value : NULL;
}

static bool grow(struct fl_counts *m)
{
    struct fl_counts big = { .n_slots = m->n_slots ? m->n_slots * 2 : SLOTS_MIN, .n = m->n };

    big.slots = calloc(big.n_slots, sizeof(*big.slots));
    if (!big.slots)
        return false;
    for (size_t i = 0; i < m->n_slots; i++)
        if (m->slots[i].key)
            big.slots[find(&big, m->slots[i].key)] = m->slots[i];
    free(m->slots);
    *m = big;
    return true;
}

int64_t *fl_counts_put(struct fl_counts *m, const char *key)
{
    int64_t *have = fl_counts_get(m, key);
    struct fl_counts_slot *s;
    char *copy;

    if (have)
        return have;
    if ((m->n + 1) * 4 > m->n_slots * 3 && !grow(m))
        return NULL;
    copy = strdup(key);
    if (!copy)
        return NULL;
    s = &m->slots[find(m, key)];
    *s = (struct fl_counts_slot){ .key = copy };
    m->n++;
    return &s->value;
}

bool fl_counts_remove(struct fl_counts *m, const char *key)
{
    size_t mask = m->n_slots - 1, hole, i;

    if (!fl_counts_get(m, key))
        return false;
    hole = find(m, key);
    free(m->slots[hole].key);
    m->n--;
    for (i = (hole + 1) & mask; m->slots[i].key; i = (i + 1) & mask) {
        size_t home = hash(m->slots[i].key) & mask;

        /* A key may fill the hole unless its home lies between the hole and its place. */
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct fl_counts_slot){ 0 };
    return true;
}
