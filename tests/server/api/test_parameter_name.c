/* Names, references, paths and labels of parameters. */
#include "server/api/parameter_name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define PREFIX "arn:aws:ssm:local:123456789012:parameter/"
#define X10    "xxxxxxxxxx"
#define X100   X10 X10 X10 X10 X10 X10 X10 X10 X10 X10
#define LEVELS "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15"

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static void names_to_make(void **state)
{
    static const struct {
        const char *name, *error;
    } cases[] = {
        { "a", NULL },
        { "/a", NULL },
        { "/app/db", NULL },
        { "A-z_0.9", NULL },
        { LEVELS, NULL },
        { LEVELS "/16", "HierarchyLevelLimitExceededException" },
        { "", "ValidationException" },
        { "/", "ValidationException" },
        { "a/b", "ValidationException" },
        { "/a/", "ValidationException" },
        { "/a//b", "ValidationException" },
        { "//a", "ValidationException" },
        { "a b", "ValidationException" },
        { "a:1", "ValidationException" },
        { "\xc3\xa4", "ValidationException" },
        { "awsthing", "ValidationException" },
        { "AWSthing", "ValidationException" },
        { "/awsthing", "ValidationException" },
        { "/aws", "ValidationException" },
        { "ssm", "ValidationException" },
        { "/SsM/x", "ValidationException" },
        { "/aws/x", "AccessDeniedException" },
        { "/AWS/x", "AccessDeniedException" },
        { "/a/aws", NULL },
        { "/" X100 X100 X100 X100 X100 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10, NULL },
        { "/" X100 X100 X100 X100 X100 X100 X100 X100 X100 X10 X10 X10 X10 X10 X10 X10 "x",
          "ValidationException" },
    };

    assert_int_equal(strlen(PREFIX) + 970, FL_PARAMETER_ARN_MAX);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_err err = { 0 };
        int r = fl_parameter_name_check(cases[i].name, PREFIX, &err);

        if ((r < 0) != (cases[i].error != NULL) ||
            strcmp(or_empty(err.name), or_empty(cases[i].error)) != 0)
            fail_msg("%s: %d %s", cases[i].name, r, or_empty(err.name));
    }
}

static void references(void **state)
{
    static const struct {
        const char *text;
        const char *id; /* NULL: refused */
        const char *selector, *label;
        int64_t version;
    } cases[] = {
        { "a", "a", NULL, NULL, 0 },
        { "/a", "a", NULL, NULL, 0 },
        { "/app/db", "app/db", NULL, NULL, 0 },
        { "/app/db:3", "app/db", ":3", NULL, 3 },
        { "/app/db:0", "app/db", ":0", NULL, 0 },
        { "a:99999999999999999999999", "a", ":99999999999999999999999", NULL, INT64_MAX },
        { "a:prod", "a", ":prod", "prod", 0 },
        { PREFIX "app/db", "app/db", NULL, NULL, 0 },
        { PREFIX "app/db:prod", "app/db", ":prod", "prod", 0 },
        { PREFIX "a", "a", NULL, NULL, 0 },
        { "a:", NULL, NULL, NULL, 0 },
        { "a:1:2", NULL, NULL, NULL, 0 },
        { "a:1x", NULL, NULL, NULL, 0 },
        { "a:aws", NULL, NULL, NULL, 0 },
        { ":1", NULL, NULL, NULL, 0 },
        { "a/b:1", NULL, NULL, NULL, 0 },
        { "", NULL, NULL, NULL, 0 },
        { PREFIX, NULL, NULL, NULL, 0 },
        { PREFIX "/a", NULL, NULL, NULL, 0 },
        { "arn:aws:ssm:local:000000000000:parameter/a", NULL, NULL, NULL, 0 },
        { "arn:aws:ssm:local:123456789012:document/a", NULL, NULL, NULL, 0 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(16384);
        struct fl_parameter_ref ref = { 0 };
        struct fl_err err = { 0 };
        int r = fl_parameter_ref_parse(cases[i].text, PREFIX, &arena, &ref, &err);

        if (!cases[i].id) {
            if (r >= 0 || strcmp(or_empty(err.name), "ValidationException") != 0)
                fail_msg("%s: %d", cases[i].text, r);
            continue;
        }
        assert_int_equal(r, 0);
        assert_string_equal(ref.id, cases[i].id);
        assert_string_equal(or_empty(ref.selector), or_empty(cases[i].selector));
        assert_string_equal(or_empty(ref.label), or_empty(cases[i].label));
        assert_int_equal(ref.version, cases[i].version);
    }
}

static void paths(void **state)
{
    static const struct {
        const char *path; /* holds `id` … */
        const char *id;
        bool directly, below;
    } cases[] = {
        { "/", "a", true, true },        { "/", "a/b", false, true },
        { "/a", "a/b", true, true },     { "/a/", "a/b", true, true },
        { "/a", "a/b/c", false, true },  { "/a", "a", false, false },
        { "/a", "ab", false, false },    { "/a", "ab/c", false, false },
        { "/a", "a.b", false, false },   { "/a/b", "a/b/c", true, true },
        { "/a/b", "a/c", false, false },
    };
    static const char *const bad[] = { "", "a", "a/b", "//", "/a//", "/a b", "/a:1", LEVELS "/16" };
    fl_autoarena struct fl_arena arena = FL_ARENA(16384);

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_parameter_path path;
        const char *id = cases[i].id;

        assert_int_equal(fl_parameter_path_parse(cases[i].path, &arena, &path, NULL), 0);
        assert_int_equal(fl_parameter_path_holds(&path, id, false), cases[i].directly);
        assert_int_equal(fl_parameter_path_holds(&path, id, true), cases[i].below);
        assert_int_equal(strcmp(path.after, id) < 0 && strcmp(id, path.before) < 0, cases[i].below);
    }
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct fl_parameter_path path;
        struct fl_err err = { 0 };

        assert_int_equal(fl_parameter_path_parse(bad[i], &arena, &path, &err), -EINVAL);
        assert_string_equal(err.name, "ValidationException");
    }
}

static void labels(void **state)
{
    static const char *const good[] = { "a", "prod", "Prod-1_x.y", "_", "." };
    static const char *const bad[] = { "",     "1a",  "aws", "AWSx",    "ssm",
                                       "Ssm.", "a b", "a:b", "\xc3\xa4" };

    for (size_t i = 0; i < FL_ARRAY_LEN(good); i++)
        assert_true(fl_parameter_label_valid(good[i]));
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_false(fl_parameter_label_valid(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_to_make),
        cmocka_unit_test(references),
        cmocka_unit_test(paths),
        cmocka_unit_test(labels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
