#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/codec/form.h"
#include "tests/common/codec/sample.h"
#include "tests/common/codec/sample.inc"

static struct fl_arena arena;
static struct fl_err err;

static int setup(void **state)
{
    fl_arena_init(&arena, 1 << 20);
    err = (struct fl_err){ 0 };
    return 0;
}

static int teardown(void **state)
{
    fl_arena_done(&arena);
    return 0;
}

static struct fl_form parse(const char *body)
{
    struct fl_form form;

    assert_int_equal(fl_form_parse(body, strlen(body), &arena, &form, &err), 0);
    return form;
}

static void values_are_read(void **state)
{
    static const struct {
        const char *body, *key, *want;
    } cases[] = {
        { "Action=GetCallerIdentity&Version=2011-06-15", "Action", "GetCallerIdentity" },
        { "Action=GetCallerIdentity&Version=2011-06-15", "Version", "2011-06-15" },
        { "a=1", "b", NULL },
        { "a=1", "A", NULL },
        { "a=1&a=2&b=3&a=0", "a", "0" }, /* the last one counts */
        { "a", "a", "" },
        { "&&a=1&", "a", "1" },
        { "a=b=c", "a", "b=c" },
        { "a+b=x%20y+z", "a b", "x y z" },
        { "a=%e2%82%ac", "a", "€" },
        { "a=x%00y", "a", "x\xef\xbf\xbdy" },
        { "a=%ff%c3", "a", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "=v", "", "v" },
        { "", "a", NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_form form = parse(cases[i].body);
        const char *value = fl_form_get(&form, cases[i].key);

        assert_true(!value == !cases[i].want);
        if (value)
            assert_string_equal(value, cases[i].want);
    }
}

static void bad_bodies_are_refused(void **state)
{
    static const char *const cases[] = { "a=%", "a=%4", "a=%4g", "%=1" };
    struct fl_form form;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_form_parse(cases[i], strlen(cases[i]), &arena, &form, &err), -EBADMSG);
}

static void limits_hold(void **state)
{
    static char big[FL_FORM_MAX_BYTES + 1];
    char pairs[2 * FL_FORM_MAX_PAIRS + 1];
    struct fl_arena small = FL_ARENA(64);
    struct fl_form form;

    memset(big, 'a', sizeof(big));
    assert_int_equal(fl_form_parse(big, sizeof(big), &arena, &form, &err), -EMSGSIZE);
    assert_int_equal(fl_form_parse(big, sizeof(big) - 1, &arena, &form, &err), 0);
    assert_int_equal(
        fl_form_parse("a=0123456789012345678901234567890123456789", 42, &small, &form, &err),
        -EMSGSIZE);
    fl_arena_done(&small);
    for (size_t i = 0; i < sizeof(pairs); i += 2) {
        pairs[i] = 'a';
        if (i + 1 < sizeof(pairs))
            pairs[i + 1] = '&';
    }
    assert_int_equal(fl_form_parse(pairs, sizeof(pairs), &arena, &form, &err), -EMSGSIZE);
    assert_int_equal(fl_form_parse(pairs, sizeof(pairs) - 2, &arena, &form, &err), 0);
}

static int decode(const char *body, unsigned flags, struct sample *out)
{
    struct fl_form form = parse(body);

    return fl_form_decode(&sample_shape, &form, flags, &arena, out, &err);
}

