/* yaml_load.c - YAML text to a value, and places in it, over libyaml's events. */
#include "common/doc/yaml.h"
#include "common/codec/json_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define NUMBER_MAX_BYTES 64 /* a longer scalar is no number */

struct anchor {
    char *name;
    json_t *value;
    size_t nodes, bytes; /* with everything below */
};

struct reader {
    yaml_parser_t parser;
    struct fl_err *err;
    size_t nodes, bytes, depth;
    struct anchor anchors[FL_YAML_MAX_ANCHORS];
    size_t n_anchors;
};

#define autoevent FL_CLEANUP(yaml_event_delete)

static int bad(struct reader *r, yaml_mark_t at, const char *text)
{
    return fl_err_set(r->err, -EBADMSG, NULL, "line %zu, column %zu: %s", at.line + 1,
                      at.column + 1, text);
}

static int next(struct reader *r, yaml_event_t *ev)
{
    const yaml_parser_t *p = &r->parser;

    if (yaml_parser_parse(&r->parser, ev))
        return 0;
    memset(ev, 0, sizeof(*ev)); /* nothing to delete */
    if (p->error == YAML_MEMORY_ERROR)
        return fl_err_nomem(r->err);
    if (p->error == YAML_READER_ERROR)
        return fl_err_set(r->err, -EBADMSG, NULL, "line %zu, column %zu: %s (byte %zu)",
                          p->mark.line + 1, p->mark.column + 1, p->problem, p->problem_offset);
    return bad(r, p->problem_mark, p->problem ? p->problem : "not YAML");
}

/* ---- scalars ---- */
static const struct {
    const char *text;
    enum { IS_NULL, IS_TRUE, IS_FALSE } is;
} words[] = {
    { "", IS_NULL },     { "~", IS_NULL },      { "null", IS_NULL },   { "Null", IS_NULL },
    { "NULL", IS_NULL }, { "y", IS_TRUE },      { "Y", IS_TRUE },      { "yes", IS_TRUE },
    { "Yes", IS_TRUE },  { "YES", IS_TRUE },    { "true", IS_TRUE },   { "True", IS_TRUE },
    { "TRUE", IS_TRUE }, { "on", IS_TRUE },     { "On", IS_TRUE },     { "ON", IS_TRUE },
    { "n", IS_FALSE },   { "N", IS_FALSE },     { "no", IS_FALSE },    { "No", IS_FALSE },
    { "NO", IS_FALSE },  { "false", IS_FALSE }, { "False", IS_FALSE }, { "FALSE", IS_FALSE },
    { "off", IS_FALSE }, { "Off", IS_FALSE },   { "OFF", IS_FALSE },
};

/* Numbers of other bases by their prefix; the longest first. */
static const struct {
    const char *prefix, *digits;
    int base;
} bases[] = {
    { "0x", "0123456789abcdefABCDEF", 16 },
    { "0b", "01", 2 },
    { "0", "01234567", 8 },
};

static bool all_of(const char *s, const char *chars)
{
    return *s && s[strspn(s, chars)] == '\0';
}

/* [0-9]*.?[0-9]*([eE][-+]?[0-9]+)? with a digit before the exponent, and a dot or an exponent. */
static bool is_real(const char *s)
{
    size_t whole = strspn(s, "0123456789"), part = 0;
    bool marked = false;

    s += whole;
    if (*s == '.') {
        part = strspn(++s, "0123456789");
        s += part;
        marked = true;
    }
    if (whole + part == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s += 1 + (s[1] == '-' || s[1] == '+');
        return all_of(s, "0123456789");
    }
    return marked && *s == '\0';
}

/* NULL: not an integer, or one that does not fit. */
static json_t *integer(const char *digits, int base, bool negative)
{
    unsigned long long v;

    errno = 0;
    v = strtoull(digits, NULL, base);
    if (errno != 0 || v > (unsigned long long)INT64_MAX)
        return NULL;
    return json_integer(negative ? -(json_int_t)v : (json_int_t)v);
}

