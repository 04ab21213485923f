/* {{ name }}: the rules of protocol 4 §1.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "common/doc/go_text.h"
#include "common/doc/subst.h"

static const char params[] =
    "{\"s\":\"x y\",\"list\":[\"p\",\"q r\"],\"flag\":true,\"num\":7,\"none\":null,"
    "\"map\":{\"b\":\"<1>&\\u2028\",\"a\":\"2\"},\"money\":\"a$$b$c$$\",\"ref\":\"{{ s "
    "}}\",\"e\":\"\",\"signs\":[\"\\u001b\\b\\f\\n\"],\"reals\":[0.1,1.0,-2.50,1e20,1e21,1e-6,1e-7,"
    "0.3333333333333333,123456.789,0.0]}";

static const struct {
    const char *in, *want;
} cases[] = {
    { "\"plain\"", "\"plain\"" },
    /* the whole string: the value itself */
    { "\"{{ s }}\"", "\"x y\"" },
    { "\"{{s}}\"", "\"x y\"" },
    { "\"{{\\t list\\n}}\"", "[\"p\",\"q r\"]" },
    { "\"{{ flag }}\"", "true" },
    { "\"{{ num }}\"", "7" },
    { "\"{{ none }}\"", "null" },
    { "\"{{ money }}\"", "\"a$$b$c$$\"" },
    { "[\"{{ list }}\"]", "[[\"p\",\"q r\"]]" },
    /* inside a longer string: text */
    { "\"[{{ s }}]\"", "\"[x y]\"" },
    { "\"{{s}}{{ s }}\"", "\"x yx y\"" },
    { "\" {{ list }}\"", "\" [\\\"p\\\",\\\"q r\\\"]\"" },
    { "\"{{ flag }} {{ num }} {{ none }}\"", "\"true 7 null\"" },
    { "\"m={{ map }}\"",
      "\"m={\\\"a\\\":\\\"2\\\",\\\"b\\\":\\\"\\\\u003c1\\\\u003e\\\\u0026\\\\u2028\\\"}\"" },
    { "\"{{ signs }}.\"", "\"[\\\"\\\\u001b\\\\u0008\\\\u000c\\\\n\\\"].\"" },
    { "\"{{ reals }}.\"", "\"[0.1,1,-2.5,100000000000000000000,1e+21,0.000001,1e-7,0."
                          "3333333333333333,123456.789,0].\"" },
    { "\"v={{ money }}\"", "\"v=a$b$c$\"" },
    { "\"<{{ e }}>\"", "\"<>\"" },
    /* one pass */
    { "\"{{ ref }}\"", "\"{{ s }}\"" },
    { "\"w={{ ref }}\"", "\"w={{ s }}\"" },
    /* left as written */
    { "\"{{ unknown }}\"", "\"{{ unknown }}\"" },
    { "\"{{ s }\"", "\"{{ s }\"" },
    { "\"{ { s }}\"", "\"{ { s }}\"" },
    { "\"{{}}\"", "\"{{}}\"" },
    { "\"{{ s s }}\"", "\"{{ s s }}\"" },
    { "\"{{\"", "\"{{\"" },
    { "\"{{ s\"", "\"{{ s\"" },
    { "\"{{{ s }}}\"", "\"{x y}\"" },
    { "\"{{ {{ s }} }}\"", "\"{{ x y }}\"" },
    { "\"{{ S }}\"", "\"{{ S }}\"" },
    /* values, never keys */
    { "{\"{{ s }}\":{\"k\":\"{{ s }}\"}}", "{\"{{ s }}\":{\"k\":\"x y\"}}" },
    { "[1,true,null,1.5]", "[1,true,null,1.5]" },
};

static void rules(void **state)
{
    json_t *p = json_loads(params, 0, NULL);

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        json_t *in = json_loads(cases[i].in, JSON_DECODE_ANY, NULL);
        struct fl_subst s;
        void *out = NULL;
        char *text;

        assert_non_null(in);
        fl_subst_init(&s, p);
        assert_int_equal(fl_subst_value(&s, in, &out, NULL), 0);
        text = json_dumps(out, JSON_COMPACT | JSON_ENCODE_ANY);
        assert_string_equal(text, cases[i].want);
        free(text);
        json_decref(out);
        json_decref(in);
    }
    json_decref(p);
}

static void a_long_value_named_often_is_refused(void **state)
{
    json_t *p = json_object(), *in = json_array();
    char *big = malloc(100001);
    struct fl_subst s;
    void *out;

    memset(big, 'x', 100000);
    big[100000] = '\0';
    json_object_set_new(p, "big", json_string(big));
    for (int i = 0; i < 100; i++)
        json_array_append_new(in, json_string(i % 2 ? "{{ big }}" : "a {{ big }}"));
    fl_subst_init(&s, p);
    assert_int_equal(fl_subst_value(&s, in, &out, NULL), -EMSGSIZE);
    json_decref(in);
    json_decref(p);
    free(big);
}

static void names(void **state)
{
    assert_true(fl_param_name_valid("aB9"));
    assert_false(fl_param_name_valid(""));
    assert_false(fl_param_name_valid("a_b"));
    assert_false(fl_param_name_valid("a b"));
}

static void values_in_gos_words(void **state)
{
    json_t *v = json_loads(
        "{\"b\":[1,\"x\",null,{}],\"a\":1000000,\"r\":0.5,\"s\":1e-5,\"t\":true}", 0, NULL);
    fl_autobuf struct fl_buf out = FL_BUF(1000);

    (void)state;
    assert_int_equal(fl_go_value_text(v, &out), 0);
    assert_string_equal(out.data, "map[a:1e+06 b:[1 x <nil> map[]] r:0.5 s:1e-05 t:true]");
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test(a_long_value_named_often_is_refused),
        cmocka_unit_test(names),
        cmocka_unit_test(values_in_gos_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
