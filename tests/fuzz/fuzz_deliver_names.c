/* Names of delivered outputs, made of what a command says: no key leads out of its prefix, no group
 * or stream has a character that it may not have. Input: three texts with a line feed between. */
#include <stdlib.h>
#include <string.h>
#include "agent/worker/deliver_names.h"
#include "common/wire/output_names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(const char *key)
{
    if (!key)
        return;
    if (*key == '/' || strncmp(key, "../", 3) == 0 || strncmp(key, "./", 2) == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    char *text = fl_arena_memdup(&arena, data, size), *rest = text;
    const char *part[3];
    const char *prefix, *name;

    if (!text)
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(part); i++) {
        part[i] = strsep(&rest, "\n");
        part[i] = part[i] ? part[i] : "";
    }
    prefix = fl_name_s3_prefix(part[0], "c-1", "mi-1", part[1], &arena);
    check_key(prefix);
    if (prefix && strstr(prefix, "//") && strstr(prefix, "//") < strstr(prefix, "c-1/mi-1"))
        abort();
    name = fl_name_without_colons(part[2], &arena);
    if (name && strchr(name, ':'))
        abort();
    if (prefix && name)
        check_key(fl_name_s3_key(prefix, name, "stdout", &arena));
    name = fl_output_log_group("", part[1], &arena);
    if (name && strpbrk(name, ":* \t"))
        abort();
    name = fl_name_log_stream("c-1", "mi-1", part[2], "stdout", &arena);
    if (name && strpbrk(name, ":*"))
        abort();
    fl_name_property_id(part[2], &arena);
    return 0;
}
