/* deliver_names.c - see deliver_names.h. */
#include "agent/worker/deliver_names.h"
#include <jansson.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/wire/output_names.h"

char *fl_name_without_colons(const char *text, struct fl_arena *arena)
{
    char *copy = fl_arena_strdup(arena, text), *out = copy;

    for (const char *p = copy; p && *p; p++)
        if (*p != ':')
            *out++ = *p;
    if (copy)
        *out = '\0';
    return copy;
}

char *fl_name_s3_prefix(const char *prefix, const char *command_id, const char *node_id,
                        const char *action, struct fl_arena *arena)
{
    const char *plugin = fl_name_without_colons(action, arena);
    const char *path = fl_output_prefix(prefix, arena);

    return plugin && path ? fl_arena_printf(arena, "%s%s/%s/%s", path, command_id, node_id, plugin)
                          : NULL;
}

char *fl_name_s3_key(const char *s3_prefix, const char *step, const char *file,
                     struct fl_arena *arena)
{
    bool named = step && *step;

    return fl_arena_printf(arena, "%s/%s%s%s", s3_prefix, named ? step : "", named ? "/" : "",
                           file);
}

char *fl_name_log_stream(const char *command_id, const char *node_id, const char *step,
                         const char *file, struct fl_arena *arena)
{
    char *name = fl_arena_printf(arena, "%s/%s/%s/%s", command_id, node_id, step, file);

    for (char *p = name; p && *p; p++)
        if (*p == ':' || *p == '*')
            *p = '-';
    return name;
}

char *fl_name_property_id(const char *inputs_json, struct fl_arena *arena)
{
    json_t *root = fl_json_load_text(inputs_json, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *first = json_is_array(root) ? json_array_get(root, 0) : root;
    const char *id = json_string_value(json_object_get(first, "id"));
    char *copy = NULL;

    /* As in the official agent: what leads elsewhere is none. */
    if (id && strncmp(id, "../", 3) != 0 && strncmp(id, "~/", 2) != 0)
        copy = fl_arena_strdup(arena, id);
    json_decref(root);
    return copy;
}
