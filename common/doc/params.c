/* params.c - see params.h. */
#include "common/doc/params.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/codec/json_load.h"
#include "common/codec/regexp.h"
#include "common/doc/go_text.h"
#include "common/doc/ssm_refs.h"
#include "common/doc/subst.h"

#define LOAD_FLAGS           (JSON_DECODE_ANY | JSON_ALLOW_NUL)
#define VIOLATIONS_MAX_BYTES 8192
#define VALUE_TEXT_MAX_BYTES (4u << 20)

struct param_in {
    char *type, *description, *allowed_pattern, *interpolation;
    struct fl_raw default_value, min_chars, max_chars, min_items, max_items;
    struct fl_strs allowed_values;
};
#define F(member, key) FL_FIELD(struct param_in, member, key, 0)
static const struct fl_field param_fields[] = {
    F(type, "type"),
    F(description, "description"),
    F(allowed_pattern, "allowedPattern"),
    F(interpolation, "interpolationType"),
    F(default_value, "default"),
    F(min_chars, "minChars"),
    F(max_chars, "maxChars"),
    F(min_items, "minItems"),
    F(max_items, "maxItems"),
    F(allowed_values, "allowedValues"),
};
#undef F
static const struct fl_shape param_shape = FL_SHAPE(struct param_in, "Parameter", param_fields);

/* ---- checks ---- */

/* What is looked at: a value, or one element of a list. */
struct seen {
    const json_t *value;
    const char *text; /* of a string itself, of anything else its JSON */
    size_t len;
    struct search *search;
};

/* Of one declaration, made when the first value is looked at. */
struct search {
    struct fl_regexp *pattern; /* NULL: there is none */
    json_t *allowed;           /* the allowed values as keys */
    unsigned *hard_left;       /* of the whole document */
};

/* Checks give 0 for good, 1 for bad with the words in `out`, or a negative errno. */

static int bad(int printed)
{
    return printed < 0 ? printed : 1;
}

static int check_pattern(const struct param_in *p, const struct seen *v, struct fl_buf *out)
{
    struct fl_err why = { 0 };
    int r = 0;

    if (!p->allowed_pattern || !p->allowed_pattern[0])
        return 0;
    if (!v->search->pattern)
        r = fl_regexp_new(p->allowed_pattern, 0, &v->search->pattern, &why);
    if (r == -ENOMEM)
        return r;
    if (r == 0 && !json_is_null(v->value))
        r = fl_regexp_match(v->search->pattern, v->text, strlen(v->text), v->search->hard_left,
                            &why);
    if (r < 0)
        return bad(fl_buf_printf(out, "allowed pattern /%.200s/: %s", p->allowed_pattern,
                                 fl_err_text(&why)));
    return r == 1 ? 0
                  : bad(fl_buf_printf(
                        out, "parameter value /%.200s/ does not match the allowed pattern /%.200s/",
                        v->text, p->allowed_pattern));
}

/* Both lists may be long: each is gone through once. */
static int take_allowed(const struct param_in *p, struct search *search)
{
    search->allowed = json_object();
    for (size_t i = 0; i < p->allowed_values.n; i++)
        if (json_object_set_new_nocheck(search->allowed, p->allowed_values.v[i], json_true()) < 0)
            return -ENOMEM;
    return search->allowed ? 0 : -ENOMEM;
}

static int check_allowed(const struct param_in *p, const struct seen *v, struct fl_buf *out)
{
    int r = v->search->allowed ? 0 : take_allowed(p, v->search);

    if (r < 0 || p->allowed_values.n == 0 || json_object_get(v->search->allowed, v->text))
        return r;
    r = fl_buf_printf(out, "parameter value /%.200s/ is not in the allowed list [", v->text);
    for (size_t i = 0; i < p->allowed_values.n && r == 0; i++)
        r = fl_buf_printf(out, "%s%.100s", i ? " " : "", p->allowed_values.v[i]);
    return r < 0 ? r : bad(fl_buf_printf(out, "]"));
}

/* A limit that is a number or a text of one; none if it is neither. */
static bool read_limit(const struct fl_raw *raw, double *ret)
{
    fl_autojson json_t *v = fl_json_load_text(raw->text, LOAD_FLAGS, NULL);
    const char *text = json_string_value(v);
    char *end;

    if (json_is_number(v)) {
        *ret = json_number_value(v);
        return true;
    }
    if (!text || !text[0])
        return false;
    *ret = strtod(text, &end);
    return *end == '\0';
}

