/* declare.c - see declare.h. */
#include "common/doc/declare.h"

#include <errno.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/codec/regexp.h"

/* ---- kinds ---- */
static const struct {
    const char *name;
    bool is_list;        /* of texts: any number of values may be given */
    int json_type;       /* of a default; lists: of an element */
    const char *pattern; /* what a value looks like; NULL: anything */
} kinds[] = {
    [FL_PARAM_STRING] = { "String", false, JSON_STRING, NULL },
    [FL_PARAM_STRING_LIST] = { "StringList", true, JSON_STRING, NULL },
    [FL_PARAM_INTEGER] = { "Integer", false, JSON_INTEGER, "^-?[0-9]{1,10}$" },
    [FL_PARAM_BOOLEAN] = { "Boolean", false, JSON_TRUE, "^(true|false)$" },
    [FL_PARAM_STRING_MAP] = { "StringMap", false, JSON_OBJECT, NULL },
    [FL_PARAM_MAP_LIST] = { "MapList", true, JSON_OBJECT, NULL },
};

bool fl_doc_param_kind(const char *type, enum fl_doc_param_type *ret_kind)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, type) == 0) {
            *ret_kind = (enum fl_doc_param_type)i;
            return true;
        }
    *ret_kind = strncmp(type, "List<", 5) == 0 ? FL_PARAM_STRING_LIST : FL_PARAM_STRING;
    return strncmp(type, "AWS::", 5) == 0 || strncmp(type, "List<AWS::", 10) == 0;
}

/* ---- declarations ---- */
struct declaration {
    char *type;
    char *description;
    struct fl_raw dflt;
    struct fl_raw allowed_values;
    char *allowed_pattern;
    struct fl_raw min_chars, max_chars, min_items, max_items; /* number or numeric string */
};
#define F(member, key) FL_FIELD(struct declaration, member, key, 0)
static const struct fl_field declaration_fields[] = {
    F(type, "type"),
    F(description, "description"),
    F(dflt, "default"),
    F(allowed_values, "allowedValues"),
    F(allowed_pattern, "allowedPattern"),
    F(min_chars, "minChars"),
    F(max_chars, "maxChars"),
    F(min_items, "minItems"),
    F(max_items, "maxItems"),
};
#undef F
static const struct fl_shape declaration_shape =
    FL_SHAPE(struct declaration, "Parameter", declaration_fields);

/* 3 and "3" are 3; absent or anything else is -1. */
static int64_t limit_of(const struct fl_raw *raw)
{
    const char *digits = raw->text ? raw->text + (raw->text[0] == '"') : "";
    char *end;
    long long v = strtoll(digits, &end, 10);

    return end == digits || v < 0 ? -1 : v;
}

/* A string as it is, anything else as JSON text. */
static char *text_of(const json_t *v, struct fl_arena *arena)
{
    fl_autofree char *text = NULL;

    if (json_is_string(v))
        return fl_arena_strdup(arena, json_string_value(v));
    text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    return fl_arena_strdup(arena, text);
}

static int texts_of_list(const json_t *list, struct fl_arena *arena, struct fl_strs *ret,
                         struct fl_err *err)
{
    struct fl_strs out = { .v = fl_arena_calloc(arena, json_array_size(list), sizeof(*out.v)) };

    if (!out.v)
        return fl_err_nomem(err);
    for (; out.n < json_array_size(list); out.n++) {
        out.v[out.n] = text_of(json_array_get(list, out.n), arena);
        if (!out.v[out.n])
            return fl_err_nomem(err);
    }
    *ret = out;
    return 0;
}

int fl_doc_param_load(const char *name, const json_t *declaration, struct fl_arena *arena,
                      struct fl_doc_param *ret_param, struct fl_err *err)
{
    fl_autojson json_t *allowed = NULL;
    fl_autojson json_t *dflt = NULL;
    struct declaration d;
    struct fl_doc_param p;
    int r = fl_json_decode_value(&declaration_shape, declaration, FL_DECODE_NOCASE, arena, &d, err);

    if (r < 0)
        return r;
    p = (struct fl_doc_param){
        .name = fl_arena_strdup(arena, name),
        .type = d.type ? d.type : fl_arena_strdup(arena, "String"),
        .description = d.description,
        .allowed_pattern = d.allowed_pattern,
        .min_chars = limit_of(&d.min_chars),
        .max_chars = limit_of(&d.max_chars),
        .min_items = limit_of(&d.min_items),
        .max_items = limit_of(&d.max_items),
    };
    dflt = fl_json_load_text(d.dflt.text, JSON_DECODE_ANY, NULL);
    if (dflt)
        p.default_text = text_of(dflt, arena);
    if (!p.name || !p.type || (dflt && !p.default_text))
        return fl_err_nomem(err);
    if (!fl_doc_param_kind(p.type, &p.kind))
        return fl_err_set(err, -EINVAL, NULL, "there is no type %.100s", p.type);
    allowed = fl_json_load_text(d.allowed_values.text, 0, NULL);
    if (d.allowed_values.text && !json_is_array(allowed))
        return fl_err_set(err, -EINVAL, NULL, "Parameter.allowedValues: must be a list");
    r = allowed ? texts_of_list(allowed, arena, &p.allowed_values, err) : 0;
    if (r == 0)
        *ret_param = p;
    return r;
}

