/* go_text.c - see go_text.h. */
#include "common/doc/go_text.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DEPTH 64 /* deeper values print as "..." */

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* ---- numbers: Go has float64 for all of them, written with as few digits as tell it ---- */

#define DIGITS_MAX 17 /* of a double */

/* v = 0.DIGITS * 10^*ret_point; "0" for 0. The sign is not told. */
static void shortest_digits(double v, char digits[DIGITS_MAX + 1], int *ret_point)
{
    char text[40];
    size_t n = 0;

    for (int p = 0; p < DIGITS_MAX; p++) {
        snprintf(text, sizeof(text), "%.*e", p, fabs(v));
        if (strtod(text, NULL) == fabs(v))
            break;
    }
    for (const char *c = text; *c != 'e'; c++)
        if (*c != '.')
            digits[n++] = *c;
    digits[n] = '\0';
    *ret_point = atoi(strchr(text, 'e') + 1) + 1;
}

/* d.ddde±x */
static int put_with_exponent(const char *digits, int exponent, int width, struct fl_buf *out)
{
    return fl_buf_printf(out, "%c%s%se%c%0*d", digits[0], digits[1] ? "." : "", digits + 1,
                         exponent < 0 ? '-' : '+', width, abs(exponent));
}

static int put_without_exponent(const char *digits, int point, struct fl_buf *out)
{
    int n = (int)strlen(digits), r;

    if (point <= 0) /* 0.00ddd */
        return fl_buf_printf(out, "0.%.*s%s", -point, "000000", digits);
    r = fl_buf_printf(out, "%.*s", point, digits);
    for (int i = n; i < point && r == 0; i++)
        r = fl_buf_puts(out, "0");
    return r == 0 && n > point ? fl_buf_printf(out, ".%s", digits + point) : r;
}

/* How Go writes them: without exponent where least <= that < most, else with that many digits. */
struct number_form {
    int least, most; /* `least` is -6 or more */
    int width;
};
static const struct number_form in_words = { -4, 6, 2 }, in_json = { -6, 21, 1 };

static int put_number(double v, const struct number_form *form, struct fl_buf *out)
{
    char digits[DIGITS_MAX + 1];
    int point, r = signbit(v) ? fl_buf_puts(out, "-") : 0;

    shortest_digits(v, digits, &point);
    if (r < 0)
        return r;
    return point - 1 >= form->least && point - 1 < form->most
               ? put_without_exponent(digits, point, out)
               : put_with_exponent(digits, point - 1, form->width, out);
}

/* ---- %v ---- */

static int print_value(const json_t *v, struct fl_buf *out, int depth);

/* Fresh memory; NULL without. */
static const char **sorted_keys(const json_t *v, size_t *ret_n)
{
    const char **keys = calloc(json_object_size(v) + 1, sizeof(*keys));
    size_t n = 0;
    const char *key;
    json_t *value;

    if (!keys)
        return NULL;
    json_object_foreach((json_t *)v, key, value) keys[n++] = key;
    qsort(keys, n, sizeof(*keys), compare_keys);
    *ret_n = n;
    return keys;
}

static int print_map(const json_t *v, struct fl_buf *out, int depth)
{
    size_t n = 0;
    fl_autofree const char **keys = sorted_keys(v, &n);
    int r = keys ? fl_buf_puts(out, "map[") : -ENOMEM;

    for (size_t i = 0; i < n && r == 0; i++) {
        r = fl_buf_printf(out, "%s%s:", i ? " " : "", keys[i]);
        if (r == 0)
            r = print_value(json_object_get(v, keys[i]), out, depth + 1);
    }
    return r < 0 ? r : fl_buf_puts(out, "]");
}

static int print_list(const json_t *v, struct fl_buf *out, int depth)
{
    int r = fl_buf_puts(out, "[");

    for (size_t i = 0; i < json_array_size(v) && r == 0; i++) {
        r = i ? fl_buf_puts(out, " ") : 0;
        if (r == 0)
            r = print_value(json_array_get(v, i), out, depth + 1);
    }
    return r < 0 ? r : fl_buf_puts(out, "]");
}

static int print_value(const json_t *v, struct fl_buf *out, int depth)
{
    if (depth > MAX_DEPTH)
        return fl_buf_puts(out, "...");
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_OBJECT:
        return print_map(v, out, depth);
    case JSON_ARRAY:
        return print_list(v, out, depth);
    case JSON_STRING:
        return fl_buf_append(out, json_string_value(v), json_string_length(v));
    case JSON_INTEGER:
    case JSON_REAL:
        return put_number(json_number_value(v), &in_words, out);
    case JSON_TRUE:
        return fl_buf_puts(out, "true");
    case JSON_FALSE:
        return fl_buf_puts(out, "false");
    case JSON_NULL:
        return fl_buf_puts(out, "<nil>");
    }
    return -EINVAL;
}

