/* allowed_pattern.c - a bounded PCRE2 search. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/doc/allowed_pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define MATCH_LIMIT      100000
#define EASY_MATCH_LIMIT 1000
#define WORK_MAX_BYTES   200000000 /* a step of a match may look at the whole text */
#define DEPTH_LIMIT      1000
#define HEAP_KIB         4096

struct fl_allowed_pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

int fl_allowed_pattern_new(const char *pattern, struct fl_allowed_pattern **ret_pattern,
                           struct fl_err *err)
{
    struct fl_allowed_pattern *p;
    PCRE2_SIZE at;
    int number;

    if (strlen(pattern) > FL_ALLOWED_PATTERN_MAX_BYTES)
        return fl_err_set(err, -EINVAL, NULL, "the pattern is longer than %d bytes",
                          FL_ALLOWED_PATTERN_MAX_BYTES);
    p = calloc(1, sizeof(*p));
    if (!p)
        return fl_err_nomem(err);
    /* RE2's $ is the end of the text, not the place before a last newline */
    p->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &number, &at, NULL);
    if (!p->code) {
        fl_allowed_pattern_free(p);
        return fl_err_set(err, -EINVAL, NULL, "not a regular expression, at character %zu", at);
    }
    p->data = pcre2_match_data_create(1, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->data || !p->limits) {
        fl_allowed_pattern_free(p);
        return fl_err_nomem(err);
    }
    pcre2_set_depth_limit(p->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(p->limits, HEAP_KIB);
    *ret_pattern = p;
    return 0;
}

struct fl_allowed_pattern *fl_allowed_pattern_free(struct fl_allowed_pattern *p)
{
    if (!p)
        return NULL;
    pcre2_match_context_free(p->limits);
    pcre2_match_data_free(p->data);
    pcre2_code_free(p->code);
    free(p);
    return NULL;
}

static int match(const struct fl_allowed_pattern *p, const char *text, size_t len, uint32_t limit)
{
    pcre2_set_match_limit(p->limits, limit);
    return pcre2_match(p->code, (PCRE2_SPTR)text, len, 0, 0, p->data, p->limits);
}

int fl_allowed_pattern_find(const struct fl_allowed_pattern *p, const char *text,
                            unsigned *hard_left, struct fl_err *err)
{
    size_t len = strlen(text);
    size_t limit = FL_MIN((size_t)MATCH_LIMIT, WORK_MAX_BYTES / FL_MAX(len, (size_t)1));
    int r = match(p, text, len, EASY_MATCH_LIMIT);

    if (r == PCRE2_ERROR_MATCHLIMIT && *hard_left > 0) {
        (*hard_left)--;
        r = match(p, text, len, (uint32_t)FL_MAX(limit, (size_t)EASY_MATCH_LIMIT));
    }
    if (r == PCRE2_ERROR_NOMATCH)
        return 0;
    if (r < 0)
        return fl_err_set(err, -EINVAL, NULL, "the pattern takes too much work on this value");
    return 1;
}

int fl_allowed_pattern_search(const char *pattern, const char *text, struct fl_err *err)
{
    unsigned hard_left = FL_ALLOWED_PATTERN_HARD;
    struct fl_allowed_pattern *p;
    int r = fl_allowed_pattern_new(pattern, &p, err);

    if (r < 0)
        return r;
    r = fl_allowed_pattern_find(p, text, &hard_left, err);
    fl_allowed_pattern_free(p);
    return r;
}