/* ---- values ---- */

/* {{ssm:name}}: the value is known only on the node. */
static bool has_reference(const char *s)
{
    for (const char *at = strstr(s, "{{"); at; at = strstr(at + 2, "{{"))
        if (strncmp(at + 2 + strspn(at + 2, " "), "ssm:", 4) == 0)
            return true;
    return false;
}

static bool is_listed(const struct fl_strs *values, const char *s)
{
    for (size_t i = 0; i < values->n; i++)
        if (strcmp(values->v[i], s) == 0)
            return true;
    return false;
}

static bool is_of_kind(const struct fl_doc_param *p, const char *v)
{
    const char *pattern = kinds[p->kind].pattern;
    fl_autojson json_t *map = NULL;

    if (pattern)
        return fl_regexp_search(pattern, v, NULL) == 1;
    if (kinds[p->kind].json_type != JSON_OBJECT)
        return true;
    map = fl_json_load_text(v, 0, NULL);
    /* all of a MapList may stand in one text (protocol 6 §4.3) */
    return json_is_object(map) || (p->kind == FL_PARAM_MAP_LIST && json_is_array(map));
}

static int check_value(const struct fl_doc_param *p, const char *v, const struct fl_regexp *pattern,
                       unsigned *hard_left, struct fl_err *err)
{
    int64_t len = (int64_t)strlen(v); /* bytes, as the agent counts; protocol 4 §1.2 */

    if (has_reference(v))
        return 0;
    if (!is_of_kind(p, v))
        return fl_err_set(err, -EINVAL, "InvalidParameters", "Parameter \"%s\" is not of type %s.",
                          p->name, p->type);
    if (p->allowed_values.n > 0 && !is_listed(&p->allowed_values, v))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" has a value that is not one of its allowed values.",
                          p->name);
    if (pattern && fl_regexp_match(pattern, v, (size_t)len, hard_left, NULL) != 1)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" has a value that does not match its pattern %s",
                          p->name, p->allowed_pattern);
    if ((p->min_chars >= 0 && len < p->min_chars) || (p->max_chars >= 0 && len > p->max_chars))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" is %lld characters long, which is not allowed.",
                          p->name, (long long)len);
    return 0;
}

int fl_doc_param_check(const struct fl_doc_param *p, const struct fl_strs *values,
                       struct fl_err *err)
{
    bool is_list = kinds[p->kind].is_list;
    unsigned hard_left = FL_REGEXP_HARD;
    struct fl_regexp *pattern = NULL;
    int64_t n = (int64_t)values->n;
    int r = 0;

    if (!is_list && n != 1)
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" of type %s takes exactly one value.", p->name, p->type);
    if (is_list &&
        ((p->min_items >= 0 && n < p->min_items) || (p->max_items >= 0 && n > p->max_items)))
        return fl_err_set(err, -EINVAL, "InvalidParameters",
                          "Parameter \"%s\" has %lld values, which is not allowed.", p->name,
                          (long long)n);
    if (p->allowed_pattern)
        r = fl_regexp_new(p->allowed_pattern, 0, &pattern, NULL);
    if (r < 0)
        return r == -ENOMEM ? fl_err_nomem(err)
                            : fl_err_set(err, r, "InvalidParameters",
                                         "Parameter \"%s\" has a pattern that is none.", p->name);
    for (size_t i = 0; r == 0 && i < values->n; i++)
        r = check_value(p, values->v[i], pattern, &hard_left, err);
    fl_regexp_free(pattern);
    return r;
}

int fl_doc_param_texts(const struct fl_doc_param *p, const json_t *value, struct fl_arena *arena,
                       struct fl_strs *ret_values, struct fl_err *err)
{
    int want = kinds[p->kind].json_type;
    fl_autojson json_t *one = NULL;
    const json_t *list = value;

    if (!kinds[p->kind].is_list) {
        one = json_array();
        if (!one || json_array_append(one, (json_t *)value) < 0)
            return fl_err_nomem(err);
        list = one;
    }
    if (!json_is_array(list))
        return fl_err_set(err, -EINVAL, NULL, "must be a list for type %s", p->type);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);

        /* a text may spell any kind; whether it does is fl_doc_param_check's */
        if ((int)json_typeof(v) != want && !json_is_string(v) &&
            !(want == JSON_TRUE && json_is_false(v)))
            return fl_err_set(err, -EINVAL, NULL, "does not fit type %s", p->type);
    }
    return texts_of_list(list, arena, ret_values, err);
}
