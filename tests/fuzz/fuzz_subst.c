/* Substitution and references to Parameter Store: the first line is the parameters, the second what
 * the store answers (name to text, or to a list of one text for a StringList), the rest a value.
 * What is put in is bounded, is put in once, and nothing changes where there is no reference. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/doc/ssm_refs.h"
#include "common/doc/subst.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes a line, or all that is left. */
static json_t *next(const char **at, size_t *left, bool all)
{
    const char *end = all ? NULL : memchr(*at, '\n', *left);
    size_t len = end ? (size_t)(end - *at) : *left;
    json_t *v = fl_json_load(*at, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    *at += len + (end != NULL);
    *left -= len + (end != NULL);
    return v;
}

static size_t bytes_of(const json_t *v)
{
    char *text = json_dumps(v, JSON_DECODE_ANY | JSON_COMPACT);
    size_t n = text ? strlen(text) : 0;

    free(text);
    return n;
}

static bool refers(const struct fl_subst *s, const json_t *v)
{
    const char *key;
    json_t *member;

    if (json_is_string(v))
        return fl_subst_has_reference(s, json_string_value(v), json_string_length(v));
    for (size_t i = 0; i < json_array_size(v); i++)
        if (refers(s, json_array_get(v, i)))
            return true;
    json_object_foreach((json_t *)v, key, member) if (refers(s, member)) return true;
    return false;
}

/* A new reference, or NULL over a limit. */
static json_t *substitute(const json_t *params, const json_t *value, size_t *ret_left)
{
    struct fl_subst s;
    void *out = NULL;
    struct fl_err err = { 0 };

    fl_subst_init(&s, params);
    if (fl_subst_value(&s, value, &out, &err) < 0) {
        if (!err.text[0] || out)
            abort();
        return NULL;
    }
    if (s.left_bytes > FL_SUBST_MAX_BYTES)
        abort();
    if (!refers(&s, value) && !json_equal(out, value))
        abort();
    *ret_left = s.left_bytes;
    return out;
}

static json_t *apply(struct fl_ssm_refs *refs, const json_t *value, size_t left)
{
    size_t before = left;
    void *out = NULL;
    struct fl_err err = { 0 };

    if (fl_ssm_refs_apply(refs, value, &left, &out, &err) < 0) {
        if (!err.text[0] || out)
            abort();
        return NULL;
    }
    if (left > before)
        abort();
    return out;
}

static void learn(struct fl_ssm_refs *refs, const json_t *store)
{
    const char *names[FL_SSM_REFS_BATCH];
    size_t n;

    while ((n = fl_ssm_refs_next(refs, names)) > 0)
        for (size_t i = 0; i < n; i++) {
            const json_t *v = json_object_get(store, names[i]);
            const json_t *text = json_is_array(v) ? json_array_get(v, 0) : v;

            if (json_is_string(text) &&
                fl_ssm_refs_learn(refs, names[i], "", 1, json_is_array(v) ? "StringList" : "String",
                                  json_string_value(text)) < 0)
                abort();
        }
}

static void resolve(const json_t *value, const json_t *store, size_t left)
{
    struct fl_ssm_refs *refs = fl_ssm_refs_new();
    json_t *noted = apply(refs, value, left), *out = NULL;

    if (noted && !fl_ssm_refs_wanting(refs) && !json_equal(noted, value))
        abort(); /* nothing is known yet */
    learn(refs, store);
    if (noted)
        out = apply(refs, value, left);
    /* An escaped byte is six, a text's quotes and comma three. */
    if (out && bytes_of(out) > 6 * (size_t)FL_SUBST_MAX_BYTES + 12 * bytes_of(value))
        abort();
    json_decref(noted);
    json_decref(out);
    fl_ssm_refs_free(refs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data;
    json_t *params = next(&at, &size, false), *store = next(&at, &size, false);
    json_t *value = next(&at, &size, true), *out = NULL;
    size_t left;

    if (json_is_object(params) && value && (out = substitute(params, value, &left)))
        resolve(out, store, left);
    json_decref(params);
    json_decref(store);
    json_decref(value);
    json_decref(out);
    return 0;
}