static int check_between(size_t n, const char *what, const struct fl_raw *least,
                         const struct fl_raw *most, struct fl_buf *out)
{
    double limit;

    if (read_limit(least, &limit) && (double)n < limit)
        return bad(fl_buf_printf(out, "parameter has %zu %s, less than %.0f", n, what, limit));
    if (read_limit(most, &limit) && (double)n > limit)
        return bad(fl_buf_printf(out, "parameter has %zu %s, more than %.0f", n, what, limit));
    return 0;
}

static int check_chars(const struct param_in *p, const struct seen *v, struct fl_buf *out)
{
    return check_between(v->len, "characters", &p->min_chars, &p->max_chars, out);
}

static int check_items(const struct param_in *p, const struct seen *v, struct fl_buf *out)
{
    if (json_is_array(v->value))
        return check_between(json_array_size(v->value), "items", &p->min_items, &p->max_items, out);
    if (json_is_object(v->value))
        return check_between(json_object_size(v->value), "items", &p->min_items, &p->max_items,
                             out);
    return 0;
}

/* What is checked of each value. For a document that was sent, all but the pattern is the service's
 * to check (protocol 4 §1.2). */
static const struct {
    const char *name;
    int (*check)(const struct param_in *p, const struct seen *v, struct fl_buf *out);
    bool each;     /* element of a list on its own */
    bool nested;   /* only in documents inside documents */
    bool not_refs; /* not where a reference to Parameter Store stood */
} validators[] = {
    { "AllowedRegexParamValidator", check_pattern, true, false, false },
    { "MinMaxCharParamValidator", check_chars, true, true, false },
    { "MinMaxItemParamValidator", check_items, false, true, false },
    { "AllowedValueParamValidator", check_allowed, true, true, true },
};

static int check_one(size_t validator, const struct param_in *p, const json_t *value,
                     struct search *search, struct fl_buf *out)
{
    fl_autobuf struct fl_buf json = FL_BUF(VALUE_TEXT_MAX_BYTES);
    struct seen v = { .value = value,
                      .text = json_string_value(value),
                      .len = json_string_length(value),
                      .search = search };
    if (!v.text) {
        if (fl_go_json_text(value, &json) < 0)
            return -ENOMEM;
        v.text = json.data;
        v.len = json.len;
    }
    return validators[validator].check(p, &v, out);
}

static int check(size_t validator, const struct param_in *p, const json_t *value,
                 struct search *search, struct fl_buf *out)
{
    int r = 0;

    if (!validators[validator].each || !json_is_array(value))
        return check_one(validator, p, value, search, out);
    for (size_t i = 0; r == 0 && i < json_array_size(value); i++)
        r = check_one(validator, p, json_array_get(value, i), search, out);
    return r;
}

