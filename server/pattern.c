/* pattern.c - regular expressions of the model's constraints, compiled once. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "server/pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <pthread.h>
#include <string.h>
#include "common/base/log.h"

#define CACHE_SLOTS 1024   /* power of two; the model has some 150 patterns */
#define MATCH_LIMIT 200000 /* steps; a value that needs more does not match */

/* Patterns are string literals of shape tables: never freed, and few. */
static struct {
    const char *pattern;
    pcre2_code *code;
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

static pcre2_code *compile(const char *pattern)
{
    PCRE2_SIZE at;
    int code;

    return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF | PCRE2_DOLLAR_ENDONLY,
                         &code, &at, NULL);
}

static pcre2_code *lookup(const char *pattern)
{
    pcre2_code *code;
    size_t i;

    pthread_rwlock_rdlock(&cache_lock);
    code = cache[slot_of(pattern)].code;
    pthread_rwlock_unlock(&cache_lock);
    if (code)
        return code;

    pthread_rwlock_wrlock(&cache_lock);
    i = slot_of(pattern);
    if (!cache[i].code && cached < CACHE_SLOTS / 2) {
        cache[i].code = compile(pattern);
        if (cache[i].code) {
            cache[i].pattern = pattern;
            cached++;
        }
    }
    code = cache[i].code;
    pthread_rwlock_unlock(&cache_lock);
    return code;
}

struct fl_search {
    pcre2_code *code;
};

int fl_search_new(const char *pattern, struct fl_search **ret_search, struct fl_err *err)
{
    struct fl_search *s = calloc(1, sizeof(*s));
    PCRE2_UCHAR text[128];
    PCRE2_SIZE at;
    int code;

    if (!s)
        return fl_err_nomem(err);
    s->code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
    if (!s->code) {
        pcre2_get_error_message(code, text, sizeof(text));
        free(s);
        return fl_err_set(err, -EINVAL, NULL, "%s at character %zu", (char *)text, at + 1);
    }
    *ret_search = s;
    return 0;
}

struct fl_search *fl_search_free(struct fl_search *s)
{
    if (s)
        pcre2_code_free(s->code);
    free(s);
    return NULL;
}

static bool matches(const pcre2_code *code, const char *text, size_t len)
{
    pcre2_match_context *ctx = pcre2_match_context_create(NULL);
    pcre2_match_data *md = pcre2_match_data_create(1, NULL);
    int n = PCRE2_ERROR_NOMEMORY;

    if (ctx && md) {
        pcre2_set_match_limit(ctx, MATCH_LIMIT);
        n = pcre2_match(code, (PCRE2_SPTR)text, len, 0, 0, md, ctx);
    }
    pcre2_match_data_free(md);
    pcre2_match_context_free(ctx);
    return n >= 0;
}

bool fl_search_finds(const struct fl_search *s, const char *text, size_t len)
{
    return matches(s->code, text, len);
}

int fl_pattern_check(const char *pattern)
{
    pcre2_code *code = compile(pattern);

    pcre2_code_free(code);
    return code ? 0 : -EINVAL;
}

bool fl_pattern_match(void *arg, const char *pattern, const char *value)
{
    pcre2_code *code = lookup(pattern);

    if (!code) {
        fl_log_error("a pattern of the model cannot be used", FL_S("pattern", pattern));
        return false;
    }
    return matches(code, value, strlen(value));
}
