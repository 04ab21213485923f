/* json_decode.c - JSON text into a struct, by its shape. See codec.h. */
#include "common/codec/codec.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "common/codec/json_load.h"

#define MAX_DEPTH  32                 /* of nested shapes; real ones have less than ten */
#define MAX_EXACT  9007199254740992.0 /* integers beyond it are not exact in a double */
#define YEAR_10000 253402300800.0

const struct fl_shape fl_shape_empty = { .name = "Empty", .size = 1 };

struct ctx {
    struct fl_arena *arena;
    unsigned flags;
    struct fl_err *err;
    int depth;
};

static int decode_object(struct ctx *c, const struct fl_shape *shape, const json_t *json,
                         void *out);

static int no_memory(struct ctx *c, const struct fl_shape *shape)
{
    return fl_err_set(c->err, -EMSGSIZE, NULL, "%s: larger than %zu bytes of memory", shape->name,
                      c->arena->max_bytes);
}

static int wrong_type(struct ctx *c, const struct fl_shape *shape, const struct fl_field *f,
                      const char *want)
{
    return fl_err_set(c->err, -EINVAL, NULL, "%s.%s: must be %s", shape->name, f->key, want);
}

/* An element that is null: as if it were empty where Go's decoder is followed, an error elsewhere.
 */
static bool is_go_null(const struct ctx *c, const json_t *v)
{
    return json_is_null(v) && (c->flags & FL_DECODE_NOCASE);
}

/* A C string cannot carry NUL: it becomes U+FFFD, as invalid UTF-8 does elsewhere. */
static char *copy_string(struct ctx *c, const json_t *v)
{
    const char *s = json_is_string(v) ? json_string_value(v) : "";
    size_t len = json_string_length(v), nuls = 0;
    char *p, *w;

    for (size_t i = 0; i < len; i++)
        nuls += s[i] == '\0';
    if (nuls == 0)
        return fl_arena_memdup(c->arena, s, len);
    w = p = fl_arena_alloc(c->arena, len + 2 * nuls + 1);
    if (!p)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\0') {
            memcpy(w, "\xef\xbf\xbd", 3);
            w += 3;
        } else {
            *w++ = s[i];
        }
    }
    return p;
}

static bool get_int(const json_t *v, int64_t *ret)
{
    double d;

    if (json_is_integer(v)) {
        *ret = json_integer_value(v);
        return true;
    }
    if (!json_is_real(v))
        return false;
    d = json_real_value(v);
    if (!(d >= -MAX_EXACT && d <= MAX_EXACT) || d != (double)(int64_t)d)
        return false;
    *ret = (int64_t)d;
    return true;
}

/* Epoch seconds to ms; the range keeps every later sum inside 64 bits. */
static bool get_time_ms(const json_t *v, int64_t *ret)
{
    double d;

    if (!json_is_number(v))
        return false;
    d = json_number_value(v);
    if (!(d >= -YEAR_10000 && d <= YEAR_10000))
        return false;
    *ret = (int64_t)(d * 1000.0 + (d < 0 ? -0.5 : 0.5));
    return true;
}

static int decode_strs(struct ctx *c, const struct fl_shape *shape, const struct fl_field *f,
                       const json_t *v, struct fl_strs *out)
{
    size_t n = json_array_size(v);

    if (!json_is_array(v))
        return wrong_type(c, shape, f, "a list of strings");
    out->v = fl_arena_calloc(c->arena, n, sizeof(*out->v));
    if (!out->v)
        return no_memory(c, shape);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);

        if (!json_is_string(e) && !is_go_null(c, e))
            return wrong_type(c, shape, f, "a list of strings");
        out->v[i] = copy_string(c, e);
        if (!out->v[i])
            return no_memory(c, shape);
    }
    out->n = n;
    return 0;
}

