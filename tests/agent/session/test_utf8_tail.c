/* Output that is cut in the middle of characters: all of it arrives, and no piece ends in one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "agent/session/utf8_tail.h"

static size_t feed(struct fl_utf8_tail *t, const char *data, size_t len, char *out)
{
    struct iovec pieces[2];
    size_t n = fl_utf8_tail_cut(t, data, len, pieces), sum = 0;

    for (size_t i = 0; i < n; i++) {
        memcpy(out + sum, pieces[i].iov_base, pieces[i].iov_len);
        sum += pieces[i].iov_len;
    }
    fl_utf8_tail_keep(t, data, len);
    return sum;
}

static void tails(void **state)
{
    static const struct {
        const char *data;
        size_t kept;
    } cases[] = {
        { "abc", 0 },
        { "a\xc3", 1 },
        { "a\xc3\xa4", 0 },
        { "\xe2\x82", 2 },
        { "\xe2", 1 },
        { "\xe2\x82\xac", 0 },
        { "\xf0\x9f\x98", 3 },
        { "\xf0\x9f\x98\x80", 0 },
        { "\x80\x80\x80", 0 }, /* no character begins here */
        { "\x80\x80\x80\x80", 0 },
        { "\xff", 0 },
        { "\xc0", 0 }, /* begins none that is allowed */
        { "\xc3\xc3", 1 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_utf8_tail t = { .len = 0 };
        size_t len = strlen(cases[i].data);
        char out[16];

        assert_int_equal(feed(&t, cases[i].data, len, out), len - cases[i].kept);
        assert_int_equal(t.len, cases[i].kept);
        assert_memory_equal(t.bytes, cases[i].data + len - cases[i].kept, cases[i].kept);
    }
}

/* In pieces of every size; with noise in it. */
static void nothing_is_lost(void **state)
{
    static const char text[] =
        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac\xff\x80\xf0\x9f\x98\x80\xe2\x82x\xf0"
        "end";

    for (size_t step = 1; step < sizeof(text); step++) {
        struct fl_utf8_tail t = { .len = 0 };
        char out[sizeof(text)];
        size_t n = 0;

        for (size_t at = 0; at < sizeof(text) - 1; at += step)
            n += feed(&t, text + at, FL_MIN(step, sizeof(text) - 1 - at), out + n);
        assert_int_equal(n + t.len, sizeof(text) - 1);
        assert_memory_equal(out, text, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tails),
                                        cmocka_unit_test(nothing_is_lost) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
