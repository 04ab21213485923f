/* json_encode.c - a struct into JSON text, by its shape. See codec.h.
 *
 * Written directly rather than through jansson: timestamps need exactly three decimals at most, and
 * output of scripts holds bytes that are not UTF-8, which jansson refuses to carry.
 */
#include "common/codec/codec.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "common/codec/member.h"
#include "common/codec/utf8.h"

#define TRY(call)            \
    do {                     \
        int try_r_ = (call); \
        if (try_r_ < 0)      \
            return try_r_;   \
    } while (0)

static int put_escape(struct fl_buf *out, unsigned char ch)
{
    switch (ch) {
    case '"':
        return fl_buf_append(out, "\\\"", 2);
    case '\\':
        return fl_buf_append(out, "\\\\", 2);
    case '\n':
        return fl_buf_append(out, "\\n", 2);
    case '\r':
        return fl_buf_append(out, "\\r", 2);
    case '\t':
        return fl_buf_append(out, "\\t", 2);
    default:
        return fl_buf_printf(out, "\\u%04x", ch);
    }
}

int fl_json_quote(struct fl_buf *out, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t plain = 0, i = 0; /* s[plain..i) waits to be appended as it is */

    TRY(fl_buf_append(out, "\"", 1));
    while (i < len) {
        size_t n = fl_utf8_len(text + i, len - i);

        if (n > 1 || (n == 1 && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\')) {
            i += n;
            continue;
        }
        TRY(fl_buf_append(out, s + plain, i - plain));
        TRY(n == 0 ? fl_buf_append(out, "\xef\xbf\xbd", 3) : put_escape(out, s[i]));
        plain = ++i;
    }
    TRY(fl_buf_append(out, s + plain, i - plain));
    return fl_buf_append(out, "\"", 1);
}

static int quote(struct fl_buf *out, const char *s)
{
    return fl_json_quote(out, s ? s : "", s ? strlen(s) : 0);
}

/* Epoch seconds with as many of three decimals as are needed: 1700000000, 1700000000.5, …123 */
static int put_time(struct fl_buf *out, int64_t ms)
{
    char text[32];
    int64_t rest = ms % 1000, s = ms / 1000;
    int n;

    if (ms < 0)
        return fl_buf_printf(out, "%.3f", (double)ms / 1000.0);
    if (rest == 0)
        return fl_buf_printf(out, "%lld.0", (long long)s);
    n = snprintf(text, sizeof(text), "%lld.%03lld", (long long)s, (long long)rest);
    while (text[n - 1] == '0')
        n--;
    return fl_buf_append(out, text, (size_t)n);
}

static int put_strs(struct fl_buf *out, const struct fl_strs *l)
{
    TRY(fl_buf_append(out, "[", 1));
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            TRY(fl_buf_append(out, ",", 1));
        TRY(quote(out, l->v[i]));
    }
    return fl_buf_append(out, "]", 1);
}

static int put_map(struct fl_buf *out, const struct fl_field *f, const void *member)
{
    const struct fl_strmap *strs = member;
    const struct fl_listmap *lists = member;
    const struct fl_intmap *ints = member;

    TRY(fl_buf_append(out, "{", 1));
    for (size_t i = 0; i < strs->n; i++) { /* n stands at the same place in all three */
        if (i)
            TRY(fl_buf_append(out, ",", 1));
        if (f->kind == FL_KIND_LISTMAP) {
            TRY(quote(out, lists->v[i].key));
            TRY(fl_buf_append(out, ":", 1));
            TRY(put_strs(out, &lists->v[i].values));
        } else if (f->kind == FL_KIND_INTMAP) {
            TRY(quote(out, ints->v[i].key));
            TRY(fl_buf_printf(out, ":%lld", (long long)ints->v[i].value));
        } else {
            TRY(quote(out, strs->v[i].key));
            TRY(fl_buf_append(out, ":", 1));
            TRY(quote(out, strs->v[i].value));
        }
    }
    return fl_buf_append(out, "}", 1);
}

static int put_list(struct fl_buf *out, const struct fl_field *f, const char *items, size_t n)
{
    TRY(fl_buf_append(out, "[", 1));
    for (size_t i = 0; i < n; i++) {
        if (i)
            TRY(fl_buf_append(out, ",", 1));
        TRY(fl_json_encode(f->shape, items + i * f->shape->size, out));
    }
    return fl_buf_append(out, "]", 1);
}

static int put_value(struct fl_buf *out, const struct fl_field *f, const char *in)
{
    const void *member = in + f->offset;
    const char *raw;
    int r = fl_member_put_scalar(f, in, out);

    if (r != 0)
        return r < 0 ? r : 0;
    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
        return quote(out, *(char *const *)member);
    case FL_KIND_RAW:
        raw = ((const struct fl_raw *)member)->text;
        return fl_buf_puts(out, raw ? raw : "null");
    case FL_KIND_TIME:
        return put_time(out, ((const struct fl_time *)member)->ms);
    case FL_KIND_STRS:
        return put_strs(out, member);
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return put_map(out, f, member);
    case FL_KIND_STRUCT:
        if (!*(void *const *)member)
            return fl_buf_puts(out, "{}");
        return fl_json_encode(f->shape, *(void *const *)member, out);
    case FL_KIND_LIST:
        return put_list(out, f, *(char *const *)member, *(const size_t *)(in + f->count_offset));
    default: /* the rest is scalar */
        return -EINVAL;
    }
}

int fl_json_encode(const struct fl_shape *shape, const void *in, struct fl_buf *out)
{
    bool first = true;

    TRY(fl_buf_append(out, "{", 1));
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];

        if (!(f->flags & FL_ALWAYS) && !fl_member_present(f, in))
            continue;
        if (!first)
            TRY(fl_buf_append(out, ",", 1));
        first = false;
        TRY(quote(out, f->key));
        TRY(fl_buf_append(out, ":", 1));
        TRY(put_value(out, f, in));
    }
    return fl_buf_append(out, "}", 1);
}