static void every_kind_is_decoded(void **state)
{
    struct sample s;

    assert_int_equal(decode("Name=Zo%C3%AB&On=TRUE&Small=-5&Big=9007199254740993&Ratio=0.5&Maybe=0"
                            "&Flag=false&When=2026-01-02T03%3A04%3A05Z&Raw=a%22b"
                            "&List.member.1=x&List.member.2=&List.member.4=unreached"
                            "&Map.entry.1.key=k&Map.entry.1.value=v"
                            "&Lists.entry.1.key=c&Lists.entry.1.value.member.1=1"
                            "&Lists.entry.1.value.member.2=2"
                            "&Counts.entry.1.key=Success&Counts.entry.1.value=3"
                            "&One.Key=a&One.Value=b"
                            "&Tags.member.1.Key=c&Tags.member.1.Value="
                            "&Tags.member.2.Value=e&Tags.member.2.Key=d&Unknown=1&Tags.other=2",
                            0, &s),
                     0);
    assert_string_equal(s.name, "Zoë");
    assert_true(s.on);
    assert_int_equal(s.small, -5);
    assert_int_equal(s.big, 9007199254740993);
    assert_true(s.ratio == 0.5);
    assert_true(s.maybe.set && s.maybe.v == 0);
    assert_true(s.flag.set && !s.flag.v);
    assert_int_equal(s.when.ms, 1767323045000);
    assert_string_equal(s.raw.text, "\"a\\\"b\"");
    assert_int_equal(s.list.n, 2);
    assert_string_equal(s.list.v[0], "x");
    assert_string_equal(s.list.v[1], "");
    assert_int_equal(s.map.n, 1);
    assert_string_equal(s.map.v[0].key, "k");
    assert_string_equal(s.map.v[0].value, "v");
    assert_int_equal(s.lists.n, 1);
    assert_int_equal(s.lists.v[0].values.n, 2);
    assert_string_equal(s.lists.v[0].values.v[1], "2");
    assert_int_equal(s.counts.v[0].value, 3);
    assert_string_equal(s.one->value, "b");
    assert_int_equal(s.n_tags, 2);
    assert_string_equal(s.tags[0].value, "");
    assert_string_equal(s.tags[1].key, "d");
}

static void empty_and_flat_forms_are_taken(void **state)
{
    struct sample s;

    assert_int_equal(decode("Name=n&List=&Tags=&Maybe=&When=&On=", 0, &s), 0);
    assert_int_equal(s.list.n, 0);
    assert_int_equal(s.n_tags, 0);
    assert_false(s.maybe.set);
    assert_int_equal(
        decode("Name=n&List.1=x&List.2=y&Tags.1.Key=k&Tags.1.Value=v&When=1700000000.5", 0, &s), 0);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(s.tags[0].key, "k");
    assert_int_equal(s.when.ms, 1700000000500);
}

static void wrong_values_are_refused(void **state)
{
    static const struct {
        const char *body, *text;
    } cases[] = {
        { "On=true", "Sample.Name: missing" },
        { "Name=n&On=yes", "On: must be true or false" },
        { "Name=n&Small=1.0", "Small: must be an integer" },
        { "Name=n&Small=2147483648", "Small: must be an integer of 32 bits" },
        { "Name=n&Big=9223372036854775808", "Big: must be an integer" },
        { "Name=n&Big=0x10", "Big: must be an integer" },
        { "Name=n&Big=-", "Big: must be an integer" },
        { "Name=n&Big=%2B5", "Big: must be an integer" },
        { "Name=n&Ratio=nan", "Ratio: must be a number" },
        { "Name=n&Ratio=1e999", "Ratio: must be a number" },
        { "Name=n&When=yesterday", "When: must be a timestamp" },
        { "Name=n&When=1e300", "When: must be a timestamp" },
        { "Name.x=n", "Name: must be one value" },
        { "Name=n&List.member.1.x=1", "List.member.1: must be a string" },
        { "Name=n&Map.entry.1.value=v", "Map.entry.1: must be a key and a value" },
        { "Name=n&Map.entry.1.key=v", "Map.entry.1.value: must be given" },
        { "Name=n&Counts.entry.1.key=v&Counts.entry.1.value=x",
          "Counts.entry.1.value: must be an integer" },
    };
    struct sample s;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        assert_int_equal(decode(cases[i].body, 0, &s), -EINVAL);
        assert_string_equal(err.text, cases[i].text);
    }
    assert_int_equal(decode("On=true", FL_DECODE_LAX, &s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_bodies_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(every_kind_is_decoded, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_and_flat_forms_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_values_are_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
