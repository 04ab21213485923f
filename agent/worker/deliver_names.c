/* deliver_names.c - see deliver_names.h. */
#include "agent/worker/deliver_names.h"
#include <jansson.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/codec/json_load.h"

#define NAME_MAX_BYTES 8192
#define GROUP_CHARS    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-/.#"

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

static void drop_last(struct fl_buf *path)
{
    path->len -= path->len > 0;
    while (path->len > 0 && path->data[path->len - 1] != '/')
        path->len--;
}

/* The parts of a path that are worth something, each with a '/' behind it. */
static int clean_path(const char *path, struct fl_buf *out)
{
    int r = 0;

    while (r == 0 && *path) {
        size_t len = strcspn(path, "/");

        if (len == 2 && memcmp(path, "..", 2) == 0) {
            drop_last(out);
        } else if (len > 0 && !(len == 1 && *path == '.')) {
            r = fl_buf_append(out, path, len);
            if (r == 0)
                r = fl_buf_puts(out, "/");
        }
        path += len;
        path += *path == '/';
    }
    return r;
}

char *fl_name_s3_prefix(const char *prefix, const char *command_id, const char *node_id,
                        const char *action, struct fl_arena *arena)
{
    fl_autobuf struct fl_buf path = FL_BUF(NAME_MAX_BYTES);
    const char *plugin = fl_name_without_colons(action, arena);

    if (!plugin || clean_path(prefix ? prefix : "", &path) < 0)
        return NULL;
    return fl_arena_printf(arena, "%.*s%s/%s/%s", (int)path.len, path.data ? path.data : "",
                           command_id, node_id, plugin);
}

char *fl_name_s3_key(const char *s3_prefix, const char *step, const char *file,
                     struct fl_arena *arena)
{
    bool named = step && *step;

    return fl_arena_printf(arena, "%s/%s%s%s", s3_prefix, named ? step : "", named ? "/" : "",
                           file);
}

char *fl_name_log_group(const char *group, const char *document, struct fl_arena *arena)
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