/* The number a plain scalar means; NULL: none. */
static json_t *number(const char *scalar, size_t len)
{
    char text[NUMBER_MAX_BYTES];
    const char *s = text;
    size_t n = 0;
    bool negative, is_decimal;

    if (len == 0 || len >= sizeof(text) || !strchr("+-.0123456789", scalar[0]))
        return NULL;
    for (size_t i = 0; i < len; i++)
        if (scalar[i] != '_' || i == 0)
            text[n++] = scalar[i];
    text[n] = '\0';
    negative = *s == '-';
    s += *s == '-' || *s == '+';
    is_decimal = all_of(s, "0123456789");
    for (size_t i = 0; i < FL_ARRAY_LEN(bases); i++) {
        size_t skip = strlen(bases[i].prefix);

        if (strncmp(s, bases[i].prefix, skip) == 0 && all_of(s + skip, bases[i].digits))
            return integer(s + skip, bases[i].base, negative);
    }
    if (is_decimal && (*s != '0' || s[1] == '\0')) {
        json_t *v = integer(s, 10, negative);

        return v ? v : json_real(strtod(text, NULL));
    }
    /* json_real() refuses what overflows */
    return is_real(s) ? json_real(strtod(text, NULL)) : NULL;
}

static bool is_special_real(const char *s)
{
    s += *s == '-' || *s == '+';
    return strcasecmp(s, ".inf") == 0 || strcasecmp(s, ".nan") == 0;
}

static const char *const plain_tags[] = { YAML_NULL_TAG, YAML_BOOL_TAG, YAML_INT_TAG,
                                          YAML_FLOAT_TAG };

/* Whether the scalar is a string whatever it looks like: 1, 0, or an error for a tag that is not
 * JSON's. */
static int is_text(struct reader *r, const yaml_event_t *ev)
{
    const char *tag = (const char *)ev->data.scalar.tag;

    if (!tag)
        return ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, "!") == 0)
        return 1;
    for (size_t i = 0; i < FL_ARRAY_LEN(plain_tags); i++)
        if (strcmp(tag, plain_tags[i]) == 0)
            return 0;
    return bad(r, ev->start_mark, "a tag that JSON has no type for");
}

/* Counts a node against the limits. */
static int count(struct reader *r, yaml_mark_t at, size_t nodes, size_t bytes)
{
    r->nodes += nodes;
    r->bytes += bytes;
    if (r->nodes > FL_YAML_MAX_NODES || r->bytes > FL_YAML_MAX_BYTES)
        return bad(r, at,
                   "too many or too large values, aliases counted as often as they are used");
    return 0;
}

static int load_scalar(struct reader *r, const yaml_event_t *ev, bool number_is_text, json_t **ret)
{
    const char *s = (const char *)ev->data.scalar.value;
    size_t len = ev->data.scalar.length;
    int text = is_text(r, ev);
    json_t *v = NULL;

    if (text < 0)
        return text;
    if (strlen(s) != len)
        return bad(r, ev->start_mark, "a NUL in a string");
    if (!text && is_special_real(s))
        return bad(r, ev->start_mark, "a number that JSON cannot hold");
    for (size_t i = 0; !text && !v && i < FL_ARRAY_LEN(words); i++)
        if (strcmp(words[i].text, s) == 0)
            v = words[i].is == IS_NULL ? json_null() : json_boolean(words[i].is == IS_TRUE);
    if (!text && !v && !number_is_text)
        v = number(s, len);
    if (!v)
        v = json_stringn_nocheck(s, len); /* libyaml has checked the UTF-8 */
    *ret = v;
    return v ? 0 : fl_err_nomem(r->err);
}

/* ---- collections ---- */
static int load_node(struct reader *r, const yaml_event_t *ev, bool number_is_text, json_t **ret);

static int load_sequence(struct reader *r, json_t **ret)
{
    fl_autojson json_t *list = json_array();

    while (list) {
        autoevent yaml_event_t ev = { 0 };
        json_t *v = NULL;
        int e = next(r, &ev);

        if (e == 0 && ev.type == YAML_SEQUENCE_END_EVENT) {
            *ret = FL_TAKE(list);
            return 0;
        }
        if (e == 0)
            e = load_node(r, &ev, false, &v);
        if (e < 0)
            return e;
        if (json_array_append_new(list, v) < 0)
            break;
    }
    return fl_err_nomem(r->err);
}

