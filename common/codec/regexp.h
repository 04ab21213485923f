/* regexp.h - regular expressions that users write, with a bound on their work.
 *
 * The dialect is PCRE2's, over UTF-8; what documents use of RE2 and AWS's model of Java's means the
 * same in it: "$" is the end of the text, not the place before a last newline. Steps and memory of
 * a search are bounded, and, by the number of searches that may take long, those of many.
 */
#pragma once
#include <stddef.h>
#include "common/base/err.h"

#define FL_REGEXP_MAX_BYTES 8192

enum {
    FL_REGEXP_WHOLE = 1, /* the whole text must fit; else it is found anywhere */
    FL_REGEXP_LINES = 2, /* "." is the end of a line, too */
};

/* Searches that may take some ten milliseconds each, of one document; others take microseconds. */
#define FL_REGEXP_HARD 32

struct fl_regexp;

/* 0, -EINVAL for what is none, -ENOMEM. Thread-safe once made. */
int fl_regexp_new(const char *pattern, unsigned flags, struct fl_regexp **ret_re,
                  struct fl_err *err);
struct fl_regexp *fl_regexp_free(struct fl_regexp *re);

/* 1 if the text fits, 0 if not; -EINVAL if it takes too much work on this text (or is not UTF-8).
 * *hard_left begins at FL_REGEXP_HARD or less and is counted down by searches that take long; at 0
 * these are refused. */
int fl_regexp_match(const struct fl_regexp *re, const char *text, size_t len, unsigned *hard_left,
                    struct fl_err *err);

/* Searches one text; -EINVAL also for what is no pattern. */
int fl_regexp_search(const char *pattern, const char *text, struct fl_err *err);
