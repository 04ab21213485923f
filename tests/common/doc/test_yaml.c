/* YAML as documents use it: what is read, what is refused and where, and places of members. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/codec/json_load.h"
#include "common/doc/source.h"

static void texts_are_read(void **state)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        { "a: 1\nb: [x, 'y', \"z\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\"]}" },
        { "[y, Yes, on, ON, true, n, No, off, FALSE]",
          "[true,true,true,true,true,false,false,false,false]" },
        { "['y', \"no\", !!str on, ! off]", "[\"y\",\"no\",\"on\",\"off\"]" },
        { "[~, null, Null, '', '~']", "[null,null,null,\"\",\"~\"]" },
        { "a:\nb: ''", "{\"a\":null,\"b\":\"\"}" },
        { "[0, -7, +3, 1_000, 0x1F, 0b101, 0777, 089, 00]", "[0,-7,3,1000,31,5,511,\"089\",0]" },
        { "[1.5, .5, 1., 1e3, -2.5E-1, 1.2.3, 1e, e1, '-', +]",
          "[1.5,0.5,1.0,1000.0,-0.25,\"1.2.3\",\"1e\",\"e1\",\"-\",\"+\"]" },
        { "[12:30, 2020-01-02, 0x, 0b2, 99999999999999999999]",
          "[\"12:30\",\"2020-01-02\",\"0x\",\"0b2\",1e20]" },
        { "schemaVersion: 2.2\nx: 2.2\ny: {schemaVersion: 2.2}",
          "{\"schemaVersion\":\"2.2\",\"x\":2.2,\"y\":{\"schemaVersion\":2.2}}" },
        { "script: |\n  echo a\n  echo b\nfold: >\n  a\n  b\n",
          "{\"script\":\"echo a\\necho b\\n\",\"fold\":\"a b\\n\"}" },
        { "y: 1\n1: 2\n", "{\"y\":1,\"1\":2}" },
        { "a: &x {b: 1}\nc: *x\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1}}" },
        { "a: \"\\u00e4\\U0001F600\"", "{\"a\":\"\\u00e4\\ud83d\\ude00\"}" },
        { "%YAML 1.1\n---\na: 1\n...\n", "{\"a\":1}" },
        { "!!int '5'", "5" },
        { "plain", "\"plain\"" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        json_t *got = NULL, *want = fl_json_load_text(cases[i].json, JSON_DECODE_ANY, NULL);
        struct fl_err err = { 0 };

        if (fl_yaml_load(cases[i].yaml, strlen(cases[i].yaml), &got, &err) < 0)
            fail_msg("%s: %s", cases[i].yaml, fl_err_text(&err));
        if (!json_equal(got, want))
            fail_msg("%s: %s", cases[i].yaml, json_dumps(got, JSON_ENCODE_ANY));
        json_decref(got);
        json_decref(want);
    }
}

static void bad_texts_are_refused(void **state)
{
    static const struct {
        const char *yaml, *error;
    } cases[] = {
        { "", "no content" },
        { "# only a comment\n", "no content" },
        { "a: 1\na: 2\n", "line 2, column 1: this key stands twice" },
        { "a: {b: 1, b: 2}\n", "line 1, column 11: this key stands twice" },
        { "a: 1\n---\nb: 2\n", "more than one YAML document" },
        { "a: *nope\n", "line 1, column 4: an alias of something" },
        { "a: &x [*x]\n", "an alias of something" },
        { "a: &x 1\nb: &x 2\n", "line 2, column 4: this anchor stands twice" },
        { "a: !ruby/object {}\n", "line 1, column 4: a tag" },
        { "a: !!binary aGk=\n", "a tag" },
        { "a: .inf\n", "a number that JSON cannot hold" },
        { "a: -.NaN\n", "a number that JSON cannot hold" },
        { "a: 1e999\n", NULL },
        { "a: \"x\\0y\"\n", "a NUL" },
        { "\"x\\0y\": 1\n", "a NUL" },
        { "? [a]\n: 1\n", "a key must be a scalar" },
        { "base: &b {a: 1}\n<<: *b\n", "line 2, column 1: merge keys" },
        { "a: [1, 2\n", "line 2" },
        { "\ta: 1\n", "line 1" },
        { "a: \xff\n", "line " },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        json_t *got = NULL;
        struct fl_err err = { 0 };
        int r = fl_yaml_load(cases[i].yaml, strlen(cases[i].yaml), &got, &err);

        if (!cases[i].error) {
            json_decref(got);
            continue;
        }
        assert_null(got);
        if (r != -EBADMSG || !strstr(err.text, cases[i].error))
            fail_msg("%s: %d %s", cases[i].yaml, r, fl_err_text(&err));
    }
}

/* Each alias of a line means ten of the line before: a text of some hundred bytes, a tree of
 * millions. */
static void aliases_do_not_explode(void **state)
{
    fl_autobuf struct fl_buf text = FL_BUF(8192);
    struct fl_err err = { 0 };
    json_t *got = NULL;

    (void)state;
    fl_buf_puts(&text, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 9; i++) {
        fl_buf_printf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            fl_buf_printf(&text, "%s*a%d", j ? ", " : "", i - 1);
        fl_buf_puts(&text, "]\n");
    }
    assert_int_equal(fl_yaml_load(text.data, text.len, &got, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "line 5, "));
    assert_non_null(strstr(err.text, "too many or too large"));
}

