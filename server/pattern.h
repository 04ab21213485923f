/* pattern.h - regular expressions of the model's constraints.
 *
 * The dialect is that of the public model (Java's), which PCRE2 reads. Patterns are string
 * literals: they are compiled once and kept. Thread-safe.
 */
#pragma once
#include "common/base/err.h"

/* True if the whole value matches, with bounded work; an fl_pattern_fn (`arg` is unused). */
bool fl_pattern_match(void *arg, const char *pattern, const char *value);

/* 0 if the pattern compiles, else -EINVAL; for the test over all shapes. */
int fl_pattern_check(const char *pattern);
