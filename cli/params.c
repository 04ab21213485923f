/* params.c - see params.h. */
#include "cli/params.h"
#include <errno.h>
#include <string.h>
#include "cli/input.h"
#include "common/codec/json_load.h"

int fl_params_add(json_t *all, const char *name, const char *value)
{
    json_t *list = json_object_get(all, name);

    if (list && !json_is_array(list))
        return -EINVAL;
    if (!list && json_object_set_new(all, name, list = json_array()) < 0)
        return -ENOMEM;
    /* bytes that are not UTF-8 cannot be sent in JSON */
    return json_array_append_new(list, json_string(value)) < 0 ? -EILSEQ : 0;
}

/* "NAME": "text" is the API's "NAME": ["text"]. */
static int listify(json_t *all)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(all, next, key, value)
    {
        json_t *list;

        if (json_is_array(value))
            continue;
        list = json_is_string(value) ? json_pack("[O]", value) : NULL;
        if (!list || json_object_set_new(all, key, list) < 0)
            return -EINVAL;
    }
    return 0;
}

static int from_json(const char *text, json_t **ret_all, struct fl_err *err)
{
    fl_autofree char *read = NULL;
    json_error_t why;
    json_t *all;
    int r = fl_input_text(text, FL_PARAMS_MAX_BYTES, &read, err);

    if (r < 0)
        return r;
    all = fl_json_load_text(read, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(all) || listify(all) < 0) {
        json_decref(all);
        return fl_err_set(err, -EINVAL, NULL,
                          "--parameters: not a JSON object of texts and lists of texts%s%s",
                          all ? "" : ": ", all ? "" : why.text);
    }
    *ret_all = all;
    return 0;
}

static int add_pairs(const struct fl_texts *pairs, json_t *all, struct fl_err *err)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const char *pair = pairs->v[i], *mark = strchr(pair, '=');
        fl_autofree char *name = mark ? strndup(pair, (size_t)(mark - pair)) : NULL;

        if (!name || !*name || fl_params_add(all, name, mark + 1) < 0)
            return fl_err_set(err, -EINVAL, NULL, "--parameter: \"%s\" is not NAME=VALUE in UTF-8",
                              pair);
    }
    return 0;
}

int fl_params_read(const char *json, const struct fl_texts *pairs, json_t **ret_all,
                   struct fl_err *err)
{
    json_t *all = NULL;
    int r = json ? from_json(json, &all, err) : 0;

    if (r == 0 && !all)
        all = json_object();
    if (r == 0)
        r = all ? add_pairs(pairs, all, err) : -ENOMEM;
    if (r < 0)
        json_decref(all);
    else
        *ret_all = all;
    return r;
}

int fl_params_raw(const json_t *all, struct fl_arena *arena, struct fl_raw *ret_raw)
{
    char *text;

    if (json_object_size(all) == 0)
        return 0;
    text = json_dumps(all, JSON_COMPACT);
    ret_raw->text = text ? fl_arena_strdup(arena, text) : NULL;
    free(text);
    return ret_raw->text ? 0 : -ENOMEM;
}
