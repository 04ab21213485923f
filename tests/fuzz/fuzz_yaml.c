/* YAML: a text is read, or refused in words; what was read is the same after it was written and
 * read again, and every member can be located. JSON text is written as YAML and read back. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "common/doc/source.h"

#define OUT_MAX_BYTES (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_after_writing(const json_t *v)
{
    fl_autobuf struct fl_buf text = FL_BUF(OUT_MAX_BYTES);
    struct fl_err err = { 0 };
    json_t *again = NULL;

    if (fl_yaml_dump(v, &text, &err) < 0)
        abort();
    if (fl_yaml_load(text.data, text.len, &again, &err) < 0) {
        /* what passes no limit in JSON may do so here */
        if (strstr(err.text, "too ") == NULL)
            abort();
        return;
    }
    if (!json_equal(v, again))
        abort();
    json_decref(again);
}

static void locate(const struct fl_doc_source *src, const json_t *v, struct fl_path_part *path,
                   size_t n)
{
    struct fl_text_place at = fl_doc_source_locate(src, path, n);
    const char *key;
    json_t *member;

    if (at.line < 1 || at.column < 1)
        abort();
    if (n == 4)
        return;
    json_object_foreach((json_t *)v, key, member)
    {
        path[n] = (struct fl_path_part){ .key = key };
        locate(src, member, path, n + 1);
        break;
    }
    if (json_array_size(v) > 0) {
        path[n] = (struct fl_path_part){ .index = json_array_size(v) - 1 };
        locate(src, json_array_get(v, json_array_size(v) - 1), path, n + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int format = FL_DOC_JSON; format <= FL_DOC_YAML; format++) {
        struct fl_doc_source src = { format, (const char *)data, size };
        struct fl_path_part path[4];
        struct fl_err err = { 0 };
        json_t *v = NULL;

        if (fl_doc_source_load(&src, &v, &err) < 0) {
            if (v || !err.text[0])
                abort();
            fl_doc_source_locate(&src, path, 0);
            continue;
        }
        same_after_writing(v);
        locate(&src, v, path, 0);
        json_decref(v);
    }
    return 0;
}
