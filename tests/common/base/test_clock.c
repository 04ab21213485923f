#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <cmocka.h>
#include "common/base/clock.h"

static const struct {
    const char *text;
    int r;
    int64_t ms;
} iso[] = {
    { "2026-01-02T03:04:05.678Z", 0, 1767323045678 },
    { "2026-01-02T03:04:05Z", 0, 1767323045000 },
    { "2026-01-02T03:04:05.123456789Z", 0, 1767323045123 },
    { "2026-01-02T03:04:05.1Z", 0, 1767323045100 },
    { "2026-01-02T04:04:05+01:00", 0, 1767323045000 },
    { "2026-01-02T02:34:05-0030", 0, 1767323045000 },
    { "2026-01-02", 0, 1767312000000 },
    { "1970-01-01T00:00:00Z", 0, 0 },
    { "2024-02-29T00:00:00Z", 0, 1709164800000 },
    { "2023-02-29T00:00:00Z", -EINVAL, 0 },
    { "2026-13-01", -EINVAL, 0 },
    { "2026-01-02T24:00:00Z", -EINVAL, 0 },
    { "2026-01-02T03:04:05", -EINVAL, 0 },
    { "2026-01-02T03:04:05.Z", -EINVAL, 0 },
    { "2026-01-02T03:04:05Zx", -EINVAL, 0 },
    { "2026-01-02T03:04:05+1", -EINVAL, 0 },
    { "", -EINVAL, 0 },
    /* the edges of what four digits can write, and over them by a zone or a leap second */
    { "0000-01-01T00:00:00Z", 0, -62167219200000 },
    { "9999-12-31T23:59:59.999Z", 0, 253402300799999 },
    { "0000-01-01T00:00:00+00:01", -EINVAL, 0 },
    { "9999-12-31T23:59:00-00:01", -EINVAL, 0 },
    { "9999-12-31T23:59:60Z", -EINVAL, 0 },
};

static void parses_iso(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(iso); i++) {
        int64_t ms = 0;

        assert_int_equal(fl_time_parse_iso(iso[i].text, &ms), iso[i].r);
        assert_int_equal(ms, iso[i].ms);
    }
}

static void formats(void **state)
{
    char text[FL_ISO_BYTES], compact[FL_COMPACT_BYTES];
    int64_t ms;

    fl_time_iso(1767323045678, false, text);
    assert_string_equal(text, "2026-01-02T03:04:05.678Z");
    fl_time_iso(0, true, text);
    assert_string_equal(text, "0001-01-01T00:00:00.000Z");
    fl_time_iso_seconds(1767323045678, text);
    assert_string_equal(text, "2026-01-02T03:04:05Z");
    fl_time_compact(1767323045678, compact);
    assert_string_equal(compact, "20260102T030405Z");
    assert_int_equal(fl_time_parse_compact(compact, &ms), 0);
    assert_int_equal(ms, 1767323045000);
    assert_int_equal(fl_time_parse_compact("20260102T030405", &ms), -EINVAL);
    assert_int_equal(fl_time_parse_compact("20260102030405Z", &ms), -EINVAL);
    assert_int_equal(fl_time_parse_compact("", &ms), -EINVAL);
}

static const struct {
    int64_t ms;
    const char *iso, *seconds, *compact;
} edges[] = {
    { -1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z", "19691231T235959Z" },
    { -62135596800000, "0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z", "00010101T000000Z" },
    { -62167219200001, "0000-01-01T00:00:00.000Z", "0000-01-01T00:00:00Z", "00000101T000000Z" },
    { INT64_MIN, "0000-01-01T00:00:00.000Z", "0000-01-01T00:00:00Z", "00000101T000000Z" },
    { 253402300800000, "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "99991231T235959Z" },
    { INT64_MAX, "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59Z", "99991231T235959Z" },
};

static void formats_every_time(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(edges); i++) {
        char text[FL_ISO_BYTES], compact[FL_COMPACT_BYTES];

        fl_time_iso(edges[i].ms, false, text);
        assert_string_equal(text, edges[i].iso);
        fl_time_iso_seconds(edges[i].ms, text);
        assert_string_equal(text, edges[i].seconds);
        fl_time_compact(edges[i].ms, compact);
        assert_string_equal(compact, edges[i].compact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(parses_iso), cmocka_unit_test(formats),
                                        cmocka_unit_test(formats_every_time) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
