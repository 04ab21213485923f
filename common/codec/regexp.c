/* regexp.c - bounded PCRE2 searches. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/codec/regexp.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#define MATCH_LIMIT      100000
#define EASY_MATCH_LIMIT 1000
#define WORK_MAX_BYTES   200000000 /* a step of a match may look at the whole text */
#define HEAP_KIB         4096

struct fl_regexp {
    pcre2_code *code;
};

int fl_regexp_new(const char *pattern, unsigned flags, struct fl_regexp **ret_re,
                  struct fl_err *err)
{
    uint32_t options = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    struct fl_regexp *re;
    PCRE2_UCHAR why[128];
    PCRE2_SIZE at;
    int number;

    if (strlen(pattern) > FL_REGEXP_MAX_BYTES)
        return fl_err_set(err, -EINVAL, NULL, "the pattern is longer than %d bytes",
                          FL_REGEXP_MAX_BYTES);
    if (flags & FL_REGEXP_WHOLE)
        options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    if (flags & FL_REGEXP_LINES)
        options |= PCRE2_DOTALL;
    re = calloc(1, sizeof(*re));
    if (!re)
        return fl_err_nomem(err);
    re->code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &number, &at, NULL);
    if (!re->code) {
        fl_regexp_free(re);
        if (number == PCRE2_ERROR_HEAP_FAILED)
            return fl_err_nomem(err);
        pcre2_get_error_message(number, why, sizeof(why));
        return fl_err_set(err, -EINVAL, NULL, "not a regular expression: %s, at character %zu",
                          (char *)why, at + 1);
    }
    *ret_re = re;
    return 0;
}

struct fl_regexp *fl_regexp_free(struct fl_regexp *re)
{
    if (re)
        pcre2_code_free(re->code);
    free(re);
    return NULL;
}

int fl_regexp_match(const struct fl_regexp *re, const char *text, size_t len, unsigned *hard_left,
                    struct fl_err *err)
{
    size_t most = FL_MIN((size_t)MATCH_LIMIT, WORK_MAX_BYTES / FL_MAX(len, (size_t)1));
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    int r = PCRE2_ERROR_NOMEMORY;

    if (limits && data) {
        pcre2_set_heap_limit(limits, HEAP_KIB);
        pcre2_set_match_limit(limits, EASY_MATCH_LIMIT);
        r = pcre2_match(re->code, (PCRE2_SPTR)text, len, 0, 0, data, limits);
        if (r == PCRE2_ERROR_MATCHLIMIT && *hard_left > 0) {
            (*hard_left)--;
            pcre2_set_match_limit(limits, (uint32_t)FL_MAX(most, (size_t)EASY_MATCH_LIMIT));
            r = pcre2_match(re->code, (PCRE2_SPTR)text, len, 0, 0, data, limits);
        }
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    if (r == PCRE2_ERROR_NOMATCH)
        return 0;
    if (r < 0)
        return fl_err_set(err, -EINVAL, NULL, "the pattern takes too much work on this value");
    return 1;
}

int fl_regexp_search(const char *pattern, const char *text, struct fl_err *err)
{
    unsigned hard_left = FL_REGEXP_HARD;
    struct fl_regexp *re;
    int r = fl_regexp_new(pattern, 0, &re, err);

    if (r < 0)
        return r;
    r = fl_regexp_match(re, text, strlen(text), &hard_left, err);
    fl_regexp_free(re);
    return r;
}
