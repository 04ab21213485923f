/* Requests and answers of every operation. The first byte picks the operation ('0' is the first),
 * the second what follows: 'i' a request in JSON, 'f' one as a form, 'o' an answer in JSON, as a
 * client reads it. What decodes is checked against the model, encodes, and decodes to the same. */
#include <string.h>
#include "common/codec/form.h"
#include "common/codec/xml.h"
#include "server/call.h"
#include "server/pattern.h"
#include "tests/fuzz/pick_op.h"

#define TEXT_MAX_BYTES (1 << 24)
#define MAX_NESTING    6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* JSON text of what the model may also judge. */
static void put_json(const struct fl_shape *shape, const void *msg, struct fl_buf *text)
{
    struct fl_err verdict = { 0 };

    if (fl_shape_check(shape, msg, fl_pattern_match, NULL, &verdict) < 0 && !verdict.text[0])
        abort();
    if (fl_json_encode(shape, msg, text) < 0)
        abort();
}

/* Only what has its required members can be packed. */
static void check_packed(const struct fl_shape *shape, const void *msg)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_CALL_ARENA_BYTES);
    fl_autobuf struct fl_buf once = FL_BUF(TEXT_MAX_BYTES), twice = FL_BUF(TEXT_MAX_BYTES);
    void *again = fl_arena_alloc(&arena, shape->size);

    if (fl_pack_encode(shape, msg, &once) < 0 ||
        fl_pack_decode(shape, once.data, once.len, &arena, again) < 0 ||
        fl_pack_encode(shape, again, &twice) < 0 || once.len != twice.len ||
        (once.len && memcmp(once.data, twice.data, once.len) != 0))
        abort();
}

/* Members that are always written appear in the first text, those of such structures in the next,
 * and so on; then it stays. */
static void check_json(const struct fl_shape *shape, const void *msg)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_CALL_ARENA_BYTES);
    fl_autobuf struct fl_buf text = FL_BUF(TEXT_MAX_BYTES);
    void *again = fl_arena_alloc(&arena, shape->size);

    put_json(shape, msg, &text);
    for (int round = 0; round < MAX_NESTING; round++) {
        fl_autobuf struct fl_buf next = FL_BUF(TEXT_MAX_BYTES);

        if (fl_json_decode(shape, text.data, text.len, FL_DECODE_LAX, &arena, again, NULL) < 0)
            abort();
        put_json(shape, again, &next);
        if (strcmp(text.data, next.data) == 0) {
            if (fl_json_decode(shape, text.data, text.len, 0, &arena, again, NULL) == 0)
                check_packed(shape, again);
            return;
        }
        fl_buf_reset(&text);
        if (fl_buf_puts(&text, next.data) < 0)
            abort();
    }
    abort();
}

static void check_xml(const struct fl_shape *shape, const void *msg)
{
    fl_autobuf struct fl_buf xml = FL_BUF(TEXT_MAX_BYTES);

    if (fl_xml_encode(shape, msg, &xml) < 0)
        abort();
    for (size_t i = 0; i < xml.len; i++)
        if ((uint8_t)xml.data[i] < ' ' && !strchr("\t\r\n", xml.data[i]))
            abort();
}

static int decode_form(const struct fl_shape *shape, const char *text, size_t len,
                       struct fl_arena *arena, void *msg, struct fl_err *err)
{
    struct fl_form form;
    int r = fl_form_parse(text, len, arena, &form, err);

    return r < 0 ? r : fl_form_decode(shape, &form, FL_DECODE_LAX, arena, msg, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(FL_CALL_ARENA_BYTES);
    const struct fl_shape *shape;
    const struct fl_op *op;
    struct fl_err err = { 0 };
    const char *text;
    void *msg;
    int r;

    if (size < 2)
        return 0;
    op = pick_op(data[0]);
    shape = data[1] == 'o' ? op->out : op->in;
    text = (const char *)data + 2;
    msg = fl_arena_alloc(&arena, shape->size);
    r = data[1] == 'f' ? decode_form(shape, text, size - 2, &arena, msg, &err)
                       : fl_json_decode(shape, text, size - 2, FL_DECODE_LAX, &arena, msg, &err);
    if (r < 0) {
        if (!err.text[0])
            abort();
        return 0;
    }
    check_json(shape, msg);
    if (data[1] == 'f')
        check_xml(shape, msg);
    return 0;
}
