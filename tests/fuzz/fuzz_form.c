/* A form body: keys come out sorted and unique, and decode through a shape of every kind. */
#include <string.h>
#include "common/codec/form.h"
#include "common/codec/xml.h"
#include "tests/common/codec/sample.h"
#include "tests/common/codec/sample.inc"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 21);
    fl_autobuf struct fl_buf xml = FL_BUF(1 << 24);
    struct fl_form form;
    struct sample s;
    struct fl_err err;

    if (fl_form_parse((const char *)data, size, &arena, &form, &err) < 0)
        return 0;
    for (size_t i = 0; i < form.n; i++) {
        if (i > 0 && strcmp(form.v[i - 1].key, form.v[i].key) >= 0)
            abort();
        if (fl_form_get(&form, form.v[i].key) != form.v[i].value)
            abort();
    }
    if (fl_form_decode(&sample_shape, &form, FL_DECODE_LAX, &arena, &s, &err) == 0 &&
        fl_xml_encode(&sample_shape, &s, &xml) < 0)
        abort();
    return 0;
}
