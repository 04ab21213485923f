#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include "common/codec/codec.h"
#include "tests/common/codec/sample.h"
#include "tests/common/codec/sample.inc"

static struct fl_arena arena;
static struct fl_buf buf;
static struct fl_err err;

static int setup(void **state)
{
    fl_arena_init(&arena, 1 << 20);
    fl_buf_init(&buf, 1 << 20);
    err = (struct fl_err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    fl_arena_done(&arena);
    fl_buf_done(&buf);
    return 0;
}

static const char full[] =
    "{\"Name\":\"Zo\xc3\xab\",\"On\":true,\"Small\":-5,\"Big\":9007199254740993,\"Ratio\":0.5,"
    "\"Maybe\":0,\"Flag\":false,\"When\":1700000000.123,\"Raw\":{\"a\":[1,null]},"
    "\"List\":[\"x\",\"\"],\"Map\":{\"k\":\"v\"},\"Lists\":{\"c\":[\"1\",\"2\"]},"
    "\"Counts\":{\"Success\":3},\"One\":{\"Key\":\"a\",\"Value\":\"b\"},"
    "\"Tags\":[{\"Key\":\"c\",\"Value\":\"\"}]}";

static int decode(const char *text, unsigned flags, struct sample *out)
{
    return fl_json_decode(&sample_shape, text, strlen(text), flags, &arena, out, &err);
}

static void json_round_trip(void **state)
{
    struct sample s;

    assert_int_equal(decode(full, 0, &s), 0);
    assert_int_equal(s.when.ms, 1700000000123);
    assert_int_equal(s.big, 9007199254740993);
    assert_true(s.maybe.set);
    assert_true(s.flag.set);
    assert_int_equal(s.n_tags, 1);
    assert_string_equal(s.lists.v[0].values.v[1], "2");
    assert_int_equal(fl_json_encode(&sample_shape, &s, &buf), 0);
    assert_string_equal(buf.data, full);
}

static void pack_round_trip(void **state)
{
    struct sample s, back;
    struct fl_buf json;

    assert_int_equal(decode(full, 0, &s), 0);
    assert_int_equal(fl_pack_encode(&sample_shape, &s, &buf), 0);
    assert_int_equal(fl_pack_decode(&sample_shape, buf.data, buf.len, &arena, &back), 0);
    fl_buf_init(&json, 1 << 20);
    assert_int_equal(fl_json_encode(&sample_shape, &back, &json), 0);
    assert_string_equal(json.data, full);
    fl_buf_done(&json);
    for (size_t n = 0; n < buf.len; n++) /* every shorter input is refused */
        assert_int_equal(fl_pack_decode(&sample_shape, buf.data, n, &arena, &back), -EBADMSG);
    fl_buf_append(&buf, "x", 1);
    assert_int_equal(fl_pack_decode(&sample_shape, buf.data, buf.len, &arena, &back), -EBADMSG);
}

static const struct {
    const char *text;
    int r;
    const char *says;
} bad[] = {
    { "", -EBADMSG, "not valid JSON" },
    { "[]", -EBADMSG, "Sample: not a JSON object" },
    { "{\"Name\":\"a\"", -EBADMSG, "line 1" },
    { "{}", -EINVAL, "Sample.Name: missing" },
    { "{\"Name\":null}", -EINVAL, "Sample.Name: missing" },
    { "{\"Name\":1}", -EINVAL, "Sample.Name: must be a string" },
    { "{\"Name\":\"a\",\"On\":1}", -EINVAL, "Sample.On: must be true or false" },
    { "{\"Name\":\"a\",\"Small\":3000000000}", -EINVAL, "Sample.Small: must be an integer of 32" },
    { "{\"Name\":\"a\",\"Big\":1.5}", -EINVAL, "Sample.Big: must be an integer" },
    { "{\"Name\":\"a\",\"When\":\"2026-01-01\"}", -EINVAL, "Sample.When: must be a timestamp" },
    { "{\"Name\":\"a\",\"When\":1e300}", -EINVAL, "Sample.When: must be a timestamp" },
    { "{\"Name\":\"a\",\"List\":[1]}", -EINVAL, "Sample.List: must be a list of strings" },
    { "{\"Name\":\"a\",\"Lists\":{\"c\":\"x\"}}", -EINVAL, "Sample.Lists: must be a list of" },
    { "{\"Name\":\"a\",\"Tags\":{}}", -EINVAL, "Sample.Tags: must be a list" },
    { "{\"Name\":\"a\",\"Tags\":[{\"Key\":\"x\"}]}", -EINVAL, "Tag.Value: missing" },
};

/* A text that is no JSON may hold a secret: where it breaks is told, not what stands there. */
static void wrong_json_is_not_quoted(void **state)
{
    static const char *const texts[] = { "{\"Name\":\"hunter2", "{\"Name\":hunter2}",
                                         "{\"Name\":\"hunter2\" 1}", "hunter2" };

    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++) {
        struct sample s;

        assert_int_equal(decode(texts[i], 0, &s), -EBADMSG);
        assert_non_null(strstr(err.text, "line 1"));
        assert_null(strstr(err.text, "hunter2"));
    }
}

