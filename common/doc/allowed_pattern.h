/* allowed_pattern.h - searching a value for the allowedPattern of a document's parameter.
 *
 * The patterns come from users and need not match the whole value. Work and depth are bounded: of
 * one search, and, by the number of searches that may take long, of many. Documents are written for
 * RE2; what they use of it means the same here. The node checks a value as the plane does.
 */
#pragma once
#include "common/base/err.h"

#define FL_ALLOWED_PATTERN_MAX_BYTES 8192

/* Searches of one document that may take some ten milliseconds each; others take microseconds. */
#define FL_ALLOWED_PATTERN_HARD 32

struct fl_allowed_pattern;

/* 0, -EINVAL for what is no pattern, -ENOMEM. */
int fl_allowed_pattern_new(const char *pattern, struct fl_allowed_pattern **ret_pattern,
                           struct fl_err *err);
struct fl_allowed_pattern *fl_allowed_pattern_free(struct fl_allowed_pattern *p);

/* 1 if the pattern is found anywhere in the text, 0 if not; -EINVAL if it takes too much work on
 * this text. *hard_left begins at FL_ALLOWED_PATTERN_HARD and is counted down by searches that take
 * long; at 0 these are refused. */
int fl_allowed_pattern_find(const struct fl_allowed_pattern *p, const char *text,
                            unsigned *hard_left, struct fl_err *err);

/* The same for one text; -EINVAL also for what is no pattern. */
int fl_allowed_pattern_search(const char *pattern, const char *text, struct fl_err *err);
