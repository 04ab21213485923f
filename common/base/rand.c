/* rand.c - see rand.h. */
#include "common/base/rand.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <uuid/uuid.h>

void fl_random_bytes(void *out, size_t len)
{
    char *p = out;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            abort();
        p += n;
        len -= (size_t)n;
    }
}

uint32_t fl_random_u32(void)
{
    uint32_t v;

    fl_random_bytes(&v, sizeof(v));
    return v;
}

uint32_t fl_random_between(uint32_t lo, uint32_t hi)
{
    /* Multiply-shift: the bias of 32 random bits over a 32-bit range is below one in 2^32. */
    uint64_t span = (uint64_t)hi - lo + 1;
    uint64_t wide;

    fl_random_bytes(&wide, sizeof(wide));
    return lo + (uint32_t)(((unsigned __int128)wide * span) >> 64);
}

void fl_uuid4(char out[FL_UUID_BYTES])
{
    uuid_t u;

    uuid_generate_random(u);
    uuid_unparse_lower(u, out);
}

int fl_uuid_parse(const char *s, uint8_t out[16])
{
    return s && strlen(s) == 36 && uuid_parse(s, out) == 0 ? 0 : -EINVAL;
}

bool fl_uuid_valid(const char *s)
{
    uint8_t u[16];

    return fl_uuid_parse(s, u) == 0;
}

void fl_uuid_format(const uint8_t in[16], char out[FL_UUID_BYTES])
{
    uuid_unparse_lower(in, out);
}

void fl_random_hex(char *out, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        char word[9];

        snprintf(word, sizeof(word), "%08x", fl_random_u32());
        memcpy(out + i, word, FL_MIN((size_t)8, n - i));
    }
    out[n] = '\0';
}