static int check_key(struct reader *r, const yaml_event_t *ev, const json_t *map)
{
    const char *key = (const char *)ev->data.scalar.value;

    if (ev->type != YAML_SCALAR_EVENT)
        return bad(r, ev->start_mark, "a key must be a scalar");
    if (strlen(key) != ev->data.scalar.length)
        return bad(r, ev->start_mark, "a NUL in a key");
    if (strcmp(key, "<<") == 0 && ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return bad(r, ev->start_mark, "merge keys are not supported");
    if (json_object_get(map, key))
        return bad(r, ev->start_mark, "this key stands twice");
    return count(r, ev->start_mark, 1, ev->data.scalar.length);
}

static int load_mapping(struct reader *r, json_t **ret)
{
    fl_autojson json_t *map = json_object();

    while (map) {
        autoevent yaml_event_t key = { 0 }, ev = { 0 };
        bool is_version;
        json_t *v = NULL;
        int e = next(r, &key);

        if (e == 0 && key.type == YAML_MAPPING_END_EVENT) {
            *ret = FL_TAKE(map);
            return 0;
        }
        if (e == 0)
            e = check_key(r, &key, map);
        if (e == 0)
            e = next(r, &ev);
        is_version = e == 0 && r->depth == 1 &&
                     strcmp((const char *)key.data.scalar.value, "schemaVersion") == 0;
        if (e == 0)
            e = load_node(r, &ev, is_version, &v);
        if (e < 0)
            return e;
        if (json_object_set_new_nocheck(map, (const char *)key.data.scalar.value, v) < 0)
            break;
    }
    return fl_err_nomem(r->err);
}

static int load_alias(struct reader *r, const yaml_event_t *ev, json_t **ret)
{
    for (size_t i = 0; i < r->n_anchors; i++) {
        const struct anchor *a = &r->anchors[i];

        if (strcmp(a->name, (const char *)ev->data.alias.anchor) == 0) {
            int e = count(r, ev->start_mark, a->nodes, a->bytes);

            if (e == 0)
                *ret = json_incref(a->value);
            return e;
        }
    }
    return bad(r, ev->start_mark, "an alias of something that does not stand before it");
}

static const char *anchor_of(const yaml_event_t *ev)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)ev->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)ev->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)ev->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

/* Only a whole value is remembered, so no value can hold itself. */
static int remember(struct reader *r, const yaml_event_t *ev, json_t *v, size_t nodes, size_t bytes)
{
    struct anchor *a = &r->anchors[r->n_anchors];
    const char *name = anchor_of(ev);

    if (r->n_anchors == FL_YAML_MAX_ANCHORS)
        return bad(r, ev->start_mark, "too many anchors");
    for (size_t i = 0; i < r->n_anchors; i++)
        if (strcmp(r->anchors[i].name, name) == 0)
            return bad(r, ev->start_mark, "this anchor stands twice");
    *a = (struct anchor){ strdup(name), json_incref(v), nodes, bytes };
    r->n_anchors++;
    return a->name ? 0 : fl_err_nomem(r->err);
}

static int load_collection(struct reader *r, const yaml_event_t *ev, json_t **ret)
{
    bool is_list = ev->type == YAML_SEQUENCE_START_EVENT;
    const char *tag =
        (const char *)(is_list ? ev->data.sequence_start.tag : ev->data.mapping_start.tag);
    int e;

    if (tag && strcmp(tag, is_list ? YAML_SEQ_TAG : YAML_MAP_TAG) != 0)
        return bad(r, ev->start_mark, "a tag that JSON has no type for");
    if (++r->depth > FL_YAML_MAX_DEPTH)
        return bad(r, ev->start_mark, "nested too deeply");
    e = is_list ? load_sequence(r, ret) : load_mapping(r, ret);
    r->depth--;
    return e;
}

static int load_node(struct reader *r, const yaml_event_t *ev, bool number_is_text, json_t **ret)
{
    size_t nodes = r->nodes, bytes = r->bytes;
    fl_autojson json_t *v = NULL;
    int e;

    if (ev->type == YAML_ALIAS_EVENT)
        return load_alias(r, ev, ret);
    e = count(r, ev->start_mark, 1, ev->type == YAML_SCALAR_EVENT ? ev->data.scalar.length : 0);
    if (e == 0)
        e = ev->type == YAML_SCALAR_EVENT ? load_scalar(r, ev, number_is_text, &v)
                                          : load_collection(r, ev, &v);
    if (e == 0 && anchor_of(ev))
        e = remember(r, ev, v, r->nodes - nodes, r->bytes - bytes);
    if (e == 0)
        *ret = FL_TAKE(v);
    return e;
}

/* ---- the whole text ---- */
static void reader_done(struct reader *r)
{
    for (size_t i = 0; i < r->n_anchors; i++) {
        free(r->anchors[i].name);
        json_decref(r->anchors[i].value);
    }
    yaml_parser_delete(&r->parser);
}

