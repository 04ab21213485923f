/* known.c - see known.h: a table of rows with few places each; the oldest in a row gives way. */
#include "server/auth/known.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/util.h"

#define ROWS   1024
#define PLACES 4

struct place {
    uint8_t key[8];   /* IPv4 in the last four, or the /64 of IPv6 */
    int64_t until_ms; /* monotonic; 0: free */
};

struct fl_known {
    pthread_mutex_t lock;
    struct place rows[ROWS][PLACES];
};

int fl_known_new(struct fl_known **ret_known)
{
    struct fl_known *k = calloc(1, sizeof(*k));

    if (!k)
        return -ENOMEM;
    pthread_mutex_init(&k->lock, NULL);
    *ret_known = k;
    return 0;
}

struct fl_known *fl_known_free(struct fl_known *k)
{
    if (!k)
        return NULL;
    pthread_mutex_destroy(&k->lock);
    free(k);
    return NULL;
}

static bool key_of(const char *address, uint8_t key[8])
{
    struct in6_addr v6;

    memset(key, 0, 8);
    if (inet_pton(AF_INET, address, key + 4) == 1)
        return true;
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return false;
    memcpy(key, v6.s6_addr, 8);
    return true;
}

static struct place *row_of(struct fl_known *k, const uint8_t key[8])
{
    uint64_t h = 1469598103934665603u;

    for (int i = 0; i < 8; i++)
        h = (h ^ key[i]) * 1099511628211u;
    return k->rows[h % ROWS];
}

void fl_known_note(struct fl_known *k, const char *address, int64_t mono_ms)
{
    struct place *row, *oldest;
    uint8_t key[8];

    if (!key_of(address, key))
        return;
    row = oldest = row_of(k, key);
    pthread_mutex_lock(&k->lock);
    for (struct place *p = row; p < row + PLACES; p++) {
        if (p->until_ms && !memcmp(p->key, key, sizeof(key))) {
            oldest = p;
            break;
        }
        if (p->until_ms < oldest->until_ms)
            oldest = p;
    }
    memcpy(oldest->key, key, sizeof(key));
    oldest->until_ms = mono_ms + FL_KNOWN_MS;
    pthread_mutex_unlock(&k->lock);
}

bool fl_known_has(struct fl_known *k, const char *address, int64_t mono_ms)
{
    struct place *row;
    bool has = false;
    uint8_t key[8];

    if (!key_of(address, key))
        return false;
    row = row_of(k, key);
    pthread_mutex_lock(&k->lock);
    for (struct place *p = row; p < row + PLACES; p++)
        has = has || (p->until_ms > mono_ms && !memcmp(p->key, key, sizeof(key)));
    pthread_mutex_unlock(&k->lock);
    return has;
}
