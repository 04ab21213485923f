#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "common/net/chunked.h"

#define MAX_BYTES 32

static const struct {
    const char *in;
    int want; /* 1 complete, 0 not yet, or the error */
    const char *body;
    size_t left; /* bytes behind the body, not used */
} cases[] = {
    { "0\r\n\r\n", 1, "", 0 },
    { "5\r\nhello\r\n0\r\n\r\n", 1, "hello", 0 },
    { "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET", 1, "hello world", 3 },
    { "A\r\n0123456789\r\n0\r\n\r\n", 1, "0123456789", 0 },
    { "a;name=value\r\n0123456789\r\n000\r\n\r\n", 1, "0123456789", 0 },
    { "1\r\nx\r\n0\r\nTrailer: y\r\nOther: z\r\n\r\n", 1, "x", 0 },
    { "", 0, "", 0 },
    { "5\r\nhel", 0, "hel", 0 },
    { "5\r\nhello\r\n0\r\n", 0, "hello", 0 },
    { "5\nhello\r\n0\r\n\r\n", -EINVAL, "", 0 }, /* LF alone */
    { " 5\r\nhello\r\n", -EINVAL, "", 0 },       /* a blank before the size */
    { "5 \r\nhello\r\n", -EINVAL, "", 0 },       /* and behind */
    { "\r\n", -EINVAL, "", 0 },                  /* no size */
    { "0x5\r\nhello\r\n", -EINVAL, "", 0 },      /* not C */
    { "-1\r\n", -EINVAL, "", 0 },                /* not signed */
    { "5\r\nhelloworld", -EINVAL, "hello", 0 },  /* longer than announced */
    { "5\r\nhello\n", -EINVAL, "hello", 0 },
    { "0\r\nTrailer\n\r\n", -EINVAL, "", 0 },
    { "ffffffffffffffff\r\n", -EMSGSIZE, "", 0 },                    /* 16 digits */
    { "21\r\n123456789012345678901234567890123", -EMSGSIZE, "", 0 }, /* 33 bytes, over MAX_BYTES */
};

static int feed(const char *in, size_t step, struct fl_buf *out, size_t *ret_used)
{
    struct fl_chunked c;
    size_t at = 0, len = strlen(in);
    int r = 0;

    fl_chunked_init(&c);
    while (r == 0 && at < len) {
        size_t used = 0;

        r = fl_chunked_feed(&c, in + at, FL_MIN(step, len - at), out, &used);
        at += used;
    }
    *ret_used = at;
    return r;
}

static void bodies(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        for (size_t step = 1; step < 40; step += 13) {
            struct fl_buf out;
            size_t used = 0;

            fl_buf_init(&out, MAX_BYTES);
            assert_int_equal(feed(cases[i].in, step, &out, &used), cases[i].want);
            if (cases[i].want >= 0) {
                assert_string_equal(out.data ? out.data : "", cases[i].body);
                assert_int_equal(strlen(cases[i].in) - used, cases[i].left);
            }
            fl_buf_done(&out);
        }
    }
}

static void endless_extras_end(void **state)
{
    struct fl_buf out;
    struct fl_chunked c;
    size_t used;
    int r;

    fl_buf_init(&out, MAX_BYTES);
    fl_chunked_init(&c);
    assert_int_equal(fl_chunked_feed(&c, "0\r\n", 3, &out, &used), 0);
    for (int i = 0; (r = fl_chunked_feed(&c, "a: b\r\n", 6, &out, &used)) == 0; i++)
        assert_true(i < FL_CHUNKED_EXTRA_MAX_BYTES);
    assert_int_equal(r, -EMSGSIZE);
    fl_buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),
        cmocka_unit_test(endless_extras_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
