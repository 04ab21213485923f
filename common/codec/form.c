/* form.c - see form.h: pairs into a struct. Bodies are taken apart in form_parse.c. */
#include "common/codec/form.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/base/clock.h"

#define PATH_MAX_BYTES 512            /* of a member's dotted name */
#define MAX_DEPTH      16             /* of nested structures */
#define TIME_MAX_S     253402300799.0 /* year 9999 */

struct ctx {
    const struct fl_form *form;
    struct fl_arena *arena;
    unsigned flags;
    struct fl_err *err;
    int depth;
};

static int decode_members(struct ctx *c, const struct fl_shape *shape, const char *prefix,
                          char *out);

static int no_memory(struct ctx *c, const char *path)
{
    return fl_err_set(c->err, -EMSGSIZE, NULL, "%s: larger than %zu bytes of memory", path,
                      c->arena->max_bytes);
}

static int wrong_text(struct ctx *c, const char *path, const char *want)
{
    return fl_err_set(c->err, -EINVAL, NULL, "%s: must be %s", path, want);
}

/* Index of the first pair whose key is not less than `key`. */
static size_t lower_bound(const struct fl_form *form, const char *key)
{
    size_t lo = 0, hi = form->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strcmp(form->v[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const char *fl_form_get(const struct fl_form *form, const char *key)
{
    size_t i = lower_bound(form, key);

    return i < form->n && strcmp(form->v[i].key, key) == 0 ? form->v[i].value : NULL;
}

/* True if `path` itself or anything below it was given. */
static bool given(const struct fl_form *form, const char *path)
{
    char below[PATH_MAX_BYTES + 1];
    size_t i, len;

    if (fl_form_get(form, path))
        return true;
    len = (size_t)snprintf(below, sizeof(below), "%s.", path);
    i = lower_bound(form, below);
    return i < form->n && strncmp(form->v[i].key, below, len) == 0;
}

/* "prefix.name" or just the name; false if no key could be so long. */
static bool join(char path[PATH_MAX_BYTES], const char *prefix, const char *name)
{
    return snprintf(path, PATH_MAX_BYTES, "%s%s%s", prefix, *prefix ? "." : "", name) <
           PATH_MAX_BYTES;
}

/* The name of element i (from 0) of the list at `path`: "path.member.1", else "path.1". `word` is
 * "member" or "entry". False if there is no such element. */
static bool element(const struct ctx *c, const char *path, const char *word, size_t i,
                    char ret_path[PATH_MAX_BYTES])
{
    char name[32];

    snprintf(name, sizeof(name), "%s.%zu", word, i + 1);
    if (join(ret_path, path, name) && given(c->form, ret_path))
        return true;
    snprintf(name, sizeof(name), "%zu", i + 1);
    return join(ret_path, path, name) && given(c->form, ret_path);
}

static size_t count_elements(const struct ctx *c, const char *path, const char *word)
{
    char name[PATH_MAX_BYTES];
    size_t n = 0;

    while (element(c, path, word, n, name))
        n++;
    return n;
}

static bool parse_int(const char *s, int64_t *ret)
{
    char *end;
    long long v;

    if (s[strspn(s, "0123456789-")] != '\0')
        return false;
    errno = 0;
    v = strtoll(s, &end, 10);
    *ret = v;
    return errno == 0 && end != s && *end == '\0';
}

static bool parse_double(const char *s, double *ret)
{
    char *end;

    if (s[strspn(s, "0123456789+-.eE")] != '\0')
        return false;
    *ret = strtod(s, &end);
    return end != s && *end == '\0' && isfinite(*ret);
}

static bool parse_bool(const char *s, bool *ret)
{
    *ret = strcasecmp(s, "true") == 0;
    return *ret || strcasecmp(s, "false") == 0;
}

static bool parse_time(const char *s, int64_t *ret_ms)
{
    double d;

    if (fl_time_parse_iso(s, ret_ms) == 0)
        return true;
    if (!parse_double(s, &d) || fabs(d) > TIME_MAX_S)
        return false;
    *ret_ms = (int64_t)(d * 1000.0 + (d < 0 ? -0.5 : 0.5));
    return true;
}

static int decode_int(struct ctx *c, const struct fl_field *f, const char *path, const char *text,
                      void *member)
{
    int64_t v;

    if (!parse_int(text, &v))
        return wrong_text(c, path, "an integer");
    if (f->kind == FL_KIND_OPT_INT)
        *(struct fl_opt_int *)member = (struct fl_opt_int){ .set = true, .v = v };
    else if (f->kind == FL_KIND_I64)
        *(int64_t *)member = v;
    else if (v < INT32_MIN || v > INT32_MAX)
        return wrong_text(c, path, "an integer of 32 bits");
    else
        *(int32_t *)member = (int32_t)v;
    return 0;
}

static int decode_bool(struct ctx *c, const struct fl_field *f, const char *path, const char *text,
                       void *member)
{
    bool v;

    if (!parse_bool(text, &v))
        return wrong_text(c, path, "true or false");
    if (f->kind == FL_KIND_OPT_BOOL)
        *(struct fl_opt_bool *)member = (struct fl_opt_bool){ .set = true, .v = v };
    else
        *(bool *)member = v;
    return 0;
}

static int decode_raw(struct ctx *c, const char *path, const char *text, struct fl_raw *out)
{
    fl_autobuf struct fl_buf json = FL_BUF(c->arena->max_bytes);
    int r = fl_json_quote(&json, text, strlen(text));

    if (r < 0)
        return no_memory(c, path);
    out->text = fl_arena_strdup(c->arena, json.data);
    return out->text ? 0 : no_memory(c, path);
}

static int decode_strs(struct ctx *c, const char *path, struct fl_strs *out)
{
    size_t n = count_elements(c, path, "member");
    char name[PATH_MAX_BYTES];

    out->v = fl_arena_calloc(c->arena, n, sizeof(*out->v));
    if (!out->v)
        return no_memory(c, path);
    for (size_t i = 0; i < n; i++) {
        const char *text = element(c, path, "member", i, name) ? fl_form_get(c->form, name) : NULL;

        if (!text)
            return wrong_text(c, name, "a string");
        out->v[i] = (char *)text; /* lives in the arena of the form's caller */
        out->n++;
    }
    return 0;
}

/* The value of one map entry, at "<entry>.value". */
static int decode_map_value(struct ctx *c, const struct fl_field *f, const char *path, void *entry)
{
    const char *text = fl_form_get(c->form, path);

    if (f->kind == FL_KIND_LISTMAP)
        return decode_strs(c, path, &((struct fl_listmap_entry *)entry)->values);
    if (!text)
        return wrong_text(c, path, "given");
    if (f->kind == FL_KIND_STRMAP) {
        ((struct fl_strmap_entry *)entry)->value = (char *)text;
        return 0;
    }
    return parse_int(text, &((struct fl_intmap_entry *)entry)->value)
               ? 0
               : wrong_text(c, path, "an integer");
}

static int decode_map(struct ctx *c, const struct fl_field *f, const char *path, void *member)
{
    static const size_t entry_size[FL_KIND__N] = {
        [FL_KIND_STRMAP] = sizeof(struct fl_strmap_entry),
        [FL_KIND_LISTMAP] = sizeof(struct fl_listmap_entry),
        [FL_KIND_INTMAP] = sizeof(struct fl_intmap_entry),
    };
    size_t n = count_elements(c, path, "entry");
    struct fl_strmap *map = member; /* the three map structs differ only in their entry type */
    char name[PATH_MAX_BYTES], part[PATH_MAX_BYTES];
    char *entry = fl_arena_calloc(c->arena, n, entry_size[f->kind]);

    if (!entry)
        return no_memory(c, path);
    map->v = (void *)entry;
    for (size_t i = 0; i < n; i++, entry += entry_size[f->kind]) {
        const char *key = NULL;
        int r;

        if (element(c, path, "entry", i, name) && join(part, name, "key"))
            key = fl_form_get(c->form, part);
        if (!key || !join(part, name, "value"))
            return wrong_text(c, name, "a key and a value");
        *(char **)entry = (char *)key; /* the first member of all three */
        r = decode_map_value(c, f, part, entry);
        if (r < 0)
            return r;
        map->n++;
    }
    return 0;
}

static int decode_list(struct ctx *c, const struct fl_field *f, const char *path, char *out)
{
    size_t n = count_elements(c, path, "member");
    char *items = fl_arena_calloc(c->arena, n, f->shape->size);
    char name[PATH_MAX_BYTES];

    if (!items)
        return no_memory(c, path);
    for (size_t i = 0; i < n; i++) {
        int r = element(c, path, "member", i, name)
                    ? decode_members(c, f->shape, name, items + i * f->shape->size)
                    : -EINVAL;

        if (r < 0)
            return r;
    }
    *(void **)(out + f->offset) = items;
    *(size_t *)(out + f->count_offset) = n;
    return 0;
}

static int decode_struct(struct ctx *c, const struct fl_field *f, const char *path, char *out)
{
    void *item = fl_arena_alloc(c->arena, f->shape->size);

    if (!item)
        return no_memory(c, path);
    *(void **)(out + f->offset) = item;
    return decode_members(c, f->shape, path, item);
}

/* A member with a value of its own; `text` is not NULL. */
static int decode_scalar(struct ctx *c, const struct fl_field *f, const char *path,
                         const char *text, void *member)
{
    if (f->kind == FL_KIND_STR) {
        *(char **)member = (char *)text;
        return 0;
    }
    if (f->kind == FL_KIND_RAW)
        return decode_raw(c, path, text, member);
    if (!*text)
        return 0;
    switch (f->kind) {
    case FL_KIND_BOOL:
    case FL_KIND_OPT_BOOL:
        return decode_bool(c, f, path, text, member);
    case FL_KIND_DOUBLE:
        return parse_double(text, member) ? 0 : wrong_text(c, path, "a number");
    case FL_KIND_TIME:
        return parse_time(text, &((struct fl_time *)member)->ms)
                   ? 0
                   : wrong_text(c, path, "a timestamp");
    default:
        return decode_int(c, f, path, text, member);
    }
}

static int decode_field(struct ctx *c, const struct fl_field *f, const char *path, char *out)
{
    const char *text;

    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STRS:
        return decode_strs(c, path, (struct fl_strs *)(out + f->offset));
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return decode_map(c, f, path, out + f->offset);
    case FL_KIND_STRUCT:
        return decode_struct(c, f, path, out);
    case FL_KIND_LIST:
        return decode_list(c, f, path, out);
    default:
        text = fl_form_get(c->form, path);
        if (!text)
            return wrong_text(c, path, "one value");
        return decode_scalar(c, f, path, text, out + f->offset);
    }
}

static int decode_members(struct ctx *c, const struct fl_shape *shape, const char *prefix,
                          char *out)
{
    char path[PATH_MAX_BYTES];

    if (++c->depth > MAX_DEPTH)
        return fl_err_set(c->err, -EINVAL, NULL, "%s: nested too deeply", shape->name);
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];
        int r;

        if (!join(path, prefix, f->key) || !given(c->form, path)) {
            if ((f->flags & FL_REQUIRED) && !(c->flags & FL_DECODE_LAX))
                return fl_err_set(c->err, -EINVAL, NULL, "%s.%s: missing", shape->name, f->key);
            continue;
        }
        r = decode_field(c, f, path, out);
        if (r < 0)
            return r;
    }
    c->depth--;
    return 0;
}

int fl_form_decode(const struct fl_shape *shape, const struct fl_form *form, unsigned flags,
                   struct fl_arena *arena, void *out, struct fl_err *err)
{
    struct ctx c = { .form = form, .arena = arena, .flags = flags, .err = err };

    memset(out, 0, shape->size);
    return decode_members(&c, shape, "", out);
}
