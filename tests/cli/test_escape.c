#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cli/escape.h"

/* What is left of typed text: bytes for the node, and <quit>, <suspend>, <help> between them. */
static void feed(const char *ch, const char *typed, size_t step, char *out, size_t size)
{
    static const char *const names[] = { "", "<quit>", "<suspend>", "<help>" };
    struct fl_escape e;
    size_t len = strlen(typed), n = 0;

    assert_int_equal(fl_escape_init(&e, ch), 0);
    for (size_t at = 0; at < len;) {
        size_t take = FL_MIN(step, len - at), used, got;
        char bytes[64];
        enum fl_escape_action a = fl_escape_feed(&e, typed + at, take, &used, bytes, &got);

        assert_true(used > 0 && used <= take && got <= take + 1);
        at += used;
        n += (size_t)snprintf(out + n, size - n, "%.*s%s", (int)got, bytes, names[a]);
    }
}

static void typed_escapes_are_found(void **state)
{
    static const struct {
        const char *ch, *typed, *want;
    } cases[] = {
        { "~", "ls\r", "ls\r" },
        { "~", "~.", "<quit>" },           /* a session begins at the beginning of a line */
        { "~", "a~.", "a~." },             /* within a line it is text */
        { "~", "a\r~.", "a\r<quit>" },     /* behind Enter */
        { "~", "a\n~.", "a\n<quit>" },     /* behind a line feed, too */
        { "~", "\r~~.", "\r~." },          /* doubled: the character itself, and no escape */
        { "~", "\r~x", "\r~x" },           /* no escape: both go on */
        { "~", "\r~\r~.", "\r~\r<quit>" }, /* the line end behind a lone one counts */
        { "~", "~\x1a~?~.", "<suspend><help><quit>" },
        { "~", "~?x~.", "<help>x~." },
        { "~", "~/bin\r", "~/bin\r" }, /* a path as people type it */
        { "^]", "\x1d.", "<quit>" },
        { "^]", "~.", "~." },
        { "none", "\r~.", "\r~." },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        for (size_t step = 1; step < 4; step++) {
            char got[128] = "";

            feed(cases[i].ch, cases[i].typed, step, got, sizeof(got));
            assert_string_equal(got, cases[i].want);
        }
}

static void escape_characters_have_names(void **state)
{
    static const struct {
        const char *text;
        int want; /* -2: refused */
    } cases[] = { { "~", '~' }, { "%", '%' },   { "^]", 0x1d }, { "^?", 0x7f },
                  { "^@", 0 },  { "none", -1 }, { "", -2 },     { "ab", -2 },
                  { "^", '^' }, { "^a", -2 },   { "\xc3", -2 }, { "None", -2 } };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_escape e;
        int r = fl_escape_init(&e, cases[i].text);

        assert_int_equal(r, cases[i].want == -2 ? -EINVAL : 0);
        if (r == 0)
            assert_int_equal(e.ch, cases[i].want);
    }
}

static void help_names_the_character(void **state)
{
    char text[FL_ESCAPE_HELP_BYTES];
    struct fl_escape e;

    (void)state;
    fl_escape_init(&e, "~");
    fl_escape_help(&e, text);
    assert_non_null(strstr(text, "  ~.   end the session\r\n"));
    assert_non_null(strstr(text, "  ~^Z  suspend"));
    assert_non_null(strstr(text, "  ~~   send ~\r\n"));
    fl_escape_init(&e, "^]");
    fl_escape_help(&e, text);
    assert_non_null(strstr(text, "  ^].   end the session\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_escapes_are_found),
        cmocka_unit_test(escape_characters_have_names),
        cmocka_unit_test(help_names_the_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
