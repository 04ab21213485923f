/* allowed_pattern.h - searching a value for the allowedPattern of a document's parameter.
 *
 * The patterns come from users and need not match the whole value: they are compiled for one use,
 * and work and depth are bounded. Documents are written for RE2; what they use of it means the same
 * here. The node checks a value as the plane does.
 */
#pragma once
#include "common/base/err.h"

#define FL_ALLOWED_PATTERN_MAX_BYTES 8192

/* 1 if the pattern is found anywhere in the text, 0 if not; -EINVAL for a pattern that is none or
 * takes too much work on this text. */
int fl_allowed_pattern_search(const char *pattern, const char *text, struct fl_err *err);
