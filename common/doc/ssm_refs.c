/* ssm_refs.c - see ssm_refs.h. */
#include "common/doc/ssm_refs.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "common/base/buf.h"

#define NAME_CHARS               \
    "abcdefghijklmnopqrstuvwxyz" \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.:-"
#define NAME_MAX_BYTES 2048
#define MAX_DEPTH      512

struct known {
    char *key; /* as it is referred to */
    char *type, *value;
    bool exact; /* the answer said that it is for this key */
};

struct fl_ssm_refs {
    char *names[FL_SSM_REFS_MAX]; /* noted, in order */
    size_t n_names, n_asked;
    struct known *known;
    size_t n_known;
};

struct fl_ssm_refs *fl_ssm_refs_new(void)
{
    return calloc(1, sizeof(struct fl_ssm_refs));
}

static void free_known(struct known *k)
{
    if (k->value)
        explicit_bzero(k->value, strlen(k->value));
    free(k->value);
    free(k->key);
    free(k->type);
}

struct fl_ssm_refs *fl_ssm_refs_free(struct fl_ssm_refs *refs)
{
    if (!refs)
        return NULL;
    for (size_t i = 0; i < refs->n_names; i++)
        free(refs->names[i]);
    for (size_t i = 0; i < refs->n_known; i++)
        free_known(&refs->known[i]);
    free(refs->known);
    free(refs);
    return NULL;
}

/* ---- what is known ---- */

static struct known *find(const struct fl_ssm_refs *refs, const char *key)
{
    for (size_t i = 0; i < refs->n_known; i++)
        if (strcmp(refs->known[i].key, key) == 0)
            return &refs->known[i];
    return NULL;
}

static int put(struct fl_ssm_refs *refs, const char *key, const char *type, const char *value,
               bool exact)
{
    struct known *k = find(refs, key);
    struct known fresh = { .exact = exact };
    struct known *more;

    if (k && k->exact && !exact)
        return 0;
    fresh.key = strdup(key);
    fresh.type = strdup(type);
    fresh.value = strdup(value);
    if (!k) {
        more = reallocarray(refs->known, refs->n_known + 1, sizeof(*more));
        if (more)
            refs->known = more;
        k = more ? &more[refs->n_known] : NULL;
    }
    if (!k || !fresh.key || !fresh.type || !fresh.value) {
        free_known(&fresh);
        return -ENOMEM;
    }
    if (k == &refs->known[refs->n_known])
        refs->n_known++;
    else
        free_known(k);
    *k = fresh;
    return 0;
}

int fl_ssm_refs_learn(struct fl_ssm_refs *refs, const char *name, const char *selector,
                      int64_t version, const char *type, const char *value)
{
    fl_autofree char *with_version = NULL;
    int r = put(refs, name, type, value, !selector || !*selector);

    if (r < 0)
        return r;
    if (asprintf(&with_version, "%s:%lld", name, (long long)version) < 0) {
        with_version = NULL;
        return -ENOMEM;
    }
    return put(refs, with_version, type, value, true);
}

static int note(struct fl_ssm_refs *refs, const char *name, struct fl_err *err)
{
    for (size_t i = 0; i < refs->n_names; i++)
        if (strcmp(refs->names[i], name) == 0) {
            /* Asked for, and no answer bears this name: that of a label does not. */
            if (i < refs->n_asked)
                return fl_err_set(err, -EINVAL, NULL,
                                  "Encountered error while parsing input - internal error");
            return 0;
        }
    if (refs->n_names == FL_SSM_REFS_MAX)
        return fl_err_set(err, -EINVAL, NULL,
                          "the document refers to more than %d parameters of Parameter Store",
                          FL_SSM_REFS_MAX);
    refs->names[refs->n_names] = strdup(name);
    if (!refs->names[refs->n_names])
        return fl_err_nomem(err);
    refs->n_names++;
    return 0;
}

size_t fl_ssm_refs_next(struct fl_ssm_refs *refs, const char *names[FL_SSM_REFS_BATCH])
{
    size_t n = 0;

    while (n < FL_SSM_REFS_BATCH && refs->n_asked < refs->n_names)
        names[n++] = refs->names[refs->n_asked++];
    return n;
}

bool fl_ssm_refs_wanting(const struct fl_ssm_refs *refs)
{
    return refs->n_asked < refs->n_names;
}

/* ---- references ---- */

/* Bytes of the reference that text[0] begins, 0 for none; its name to `name`. */
static size_t reference_at(const char *text, size_t len, const char *prefix, char *name)
{
    size_t i = 2, n, prefix_len = strlen(prefix);

    if (len < 2 || text[0] != '{' || text[1] != '{')
        return 0;
    while (i < len && text[i] == ' ')
        i++;
    if (len - i <= prefix_len || memcmp(text + i, prefix, prefix_len) != 0 ||
        text[i + prefix_len] != ':')
        return 0;
    i += prefix_len + 1;
    for (n = 0; i < len && text[i] && strchr(NAME_CHARS, text[i]); i++) {
        if (n == NAME_MAX_BYTES)
            return 0;
        name[n++] = text[i];
    }
    name[n] = '\0';
    while (i < len && text[i] == ' ')
        i++;
    return n > 0 && len - i >= 2 && text[i] == '}' && text[i + 1] == '}' ? i + 2 : 0;
}