/* Maps of all three kinds: an array of {key, value} entries of `entry_size` bytes. */
static int decode_map(struct ctx *c, const struct fl_shape *shape, const struct fl_field *f,
                      const json_t *v, void *member)
{
    static const size_t entry_size[FL_KIND__N] = {
        [FL_KIND_STRMAP] = sizeof(struct fl_strmap_entry),
        [FL_KIND_LISTMAP] = sizeof(struct fl_listmap_entry),
        [FL_KIND_INTMAP] = sizeof(struct fl_intmap_entry),
    };
    struct fl_strmap *map = member; /* the three map structs differ only in their entry type */
    const char *key;
    json_t *value;
    char *entry;

    if (!json_is_object(v))
        return wrong_type(c, shape, f, "an object");
    entry = fl_arena_calloc(c->arena, json_object_size(v), entry_size[f->kind]);
    if (!entry)
        return no_memory(c, shape);
    map->v = (void *)entry;
    json_object_foreach((json_t *)v, key, value)
    {
        char *k = fl_arena_strdup(c->arena, key);
        int r;

        if (!k)
            return no_memory(c, shape);
        if (f->kind == FL_KIND_LISTMAP) {
            struct fl_listmap_entry *e = (void *)entry;

            e->key = k;
            r = is_go_null(c, value) ? 0 : decode_strs(c, shape, f, value, &e->values);
            if (r < 0)
                return r;
        } else if (f->kind == FL_KIND_INTMAP) {
            struct fl_intmap_entry *e = (void *)entry;

            e->key = k;
            if (!get_int(value, &e->value) && !is_go_null(c, value))
                return wrong_type(c, shape, f, "a map of integers");
        } else {
            struct fl_strmap_entry *e = (void *)entry;

            e->key = k;
            if (!json_is_string(value) && !is_go_null(c, value))
                return wrong_type(c, shape, f, "a map of strings");
            e->value = copy_string(c, value);
            if (!e->value)
                return no_memory(c, shape);
        }
        entry += entry_size[f->kind];
        map->n++;
    }
    return 0;
}

static int decode_list(struct ctx *c, const struct fl_shape *shape, const struct fl_field *f,
                       const json_t *v, void *member, size_t *ret_n)
{
    size_t n = json_array_size(v);
    char *items;

    if (!json_is_array(v))
        return wrong_type(c, shape, f, "a list");
    items = fl_arena_calloc(c->arena, n, f->shape->size);
    if (!items)
        return no_memory(c, shape);
    for (size_t i = 0; i < n; i++) {
        const json_t *e = json_array_get(v, i);
        int r;

        if (!json_is_object(e))
            return wrong_type(c, shape, f, "a list of objects");
        r = decode_object(c, f->shape, e, items + i * f->shape->size);
        if (r < 0)
            return r;
    }
    *(void **)member = items;
    *ret_n = n;
    return 0;
}

static int decode_raw(struct ctx *c, const struct fl_shape *shape, const json_t *v,
                      struct fl_raw *out)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    int r = 0;

    if (!text)
        return no_memory(c, shape);
    out->text = fl_arena_strdup(c->arena, text);
    if (!out->text)
        r = no_memory(c, shape);
    free(text);
    return r;
}

static int decode_int(struct ctx *c, const struct fl_shape *shape, const struct fl_field *f,
                      const json_t *v, void *member)
{
    int64_t i;

    if (!get_int(v, &i))
        return wrong_type(c, shape, f, "an integer");
    if (f->kind == FL_KIND_I32) {
        if (i < INT32_MIN || i > INT32_MAX)
            return wrong_type(c, shape, f, "an integer of 32 bits");
        *(int32_t *)member = (int32_t)i;
    } else if (f->kind == FL_KIND_I64) {
        *(int64_t *)member = i;
    } else {
        *(struct fl_opt_int *)member = (struct fl_opt_int){ .set = true, .v = i };
    }
    return 0;
}

