/* rand.h - random bytes from the kernel, identifiers made of them. */
#pragma once
#include "common/base/util.h"

#define FL_UUID_BYTES 37 /* 36 characters and NUL */

/* Fills `out`; aborts if the kernel cannot deliver (it always can after boot). */
void fl_random_bytes(void *out, size_t len);
uint32_t fl_random_u32(void);

/* Uniform in [lo, hi], both ends included. */
uint32_t fl_random_between(uint32_t lo, uint32_t hi);

/* A version 4 UUID, lower case. */
void fl_uuid4(char out[FL_UUID_BYTES]);

/* True for 36 characters in the 8-4-4-4-12 form, any case. */
bool fl_uuid_valid(const char *s);
int fl_uuid_parse(const char *s, uint8_t out[16]); /* 0 or -EINVAL */
void fl_uuid_format(const uint8_t in[16], char out[FL_UUID_BYTES]);

/* `n` random lower-case hex digits and a NUL. */
void fl_random_hex(char *out, size_t n);
