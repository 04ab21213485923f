/* range.h - the Range header (RFC 9110 §14.2), one range of bytes. Pure. */
#pragma once
#include "common/base/util.h"

/* What of `size` bytes `header` (may be NULL) asks for. 1: these; 0: all of it, since there is no
 * header, or one that is not understood or asks for several ranges; -ERANGE: there is nothing
 * there. */
int fl_s3_range(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_len);
