#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "common/doc/ssm_refs.h"

static struct fl_ssm_refs *refs;

static int setup(void **state)
{
    refs = fl_ssm_refs_new();
    assert_non_null(refs);
    return 0;
}

static int teardown(void **state)
{
    refs = fl_ssm_refs_free(refs);
    return 0;
}

/* What the JSON text becomes, or the error's words. */
static const char *apply(const char *text)
{
    static char shown[4096];
    size_t left = 1000;
    struct fl_err err = { 0 };
    json_t *in = json_loads(text, JSON_DECODE_ANY, NULL);
    void *out = NULL;
    char *dump;

    assert_non_null(in);
    if (fl_ssm_refs_apply(refs, in, &left, &out, &err) < 0) {
        snprintf(shown, sizeof(shown), "%s", err.text);
    } else {
        dump = json_dumps(out, JSON_COMPACT | JSON_ENCODE_ANY);
        snprintf(shown, sizeof(shown), "%s", dump);
        free(dump);
        json_decref(out);
    }
    json_decref(in);
    return shown;
}

static void learn_some(void)
{
    assert_int_equal(fl_ssm_refs_learn(refs, "a", "", 3, "String", "A{{ssm:b}}"), 0);
    assert_int_equal(fl_ssm_refs_learn(refs, "a", ":1", 1, "String", "old"), 0);
    assert_int_equal(fl_ssm_refs_learn(refs, "l", NULL, 1, "StringList", "x,,y z"), 0);
    assert_int_equal(fl_ssm_refs_learn(refs, "/p/q.r-s_t", NULL, 1, "String", "P"), 0);
}

static const struct {
    const char *in, *want;
} cases[] = {
    { "\"-{{ssm:a}}-{{  ssm:a:1  }}-\"", "\"-A{{ssm:b}}-old-\"" },
    { "{\"k{{ssm:a:1}}\":[\"{{ssm:a:3}}\",1,null]}", "{\"k{{ssm:a:1}}\":[\"A{{ssm:b}}\",1,null]}" },
    { "[\"{{ssm:/p/q.r-s_t}}\"]", "[\"P\"]" },
    { "[\"1\",\" \\t{{ ssm:l }}\\n\",\"2\"]", "[\"1\",\"x\",\"\",\"y z\",\"2\"]" },
    { "[\"1{{ssm:l}}\"]", "Parameter l of type StringList cannot be used as a String" },
    { "{\"v\":\"{{ssm:l}}\"}", "Parameter l of type StringList cannot be used as a String" },
    /* No references: blanks other than spaces, other characters, other prefixes, an end missing. */
    { "\"{{\\tssm:a}}\"", "\"{{\\tssm:a}}\"" },
    { "\"{{ssm:a b}}{{ssm:}}{{ssm:a}{{ssm-secure:a}}{{xssm:a}}{{ssm: a}}\"",
      "\"{{ssm:a b}}{{ssm:}}{{ssm:a}{{ssm-secure:a}}{{xssm:a}}{{ssm: a}}\"" },
    { "\"{{{{ssm:a:1}}}}\"", "\"{{old}}\"" },
};

static void references_become_values(void **state)
{
    learn_some();
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].in);
        assert_string_equal(apply(cases[i].in), cases[i].want);
        assert_false(fl_ssm_refs_wanting(refs));
    }
}

static void unknown_ones_are_noted_once(void **state)
{
    const char *names[FL_SSM_REFS_BATCH];

    assert_string_equal(apply("[\"{{ssm:b}}{{ssm:a:1}}\",\"{{ ssm:b }}\"]"),
                        "[\"{{ssm:b}}{{ssm:a:1}}\",\"{{ ssm:b }}\"]");
    assert_true(fl_ssm_refs_wanting(refs));
    assert_int_equal(fl_ssm_refs_next(refs, names), 2);
    assert_string_equal(names[0], "b");
    assert_string_equal(names[1], "a:1");
    assert_false(fl_ssm_refs_wanting(refs));
    learn_some();
    /* Asked for, and nobody answered for it: as with labels. */
    assert_string_equal(apply("\"{{ssm:b}}\""),
                        "Encountered error while parsing input - internal error");
}

static void names_are_asked_for_in_tens(void **state)
{
    const char *names[FL_SSM_REFS_BATCH];
    char text[40];

    for (int i = 0; i < 21; i++) {
        snprintf(text, sizeof(text), "\"{{ssm:p%d}}\"", i);
        apply(text);
    }
    assert_int_equal(fl_ssm_refs_next(refs, names), 10);
    assert_int_equal(fl_ssm_refs_next(refs, names), 10);
    assert_int_equal(fl_ssm_refs_next(refs, names), 1);
    assert_string_equal(names[0], "p20");
    assert_int_equal(fl_ssm_refs_next(refs, names), 0);
}

static void limits_hold(void **state)
{
    char value[600], text[64];

    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    assert_int_equal(fl_ssm_refs_learn(refs, "big", "", 1, "String", value), 0);
    assert_string_equal(apply("[\"{{ssm:big}}\",\"{{ssm:big}}\"]"),
                        "the document's parameters make it too large");
    for (int i = 0; i < FL_SSM_REFS_MAX; i++) {
        snprintf(text, sizeof(text), "\"{{ssm:p%d}}\"", i);
        assert_string_equal(apply(text), text);
    }
    assert_non_null(strstr(apply("\"{{ssm:one-more}}\""), "more than 1000"));
}

static void whole_references(void **state)
{
    char *name = fl_ssm_ref_whole("  {{ ssm-secure:t/k }} ", "ssm-secure");

    assert_string_equal(name, "t/k");
    free(name);
    assert_null(fl_ssm_ref_whole("x{{ssm-secure:t}}", "ssm-secure"));
    assert_null(fl_ssm_ref_whole("{{ssm:t}}", "ssm-secure"));
    assert_null(fl_ssm_ref_whole("", "ssm"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(references_become_values),
        TEST(unknown_ones_are_noted_once),
        TEST(names_are_asked_for_in_tens),
        TEST(limits_hold),
        TEST(whole_references),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
