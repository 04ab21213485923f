/* check.c - the model's constraints, and AWS's words for what breaks them. See codec.h.
 *
 * Text form: protocol 6 §1.2. Violations are collected in table order, as AWS does, up to a limit.
 */
#include "common/codec/codec.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/codec/utf8.h"

#define MAX_VIOLATIONS  10
#define MAX_VALUE_SHOWN 100 /* characters of an offending value in the text */
#define MAX_PATH_BYTES  256

struct ctx {
    fl_pattern_fn match;
    void *arg;
    struct fl_buf text;
    int violations;
};

/* The value as it stands in the text. */
struct shown {
    const char *str;
    int64_t num;
    bool is_num;
    bool is_null;
    bool secret;
};

static void put_path(char out[MAX_PATH_BYTES], const char *fmt, ...) FL_PRINTF(2, 3);
static int show(struct ctx *c, const char *path, const struct shown *v, const char *fmt, ...)
    FL_PRINTF(4, 5);

/* A path that does not fit is cut: it is only shown. */
static void put_path(char out[MAX_PATH_BYTES], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(out, MAX_PATH_BYTES, fmt, ap);
    va_end(ap);
}

static int show(struct ctx *c, const char *path, const struct shown *v, const char *fmt, ...)
{
    char must[1024];
    va_list ap;

    if (++c->violations > MAX_VIOLATIONS)
        return 0;
    va_start(ap, fmt);
    vsnprintf(must, sizeof(must), fmt, ap);
    va_end(ap);
    if (c->violations > 1)
        fl_buf_puts(&c->text, "; ");
    if (v->is_null)
        fl_buf_puts(&c->text, "Value null");
    else if (v->secret)
        fl_buf_puts(&c->text, "Value '****'");
    else if (v->is_num)
        fl_buf_printf(&c->text, "Value '%lld'", (long long)v->num);
    else
        fl_buf_printf(&c->text, "Value '%.*s'", MAX_VALUE_SHOWN, v->str);
    return fl_buf_printf(&c->text, " at '%s' failed to satisfy constraint: Member must %s", path,
                         must);
}

static void check_length(struct ctx *c, const char *path, const struct fl_limits *l, size_t len,
                         const struct shown *v)
{
    if (len < (size_t)l->min)
        show(c, path, v, "have length greater than or equal to %lld", (long long)l->min);
    if (l->max && len > (size_t)l->max)
        show(c, path, v, "have length less than or equal to %lld", (long long)l->max);
}

static void check_number(struct ctx *c, const char *path, const struct fl_limits *l, int64_t n)
{
    struct shown v = { .num = n, .is_num = true };

    if (l->min == 0 && l->max == 0)
        return;
    if (n < l->min)
        show(c, path, &v, "have value greater than or equal to %lld", (long long)l->min);
    if (l->max && n > l->max)
        show(c, path, &v, "have value less than or equal to %lld", (long long)l->max);
}

static void check_enum(struct ctx *c, const char *path, const char *const *enums,
                       const struct shown *v)
{
    char set[768] = "";
    size_t n = 0;

    for (const char *const *e = enums; *e; e++) {
        if (strcmp(*e, v->str) == 0)
            return;
        n += (size_t)snprintf(set + n, sizeof(set) - n, "%s%s", n ? ", " : "", *e);
        if (n >= sizeof(set))
            n = sizeof(set) - 1;
    }
    show(c, path, v, "satisfy enum value set: [%s]", set);
}

static void check_string(struct ctx *c, const char *path, const struct fl_limits *l, const char *s,
                         bool secret)
{
    struct shown v = { .str = s, .secret = secret };

    if (l->min || l->max)
        check_length(c, path, l, fl_utf8_count(s), &v);
    if (l->enums)
        check_enum(c, path, l->enums, &v);
    if (l->pattern && c->match && !c->match(c->arg, l->pattern, s))
        show(c, path, &v, "satisfy regular expression pattern: %s", l->pattern);
}

static void check_strs(struct ctx *c, const char *path, const struct fl_field *f,
                       const struct fl_strs *l)
{
    struct shown list = { .str = "[…]" };
    char at[MAX_PATH_BYTES];

    check_length(c, path, &f->limits, l->n, &list);
    for (size_t i = 0; i < l->n && c->violations <= MAX_VIOLATIONS; i++) {
        put_path(at, "%s.%zu.member", path, i + 1);
        check_string(c, at, &f->elem, l->v[i], f->flags & FL_SECRET);
    }
}