static bool reader_init(struct reader *r, const char *text, size_t len)
{
    if (!yaml_parser_initialize(&r->parser))
        return false;
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    return true;
}

/* Reads up to the next event of this type, which is to be the next but one at most. */
static int expect(struct reader *r, yaml_event_type_t type, const char *otherwise)
{
    autoevent yaml_event_t ev = { 0 };
    int e = next(r, &ev);

    if (e < 0 || ev.type == type)
        return e;
    return bad(r, ev.start_mark, otherwise);
}

int fl_yaml_load(const char *text, size_t len, json_t **ret_root, struct fl_err *err)
{
    struct reader r = { .err = err };
    autoevent yaml_event_t ev = { 0 };
    fl_autojson json_t *root = NULL;
    int e;

    if (!reader_init(&r, text, len))
        return fl_err_nomem(r.err);
    e = expect(&r, YAML_STREAM_START_EVENT, "not YAML");
    if (e == 0)
        e = expect(&r, YAML_DOCUMENT_START_EVENT, "no content");
    if (e == 0)
        e = next(&r, &ev);
    if (e == 0)
        e = load_node(&r, &ev, false, &root);
    if (e == 0)
        e = expect(&r, YAML_DOCUMENT_END_EVENT, "not YAML");
    if (e == 0)
        e = expect(&r, YAML_STREAM_END_EVENT, "more than one YAML document");
    reader_done(&r);
    if (e == 0)
        *ret_root = FL_TAKE(root);
    return e;
}

/* ---- places ---- */

/* Reads on to the end of the node that `ev` began. */
static int skip(struct reader *r, const yaml_event_t *ev)
{
    size_t depth = ev->type == YAML_MAPPING_START_EVENT || ev->type == YAML_SEQUENCE_START_EVENT;

    while (depth > 0) {
        autoevent yaml_event_t inner = { 0 };

        if (next(r, &inner) < 0)
            return -1;
        depth += inner.type == YAML_MAPPING_START_EVENT || inner.type == YAML_SEQUENCE_START_EVENT;
        depth -= inner.type == YAML_MAPPING_END_EVENT || inner.type == YAML_SEQUENCE_END_EVENT;
    }
    return 0;
}

/* One step along the path, inside the collection that *ev began: *ev becomes the event that begins
 * the value. False: the path ends here. */
static bool descend(struct reader *r, const struct fl_path_part *part, yaml_event_t *ev,
                    struct fl_text_place *place)
{
    yaml_event_type_t want = part->key ? YAML_MAPPING_START_EVENT : YAML_SEQUENCE_START_EVENT;
    bool found = false;

    if (ev->type != want)
        return false;
    for (size_t i = 0; !found; i++) {
        yaml_mark_t at;

        yaml_event_delete(ev);
        if (next(r, ev) < 0 || ev->type == YAML_MAPPING_END_EVENT ||
            ev->type == YAML_SEQUENCE_END_EVENT)
            return false;
        at = ev->start_mark;
        if (part->key) {
            found = ev->type == YAML_SCALAR_EVENT &&
                    strcmp((const char *)ev->data.scalar.value, part->key) == 0;
            if (!found && skip(r, ev) < 0)
                return false;
            yaml_event_delete(ev);
            if (next(r, ev) < 0)
                return false;
        } else {
            found = i == part->index;
        }
        if (found)
            *place = (struct fl_text_place){ at.line + 1, at.column + 1 };
        else if (skip(r, ev) < 0)
            return false;
    }
    return true;
}

struct fl_text_place fl_yaml_locate(const char *text, size_t len, const struct fl_path_part *path,
                                    size_t n)
{
    struct fl_text_place place = { 1, 1 };
    autoevent yaml_event_t ev = { 0 };
    struct reader r = { 0 };

    if (!reader_init(&r, text, len))
        return place;
    if (expect(&r, YAML_STREAM_START_EVENT, "") == 0 &&
        expect(&r, YAML_DOCUMENT_START_EVENT, "") == 0 && next(&r, &ev) == 0) {
        place = (struct fl_text_place){ ev.start_mark.line + 1, ev.start_mark.column + 1 };
        for (size_t i = 0; i < n && descend(&r, &path[i], &ev, &place); i++)
            ;
    }
    reader_done(&r);
    return place;
}
