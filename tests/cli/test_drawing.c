/* What is left of a terminal's bytes for another terminal. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "cli/drawing.h"

#define C "\x1b["

static const struct {
    const char *in, *want;
} cases[] = {
    /* what draws stays as it is */
    { "plain \xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80\r\n", NULL },
    { "bell\a back\b tab\t\v\f\x0e\x0f", NULL },
    { C "1;31m" C "38;5;200m" C "38:2::1:2:3mred" C "0m", NULL },
    { C "H" C "2J" C "10;20H" C "K" C "3A" C "2L" C "5;10r" C "?25l" C "?1049h" C "4h", NULL },
    { C "2 q" C "!p" C "3T" C "s" C "u" C "?2J", NULL },
    { "\x1b"
      "7\x1b"
      "8\x1b(0\x1b)B\x1bM\x1b#8\x1b"
      "c",
      NULL },
    /* questions */
    { "a" C "6n" C "5n" C "?6n" C "c" C ">c" C "=c" C "0x" C ">q" C "18t" C "21tb", "ab" },
    { "a\x05"
      "b\x1bZc" C "?1$p" C "1$qd" C "1;1;1;1;1;1*ye" C "?uf",
      "abcdef" },
    { "a\x1bP$qm\x1b\\b\x1bP+q544e\x1b\\c", "abc" },
    /* strings: title, clipboard, colours, links, notes, pictures */
    { "a\x1b]0;title\ab\x1b]52;c;eA==\x1b\\c\x1b]11;?\a", "abc" },
    { "a\x1b^x\x1b\\b\x1b_x\x1b\\c\x1bXx\x1b\\d\x1b]0;never ended\r\ne\n", "abcd\r\ne\n" },
    { "a\x1b]0;cut\x18"
      "b\x1b]0;cut" C "1mc",
      "ab" C "1mc" },
    /* keys, mouse, pastes, focus, the window, the printer */
    { C "?1000h" C "?1006h" C "?2004h" C "?1004h" C "?1h" C "?3h" C "?66h" C "2h" C "20h", "" },
    { C "?1049;1000;25h", C "?1049h" C "?25h" },
    { "\x1b=\x1b>" C ">4;2m" C ">1u" C "8;1;1t" C "5i" C "?5i" C "1;1;1;1;1T" C "'|", "" },
    { "\x1b%@\x1b G\x1b#3\x1bN\x1bO\x1b\\\x1bn", "" },
    { C "999999999b" C "3b", C "3b" },
    /* control characters of eight bits, as such and in UTF-8, and what is no UTF-8 */
    { "a\x9b"
      "6nb\xc2\x9b"
      "6nc\xc2\x9d"
      "0;t\xc2\x9c",
      "a\xef\xbf\xbd"
      "6nb6nc0;t" },
    { "\xc3(\xed\xa0\x80\xff\xc3", "\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd" },
    /* what is cut short, too long, or has others in it */
    { C "1\x18m" C "1\n0m" C "6" C "1m", "m\n" C "10m" C "1m" },
    { C "1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;20;21;22;23;24;25;26mx", "x" },
    { C "1\xc3\xbcm", "\xc3\xbcm" },
    { "nul and del\x7f", "nul and del" },
};

static void draw(const char *in, size_t step, struct fl_buf *out)
{
    struct fl_drawing d = { 0 };
    size_t len = strlen(in);

    for (size_t i = 0; i < len; i += step)
        assert_int_equal(fl_drawing_feed(&d, in + i, FL_MIN(step, len - i), out), 0);
    assert_int_equal(fl_buf_append(out, "", 1), 0);
}

static void only_what_draws_is_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        for (size_t step = 1; step <= 64; step += 9) {
            fl_autobuf struct fl_buf out = FL_BUF(4096);

            draw(cases[i].in, step, &out);
            assert_string_equal(out.data, cases[i].want ? cases[i].want : cases[i].in);
        }
}

static void a_full_buffer_is_told(void **state)
{
    fl_autobuf struct fl_buf out = FL_BUF(4);
    struct fl_drawing d = { 0 };

    (void)state;
    assert_true(fl_drawing_feed(&d, "12345678", 8, &out) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_draws_is_left),
        cmocka_unit_test(a_full_buffer_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
