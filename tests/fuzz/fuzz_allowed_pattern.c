/* A parameter's allowedPattern, from a document, and a value, from a caller: pattern, NUL, value.
 * It is found, not found, or refused in words, within bounded work. */
#include <errno.h>
#include <string.h>
#include "common/doc/allowed_pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    r = fl_allowed_pattern_search((const char *)data, text, &err);
    if (r < 0 ? r != -EINVAL || !err.text[0] : r > 1)
        abort();
    return 0;
}
