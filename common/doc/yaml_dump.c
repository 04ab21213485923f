/* yaml_dump.c - a value as YAML, with libyaml's emitter. */
#include "common/doc/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

/* What a plain scalar would be read as by YAML 1.1, other than a string. */
static const char *const reserved_words[] = { "y",    "n",     "yes",  "no",   "on",  "off",
                                              "true", "false", "null", "none", "inf", "nan" };

/* Only what is a string beyond doubt goes unquoted: words of letters, digits and a few signs. */
static bool is_plain(const char *s, size_t len)
{
    if (len == 0 || !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_", s[0]))
        return false;
    if (strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789-./") != len)
        return false;
    for (size_t i = 0; i < FL_ARRAY_LEN(reserved_words); i++)
        if (strcasecmp(s, reserved_words[i]) == 0)
            return false;
    return true;
}

static yaml_scalar_style_t style_of(const char *s, size_t len)
{
    if (is_plain(s, len))
        return YAML_PLAIN_SCALAR_STYLE;
    if (strchr(s, '\n') && s[0] != '\n' && s[0] != ' ' && !strchr(s, '\t') && !strchr(s, '\r'))
        return YAML_LITERAL_SCALAR_STYLE;
    return YAML_DOUBLE_QUOTED_SCALAR_STYLE;
}

static bool put_scalar(yaml_emitter_t *em, const char *s, size_t len, yaml_scalar_style_t style)
{
    yaml_event_t ev;

    return yaml_scalar_event_initialize(&ev, NULL, NULL, (const yaml_char_t *)s, (int)len, 1, 1,
                                        style) &&
           yaml_emitter_emit(em, &ev);
}

static bool put_text(yaml_emitter_t *em, const char *s, size_t len)
{
    return put_scalar(em, s, len, style_of(s, len));
}

static bool put_value(yaml_emitter_t *em, const json_t *v);

static bool put_object(yaml_emitter_t *em, const json_t *v)
{
    yaml_event_t ev;
    const char *key;
    json_t *member;

    if (!yaml_mapping_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE) ||
        !yaml_emitter_emit(em, &ev))
        return false;
    json_object_foreach((json_t *)v, key, member) if (!put_text(em, key, strlen(key)) ||
                                                      !put_value(em, member)) return false;
    return yaml_mapping_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
}

static bool put_array(yaml_emitter_t *em, const json_t *v)
{
    yaml_event_t ev;
    size_t i;
    json_t *element;

    if (!yaml_sequence_start_event_initialize(&ev, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE) ||
        !yaml_emitter_emit(em, &ev))
        return false;
    json_array_foreach(v, i, element) if (!put_value(em, element)) return false;
    return yaml_sequence_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
}

/* Depth is bounded by jansson's parser. */
static bool put_value(yaml_emitter_t *em, const json_t *v)
{
    char number[64];

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return put_object(em, v);
    case JSON_ARRAY:
        return put_array(em, v);
    case JSON_STRING:
        return put_text(em, json_string_value(v), json_string_length(v));
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        snprintf(number, sizeof(number), "%.17g", json_real_value(v));
        if (!strpbrk(number, ".en"))
            strcat(number, ".0"); /* stays a real; 64 bytes are more than twice enough */
        break;
    default:
        snprintf(number, sizeof(number), "%s",
                 json_is_true(v)    ? "true"
                 : json_is_false(v) ? "false"
                                    : "null");
    }
    return put_scalar(em, number, strlen(number), YAML_PLAIN_SCALAR_STYLE);
}

struct sink {
    struct fl_buf *out;
    int r;
};

static int write_out(void *arg, unsigned char *data, size_t len)
{
    struct sink *sink = arg;

    if (sink->r == 0)
        sink->r = fl_buf_append(sink->out, data, len);
    return sink->r == 0;
}

static bool put_document(yaml_emitter_t *em, const json_t *root)
{
    yaml_event_t ev;

    return yaml_stream_start_event_initialize(&ev, YAML_UTF8_ENCODING) &&
           yaml_emitter_emit(em, &ev) &&
           yaml_document_start_event_initialize(&ev, NULL, NULL, NULL, 1) &&
           yaml_emitter_emit(em, &ev) && put_value(em, root) &&
           yaml_document_end_event_initialize(&ev, 1) && yaml_emitter_emit(em, &ev) &&
           yaml_stream_end_event_initialize(&ev) && yaml_emitter_emit(em, &ev);
}

int fl_yaml_dump(const json_t *root, struct fl_buf *out, struct fl_err *err)
{
    struct sink sink = { out, 0 };
    yaml_emitter_t em;
    bool ok;

    if (!yaml_emitter_initialize(&em))
        return fl_err_nomem(err);
    yaml_emitter_set_output(&em, write_out, &sink);
    yaml_emitter_set_unicode(&em, 1);
    yaml_emitter_set_width(&em, -1);
    ok = put_document(&em, root) && yaml_emitter_flush(&em);
    yaml_emitter_delete(&em);
    if (ok)
        return 0;
    return fl_err_set(err, sink.r < 0 ? sink.r : -ENOMEM, NULL, "cannot write YAML");
}
