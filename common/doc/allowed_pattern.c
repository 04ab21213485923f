/* allowed_pattern.c - a bounded PCRE2 search. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/doc/allowed_pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <string.h>

#define MATCH_LIMIT 100000
#define DEPTH_LIMIT 1000
#define HEAP_KIB    4096

static int run(const pcre2_code *code, const char *text)
{
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    int r = PCRE2_ERROR_NOMEMORY;

    if (data && limits) {
        pcre2_set_match_limit(limits, MATCH_LIMIT);
        pcre2_set_depth_limit(limits, DEPTH_LIMIT);
        pcre2_set_heap_limit(limits, HEAP_KIB);
        r = pcre2_match(code, (PCRE2_SPTR)text, strlen(text), 0, 0, data, limits);
    }
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    return r;
}

int fl_allowed_pattern_search(const char *pattern, const char *text, struct fl_err *err)
{
    pcre2_code *code;
    PCRE2_SIZE at;
    int number, r;

    if (strlen(pattern) > FL_ALLOWED_PATTERN_MAX_BYTES)
        return fl_err_set(err, -EINVAL, NULL, "the pattern is longer than %d bytes",
                          FL_ALLOWED_PATTERN_MAX_BYTES);
    /* RE2's $ is the end of the text, not the place before a last newline */
    code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                         PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &number, &at, NULL);
    if (!code)
        return fl_err_set(err, -EINVAL, NULL, "not a regular expression, at character %zu", at);
    r = run(code, text);
    pcre2_code_free(code);
    if (r == PCRE2_ERROR_NOMATCH)
        return 0;
    if (r < 0)
        return fl_err_set(err, -EINVAL, NULL, "the pattern takes too much work on this value");
    return 1;
}
