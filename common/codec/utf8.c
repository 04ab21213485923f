/* utf8.c - see utf8.h. */
#include "common/codec/utf8.h"
#include <string.h>

/* The second byte decides what the first leaves open (Unicode standard, table 3-7). */
static const struct {
    uint8_t lead_lo, lead_hi, second_lo, second_hi;
    size_t len;
} forms[] = {
    { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
    { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
    { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
};

size_t fl_utf8_len(const char *text, size_t avail)
{
    const uint8_t *s = (const uint8_t *)text;

    if (s[0] < 0x80)
        return 1;
    for (size_t i = 0; i < FL_ARRAY_LEN(forms); i++) {
        if (s[0] < forms[i].lead_lo || s[0] > forms[i].lead_hi)
            continue;
        if (avail < forms[i].len || s[1] < forms[i].second_lo || s[1] > forms[i].second_hi)
            return 0;
        for (size_t k = 2; k < forms[i].len; k++)
            if ((s[k] & 0xc0) != 0x80)
                return 0;
        return forms[i].len;
    }
    return 0;
}

size_t fl_utf8_put(uint32_t code, char out[4])
{
    size_t len;

    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        code = 0xfffd;
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00 >> len) | code);
    return len;
}

size_t fl_utf8_count(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}
