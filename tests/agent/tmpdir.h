/* tmpdir.h - a fresh folder for one test, below $TMPDIR. */
#pragma once
#include <stdio.h>
#include <stdlib.h>

#define TMPDIR_BYTES 256

static inline void make_tmpdir(char out[TMPDIR_BYTES])
{
    const char *base = getenv("TMPDIR");

    snprintf(out, TMPDIR_BYTES, "%s/fl-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(out))
        abort();
}
