/* pattern.h - regular expressions of the model's constraints.
 *
 * The dialect is that of the public model (Java's), which PCRE2 reads. Patterns are string
 * literals: they are compiled once and kept. Thread-safe.
 */
#pragma once
#include "common/base/err.h"

/* True if the whole value matches; an fl_pattern_fn (`arg` is unused). */
bool fl_pattern_match(void *arg, const char *pattern, const char *value);

/* An operator's pattern, searched for anywhere in a text; what takes too many steps does not match.
 * -EINVAL says where it is wrong. Thread-safe once made. */
struct fl_search;
int fl_search_new(const char *pattern, struct fl_search **ret_search, struct fl_err *err);
struct fl_search *fl_search_free(struct fl_search *s);
bool fl_search_finds(const struct fl_search *s, const char *text, size_t len);

/* 0 if the pattern compiles, else -EINVAL; for the test over all shapes. */
int fl_pattern_check(const char *pattern);