int fl_go_value_text(const void *json, struct fl_buf *out)
{
    return print_value(json, out, 0);
}

enum json_class { CLASS_STRING, CLASS_NUMBER, CLASS_BOOL, CLASS_OBJECT, CLASS_ARRAY, CLASS_NULL };
static const char *const class_name[] = { "string", "number", "bool", "object", "array", "null" };

static enum json_class class_of(const json_t *v)
{
    static const enum json_class classes[] = {
        [JSON_OBJECT] = CLASS_OBJECT,  [JSON_ARRAY] = CLASS_ARRAY, [JSON_STRING] = CLASS_STRING,
        [JSON_INTEGER] = CLASS_NUMBER, [JSON_REAL] = CLASS_NUMBER, [JSON_TRUE] = CLASS_BOOL,
        [JSON_FALSE] = CLASS_BOOL,     [JSON_NULL] = CLASS_NULL,
    };

    return classes[json_typeof(v)];
}

/* What a member of each kind decodes from, and what its elements do. FL_KIND_RAW takes anything. */
static const struct kind_rule {
    bool any;
    enum json_class want;
    bool has_elem;
    enum json_class elem;
    const char *type, *elem_type;
} rules[FL_KIND__N] = {
    [FL_KIND_STR] = { .want = CLASS_STRING, .type = "string" },
    [FL_KIND_BOOL] = { .want = CLASS_BOOL, .type = "bool" },
    [FL_KIND_I32] = { .want = CLASS_NUMBER, .type = "int" },
    [FL_KIND_I64] = { .want = CLASS_NUMBER, .type = "int" },
    [FL_KIND_DOUBLE] = { .want = CLASS_NUMBER, .type = "float64" },
    [FL_KIND_OPT_INT] = { .want = CLASS_NUMBER, .type = "int" },
    [FL_KIND_OPT_BOOL] = { .want = CLASS_BOOL, .type = "bool" },
    [FL_KIND_TIME] = { .want = CLASS_NUMBER, .type = "int64" },
    [FL_KIND_RAW] = { .any = true },
    [FL_KIND_STRS] = { .want = CLASS_ARRAY,
                       .has_elem = true,
                       .elem = CLASS_STRING,
                       .type = "[]string",
                       .elem_type = "string" },
    [FL_KIND_STRMAP] = { .want = CLASS_OBJECT,
                         .has_elem = true,
                         .elem = CLASS_STRING,
                         .type = "map[string]string",
                         .elem_type = "string" },
    [FL_KIND_LISTMAP] = { .want = CLASS_OBJECT,
                          .has_elem = true,
                          .elem = CLASS_ARRAY,
                          .type = "map[string][]string",
                          .elem_type = "[]string" },
    [FL_KIND_INTMAP] = { .want = CLASS_OBJECT,
                         .has_elem = true,
                         .elem = CLASS_NUMBER,
                         .type = "map[string]int",
                         .elem_type = "int" },
    [FL_KIND_STRUCT] = { .want = CLASS_OBJECT, .type = "struct" },
    [FL_KIND_LIST] = { .want = CLASS_ARRAY,
                       .has_elem = true,
                       .elem = CLASS_OBJECT,
                       .type = "[]struct",
                       .elem_type = "struct" },
};

static int report(const struct fl_shape *shape, const struct fl_field *f, const json_t *v,
                  const char *type, struct fl_buf *out)
{
    int r = fl_buf_printf(out, "json: cannot unmarshal %s into Go struct field %s.%s of type %s",
                          class_name[class_of(v)], shape->name, f->key, type);

    return r < 0 ? r : 1;
}

/* First element of the list or map that is of the wrong class, NULL if none is. */
static const json_t *bad_element(const json_t *v, enum json_class want)
{
    const char *key;
    json_t *e;

    for (size_t i = 0; json_is_array(v) && i < json_array_size(v); i++) {
        e = json_array_get(v, i);
        if (class_of(e) != want && class_of(e) != CLASS_NULL)
            return e;
    }
    if (json_is_object(v))
        json_object_foreach((json_t *)v, key,
                            e) if (class_of(e) != want && class_of(e) != CLASS_NULL) return e;
    return NULL;
}