static void check_map(struct ctx *c, const char *path, const struct fl_field *f, const void *member)
{
    const struct fl_strmap *strs = member;
    const struct fl_listmap *lists = member;
    const struct fl_intmap *ints = member;
    struct shown map = { .str = "{…}" };
    char at[MAX_PATH_BYTES];

    check_length(c, path, &f->limits, strs->n, &map);
    for (size_t i = 0; i < strs->n && c->violations <= MAX_VIOLATIONS; i++) {
        const char *key = f->kind == FL_KIND_STRMAP    ? strs->v[i].key
                          : f->kind == FL_KIND_LISTMAP ? lists->v[i].key
                                                       : ints->v[i].key;

        put_path(at, "%s.%s.member", path, key);
        check_string(c, at, &f->map_key, key, false);
        if (f->kind == FL_KIND_STRMAP)
            check_string(c, at, &f->elem, strs->v[i].value, f->flags & FL_SECRET);
        for (size_t k = 0; f->kind == FL_KIND_LISTMAP && k < lists->v[i].values.n; k++)
            check_string(c, at, &f->elem, lists->v[i].values.v[k], f->flags & FL_SECRET);
    }
}

static void check_shape(struct ctx *c, const char *prefix, const struct fl_shape *shape,
                        const char *in);

static void check_list(struct ctx *c, const char *path, const struct fl_field *f, const char *items,
                       size_t n)
{
    struct shown list = { .str = "[…]" };
    char at[MAX_PATH_BYTES];

    check_length(c, path, &f->limits, n, &list);
    for (size_t i = 0; i < n && c->violations <= MAX_VIOLATIONS; i++) {
        put_path(at, "%s.%zu.member.", path, i + 1);
        check_shape(c, at, f->shape, items + i * f->shape->size);
    }
}

static bool is_null(const struct fl_field *f, const void *member)
{
    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
    case FL_KIND_RAW:
    case FL_KIND_STRUCT:
    case FL_KIND_STRS:
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
    case FL_KIND_LIST:
        return *(void *const *)member == NULL;
    case FL_KIND_OPT_INT:
        return !((const struct fl_opt_int *)member)->set;
    case FL_KIND_OPT_BOOL:
        return !((const struct fl_opt_bool *)member)->set;
    case FL_KIND_TIME:
        return ((const struct fl_time *)member)->ms == 0;
    default:
        return false;
    }
}

static void check_field(struct ctx *c, const char *path, const struct fl_field *f, const char *in)
{
    const void *member = in + f->offset;
    char at[MAX_PATH_BYTES];

    if (is_null(f, member)) {
        if (f->flags & FL_REQUIRED)
            show(c, path, &(struct shown){ .is_null = true }, "not be null");
        return;
    }
    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
        check_string(c, path, &f->limits, *(char *const *)member, f->flags & FL_SECRET);
        break;
    case FL_KIND_I32:
        check_number(c, path, &f->limits, *(const int32_t *)member);
        break;
    case FL_KIND_I64:
        check_number(c, path, &f->limits, *(const int64_t *)member);
        break;
    case FL_KIND_OPT_INT:
        check_number(c, path, &f->limits, ((const struct fl_opt_int *)member)->v);
        break;
    case FL_KIND_STRS:
        check_strs(c, path, f, member);
        break;
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        check_map(c, path, f, member);
        break;
    case FL_KIND_STRUCT:
        put_path(at, "%s.", path);
        check_shape(c, at, f->shape, *(char *const *)member);
        break;
    case FL_KIND_LIST:
        check_list(c, path, f, *(char *const *)member, *(const size_t *)(in + f->count_offset));
        break;
    default: /* booleans, timestamps, doubles and raw values carry no limits in the model */
        break;
    }
}

static void check_shape(struct ctx *c, const char *prefix, const struct fl_shape *shape,
                        const char *in)
{
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];
        char path[MAX_PATH_BYTES];
        size_t skip = strlen(prefix);

        /* Member names are shown lowerCamel. */
        put_path(path, "%s%s", prefix, f->key);
        if (skip < MAX_PATH_BYTES - 1)
            path[skip] = (char)tolower((unsigned char)path[skip]);
        check_field(c, path, f, in);
    }
}

int fl_shape_check(const struct fl_shape *shape, const void *in, fl_pattern_fn match, void *arg,
                   struct fl_err *err)
{
    struct ctx c = { .match = match, .arg = arg };
    int shown, r = 0;

    fl_buf_init(&c.text, 16384);
    check_shape(&c, "", shape, in);
    shown = FL_MIN(c.violations, MAX_VIOLATIONS);
    if (shown)
        r = fl_err_set(err, -EINVAL, "ValidationException", "%d validation error%s detected: %s",
                       shown, shown == 1 ? "" : "s", c.text.data ? c.text.data : "");
    fl_buf_done(&c.text);
    return r;
}
