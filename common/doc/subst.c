/* subst.c - see subst.h. */
#include "common/doc/subst.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/doc/go_text.h"

#define MAX_DEPTH 512 /* of nested values in a document */

void fl_subst_init(struct fl_subst *s, const void *params)
{
    *s = (struct fl_subst){ .params = params, .left_bytes = FL_SUBST_MAX_BYTES };
}

bool fl_param_name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");

    return n > 0 && name[n] == '\0';
}

static bool is_blank(char c)
{
    return c != '\0' && strchr("\t\n\f\r ", c) != NULL;
}

/* The parameter that a reference starting at text[0] names, and the reference's length. */
static const json_t *reference_at(const struct fl_subst *s, const char *text, size_t len,
                                  size_t *ret_len)
{
    size_t i = 2, start, end;
    const json_t *value;
    char name[256];

    if (len < 5 || text[0] != '{' || text[1] != '{')
        return NULL;
    while (i < len && is_blank(text[i]))
        i++;
    start = i;
    while (i < len && text[i] != '\0' && text[i] != '{' && text[i] != '}' && !is_blank(text[i]))
        i++;
    end = i;
    while (i < len && is_blank(text[i]))
        i++;
    if (end == start || end - start >= sizeof(name) || i + 2 > len || text[i] != '}' ||
        text[i + 1] != '}')
        return NULL;
    memcpy(name, text + start, end - start);
    name[end - start] = '\0';
    value = json_object_get(s->params, name);
    *ret_len = i + 2;
    return value;
}

bool fl_subst_has_reference(const struct fl_subst *s, const char *text, size_t len)
{
    size_t n;

    for (size_t i = 0; i < len; i++)
        if (text[i] == '{' && reference_at(s, text + i, len - i, &n))
            return true;
    return false;
}

/* The value as text inside a longer string: "$$" becomes "$" here and only here. */
static int append_value(const json_t *value, struct fl_buf *out)
{
    fl_autobuf struct fl_buf json = FL_BUF(out->max_bytes);
    const char *p;
    size_t len;
    int r = 0;

    if (json_is_string(value)) {
        p = json_string_value(value);
        len = json_string_length(value);
    } else {
        r = fl_go_json_text(value, &json);
        p = json.data;
        len = json.len;
    }
    for (size_t i = 0; i < len && r == 0;) {
        const char *dollar = memchr(p + i, '$', len - i);
        size_t plain = dollar ? (size_t)(dollar - (p + i)) + 1 : len - i;

        r = fl_buf_append(out, p + i, plain);
        i += plain;
        if (dollar && i < len && p[i] == '$')
            i++;
    }
    return r;
}

static int subst_string(struct fl_subst *s, const json_t *in, json_t **ret, struct fl_err *err)
{
    fl_autobuf struct fl_buf out = FL_BUF(s->left_bytes);
    const char *text = json_string_value(in);
    size_t len = json_string_length(in), n;
    const json_t *value = reference_at(s, text, len, &n);
    int r = 0;

    if (value && n == len) {
        /* Shared, not copied, but its text will be written out: it counts against the limit. */
        fl_autofree char *dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        if (dump && strlen(dump) > s->left_bytes)
            return fl_err_set(err, -EMSGSIZE, NULL, "the document's parameters make it too large");
        s->left_bytes -= dump ? strlen(dump) : 0;
        *ret = json_incref((json_t *)value);
        return dump ? 0 : -ENOMEM;
    }
    for (size_t i = 0; i < len && r == 0;) {
        const char *brace = memchr(text + i, '{', len - i);
        size_t plain = brace ? (size_t)(brace - (text + i)) : len - i;

        r = fl_buf_append(&out, text + i, plain);
        i += plain;
        if (r < 0 || i >= len)
            break;
        value = reference_at(s, text + i, len - i, &n);
        r = value ? append_value(value, &out) : fl_buf_append(&out, text + i, 1);
        i += value ? n : 1;
    }
    if (r < 0)
        return fl_err_set(err, r, NULL, "the document's parameters make it too large");
    s->left_bytes -= out.len;
    *ret = json_stringn_nocheck(out.data ? out.data : "", out.len);
    return *ret ? 0 : fl_err_nomem(err);
}

static int subst(struct fl_subst *s, const json_t *in, int depth, json_t **ret, struct fl_err *err)
{
    json_t *copy, *value, *made = NULL;
    const char *key;
    int r = 0;

    if (depth > MAX_DEPTH)
        return fl_err_set(err, -EINVAL, NULL, "the document is nested too deeply");
    if (json_is_string(in))
        return subst_string(s, in, ret, err);
    if (!json_is_object(in) && !json_is_array(in)) {
        *ret = json_incref((json_t *)in);
        return 0;
    }
    copy = json_is_object(in) ? json_object() : json_array();
    if (!copy)
        return fl_err_nomem(err);
    for (size_t i = 0; json_is_array(in) && r == 0 && i < json_array_size(in); i++) {
        r = subst(s, json_array_get(in, i), depth + 1, &made, err);
        if (r == 0)
            r = json_array_append_new(copy, made) < 0 ? -ENOMEM : 0;
    }
    if (json_is_object(in))
        json_object_foreach((json_t *)in, key, value)
        {
            r = subst(s, value, depth + 1, &made, err);
            if (r == 0)
                r = json_object_set_new_nocheck(copy, key, made) < 0 ? -ENOMEM : 0;
            if (r < 0)
                break;
        }
    if (r < 0) {
        json_decref(copy);
        return r;
    }
    *ret = copy;
    return 0;
}

int fl_subst_value(struct fl_subst *s, const void *value, void **ret_value, struct fl_err *err)
{
    json_t *made = NULL;
    int r = subst(s, value, 0, &made, err);

    if (r == 0)
        *ret_value = made;
    return r;
}
