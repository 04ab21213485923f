#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/aws/credfile.h"

static const char sample[] = "\xef\xbb\xbf[default]\r\n"
                             "aws_access_key_id = AKIDEFAULT\r\n"
                             "; a comment\r\n"
                             "# region = commented\n"
                             "\n"
                             "[profile dev]\n"
                             "region=eu-west-1\n"
                             "s3 =\n"
                             "  region = nested\n"
                             "token = a=b==\n"
                             "[other]\n"
                             "region = first\n"
                             "region =   last  \n"
                             "broken line\n"
                             "empty =";

static void values_are_found(void **state)
{
    static const struct {
        const char *profile, *key, *want;
    } cases[] = {
        { "default", "aws_access_key_id", "AKIDEFAULT" },
        { "default", "region", NULL },
        { "dev", "region", "eu-west-1" },
        { "profile dev", "region", "eu-west-1" },
        { "dev", "token", "a=b==" },
        { "dev", "s3", "" },
        { "other", "region", "last" },
        { "other", "empty", "" },
        { "other", "broken line", NULL },
        { "none", "region", NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autofree char *value = NULL;
        int r = fl_credfile_get(sample, cases[i].profile, cases[i].key, &value);

        assert_int_equal(r, cases[i].want ? 0 : -ENOENT);
        if (cases[i].want)
            assert_string_equal(value, cases[i].want);
    }
}

static void nested_values_are_found(void **state)
{
    static const char text[] = "[services a]\n"
                               "ssm =\n"
                               "  endpoint_url = https://one\n"
                               "\tregion=x\n"
                               "sts =\n"
                               "# a comment\n"
                               "\n"
                               "  endpoint_url = https://two\n"
                               "[services b]\n"
                               "  endpoint_url = https://stray\n"
                               "ssm = inline\n";
    static const struct {
        const char *section, *key, *sub, *want;
    } cases[] = {
        { "services a", "ssm", "endpoint_url", "https://one" },
        { "services a", "ssm", "region", "x" },
        { "services a", "sts", "endpoint_url", "https://two" },
        { "services a", "s3", "endpoint_url", NULL },
        { "services b", "ssm", "endpoint_url", NULL },
        { "services c", "ssm", "endpoint_url", NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autofree char *value = NULL;
        int r = fl_credfile_get_nested(text, cases[i].section, cases[i].key, cases[i].sub, &value);

        assert_int_equal(r, cases[i].want ? 0 : -ENOENT);
        if (cases[i].want)
            assert_string_equal(value, cases[i].want);
    }
}

static void add_section(void *arg, const char *name, size_t len)
{
    strncat(strncat(arg, name, len), "|", 2);
}

static void sections_are_told(void **state)
{
    char names[128] = "";

    fl_credfile_each(sample, add_section, names);
    assert_string_equal(names, "default|profile dev|other|");
}

static const struct fl_credfile_entry entries[] = {
    { "aws_access_key_id", "ASIA1" },
    { "aws_secret_access_key", "s3cr/et+" },
    { "aws_session_token", "tok==" },
};
#define KEYS                             \
    "aws_access_key_id     = ASIA1\n"    \
    "aws_secret_access_key = s3cr/et+\n" \
    "aws_session_token     = tok==\n"

static void sections_are_replaced(void **state)
{
    static const struct {
        const char *text, *profile, *want;
    } cases[] = {
        { NULL, "default", "[default]\n" KEYS },
        { "", "default", "[default]\n" KEYS },
        { "[default]", "default", "[default]\n" KEYS },
        { "[default]\n" KEYS, "default", "[default]\n" KEYS },
        { "[a]\nx = 1\n", "default", "[a]\nx = 1\n\n[default]\n" KEYS },
        { "[a]\nx = 1", "default", "[a]\nx = 1\n\n[default]\n" KEYS },
        { "# top\r\n[a]\nx=1\n\n[default]\n# ours\nold = 1\n  more\nregion = r\n\n; b\n[b]\ny =  2",
          "default", "# top\r\n[a]\nx=1\n\n[default]\n" KEYS "# ours\n\n; b\n[b]\ny =  2" },
        { "[ default ]\nold = 1\n[b]\n[default]\nold=2\n# c\n[d]\n", "default",
          "[ default ]\n" KEYS "[b]\n# c\n[d]\n" },
        { "[profile dev]\nregion = r\n", "dev", "[profile dev]\nregion = r\n\n[dev]\n" KEYS },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autofree char *once = NULL;
        fl_autofree char *twice = NULL;

        assert_int_equal(fl_credfile_set(cases[i].text, cases[i].profile, entries, 3, &once), 0);
        assert_string_equal(once, cases[i].want);
        assert_int_equal(fl_credfile_set(once, cases[i].profile, entries, 3, &twice), 0);
        assert_string_equal(twice, once);
    }
}

static void unwritable_text_is_refused(void **state)
{
    static const struct {
        const char *profile;
        struct fl_credfile_entry entry;
    } cases[] = {
        { "", { "k", "v" } },         { "a]b", { "k", "v" } }, { "a\nb", { "k", "v" } },
        { "a", { "", "v" } },         { "a", { "k=", "v" } },  { "a", { "#k", "v" } },
        { "a", { "k", "v\n[x]\n" } }, { "a", { "k", " v" } },  { "a", { "k", "v\t" } },
        { "a", { "k", "" } },         { " a", { "k", "v" } },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char *text = NULL;

        assert_int_equal(fl_credfile_set("", cases[i].profile, &cases[i].entry, 1, &text), -EINVAL);
        assert_null(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_found),           cmocka_unit_test(nested_values_are_found),
        cmocka_unit_test(sections_are_told),          cmocka_unit_test(sections_are_replaced),
        cmocka_unit_test(unwritable_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
