/* Regular expressions: what fits, what is none, and bounds. */
#include "common/codec/regexp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define WHOLE FL_REGEXP_WHOLE
#define LINES FL_REGEXP_LINES
#define AS    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac"

static const struct {
    const char *pattern;
    unsigned flags;
    const char *text;
    int want;
} cases[] = {
    { "b", 0, "abc", 1 },
    { "b", WHOLE, "abc", 0 },
    { "a|abc", WHOLE, "abc", 1 },
    { "c$", 0, "abc\n", 0 },
    { "a.c", 0, "a\nc", 0 },
    { "a.c", LINES, "a\nc", 1 },
    { ".*", WHOLE, "a\nc", 0 },
    { ".*", WHOLE | LINES, "a\nc", 1 },
    { "x{3}", WHOLE, "xxx", 1 },
    { ".", WHOLE, "\u20ac", 1 },
    { "\\p{L}+", WHOLE, "stra\u00dfe", 1 },
    { "^(a+)+$", 0, AS, -EINVAL },
    { "(.)(.)(.)\\3\\2\\1$", 0, "abccba", 1 },
    { "(?:ab|cd)*", WHOLE, "abcdabcdabcdabcd", 1 },
    { ".", WHOLE, "\xff", -EINVAL },
};

static void what_fits(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        unsigned hard_left = FL_REGEXP_HARD;
        struct fl_err err = { 0 };
        struct fl_regexp *re;
        int r;

        assert_int_equal(fl_regexp_new(cases[i].pattern, cases[i].flags, &re, &err), 0);
        r = fl_regexp_match(re, cases[i].text, strlen(cases[i].text), &hard_left, &err);
        if (r != cases[i].want || (r < 0) != (err.text[0] != '\0'))
            fail_msg("%s on %s: %d %s", cases[i].pattern, cases[i].text, r, err.text);
        fl_regexp_free(re);
    }
}

/* Compiling is bounded as well: what repeats repetitions is written out. */
static const struct {
    const char *pattern, *why;
} bad[] = {
    { "(", "not a regular expression: missing closing parenthesis, at character 2" },
    { "a{2,1}", "not a regular expression: numbers out of order in {} quantifier" },
    { "((x{1,99}){99}){99}|y", "not a regular expression: regular expression is too large" },
    { "[a-z]+???????++++++", "not a regular expression: quantifier does not follow a repeatable" },
    { "a\\Cb", "not a regular expression: using \\C is disabled" },
};

static void what_is_none(void **state)
{
    char deep[FL_REGEXP_MAX_BYTES + 2];
    struct fl_regexp *re;

    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct fl_err err = { 0 };

        assert_int_equal(fl_regexp_new(bad[i].pattern, 0, &re, &err), -EINVAL);
        if (strncmp(err.text, bad[i].why, strlen(bad[i].why)) != 0)
            fail_msg("%s: %s", bad[i].pattern, err.text);
    }
    memset(deep, '(', sizeof(deep));
    for (size_t len = sizeof(deep) - 1; len > FL_REGEXP_MAX_BYTES - 2; len--) {
        deep[len] = '\0';
        assert_int_equal(fl_regexp_new(deep, 0, &re, NULL), -EINVAL);
    }
}

/* Of many searches only so many may take long. */
static void hard_ones_are_counted(void **state)
{
    unsigned hard_left = 2;
    struct fl_regexp *re;

    assert_int_equal(fl_regexp_new("^(a+)+$", 0, &re, NULL), 0);
    for (unsigned left = 2;; left--) {
        assert_int_equal(fl_regexp_match(re, AS, strlen(AS), &hard_left, NULL), -EINVAL);
        assert_int_equal(hard_left, left ? left - 1 : 0);
        if (!left)
            break;
    }
    assert_int_equal(fl_regexp_match(re, "aaa", 3, &hard_left, NULL), 1);
    fl_regexp_free(re);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(hard_ones_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