static const json_t *member(const json_t *json, const char *name)
{
    const json_t *found = NULL;
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)json, key, v) if (strcasecmp(key, name) == 0) found = v;
    return found;
}

int fl_go_mismatch_text(const struct fl_shape *shape, const void *json, struct fl_buf *out)
{
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];
        const struct kind_rule *rule = &rules[f->kind];
        const json_t *v = member(json, f->key), *bad;
        int r = 0;

        if (!v || json_is_null(v) || rule->any)
            continue;
        if (class_of(v) != rule->want)
            return report(shape, f, v, rule->type, out);
        bad = rule->has_elem ? bad_element(v, rule->elem) : NULL;
        if (bad)
            return report(shape, f, bad, rule->elem_type, out);
        if (f->kind == FL_KIND_STRUCT)
            r = fl_go_mismatch_text(f->shape, v, out);
        for (size_t e = 0; f->kind == FL_KIND_LIST && r == 0 && e < json_array_size(v); e++)
            r = fl_go_mismatch_text(f->shape, json_array_get(v, e), out);
        if (r != 0)
            return r;
    }
    return 0;
}

/* ---- json.Marshal ---- */

static int put_json(const json_t *v, struct fl_buf *out);

static int put_members(const json_t *v, struct fl_buf *out)
{
    size_t n = 0;
    fl_autofree const char **keys = sorted_keys(v, &n);
    int r = keys ? fl_buf_puts(out, "{") : -ENOMEM;

    for (size_t i = 0; i < n && r == 0; i++) {
        r = i ? fl_buf_puts(out, ",") : 0;
        if (r == 0)
            r = fl_json_quote(out, keys[i], strlen(keys[i]));
        if (r == 0)
            r = fl_buf_puts(out, ":");
        if (r == 0)
            r = put_json(json_object_get(v, keys[i]), out);
    }
    return r < 0 ? r : fl_buf_puts(out, "}");
}

static int put_elements(const json_t *v, struct fl_buf *out)
{
    int r = fl_buf_puts(out, "[");

    for (size_t i = 0; i < json_array_size(v) && r == 0; i++) {
        r = i ? fl_buf_puts(out, ",") : 0;
        if (r == 0)
            r = put_json(json_array_get(v, i), out);
    }
    return r < 0 ? r : fl_buf_puts(out, "]");
}

static int put_json(const json_t *v, struct fl_buf *out)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return put_members(v, out);
    case JSON_ARRAY:
        return put_elements(v, out);
    case JSON_STRING:
        return fl_json_quote(out, json_string_value(v), json_string_length(v));
    case JSON_INTEGER: /* with every digit, also where a float64 has lost some */
        return fl_buf_printf(out, "%lld", (long long)json_integer_value(v));
    case JSON_REAL:
        return put_number(json_real_value(v), &in_json, out);
    case JSON_TRUE:
        return fl_buf_puts(out, "true");
    case JSON_FALSE:
        return fl_buf_puts(out, "false");
    case JSON_NULL:
        return fl_buf_puts(out, "null");
    }
    return -EINVAL;
}

int fl_go_json_text(const void *json, struct fl_buf *out)
{
    fl_autobuf struct fl_buf text = FL_BUF(out->max_bytes);
    int r = put_json(json, &text);

    /* These bytes stand only inside strings in JSON text, so they can be replaced afterwards. */
    for (const char *p = text.data; r == 0 && *p;) {
        size_t plain = strcspn(p, "<>&\xe2");

        r = fl_buf_append(out, p, plain);
        p += plain;
        if (r < 0 || !*p)
            break;
        if (*p != '\xe2') {
            r = fl_buf_printf(out, "\\u%04x", (unsigned char)*p++);
        } else if (strncmp(p, "\xe2\x80\xa8", 3) == 0 || strncmp(p, "\xe2\x80\xa9", 3) == 0) {
            r = fl_buf_puts(out, p[2] == '\xa8' ? "\\u2028" : "\\u2029");
            p += 3;
        } else {
            r = fl_buf_append(out, p++, 1);
        }
    }
    return r;
}

int fl_go_decode(const struct fl_shape *shape, const void *json, struct fl_arena *arena, void *out,
                 struct fl_err *err)
{
    fl_autobuf struct fl_buf text = FL_BUF(1024);
    int r = fl_json_decode_value(shape, json, FL_DECODE_NOCASE, arena, out, err);
    if (r == -EINVAL && fl_go_mismatch_text(shape, json, &text) == 1)
        fl_err_set(err, r, NULL, "encountered error while parsing input - internal error %s",
                   text.data);
    return r;
}
