/* check.c - see check.h: walking, types, members, and errors with their place. */
#include "common/doc/check_priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "common/base/buf.h"
#include "common/codec/json_load.h"

#define PATH_TEXT_MAX_BYTES 300

/* ---- errors ---- */
static void path_text(const struct fl_check *c, struct fl_buf *out)
{
    int r = 0;

    for (size_t i = 0; i < c->n_path && r == 0; i++) {
        const struct fl_path_part *part = &c->path[i];

        r = part->key ? fl_buf_printf(out, "%s%.100s", i > 0 ? "." : "", part->key)
                      : fl_buf_printf(out, "[%zu]", part->index);
    }
    if (r == 0 && c->n_path > 0)
        fl_buf_puts(out, ": ");
}

static int bad(struct fl_check *c, const char *name, const char *text)
{
    struct fl_text_place at = fl_doc_source_locate(c->src, c->path, c->n_path);
    fl_autobuf struct fl_buf path = FL_BUF(PATH_TEXT_MAX_BYTES);

    path_text(c, &path);
    return fl_err_set(c->err, -EINVAL, name, "line %zu, column %zu: %s%s", at.line, at.column,
                      path.data ? path.data : "", text);
}

int fl_check_bad(struct fl_check *c, const char *fmt, ...)
{
    char text[FL_ERR_TEXT_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return bad(c, "InvalidDocumentContent", text);
}

/* ---- walking ---- */
int fl_check_below(struct fl_check *c, struct fl_path_part part, const json_t *v,
                   int (*check)(struct fl_check *c, const json_t *v))
{
    int r;

    if (c->n_path == FL_CHECK_MAX_PATH)
        return fl_check_bad(c, "nested too deeply");
    c->path[c->n_path++] = part;
    r = check(c, v);
    c->n_path--;
    return r;
}

int fl_check_each(struct fl_check *c, const json_t *v,
                  int (*check)(struct fl_check *c, const json_t *v))
{
    const char *key;
    json_t *value;
    int r = 0;

    for (size_t i = 0; i < json_array_size(v) && r == 0; i++)
        r = fl_check_below(c, (struct fl_path_part){ .index = i }, json_array_get(v, i), check);
    json_object_foreach((json_t *)v, key, value)
    {
        if (r == 0)
            r = fl_check_below(c, (struct fl_path_part){ .key = key }, value, check);
    }
    return r;
}

/* ---- types and members ---- */
static const struct {
    unsigned is;
    const char *text;
} type_names[] = {
    { FL_IS_STRING, "a string" },
    { FL_IS_INTEGER, "an integer" },
    { FL_IS_NUMBER, "a number" },
    { FL_IS_BOOL, "true or false" },
    { FL_IS_OBJECT, "an object" },
    { FL_IS_LIST, "a list" },
    { FL_IS_REFERENCE, "a {{ parameter }}" },
};

static unsigned type_of(const json_t *v)
{
    static const unsigned types[] = {
        [JSON_OBJECT] = FL_IS_OBJECT, [JSON_ARRAY] = FL_IS_LIST,
        [JSON_STRING] = FL_IS_STRING, [JSON_INTEGER] = FL_IS_INTEGER | FL_IS_NUMBER,
        [JSON_REAL] = FL_IS_NUMBER,   [JSON_TRUE] = FL_IS_BOOL,
        [JSON_FALSE] = FL_IS_BOOL,    [JSON_NULL] = 0,
    };

    return types[json_typeof(v)] | FL_IS_ANY;
}

int fl_check_type(struct fl_check *c, const json_t *v, unsigned is)
{
    fl_autobuf struct fl_buf text = FL_BUF(200);
    int r = 0;

    if ((type_of(v) & is) ||
        ((is & FL_IS_REFERENCE) && json_is_string(v) && fl_has_reference(json_string_value(v))))
        return 0;
    for (size_t i = 0; i < FL_ARRAY_LEN(type_names) && r == 0; i++)
        if (is & type_names[i].is)
            r = fl_buf_printf(&text, "%s%s", text.len ? " or " : "must be ", type_names[i].text);
    return fl_check_bad(c, "%s", text.data ? text.data : "has the wrong type");
}

static int check_member(struct fl_check *c, const struct fl_member *m, const json_t *v)
{
    int r;

    if (c->n_path == FL_CHECK_MAX_PATH)
        return fl_check_bad(c, "nested too deeply");
    c->path[c->n_path++] = (struct fl_path_part){ .key = m->key };
    r = v ? fl_check_type(c, v, m->is) : fl_check_bad(c, "missing");
    if (r == 0 && m->check)
        r = m->check(c, v);
    c->n_path--;
    return r;
}

static int unknown_member(struct fl_check *c, const json_t *v)
{
    (void)v;
    return fl_check_bad(c, "there is no member of this name here");
}

int fl_check_members(struct fl_check *c, const json_t *v, const struct fl_members *members)
{
    const char *key;
    json_t *value;
    int r = 0;

    for (size_t i = 0; i < members->n && r == 0; i++)
        if (members->v[i].required && !json_object_get(v, members->v[i].key))
            r = check_member(c, &members->v[i], NULL);
    json_object_foreach((json_t *)v, key, value)
    {
        size_t i = 0;

        if (r < 0)
            return r;
        while (i < members->n && strcmp(members->v[i].key, key) != 0)
            i++;
        if (i < members->n)
            r = check_member(c, &members->v[i], value);
        else if (!members->open)
            r = fl_check_below(c, (struct fl_path_part){ .key = key }, value, unknown_member);
    }
    return r;
}

/* ---- a document ---- */
static int take_text(struct fl_check *c, const char *key, char **ret)
{
    const char *text = json_string_value(json_object_get(c->root, key));

    *ret = fl_arena_strdup(c->arena, text);
    return text && !*ret ? fl_err_nomem(c->err) : 0;
}

static int check_schema(struct fl_check *c, const struct fl_doc_rule **ret_rule)
{
    static const struct fl_member version = { "schemaVersion", FL_IS_STRING, true, NULL };
    const json_t *v = json_object_get(c->root, version.key);
    char text[200];
    int r = check_member(c, &version, v);

    if (r < 0)
        return r;
    *ret_rule = fl_doc_rule(c->type, json_string_value(v));
    if (*ret_rule)
        return 0;
    c->path[c->n_path++] = (struct fl_path_part){ .key = version.key };
    snprintf(text, sizeof(text), "documents of this type have no version %.40s",
             json_string_value(v));
    r = bad(c, "InvalidDocumentSchemaVersion", text);
    c->n_path--;
    return r;
}

static int check_root(struct fl_check *c, struct fl_doc_facts *ret)
{
    const struct fl_doc_rule *rule = NULL;
    int r = fl_check_type(c, c->root, FL_IS_OBJECT);

    if (r == 0)
        r = check_schema(c, &rule);
    if (r == 0) {
        c->preconditions = rule->preconditions;
        r = fl_check_step_names(c);
    }
    if (r == 0)
        r = fl_check_members(c, c->root, &rule->members);
    if (r == 0)
        r = take_text(c, "schemaVersion", &ret->schema_version);
    if (r == 0)
        r = take_text(c, "description", &ret->description);
    return r;
}

int fl_doc_check(enum fl_doc_type type, const struct fl_doc_source *src, struct fl_arena *arena,
                 struct fl_doc_facts *ret_facts, struct fl_err *err)
{
    struct fl_check c = { .type = type, .src = src, .arena = arena, .err = err };
    struct fl_doc_facts facts = { 0 };
    fl_autojson json_t *root = NULL;
    fl_autojson json_t *steps = json_object();
    int r = fl_doc_source_load(src, &root, err);

    if (r == 0 && !steps)
        return fl_err_nomem(err);
    if (r == -EBADMSG) {
        if (err)
            err->name = "InvalidDocumentContent";
        return -EINVAL;
    }
    c.root = root;
    c.steps = steps;
    if (r == 0 && type != FL_DOC_OTHER)
        r = check_root(&c, &facts);
    if (r < 0)
        return r;
    facts.platforms = c.platforms ? c.platforms : FL_DOC_ANYWHERE;
    *ret_facts = facts;
    return 0;
}
