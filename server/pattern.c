/* pattern.c - regular expressions of the model's constraints, compiled once. */
#include "server/pattern.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include "common/base/log.h"
#include "common/codec/regexp.h"

#define CACHE_SLOTS 1024 /* power of two; the model has some 150 patterns */

/* Patterns are string literals of shape tables: never freed, and few. */
static struct {
    const char *pattern;
    struct fl_regexp *re;
} cache[CACHE_SLOTS];
static size_t cached;
static pthread_rwlock_t cache_lock = PTHREAD_RWLOCK_INITIALIZER;

static size_t slot_of(const char *pattern)
{
    size_t h = 5381, i;

    for (const char *s = pattern; *s; s++)
        h = h * 33 ^ (uint8_t)*s;
    for (i = h % CACHE_SLOTS; cache[i].pattern && strcmp(cache[i].pattern, pattern) != 0;)
        i = (i + 1) % CACHE_SLOTS;
    return i;
}

static struct fl_regexp *compile(const char *pattern)
{
    struct fl_regexp *re = NULL;

    fl_regexp_new(pattern, FL_REGEXP_WHOLE, &re, NULL);
    return re;
}

static struct fl_regexp *lookup(const char *pattern)
{
    struct fl_regexp *re;
    size_t i;

    pthread_rwlock_rdlock(&cache_lock);
    re = cache[slot_of(pattern)].re;
    pthread_rwlock_unlock(&cache_lock);
    if (re)
        return re;

    pthread_rwlock_wrlock(&cache_lock);
    i = slot_of(pattern);
    if (!cache[i].re && cached < CACHE_SLOTS / 2) {
        cache[i].re = compile(pattern);
        if (cache[i].re) {
            cache[i].pattern = pattern;
            cached++;
        }
    }
    re = cache[i].re;
    pthread_rwlock_unlock(&cache_lock);
    return re;
}

int fl_pattern_check(const char *pattern)
{
    struct fl_regexp *re = compile(pattern);

    fl_regexp_free(re);
    return re ? 0 : -EINVAL;
}

bool fl_pattern_match(void *arg, const char *pattern, const char *value)
{
    struct fl_regexp *re = lookup(pattern);

    if (!re) {
        fl_log_error("a pattern of the model cannot be used", FL_S("pattern", pattern));
        return false;
    }
    return fl_regexp_match(re, value, strlen(value), &(unsigned){ 1 }, NULL) == 1;
}
