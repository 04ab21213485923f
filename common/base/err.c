/* err.c - see err.h. */
#include "common/base/err.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int fl_err_set(struct fl_err *err, int code, const char *name, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (!err)
        return code;

    err->code = code;
    err->name = name;
    va_start(ap, fmt);
    n = vsnprintf(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof(err->text)) {
        size_t end = sizeof(err->text) - 1;

        /* The cut may have split a character: drop its lead byte and what follows. */
        while (end > 0 && ((unsigned char)err->text[end - 1] & 0xc0) == 0x80)
            end--;
        if (end > 0 && (unsigned char)err->text[end - 1] >= 0xc0)
            end--;
        err->text[end] = '\0';
    }
    return code;
}

int fl_err_nomem(struct fl_err *err)
{
    return fl_err_set(err, -ENOMEM, NULL, "out of memory");
}

const char *fl_err_text(const struct fl_err *err)
{
    return err && err->text[0] ? err->text : "unknown error";
}