static int decode_field(struct ctx *c, const struct fl_shape *shape, const struct fl_field *f,
                        const json_t *v, char *out)
{
    void *member = out + f->offset;

    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
        if (!json_is_string(v))
            return wrong_type(c, shape, f, "a string");
        *(char **)member = copy_string(c, v);
        return *(char **)member ? 0 : no_memory(c, shape);
    case FL_KIND_BOOL:
        if (!json_is_boolean(v))
            return wrong_type(c, shape, f, "true or false");
        *(bool *)member = json_is_true(v);
        return 0;
    case FL_KIND_OPT_BOOL:
        if (!json_is_boolean(v))
            return wrong_type(c, shape, f, "true or false");
        *(struct fl_opt_bool *)member = (struct fl_opt_bool){ .set = true, .v = json_is_true(v) };
        return 0;
    case FL_KIND_I32:
    case FL_KIND_I64:
    case FL_KIND_OPT_INT:
        return decode_int(c, shape, f, v, member);
    case FL_KIND_DOUBLE:
        if (!json_is_number(v))
            return wrong_type(c, shape, f, "a number");
        *(double *)member = json_number_value(v);
        return 0;
    case FL_KIND_TIME:
        if (!get_time_ms(v, &((struct fl_time *)member)->ms))
            return wrong_type(c, shape, f, "a timestamp in epoch seconds");
        return 0;
    case FL_KIND_RAW:
        return decode_raw(c, shape, v, member);
    case FL_KIND_STRS:
        return decode_strs(c, shape, f, v, member);
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return decode_map(c, shape, f, v, member);
    case FL_KIND_STRUCT:
        if (!json_is_object(v))
            return wrong_type(c, shape, f, "an object");
        *(void **)member = fl_arena_alloc(c->arena, f->shape->size);
        if (!*(void **)member)
            return no_memory(c, shape);
        return decode_object(c, f->shape, v, *(void **)member);
    case FL_KIND_LIST:
        return decode_list(c, shape, f, v, member, (size_t *)(out + f->count_offset));
    case FL_KIND_BYTES: /* packed only */
    case FL_KIND__N:
        break;
    }
    abort();
}

static const json_t *find_nocase(const json_t *json, const char *key)
{
    const json_t *found = NULL;
    const char *k;
    json_t *v;

    json_object_foreach((json_t *)json, k, v)
    {
        if (strcasecmp(k, key) == 0)
            found = v; /* the last one wins */
    }
    return found;
}

static int decode_object(struct ctx *c, const struct fl_shape *shape, const json_t *json, void *out)
{
    if (++c->depth > MAX_DEPTH)
        return fl_err_set(c->err, -EINVAL, NULL, "%s: nested too deeply", shape->name);

    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];
        const json_t *v = (c->flags & FL_DECODE_NOCASE) ? find_nocase(json, f->key)
                                                        : json_object_get(json, f->key);
        int r;

        if (!v || json_is_null(v)) {
            if ((f->flags & FL_REQUIRED) && !(c->flags & FL_DECODE_LAX))
                return fl_err_set(c->err, -EINVAL, NULL, "%s.%s: missing", shape->name, f->key);
            continue;
        }
        r = decode_field(c, shape, f, v, out);
        if (r < 0)
            return r;
    }
    c->depth--;
    return 0;
}

int fl_json_decode_value(const struct fl_shape *shape, const void *json, unsigned flags,
                         struct fl_arena *arena, void *out, struct fl_err *err)
{
    struct ctx c = { .arena = arena, .flags = flags, .err = err };

    memset(out, 0, shape->size);
    if (!json_is_object((const json_t *)json))
        return fl_err_set(err, -EBADMSG, NULL, "%s: not a JSON object", shape->name);
    return decode_object(&c, shape, json, out);
}

int fl_json_decode(const struct fl_shape *shape, const char *text, size_t len, unsigned flags,
                   struct fl_arena *arena, void *out, struct fl_err *err)
{
    fl_autojson json_t *json = NULL;
    json_error_t e;

    memset(out, 0, shape->size);
    json = fl_json_load(text, len, JSON_ALLOW_NUL, &e);
    if (!json)
        return fl_err_set(err, -EBADMSG, NULL, "not valid JSON (line %d, column %d): %s", e.line,
                          e.column, e.text);
    return fl_json_decode_value(shape, json, flags, arena, out, err);
}
