/* configedit.c - see configedit.h. */
#include "agent/cli/configedit.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/file.h"
#include "common/codec/json_load.h"

#define MAX_CONFIG_BYTES (1u << 20)

/* The name under which `key` stands in `obj`, or `key` itself. */
static const char *spelling(json_t *obj, const char *key)
{
    const char *k;
    json_t *v;

    json_object_foreach(obj, k, v) if (strcasecmp(k, key) == 0) key = k;
    return key;
}

static int apply(json_t *root, const struct fl_config_edit *e)
{
    const char *name = spelling(root, e->section);
    json_t *section = json_object_get(root, name);

    if (!json_is_object(section)) {
        section = json_object();
        if (json_object_set_new(root, e->section, section) < 0)
            return -ENOMEM;
    }
    name = spelling(section, e->key);
    return json_object_set_new(section, name, json_string(e->value)) < 0 ? -ENOMEM : 0;
}

static int load(const char *path, json_t **ret_root, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    json_error_t bad;
    size_t len = 0;
    int r = fl_file_read(path, MAX_CONFIG_BYTES, &text, &len, err);

    if (r < 0 && r != -ENOENT)
        return r;
    *ret_root = r == -ENOENT ? json_object() : fl_json_load(text, len, 0, &bad);
    if (*ret_root && json_is_object(*ret_root))
        return 0;
    json_decref(*ret_root);
    return fl_err_set(err, -EBADMSG, NULL, "%s: not a JSON object", path);
}

static int write_to(const char *path, const char *text, bool only_try, struct fl_err *err)
{
    fl_autofree char *dir = strdup(path);
    fl_autofree char *trial = NULL;
    char *slash = dir ? strrchr(dir, '/') : NULL;
    mode_t mode = 0644;
    struct stat st;
    int r = 0;

    if (slash && slash != dir) {
        *slash = '\0';
        r = fl_dir_make(dir, 0755, err);
    }
    if (r < 0)
        return r;
    if (only_try) {
        if (asprintf(&trial, "%s.try", path) < 0) {
            trial = NULL;
            return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", path);
        }
        r = fl_file_replace(trial, 0600, text, strlen(text), err);
        unlink(trial);
        return r;
    }
    if (stat(path, &st) == 0)
        mode = st.st_mode & 0777;
    return fl_file_replace(path, mode, text, strlen(text), err);
}

int fl_config_edit(const char *from, const char *to, const struct fl_config_edit *edits, size_t n,
                   bool only_try, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    fl_autofree char *with_newline = NULL;
    json_t *root = NULL;
    bool changed = false;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        changed |= edits[i].value != NULL;
    if (!changed)
        return 0;
    r = load(from, &root, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (edits[i].value)
            r = apply(root, &edits[i]);
    if (r == 0)
        text = json_dumps(root, JSON_INDENT(4));
    json_decref(root);
    if (text && asprintf(&with_newline, "%s\n", text) < 0)
        with_newline = NULL;
    if (!with_newline)
        return fl_err_set(err, -ENOMEM, NULL, "%s: out of memory", to);
    return write_to(to, with_newline, only_try, err);
}
