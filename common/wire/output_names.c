/* output_names.c - see output_names.h. */
#include "common/wire/output_names.h"
#include <string.h>

#define GROUP_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-/.#"

/* Takes the last part away from the `len` bytes of a path that ends in '/'; what is left of them.
 */
static size_t without_last(const char *path, size_t len)
{
    len -= len > 0;
    while (len > 0 && path[len - 1] != '/')
        len--;
    return len;
}

char *fl_output_prefix(const char *prefix, struct fl_arena *arena)
{
    const char *from = prefix ? prefix : "";
    char *out = fl_arena_alloc(arena, strlen(from) + 2);
    size_t n = 0;

    if (!out)
        return NULL;
    while (*from) {
        size_t len = strcspn(from, "/");

        if (len == 2 && memcmp(from, "..", 2) == 0) {
            n = without_last(out, n);
        } else if (len > 0 && !(len == 1 && *from == '.')) {
            memcpy(out + n, from, len);
            n += len;
            out[n++] = '/';
        }
        from += len;
        from += *from == '/';
    }
    out[n] = '\0';
    return out;
}

char *fl_output_log_group(const char *group, const char *document, struct fl_arena *arena)
{
    char *name;

    if (group && *group)
        return fl_arena_strdup(arena, group);
    name = fl_arena_printf(arena, "/aws/ssm/%s", document ? document : "");
    for (char *p = name; p && *p; p++)
        if (!strchr(GROUP_CHARS, *p))
            *p = '.';
    return name;
}
