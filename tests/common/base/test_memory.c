#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"

static void arena_stops_at_its_limit(void **state)
{
    struct fl_arena a;
    size_t got = 0;

    fl_arena_init(&a, 10000);
    while (fl_arena_alloc(&a, 100))
        got += 112; /* rounded up to the alignment */
    assert_in_range(got, 9800, 10000);
    assert_null(fl_arena_alloc(&a, SIZE_MAX));
    assert_null(fl_arena_calloc(&a, SIZE_MAX / 2, 4));
    assert_null(fl_arena_memdup(&a, "", SIZE_MAX));
    fl_arena_done(&a);
    assert_int_equal(a.used_bytes, 0);
}

static void arena_memory_is_zeroed_and_aligned(void **state)
{
    struct fl_arena a;

    fl_arena_init(&a, 1 << 20);
    for (size_t n = 0; n < 3000; n += 7) {
        char *p = fl_arena_alloc(&a, n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_string_equal(fl_arena_printf(&a, "%s-%d", "x", 7), "x-7");
    assert_null(fl_arena_strdup(&a, NULL));
    fl_arena_done(&a);
}

static void buffer_keeps_its_limit(void **state)
{
    struct fl_buf b;

    fl_buf_init(&b, 10);
    assert_int_equal(fl_buf_puts(&b, "12345678"), 0);
    assert_int_equal(fl_buf_puts(&b, "abc"), -EMSGSIZE);
    assert_string_equal(b.data, "12345678");
    assert_int_equal(fl_buf_printf(&b, "%d", 90), 0);
    assert_string_equal(b.data, "1234567890");
    assert_int_equal(fl_buf_append(&b, "x", 1), -EMSGSIZE);
    assert_int_equal(fl_buf_reserve(&b, SIZE_MAX), -EMSGSIZE);
    fl_buf_consume(&b, 4);
    assert_string_equal(b.data, "567890");
    fl_buf_consume(&b, 400);
    assert_string_equal(b.data, "");
    fl_buf_done(&b);
}

static void taken_buffer_is_a_string(void **state)
{
    struct fl_buf b;
    size_t len = 1;
    char *p;

    fl_buf_init(&b, 10);
    p = fl_buf_take(&b, &len);
    assert_string_equal(p, "");
    assert_int_equal(len, 0);
    free(p);
}

static void error_text_is_cut_between_characters(void **state)
{
    struct fl_err err = { 0 };
    char text[FL_ERR_TEXT_BYTES + 8];

    memset(text, 'a', sizeof(text));
    memcpy(text + FL_ERR_TEXT_BYTES - 2, "\xc3\xa9\xc3\xa9", 5); /* é over the edge */
    assert_int_equal(fl_err_set(&err, -EIO, "Name", "%s", text), -EIO);
    assert_int_equal(strlen(err.text), FL_ERR_TEXT_BYTES - 2);
    assert_string_equal(err.name, "Name");
    assert_int_equal(fl_err_set(NULL, -EIO, NULL, "x"), -EIO);
    assert_string_equal(fl_err_text(NULL), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_stops_at_its_limit),
        cmocka_unit_test(arena_memory_is_zeroed_and_aligned),
        cmocka_unit_test(buffer_keeps_its_limit),
        cmocka_unit_test(taken_buffer_is_a_string),
        cmocka_unit_test(error_text_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