/* Appends what is wrong with the value, a line a validator. */
static int validate(const char *name, const struct param_in *p, const json_t *value, bool nested,
                    bool was_ref, struct search *search, struct fl_buf *violations)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(validators); i++) {
        fl_autobuf struct fl_buf text = FL_BUF(2048);
        int r;

        if ((validators[i].nested && !nested) || (validators[i].not_refs && was_ref))
            continue;
        r = check(i, p, value, search, &text);
        if (r == 1)
            r = fl_buf_printf(violations,
                              "%serror thrown in '%s' while validating parameter /%.100s/: %s",
                              violations->len ? "\n" : "", validators[i].name, name, text.data);
        if (r == -EMSGSIZE && violations->len)
            return 0; /* enough is known */
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- variables of scripts ---- */

static bool is_variable_name(const char *s)
{
    return *s &&
           s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")] == '\0';
}

/* A String that is declared with interpolationType ENV_VAR becomes SSM_<name>. */
static int export_variable(const char *name, const struct param_in *p, const json_t *value,
                           struct fl_arena *arena, struct fl_doc *doc, struct fl_err *err)
{
    struct fl_strmap_entry *entry = &doc->env.v[doc->env.n];

    if (!p->interpolation || strcmp(p->interpolation, "ENV_VAR") != 0 || !p->type ||
        strcmp(p->type, "String") != 0 || !json_is_string(value) || !is_variable_name(name))
        return 0;
    entry->key = fl_arena_printf(arena, "SSM_%s", name);
    entry->value = fl_arena_strdup(arena, json_string_value(value));
    if (!entry->key || !entry->value)
        return fl_err_nomem(err);
    doc->env.n++;
    return 0;
}

/* ---- all of them ---- */

/* What follows a NUL is not seen by patterns, variables and shells. */
static bool holds_nul(const json_t *value)
{
    const char *key;
    json_t *member;

    if (json_is_string(value))
        return strlen(json_string_value(value)) < json_string_length(value);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (holds_nul(json_array_get(value, i)))
            return true;
    json_object_foreach((json_t *)value, key, member) if (holds_nul(member)) return true;
    return false;
}

static int put_value(json_t *params, const char *name, json_t *value, struct fl_err *err)
{
    if (holds_nul(value))
        return fl_err_set(err, -EINVAL, FL_ERR_PARAMETER,
                          "parameter %.100s: a value cannot hold a NUL character", name);
    return json_object_set(params, name, value) < 0 ? fl_err_nomem(err) : 0;
}

/* Values of names that are not allowed are dropped; defaults are taken whatever the name. */
static int take_supplied(const char *text, bool nested, json_t *params, struct fl_err *err)
{
    fl_autojson json_t *supplied = fl_json_load_text(text, LOAD_FLAGS, NULL);
    const char *key;
    json_t *value;
    int r;

    if (text && !json_is_object(supplied) && !json_is_null(supplied))
        return fl_err_set(err, -EBADMSG, NULL, "the parameters are not a JSON object");
    if (json_is_object(supplied))
        json_object_foreach(supplied, key, value)
        {
            if (!fl_param_name_valid(key) || (nested && json_is_null(value)))
                continue;
            r = put_value(params, key, value, err);
            if (r < 0)
                return r;
        }
    return 0;
}

/* A new reference to the value as it is checked: references in it are replaced. */
static int see_value(const json_t *value, struct fl_ssm_refs *refs, json_t **ret,
                     struct fl_err *err)
{
    size_t left_bytes = VALUE_TEXT_MAX_BYTES;
    void *made = NULL;
    int r = 0;

    if (refs)
        r = fl_ssm_refs_apply(refs, value, &left_bytes, &made, err);
    else
        made = json_incref((json_t *)value);
    *ret = made;
    return r;
}

static int take_declared(const char *name, const json_t *declaration, bool nested,
                         struct fl_ssm_refs *refs, struct fl_arena *arena, json_t *params,
                         struct fl_doc *doc, unsigned *hard_left, struct fl_buf *violations,
                         struct fl_err *err)
{
    struct search search = { .hard_left = hard_left };
    fl_autojson json_t *value = NULL;
    fl_autojson json_t *dflt = NULL;
    struct param_in p = { 0 };
    int r;

    if (!json_is_object(declaration))
        return fl_err_set(err, -EINVAL, NULL, "parameter %.100s: must be an object", name);
    r = fl_go_decode(&param_shape, declaration, arena, &p, err);
    if (r < 0)
        return r;
    if (!json_object_get(params, name)) {
        dflt = fl_json_load_text(p.default_value.text, LOAD_FLAGS, NULL);
        r = put_value(params, name, dflt ? dflt : json_null(), err);
        if (r < 0)
            return r;
    }
    r = see_value(json_object_get(params, name), refs, &value, err);
    if (r < 0)
        return r;
    if (refs && fl_ssm_refs_wanting(refs))
        return 0; /* not known yet */
    r = validate(name, &p, value, nested, !json_equal(value, json_object_get(params, name)),
                 &search, violations);
    fl_regexp_free(search.pattern);
    json_decref(search.allowed);
    if (r < 0)
        return fl_err_nomem(err);
    return export_variable(name, &p, value, arena, doc, err);
}

int fl_params_collect(const char *supplied, const char *declared, bool nested,
                      struct fl_ssm_refs *refs, struct fl_arena *arena, void *params,
                      struct fl_doc *ret_doc, struct fl_err *err)
{
    fl_autobuf struct fl_buf violations = FL_BUF(VIOLATIONS_MAX_BYTES);
    unsigned hard_left = FL_REGEXP_HARD;
    fl_autojson json_t *decls = fl_json_load_text(declared, LOAD_FLAGS, NULL);
    const char *name;
    json_t *declaration;
    int r = take_supplied(supplied, nested, params, err);
    if (r < 0 || !decls || json_is_null(decls))
        return r;
    if (!json_is_object(decls))
        return fl_err_set(err, -EINVAL, NULL,
                          "encountered error while parsing input - internal error json: cannot "
                          "unmarshal into Go struct field DocumentContent.parameters of type "
                          "map[string]*contracts.Parameter");
    ret_doc->env.v = fl_arena_calloc(arena, json_object_size(decls), sizeof(*ret_doc->env.v));
    if (!ret_doc->env.v)
        return fl_err_nomem(err);
    json_object_foreach(decls, name, declaration)
    {
        r = take_declared(name, declaration, nested, refs, arena, params, ret_doc, &hard_left,
                          &violations, err);
        if (r < 0)
            return r;
    }
    if (violations.len > 0)
        return fl_err_set(err, -EINVAL, FL_ERR_PARAMETER,
                          "all errors during param validation errors: %s", violations.data);
    return 0;
}
