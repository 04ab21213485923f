/* xml.c - see xml.h: the writer. The reader is in xml_read.c. */
#include "common/codec/xml.h"
#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/codec/member.h"
#include "common/codec/utf8.h"

#define TRY(call)            \
    do {                     \
        int try_r_ = (call); \
        if (try_r_ < 0)      \
            return try_r_;   \
    } while (0)

/* Length of the character at `s` if it may stand in XML 1.0 text as it is, else 0. */
static size_t plain_len(const char *s, size_t avail)
{
    size_t n = fl_utf8_len(s, avail);

    if (n == 1)
        return ((unsigned char)*s >= 0x20 && !strchr("<>&\"'", *s)) || *s == '\n' || *s == '\t';
    if (n == 3 && memcmp(s, "\xef\xbf", 2) == 0 && (unsigned char)s[2] >= 0xbe)
        return 0; /* U+FFFE and U+FFFF */
    return n;
}

static const char *escape_of(const char *s)
{
    switch (*s) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\r':
        return "&#13;"; /* a plain one is read back as a line feed */
    default:
        return FL_UTF8_REPLACEMENT;
    }
}

int fl_xml_text(struct fl_buf *out, const char *s, size_t len)
{
    size_t plain = 0, i = 0; /* s[plain..i) waits to be appended as it is */

    while (i < len) {
        size_t n = plain_len(s + i, len - i);

        if (n == 0) {
            TRY(fl_buf_append(out, s + plain, i - plain));
            TRY(fl_buf_puts(out, escape_of(s + i)));
            n = fl_utf8_len(s + i, len - i); /* U+FFFE is replaced as a whole */
            i += n ? n : 1;
            plain = i;
            continue;
        }
        i += n;
    }
    return fl_buf_append(out, s + plain, i - plain);
}

int fl_xml_element(struct fl_buf *out, const char *name, const char *text)
{
    TRY(fl_buf_printf(out, "<%s>", name));
    TRY(fl_xml_text(out, text ? text : "", text ? strlen(text) : 0));
    return fl_buf_printf(out, "</%s>", name);
}

static int put_strs(struct fl_buf *out, const struct fl_strs *l)
{
    for (size_t i = 0; i < l->n; i++)
        TRY(fl_xml_element(out, "member", l->v[i]));
    return 0;
}

static int put_map(struct fl_buf *out, const struct fl_field *f, const void *member)
{
    const struct fl_strmap *strs = member;
    const struct fl_listmap *lists = member;
    const struct fl_intmap *ints = member;

    for (size_t i = 0; i < strs->n; i++) { /* n stands at the same place in all three */
        TRY(fl_buf_puts(out, "<entry>"));
        if (f->kind == FL_KIND_LISTMAP) {
            TRY(fl_xml_element(out, "key", lists->v[i].key));
            TRY(fl_buf_puts(out, "<value>"));
            TRY(put_strs(out, &lists->v[i].values));
            TRY(fl_buf_puts(out, "</value>"));
        } else if (f->kind == FL_KIND_INTMAP) {
            TRY(fl_xml_element(out, "key", ints->v[i].key));
            TRY(fl_buf_printf(out, "<value>%lld</value>", (long long)ints->v[i].value));
        } else {
            TRY(fl_xml_element(out, "key", strs->v[i].key));
            TRY(fl_xml_element(out, "value", strs->v[i].value));
        }
        TRY(fl_buf_puts(out, "</entry>"));
    }
    return 0;
}

static int put_list(struct fl_buf *out, const struct fl_field *f, const char *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        TRY(fl_buf_puts(out, "<member>"));
        TRY(fl_xml_encode(f->shape, items + i * f->shape->size, out));
        TRY(fl_buf_puts(out, "</member>"));
    }
    return 0;
}

static int put_time(struct fl_buf *out, const struct fl_time *t)
{
    char text[FL_ISO_BYTES];

    if (t->ms == 0)
        return 0;
    fl_time_iso_seconds(t->ms, text);
    return fl_buf_puts(out, text);
}

static int put_value(struct fl_buf *out, const struct fl_field *f, const char *in)
{
    const void *member = in + f->offset;
    const char *text;
    int r = fl_member_put_scalar(f, in, out);

    if (r != 0)
        return r < 0 ? r : 0;
    switch ((enum fl_kind)f->kind) {
    case FL_KIND_STR:
    case FL_KIND_RAW: /* JSON text travels as text */
        text = *(const char *const *)member;
        return fl_xml_text(out, text ? text : "", text ? strlen(text) : 0);
    case FL_KIND_TIME:
        return put_time(out, member);
    case FL_KIND_STRS:
        return put_strs(out, member);
    case FL_KIND_STRMAP:
    case FL_KIND_LISTMAP:
    case FL_KIND_INTMAP:
        return put_map(out, f, member);
    case FL_KIND_STRUCT:
        if (!*(void *const *)member)
            return 0;
        return fl_xml_encode(f->shape, *(void *const *)member, out);
    case FL_KIND_LIST:
        return put_list(out, f, *(char *const *)member, *(const size_t *)(in + f->count_offset));
    default: /* the rest is scalar */
        return -EINVAL;
    }
}

int fl_xml_encode(const struct fl_shape *shape, const void *in, struct fl_buf *out)
{
    for (size_t i = 0; i < shape->n_fields; i++) {
        const struct fl_field *f = &shape->fields[i];

        if (!(f->flags & FL_ALWAYS) && !fl_member_present(f, in))
            continue;
        TRY(fl_buf_printf(out, "<%s>", f->key));
        TRY(put_value(out, f, in));
        TRY(fl_buf_printf(out, "</%s>", f->key));
    }
    return 0;
}
