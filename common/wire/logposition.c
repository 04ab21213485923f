/* logposition.c - see logposition.h. */
#include "common/wire/logposition.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX     "fairlead:"
#define DIGITS_MAX 18

void fl_log_position_write(const struct fl_log_position *p, char out[FL_LOG_POSITION_BYTES])
{
    snprintf(out, FL_LOG_POSITION_BYTES, PREFIX "%s:%llu:%llu", p->writer,
             (unsigned long long)p->from, (unsigned long long)p->to);
}

/* ":" and a number. */
static bool take_number(const char **p, uint64_t *ret)
{
    size_t digits = **p == ':' ? strspn(*p + 1, "0123456789") : 0;

    if (digits == 0 || digits > DIGITS_MAX)
        return false;
    *ret = strtoull(*p + 1, NULL, 10);
    *p += 1 + digits;
    return true;
}

bool fl_log_position_read(const char *token, struct fl_log_position *ret)
{
    struct fl_log_position out = { 0 };
    const char *p = token;

    if (!p || strncmp(p, PREFIX, strlen(PREFIX)) != 0)
        return false;
    p += strlen(PREFIX);
    if (strspn(p, "0123456789abcdef") != FL_LOG_WRITER_BYTES - 1)
        return false;
    memcpy(out.writer, p, FL_LOG_WRITER_BYTES - 1);
    p += FL_LOG_WRITER_BYTES - 1;
    if (!take_number(&p, &out.from) || !take_number(&p, &out.to) || *p || out.from > out.to)
        return false;
    *ret = out;
    return true;
}
