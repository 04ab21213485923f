/* range.c - see range.h. */
#include "server/s3/range.h"

#include <errno.h>
#include <string.h>

#define UNIT "bytes="

/* Digits at *p; false if there are none or too many. */
static bool take_number(const char **p, uint64_t *ret)
{
    uint64_t n = 0;
    size_t digits = strspn(*p, "0123456789");

    if (digits == 0 || digits > 18)
        return false;
    for (size_t i = 0; i < digits; i++)
        n = n * 10 + (uint64_t)((*p)[i] - '0');
    *p += digits;
    *ret = n;
    return true;
}

int fl_s3_range(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_len)
{
    uint64_t first = 0, last = 0;
    bool has_first, has_last;
    const char *p;

    if (!header || strncmp(header, UNIT, strlen(UNIT)) != 0)
        return 0;
    p = header + strlen(UNIT);
    has_first = take_number(&p, &first);
    if (*p++ != '-')
        return 0;
    has_last = take_number(&p, &last);
    if (*p || (!has_first && !has_last) || (has_first && has_last && last < first))
        return 0;
    if (!has_first) { /* the last bytes */
        if (last == 0 || size == 0)
            return -ERANGE;
        first = last < size ? size - last : 0;
        last = size - 1;
    } else {
        if (first >= size)
            return -ERANGE;
        last = has_last ? FL_MIN(last, size - 1) : size - 1;
    }
    *ret_first = first;
    *ret_len = last - first + 1;
    return 1;
}