static void wrong_json_is_named(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct sample s;

        assert_int_equal(decode(bad[i].text, 0, &s), bad[i].r);
        assert_non_null(strstr(err.text, bad[i].says));
    }
}

/* Go's decoder makes an empty element of null; others refuse it. */
static void elements_that_are_null(void **state)
{
    static const char *const texts[] = {
        "{\"Name\":\"\",\"List\":[\"a\",null]}",
        "{\"Name\":\"\",\"Map\":{\"k\":null}}",
        "{\"Name\":\"\",\"Lists\":{\"k\":null}}",
        "{\"Name\":\"\",\"Counts\":{\"k\":null}}",
    };
    struct sample s;

    for (size_t i = 0; i < FL_ARRAY_LEN(texts); i++)
        assert_int_equal(decode(texts[i], 0, &s), -EINVAL);
    assert_int_equal(decode(texts[0], FL_DECODE_NOCASE, &s), 0);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(s.list.v[1], "");
    assert_int_equal(decode(texts[1], FL_DECODE_NOCASE, &s), 0);
    assert_string_equal(s.map.v[0].value, "");
    assert_int_equal(decode(texts[2], FL_DECODE_NOCASE, &s), 0);
    assert_int_equal(s.lists.n, 1);
    assert_int_equal(s.lists.v[0].values.n, 0);
    assert_int_equal(decode(texts[3], FL_DECODE_NOCASE, &s), 0);
    assert_int_equal(s.counts.v[0].value, 0);
}

static void lenient_forms(void **state)
{
    struct sample s;

    assert_int_equal(decode("{\"NAME\":\"a\",\"unknown\":[[]],\"wHen\":1e3}", FL_DECODE_NOCASE, &s),
                     0);
    assert_string_equal(s.name, "a");
    assert_int_equal(s.when.ms, 1000000);
    assert_int_equal(decode("{\"Name\":\"a\",\"NAME\":\"b\"}", FL_DECODE_NOCASE, &s), 0);
    assert_string_equal(s.name, "b"); /* the last, however it is written */
    assert_int_equal(decode("{\"Name\":\"a\",\"Name\":\"b\",\"Big\":2.0}", 0, &s), 0);
    assert_string_equal(s.name, "b"); /* the last of duplicate keys */
    assert_int_equal(s.big, 2);
    assert_int_equal(decode("{\"On\":null}", FL_DECODE_LAX, &s), 0);
    assert_int_equal(decode("{\"Name\":\"a\\u0000b\"}", 0, &s), 0);
    assert_string_equal(s.name, "a\xef\xbf\xbd"
                                "b");
}

struct blob {
    char *data;
    size_t len;
    char *after;
};
static const struct fl_field blob_fields[] = {
    FL_FIELD_BYTES(struct blob, data, len, "data", 0),
    FL_FIELD(struct blob, after, "after", 0),
};
static const struct fl_shape blob_shape = FL_SHAPE(struct blob, "blob", blob_fields);

static void packed_bytes_may_be_any(void **state)
{
    static const struct blob blobs[] = { { "a\0\xff", 3, "x" }, { "", 0, "x" }, { NULL, 0, "x" } };
    struct blob back;

    for (size_t i = 0; i < FL_ARRAY_LEN(blobs); i++) {
        fl_buf_reset(&buf);
        assert_int_equal(fl_pack_encode(&blob_shape, &blobs[i], &buf), 0);
        for (size_t n = 0; n < buf.len; n++)
            assert_int_equal(fl_pack_decode(&blob_shape, buf.data, n, &arena, &back), -EBADMSG);
        assert_int_equal(fl_pack_decode(&blob_shape, buf.data, buf.len, &arena, &back), 0);
        assert_int_equal(back.len, blobs[i].len);
        assert_true(!back.data == !blobs[i].data);
        if (back.data)
            assert_memory_equal(back.data, blobs[i].data, back.len + 1);
        assert_string_equal(back.after, "x");
    }
}

