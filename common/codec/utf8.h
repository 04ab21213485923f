/* utf8.h - well-formed UTF-8, as RFC 3629 defines it. */
#pragma once
#include "common/base/util.h"

#define FL_UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Length of the sequence at `s` (1-4), of which `avail` (at least 1) bytes are there; 0 if it is
 * not well-formed: overlong, a surrogate, past U+10FFFF, or cut short. */
size_t fl_utf8_len(const char *s, size_t avail);

/* Writes the code point (1-4 bytes, no NUL) and gives the count; what is no scalar value becomes
 * U+FFFD. */
size_t fl_utf8_put(uint32_t code, char out[4]);

/* Characters of a text that is well-formed. */
size_t fl_utf8_count(const char *s);
