/* split.h - a command line into words, as the official agent's shlex does (protocol 3 §8). Pure.
 *
 * Blanks separate; '…' and "…" quote, a backslash escapes outside of quotes and in double ones; #
 * at the start of a word begins a comment. Nothing is expanded.
 */
#pragma once
#include "common/base/arena.h"
#include "common/base/err.h"

#define FL_SPLIT_MAX_WORDS 1024

/* NULL-terminated words of the arena, at least one. -EINVAL: no word, an open quote, or too many.
 */
int fl_split(const char *line, struct fl_arena *arena, char ***ret_words, struct fl_err *err);
