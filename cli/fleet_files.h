/* fleet_files.h - what `fairlead tail` does to bytes. */
#pragma once
#include <stddef.h>

/* Where the last `lines` lines begin in text that ends with or without a line end; *ret_lines has
 * how many there are, at most `lines`. Pure. */
size_t fl_last_lines(const char *text, size_t len, size_t lines, size_t *ret_lines);