/* The text without blanks at its ends. */
static const char *trim(const char *text, size_t *len)
{
    static const char blanks[] = "\t\n\v\f\r ";

    while (*len > 0 && text[0] && strchr(blanks, text[0])) {
        text++;
        (*len)--;
    }
    while (*len > 0 && text[*len - 1] && strchr(blanks, text[*len - 1]))
        (*len)--;
    return text;
}

char *fl_ssm_ref_whole(const char *text, const char *prefix)
{
    char name[NAME_MAX_BYTES + 1];
    size_t len = strlen(text);

    text = trim(text, &len);
    return len > 0 && reference_at(text, len, prefix, name) == len ? strdup(name) : NULL;
}

static int too_large(struct fl_err *err)
{
    return fl_err_set(err, -EMSGSIZE, NULL, "the document's parameters make it too large");
}

static int append_reference(struct fl_ssm_refs *refs, const char *text, size_t n, const char *name,
                            struct fl_buf *out, struct fl_err *err)
{
    const struct known *k = find(refs, name);
    int r;

    if (!k) {
        r = note(refs, name, err);
        if (r < 0)
            return r;
        return fl_buf_append(out, text, n) < 0 ? too_large(err) : 0;
    }
    if (strcmp(k->type, "String") != 0)
        return fl_err_set(err, -EINVAL, NULL,
                          "Parameter %.200s of type %s cannot be used as a String", name, k->type);
    return fl_buf_puts(out, k->value) < 0 ? too_large(err) : 0;
}

static int apply_string(struct fl_ssm_refs *refs, const json_t *in, size_t *left, json_t **ret,
                        struct fl_err *err)
{
    fl_autobuf struct fl_buf out = FL_BUF(*left);
    const char *text = json_string_value(in);
    size_t len = json_string_length(in);
    char name[NAME_MAX_BYTES + 1];

    for (size_t i = 0; i < len;) {
        size_t n = reference_at(text + i, len - i, "ssm", name);
        int r = n ? append_reference(refs, text + i, n, name, &out, err)
                  : fl_buf_append(&out, text + i, 1);

        if (r < 0)
            return n ? r : too_large(err);
        i += n ? n : 1;
    }
    *left -= out.len;
    *ret = json_stringn_nocheck(out.data ? out.data : "", out.len);
    if (out.data)
        explicit_bzero(out.data, out.len);
    return *ret ? 0 : fl_err_nomem(err);
}

/* An element that is a reference to a StringList becomes as many elements as that has. 1 if so. */
static int apply_list(struct fl_ssm_refs *refs, const json_t *element, size_t *left, json_t *out)
{
    fl_autofree char *name = NULL;
    const struct known *k;
    const char *p;

    if (json_is_string(element))
        name = fl_ssm_ref_whole(json_string_value(element), "ssm");
    k = name ? find(refs, name) : NULL;
    if (!k || strcmp(k->type, "StringList") != 0)
        return 0;
    if (strlen(k->value) > *left)
        return -EMSGSIZE;
    *left -= strlen(k->value);
    for (p = k->value;; p++) {
        size_t n = strcspn(p, ",");

        if (json_array_append_new(out, json_stringn_nocheck(p, n)) < 0)
            return -ENOMEM;
        p += n;
        if (!*p)
            return 1;
    }
}

static int apply(struct fl_ssm_refs *refs, const json_t *in, size_t *left, int depth, json_t **ret,
                 struct fl_err *err);

static int apply_array(struct fl_ssm_refs *refs, const json_t *in, size_t *left, int depth,
                       json_t *out, struct fl_err *err)
{
    for (size_t i = 0; i < json_array_size(in); i++) {
        const json_t *element = json_array_get(in, i);
        json_t *made = NULL;
        int r = apply_list(refs, element, left, out);

        if (r < 0)
            return r == -EMSGSIZE ? too_large(err) : r;
        if (r == 1)
            continue;
        r = apply(refs, element, left, depth + 1, &made, err);
        if (r < 0)
            return r;
        if (json_array_append_new(out, made) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int apply_object(struct fl_ssm_refs *refs, const json_t *in, size_t *left, int depth,
                        json_t *out, struct fl_err *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)in, key, value)
    {
        json_t *made = NULL;
        int r = apply(refs, value, left, depth + 1, &made, err);

        if (r < 0)
            return r;
        if (json_object_set_new_nocheck(out, key, made) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int apply(struct fl_ssm_refs *refs, const json_t *in, size_t *left, int depth, json_t **ret,
                 struct fl_err *err)
{
    json_t *copy;
    int r;

    if (depth > MAX_DEPTH)
        return fl_err_set(err, -EINVAL, NULL, "the document is nested too deeply");
    if (json_is_string(in))
        return apply_string(refs, in, left, ret, err);
    if (!json_is_object(in) && !json_is_array(in)) {
        *ret = json_incref((json_t *)in);
        return 0;
    }
    copy = json_is_object(in) ? json_object() : json_array();
    if (!copy)
        return fl_err_nomem(err);
    r = json_is_object(in) ? apply_object(refs, in, left, depth, copy, err)
                           : apply_array(refs, in, left, depth, copy, err);
    if (r < 0) {
        json_decref(copy);
        return r == -ENOMEM ? fl_err_nomem(err) : r;
    }
    *ret = copy;
    return 0;
}

int fl_ssm_refs_apply(struct fl_ssm_refs *refs, const void *value, size_t *left_bytes,
                      void **ret_value, struct fl_err *err)
{
    json_t *made = NULL;
    int r = apply(refs, value, left_bytes, 0, &made, err);

    if (r == 0)
        *ret_value = made;
    return r;
}
