/* source.c - see source.h. YAML's part is in yaml_load.c; JSON's text is parsed by jansson, which
 * keeps no positions, so a path is followed here by the letter: the text is known to be JSON. */
#include "common/doc/source.h"

#include <errno.h>
#include <string.h>
#include "common/codec/json_load.h"

/* ---- walking over JSON ---- */
struct cursor {
    const char *at, *end;
};

static void skip_blank(struct cursor *c)
{
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at)
        c->at++;
}

static void skip_string(struct cursor *c)
{
    for (c->at++; c->at < c->end && *c->at != '"'; c->at++)
        if (*c->at == '\\')
            c->at++;
    c->at = c->at < c->end ? c->at + 1 : c->end;
}

/* A value, or up to the end of what is not one. */
static void skip_value(struct cursor *c)
{
    size_t depth = 0;

    do {
        skip_blank(c);
        if (c->at >= c->end)
            return;
        if (*c->at == '"') {
            skip_string(c);
            continue;
        }
        depth += *c->at == '{' || *c->at == '[';
        depth -= depth > 0 && (*c->at == '}' || *c->at == ']');
        c->at++;
        if (depth == 0)
            while (c->at < c->end && !strchr(",:]} \t\r\n", *c->at))
                c->at++;
    } while (depth > 0);
}

/* Past `what`, if it comes next. */
static bool take(struct cursor *c, char what)
{
    skip_blank(c);
    if (c->at >= c->end || *c->at != what)
        return false;
    c->at++;
    return true;
}

static bool is_key(const char *from, const char *to, const char *key)
{
    json_t *v = fl_json_load(from, (size_t)(to - from), JSON_DECODE_ANY, NULL);
    bool same = json_is_string(v) && strcmp(json_string_value(v), key) == 0;

    json_decref(v);
    return same;
}

/* From the start of a collection to that of the value; *ret_place to the key or the element. */
static bool descend(struct cursor *c, const struct fl_path_part *part, const char **ret_place)
{
    if (!take(c, part->key ? '{' : '['))
        return false;
    for (size_t i = 0;; i++) {
        const char *start;
        bool found = i == part->index;

        skip_blank(c);
        if (c->at >= c->end || *c->at == '}' || *c->at == ']')
            return false;
        start = c->at;
        if (part->key) {
            skip_value(c);
            found = is_key(start, c->at, part->key);
            if (!take(c, ':'))
                return false;
            skip_blank(c);
        }
        if (found) {
            *ret_place = start;
            return true;
        }
        skip_value(c);
        if (!take(c, ','))
            return false;
    }
}

static struct fl_text_place locate_json(const struct fl_doc_source *src,
                                        const struct fl_path_part *path, size_t n)
{
    struct cursor c = { src->text, src->text + src->len };
    struct fl_text_place place = { 1, 1 };
    const char *at;

    skip_blank(&c);
    at = c.at;
    for (size_t i = 0; i < n && descend(&c, &path[i], &at); i++)
        ;
    for (const char *p = src->text; p < at; p++) {
        place.column++;
        if (*p == '\n')
            place = (struct fl_text_place){ place.line + 1, 1 };
    }
    return place;
}

static int load_json(const struct fl_doc_source *src, json_t **ret_root, struct fl_err *err)
{
    json_error_t why;

    *ret_root = fl_json_load(src->text, src->len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (*ret_root)
        return 0;
    return fl_err_set(err, -EBADMSG, NULL, "line %d, column %d: %s", FL_MAX(why.line, 1),
                      FL_MAX(why.column, 1), why.text);
}

int fl_doc_source_load(const struct fl_doc_source *src, json_t **ret_root, struct fl_err *err)
{
    return src->format == FL_DOC_YAML ? fl_yaml_load(src->text, src->len, ret_root, err)
                                      : load_json(src, ret_root, err);
}

struct fl_text_place fl_doc_source_locate(const struct fl_doc_source *src,
                                          const struct fl_path_part *path, size_t n)
{
    return src->format == FL_DOC_YAML ? fl_yaml_locate(src->text, src->len, path, n)
                                      : locate_json(src, path, n);
}
