/* A document as YAML: libyaml reads back the same keys and values, in the same order. */
#include <jansson.h>
#include <string.h>
#include <yaml.h>
#include "server/api/document_yaml.h"

#define OUT_MAX_BYTES (16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void next(yaml_parser_t *p, yaml_event_t *ev, yaml_event_type_t want)
{
    if (!yaml_parser_parse(p, ev) || ev->type != want)
        abort();
}

static void skip(yaml_parser_t *p, yaml_event_type_t want)
{
    yaml_event_t ev;

    next(p, &ev, want);
    yaml_event_delete(&ev);
}

static void same_text(yaml_parser_t *p, const char *s, size_t len)
{
    yaml_event_t ev;

    next(p, &ev, YAML_SCALAR_EVENT);
    if (ev.data.scalar.length != len || memcmp(ev.data.scalar.value, s, len) != 0)
        abort();
    yaml_event_delete(&ev);
}

static void same(yaml_parser_t *p, const json_t *v)
{
    yaml_event_t ev;
    const char *key;
    json_t *member;
    size_t i;

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        skip(p, YAML_MAPPING_START_EVENT);
        json_object_foreach((json_t *)v, key, member)
        {
            same_text(p, key, strlen(key));
            same(p, member);
        }
        skip(p, YAML_MAPPING_END_EVENT);
        break;
    case JSON_ARRAY:
        skip(p, YAML_SEQUENCE_START_EVENT);
        json_array_foreach(v, i, member) same(p, member);
        skip(p, YAML_SEQUENCE_END_EVENT);
        break;
    case JSON_STRING:
        same_text(p, json_string_value(v), json_string_length(v));
        break;
    default:
        /* Plain, or it would be read as a string. */
        next(p, &ev, YAML_SCALAR_EVENT);
        if (ev.data.scalar.style != YAML_PLAIN_SCALAR_STYLE || !ev.data.scalar.length)
            abort();
        yaml_event_delete(&ev);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autobuf struct fl_buf yaml = FL_BUF(OUT_MAX_BYTES);
    struct fl_err err = { 0 };
    yaml_parser_t parser;
    json_t *v;

    if (fl_document_to_yaml((const char *)data, size, &yaml, &err) < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    v = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
    if (!v || !yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.data, yaml.len);
    skip(&parser, YAML_STREAM_START_EVENT);
    skip(&parser, YAML_DOCUMENT_START_EVENT);
    same(&parser, v);
    skip(&parser, YAML_DOCUMENT_END_EVENT);
    yaml_parser_delete(&parser);
    json_decref(v);
    return 0;
}