static void arena_limit_holds(void **state)
{
    struct fl_arena tight;
    struct sample s;

    fl_arena_init(&tight, 64);
    assert_int_equal(fl_json_decode(&sample_shape, full, strlen(full), 0, &tight, &s, &err),
                     -EMSGSIZE);
    fl_arena_done(&tight);
}

static const struct {
    const char *in;
    size_t len;
    const char *want;
} quoted[] = {
    { "a\"\\\n\t\r\x01", 7, "\"a\\\"\\\\\\n\\t\\r\\u0001\"" },
    { "\0x", 2, "\"\\u0000x\"" },
    { "\xff\xc3", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" }, /* invalid lead, cut sequence */
    { "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" }, /* overlong */
    { "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
    { "\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"" },
    { "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
};

static void strings_are_always_valid_utf8(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(quoted); i++) {
        fl_buf_reset(&buf);
        assert_int_equal(fl_json_quote(&buf, quoted[i].in, quoted[i].len), 0);
        assert_string_equal(buf.data, quoted[i].want);
    }
}

static const struct {
    int64_t ms;
    const char *want;
} times[] = {
    { 1700000000000, "{\"Name\":\"a\",\"When\":1700000000.0}" },
    { 1700000000120, "{\"Name\":\"a\",\"When\":1700000000.12}" },
    { 1700000000001, "{\"Name\":\"a\",\"When\":1700000000.001}" },
    { 5, "{\"Name\":\"a\",\"When\":0.005}" },
    { 0, "{\"Name\":\"a\"}" },
};

static void timestamps_are_seconds(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(times); i++) {
        struct sample s = { .name = (char *)"a", .when.ms = times[i].ms };

        fl_buf_reset(&buf);
        assert_int_equal(fl_json_encode(&sample_shape, &s, &buf), 0);
        assert_string_equal(buf.data, times[i].want);
    }
}

static const struct {
    const char *json, *want;
} checks[] = {
    { "{\"Name\":\"alpha\",\"Maybe\":50}", NULL },
    { "{}",
      "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member "
      "must not be null" },
    { "{\"Name\":\"alpha\",\"Maybe\":51}", "1 validation error detected: Value '51' at 'maybe' "
                                           "failed to satisfy constraint: Member must "
                                           "have value less than or equal to 50" },
    { "{\"Name\":\"x\",\"Maybe\":0}",
      "2 validation errors detected: Value 'x' at 'name' failed to satisfy constraint: Member must "
      "satisfy enum value set: [alpha, beta, Zo\xc3\xab]; Value '0' at 'maybe' failed to satisfy "
      "constraint: Member must have value greater than or equal to 1" },
    { "{\"Name\":\"beta\",\"Tags\":[{\"Key\":\"\",\"Value\":\"secret\"}]}",
      "2 validation errors detected: Value '' at 'tags.1.member.key' failed to satisfy constraint: "
      "Member must have length greater than or equal to 1; Value '****' at 'tags.1.member.value' "
      "failed to satisfy constraint: Member must have length less than or equal to 4" },
    { "{\"Name\":\"beta\",\"List\":[\"ok\",\"ok\",\"ok\"]}",
      "1 validation error detected: Value '[\xe2\x80\xa6]' at 'list' failed to satisfy constraint: "
      "Member must have length less than or equal to 2" },
    { "{\"Name\":\"beta\",\"List\":[\"\xc3\xa9\"]}",
      "1 validation error detected: Value '\xc3\xa9' at 'list.1.member' failed to satisfy "
      "constraint: Member must have length greater than or equal to 2" },
    { "{\"Name\":\"beta\",\"Map\":{\"long\":\"\"}}",
      "1 validation error detected: Value 'long' at 'map.long.member' failed to satisfy "
      "constraint: "
      "Member must have length less than or equal to 3" },
};

static void constraints_speak_as_aws_does(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(checks); i++) {
        struct sample s;

        assert_int_equal(decode(checks[i].json, FL_DECODE_LAX, &s), 0);
        if (!checks[i].want) {
            assert_int_equal(fl_shape_check(&sample_shape, &s, NULL, NULL, &err), 0);
            continue;
        }
        assert_int_equal(fl_shape_check(&sample_shape, &s, NULL, NULL, &err), -EINVAL);
        assert_string_equal(err.text, checks[i].want);
        assert_string_equal(err.name, "ValidationException");
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(json_round_trip),
        T(pack_round_trip),
        T(packed_bytes_may_be_any),
        T(wrong_json_is_named),
        T(wrong_json_is_not_quoted),
        T(lenient_forms),
        T(elements_that_are_null),
        T(arena_limit_holds),
        T(strings_are_always_valid_utf8),
        T(timestamps_are_seconds),
        T(constraints_speak_as_aws_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
