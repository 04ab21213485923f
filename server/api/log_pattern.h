/* log_pattern.h - filterPattern of FilterLogEvents, the part for plain text: terms with blanks
 * between them, all of which a message must hold, letter case counts. "…" is one term with blanks,
 * -TERM must not be there, of all ?TERM one must. Pure. */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

#define FL_LOG_TERMS_MAX 64

struct fl_log_pattern {
    struct {
        enum { FL_TERM_ALL, FL_TERM_ANY, FL_TERM_NONE } kind;
        const char *text;
    } terms[FL_LOG_TERMS_MAX];
    size_t n;
};

/* NULL or "" matches everything. -EINVAL named InvalidParameterException: too many terms, an open
 * quote, or a pattern for JSON or columns. */
int fl_log_pattern_read(const char *text, struct fl_arena *arena,
                        struct fl_log_pattern *ret_pattern, struct fl_err *err);
bool fl_log_pattern_matches(const struct fl_log_pattern *p, const char *message);
