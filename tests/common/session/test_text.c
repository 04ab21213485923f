/* Lines out of terminal output and typed keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/session/text.h"

static void add(void *arg, const char *line, size_t len)
{
    fl_buf_append(arg, line, len);
    fl_buf_puts(arg, "|");
}

typedef void (*feed_fn)(struct fl_text *, const void *, size_t, fl_text_line_fn, void *);

/* Whole, and a byte at a time: the same lines. */
static void check(feed_fn feed, const char *in, size_t len, const char *want)
{
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        fl_autobuf struct fl_buf out = FL_BUF(1 << 20);
        struct fl_text t = { 0 };

        fl_buf_puts(&out, "");
        for (size_t i = 0; bytewise && i < len; i++)
            feed(&t, in + i, 1, add, &out);
        if (!bytewise)
            feed(&t, in, len, add, &out);
        fl_text_flush(&t, add, &out);
        assert_string_equal(out.data ? out.data : "", want);
        fl_text_done(&t);
    }
}

static const struct {
    const char *in, *want;
} shown[] = {
    { "hello\r\nworld\r\n", "hello|world|" },
    { "no end", "no end|" },
    { "\x1b[1;31mred\x1b[0m text\r\n", "red text|" },
    { "\x1b]0;a title\x07$ ls\r\n", "$ ls|" },
    { "\x1b]0;a title\x1b\\$ ls\r\n", "$ ls|" },
    { "\x1bP1$r0m\x1b\\x\n", "x|" },
    { "\x1b(B\x1b)0x\x1b=\x1b>\n", "x|" },
    { "rn\b \bm -rf /\n", "rm -rf /|" },
    { "abc\x1b[2D\x1b[KX\n", "aX|" },
    { "abc\rxyz\n", "xyz|" },
    { "abcdef\r\x1b[2P\n", "cdef|" },
    { "cdef\r\x1b[2@ab\n", "abcdef|" },
    { "a\x1b[5Cb\n", "a     b|" },
    { "a\tb\n", "a       b|" },
    { "one\x1b[2;1Htwo\x1b[Jthree\n", "one|two|three|" },
    { "trailing   \n", "trailing|" },
    { "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\n",
      "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80|" },
    { "bad\xff\xc3(\xe2\x82\n", "bad\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd|" },
    { "over\xc0\xaflong \xed\xa0\x80\n", "over\xef\xbf\xbdlong \xef\xbf\xbd|" },
    { "cut\xe2\x1b[31m!\n", "cut\xef\xbf\xbd!|" },
    { "\x1b[?1049h\x1b[31;99999999999;1mx\x1b[?1049l\n", "x|" },
    { "bell\x07 and \x01\x02\x03 controls\n", "bell and  controls|" },
    { "stopped\x1b[3\x18 sequence\n", "stopped sequence|" },
    /* a title that never ends hides its own line only */
    { "a\x1b]0;b\nc\r\n\x1bPd\r\ne\x1b_f\x1b\\g\n", "a|c||eg|" },
};

static void what_a_terminal_was_sent(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
        check(fl_text_output, shown[i].in, strlen(shown[i].in), shown[i].want);
}

static const struct {
    const char *in, *want;
} typed[] = {
    { "ls -l\r", "ls -l|" },
    { "rn\x7fm x\r", "rm x|" },
    { "nonsense\x15ls\r", "ls|" },
    { "one two\x17three\r", "one three|" },
    { "password\x03ls\r", "ls|" },
    { "\x1b[A\x1bOB\x1b[1;5Cls\r", "ls|" },
    { "a\rb\n\r", "a|b|" },
    { "\x7f\x7fx\r", "x|" },
    { "\xc3\xbc\x7fu\r", "u|" },
    /* Alt and a letter begins no string that swallows what follows; a shell goes on with its line
     * after Ctrl-D and Ctrl-Z */
    { "\x1bPls\rrm x\r", "rm x|" },
    { "rm x\x04\rrm y\x1a\r", "rm x|rm y|" },
};

static void what_was_typed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(typed) / sizeof(*typed); i++)
        check(fl_text_typed, typed[i].in, strlen(typed[i].in), typed[i].want);
}

/* A line without an end comes in pieces, and its memory has a limit. */
static void a_line_without_end(void **state)
{
    struct fl_text t = { 0 };
    fl_autobuf struct fl_buf out = FL_BUF(1 << 20);
    char x[1000];

    (void)state;
    memset(x, 'x', sizeof(x));
    for (int i = 0; i < 10; i++)
        fl_text_output(&t, x, sizeof(x), add, &out);
    fl_text_output(&t, "\x1b[5999C", 7, add, &out);
    fl_text_output(&t, "y", 1, add, &out);
    fl_text_flush(&t, add, &out);
    assert_true(t.cap <= FL_TEXT_LINE_CELLS);
    assert_int_equal((int)out.len > 10000, 1);
    fl_text_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_terminal_was_sent),
        cmocka_unit_test(what_was_typed),
        cmocka_unit_test(a_line_without_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
