#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/base/rand.h"
#include "common/aws/crypto.h"
#include "common/wire/agentmessage.h"
#include "tests/vectors/vectors.h"

static json_t *vectors;

static int setup(void **state)
{
    vectors = vectors_load("tests/vectors/frames.json");
    return 0;
}

static int teardown(void **state)
{
    json_decref(vectors);
    return 0;
}

static json_int_t number(const json_t *row, const char *key)
{
    const json_t *v = json_object_get(row, key);

    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void check_fields(const struct fl_frame *f, const json_t *row)
{
    char id[FL_UUID_BYTES];

    assert_string_equal(f->type, vectors_str(row, "type"));
    assert_int_equal(f->schema_version, number(row, "schema_version"));
    assert_int_equal(f->created_ms, number(row, "created_ms"));
    assert_int_equal(f->sequence, number(row, "sequence"));
    assert_int_equal(f->flags, number(row, "flags"));
    assert_int_equal(f->payload_type, number(row, "payload_type"));
    fl_uuid_format(f->message_id, id);
    assert_string_equal(id, vectors_str(row, "message_id"));
    assert_int_equal(f->payload_len, strlen(vectors_str(row, "payload")));
    assert_memory_equal(f->payload, vectors_str(row, "payload"), f->payload_len);
}

static void vectors_hold(void **state)
{
    for (size_t i = 0; i < json_array_size(vectors); i++) {
        const json_t *row = json_array_get(vectors, i);
        size_t len = strlen(vectors_str(row, "frame")) / 2;
        fl_autofree char *wire = malloc(len ? len : 1); /* its exact size, for sanitizers */
        fl_autobuf struct fl_buf out = FL_BUF(4096);
        struct fl_frame f;
        struct fl_err err = { 0 };

        print_message("  %s\n", vectors_str(row, "name"));
        assert_int_equal(fl_hex_decode(vectors_str(row, "frame"), wire, len), 0);
        if (!json_is_true(json_object_get(row, "valid"))) {
            assert_int_equal(fl_frame_decode(wire, len, &f, &err), -EBADMSG);
            assert_true(err.text[0] != '\0');
            continue;
        }
        assert_int_equal(fl_frame_decode(wire, len, &f, &err), 0);
        check_fields(&f, row);
        assert_int_equal(fl_frame_encode(&f, &out), 0);
        assert_int_equal(out.len, len);
        if (json_is_true(json_object_get(row, "canonical")))
            assert_memory_equal(out.data, wire, len);
    }
}

static void unencodable_frames_are_refused(void **state)
{
    struct fl_frame f = { .type = "x", .created_ms = 1, .payload = "p", .payload_len = 1 };
    fl_autobuf struct fl_buf out = FL_BUF(200);

    assert_int_equal(fl_frame_encode(&f, &out), 0);
    assert_int_equal(fl_frame_encode(&f, &out), -EMSGSIZE);
    assert_int_equal(out.len, 121);
    f.created_ms = 0;
    assert_int_equal(fl_frame_encode(&f, &out), -EINVAL);
    f.created_ms = 1;
    f.type[0] = '\0';
    assert_int_equal(fl_frame_encode(&f, &out), -EINVAL);
    memset(f.type, 'x', sizeof(f.type));
    assert_int_equal(fl_frame_encode(&f, &out), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_hold),
        cmocka_unit_test(unencodable_frames_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