static void limits_hold(void **state)
{
    static const struct {
        const char *head, *unit; /* the text: head, then many units */
        int fits;
    } cases[] = {
        { "", "[", FL_YAML_MAX_DEPTH },
        { "[", "1,", FL_YAML_MAX_NODES - 1 },
    };
    fl_autobuf struct fl_buf anchors = FL_BUF(65536);
    struct fl_err err = { 0 };
    json_t *got = NULL;

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        for (int more = 0; more < 2; more++) {
            fl_autobuf struct fl_buf text = FL_BUF(1 << 20);

            fl_buf_puts(&text, cases[i].head);
            for (int n = 0; n < cases[i].fits + more; n++)
                fl_buf_puts(&text, cases[i].unit);
            for (int n = 0; n < (i == 0 ? cases[i].fits + more : 1); n++)
                fl_buf_puts(&text, "]");
            got = NULL;
            assert_int_equal(fl_yaml_load(text.data, text.len, &got, &err), more ? -EBADMSG : 0);
            json_decref(got);
        }
    for (int n = 0; n <= FL_YAML_MAX_ANCHORS; n++)
        fl_buf_printf(&anchors, "- &a%d x\n", n);
    got = NULL;
    assert_int_equal(fl_yaml_load(anchors.data, anchors.len, &got, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "too many anchors"));
}

#define KEY(k)     \
    {              \
        .key = (k) \
    }
#define INDEX(i)     \
    {                \
        .index = (i) \
    }

static void members_are_located(void **state)
{
    static const char json[] = "{\n"
                               "  \"a\": 1, \"b\\u0062\": [ {}, [1,\n"
                               "    {\"c\" : \"}]\\\"\", \"d\": true}] ],\n"
                               "  \"e\": {\"f\":null}\n"
                               "}";
    static const char yaml[] = "a: 1\n"
                               "bb:\n"
                               "  - {}\n"
                               "  - - 1\n"
                               "    - c: '}'\n"
                               "      d: true\n"
                               "e: &x\n"
                               "  f: null\n"
                               "g: *x\n";
    static const struct {
        struct fl_path_part path[4];
        size_t n;
        struct fl_text_place json, yaml;
    } cases[] = {
        { { { 0 } }, 0, { 1, 1 }, { 1, 1 } },
        { { KEY("a") }, 1, { 2, 3 }, { 1, 1 } },
        { { KEY("bb") }, 1, { 2, 11 }, { 2, 1 } },
        { { KEY("bb"), INDEX(1) }, 2, { 2, 28 }, { 4, 5 } },
        { { KEY("bb"), INDEX(1), INDEX(1) }, 3, { 3, 5 }, { 5, 7 } },
        { { KEY("bb"), INDEX(1), INDEX(1), KEY("d") }, 4, { 3, 20 }, { 6, 7 } },
        { { KEY("bb"), INDEX(1), INDEX(1), KEY("no") }, 4, { 3, 5 }, { 5, 7 } },
        { { KEY("bb"), INDEX(7) }, 2, { 2, 11 }, { 2, 1 } },
        { { KEY("bb"), KEY("no") }, 2, { 2, 11 }, { 2, 1 } },
        { { KEY("a"), KEY("no") }, 2, { 2, 3 }, { 1, 1 } },
        { { KEY("e"), KEY("f") }, 2, { 4, 9 }, { 8, 3 } },
        { { KEY("no") }, 1, { 1, 1 }, { 1, 1 } },
        { { KEY("g"), KEY("f") }, 2, { 1, 1 }, { 9, 1 } },
    };
    const struct fl_doc_source sources[] = { { FL_DOC_JSON, json, sizeof(json) - 1 },
                                             { FL_DOC_YAML, yaml, sizeof(yaml) - 1 } };

    (void)state;
    for (size_t s = 0; s < FL_ARRAY_LEN(sources); s++) {
        json_t *v = NULL;

        assert_int_equal(fl_doc_source_load(&sources[s], &v, NULL), 0);
        json_decref(v);
        for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
            struct fl_text_place want = s ? cases[i].yaml : cases[i].json;
            struct fl_text_place got = fl_doc_source_locate(&sources[s], cases[i].path, cases[i].n);

            if (got.line != want.line || got.column != want.column)
                fail_msg("source %zu, case %zu: %zu:%zu", s, i, got.line, got.column);
        }
    }
}

static void members_stand_once_in_json_too(void **state)
{
    static const char text[] = "{\"a\":1,\n \"a\":2}";
    const struct fl_doc_source src = { FL_DOC_JSON, text, sizeof(text) - 1 };
    struct fl_err err = { 0 };
    json_t *v = NULL;

    (void)state;
    assert_int_equal(fl_doc_source_load(&src, &v, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "line 2, column "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_read),         cmocka_unit_test(bad_texts_are_refused),
        cmocka_unit_test(aliases_do_not_explode), cmocka_unit_test(limits_hold),
        cmocka_unit_test(members_are_located),    cmocka_unit_test(members_stand_once_in_json_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
