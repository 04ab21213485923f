/* text.h - constants as members of message structs, whose strings are `char *` because decoding
 * makes them so. Whoever receives such a struct only reads it. */
#pragma once
#include <stdint.h>

static inline char *fl_text(const char *s)
{
    return (char *)(uintptr_t)s;
}
