/* The parts a document is read with, on JSON of any kind: the first line is the parameters, the
 * rest a value. Go's words for it, its JSON, and substitution: without parameters nothing changes,
 * and what was put in is bounded. */
#include <jansson.h>
#include <string.h>
#include "common/codec/json_load.h"
#include "common/doc/go_text.h"
#include "common/doc/subst.h"
#include "plugins/plugin.h"

#define OUT_MAX_BYTES (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *load(const void *data, size_t len)
{
    return fl_json_load(data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static void check_texts(const json_t *value)
{
    fl_autobuf struct fl_buf words = FL_BUF(OUT_MAX_BYTES), json = FL_BUF(OUT_MAX_BYTES);
    json_t *again;

    if (fl_go_value_text(value, &words) < 0 || fl_go_json_text(value, &json) < 0)
        abort();
    again = load(json.data, json.len);
    if (!again || !json_equal(again, value))
        abort();
    json_decref(again);
    for (size_t i = 0; fl_plugins[i]; i++) {
        fl_autobuf struct fl_buf text = FL_BUF(OUT_MAX_BYTES);
        const struct fl_shape *shape = fl_plugins[i]->input;
        int r = shape && json_is_object(value) ? fl_go_mismatch_text(shape, value, &text) : 0;

        if (r < 0 || (r == 0) != (text.len == 0))
            abort();
    }
}

/* A new reference, or NULL over the limit. */
static json_t *substitute(const json_t *params, const json_t *value)
{
    struct fl_subst s;
    void *out = NULL;
    struct fl_err err = { 0 };

    fl_subst_init(&s, params);
    if (fl_subst_value(&s, value, &out, &err) < 0) {
        if (!err.text[0] || out)
            abort();
        return NULL;
    }
    if (s.left_bytes > FL_SUBST_MAX_BYTES)
        abort();
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    json_t *params = end ? load(data, (size_t)(end - data)) : NULL, *none = json_object(), *out;
    json_t *value = end ? load(end + 1, size - (size_t)(end + 1 - data)) : NULL;

    if (value) {
        check_texts(value);
        out = substitute(none, value);
        if (!out || !json_equal(out, value))
            abort();
        json_decref(out);
    }
    if (value && json_is_object(params) && (out = substitute(params, value))) {
        check_texts(out);
        json_decref(out);
    }
    json_decref(params);
    json_decref(value);
    json_decref(none);
    return 0;
}
