/* A pattern, from a document or a policy, and a value, from a caller: pattern, NUL, value. It is
 * found, not found, or refused in words, within bounded work. */
#include <errno.h>
#include <string.h>
#include "common/codec/regexp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int match(unsigned flags, const char *pattern, const char *text)
{
    struct fl_regexp *re;
    int r = fl_regexp_new(pattern, flags, &re, NULL);

    if (r < 0)
        return r;
    r = fl_regexp_match(re, text, strlen(text), &(unsigned){ FL_REGEXP_HARD }, NULL);
    fl_regexp_free(re);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\0', size);
    fl_autofree char *text = NULL;
    struct fl_err err = { 0 };
    int r;

    if (!end)
        return 0;
    text = strndup((const char *)end + 1, size - (size_t)(end + 1 - data));
    if (!text)
        return 0;
    r = fl_regexp_search((const char *)data, text, &err);
    if (r < 0 ? r != -EINVAL || !err.text[0] : r > 1)
        abort();
    /* What fits wholly is found, too. */
    if (match(FL_REGEXP_WHOLE | FL_REGEXP_LINES, (const char *)data, text) == 1 &&
        match(FL_REGEXP_LINES, (const char *)data, text) != 1)
        abort();
    return 0;
}
