/* Which file of a package document is for a node (protocol 4 §5.4). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include "plugins/configure_package/manifest.h"

#define SUM      "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILE_(f) "{\"file\":\"" f "\"}"

static const struct {
    const char *packages;
    int want;
    const char *file;
} cases[] = {
    { "\"debian\":{\"12.5\":{\"x86_64\":" FILE_("a") "}}", 0, "a" },
    { "\"debian\":{\"12.5\":{\"_any\":" FILE_("a") "}}", 0, "a" },
    { "\"_any\":{\"_any\":{\"_any\":" FILE_("b") "}}", 0, "b" },
    { "\"debian\":{\"*\":{\"x86_64\":" FILE_("a") "}}", 0, "a" },
    { "\"debian\":{\"12.*\":{\"x86_64\":" FILE_("a") "},\"_any\":{\"x86_64\":" FILE_("b") "}}", 0,
      "a" },
    { "\"debian\":{\"12.*\":{\"x86_64\":" FILE_("b") "},\"12.5.*\":{\"x86_64\":" FILE_("a") "}}", 0,
      "a" },
    { "\"debian\":{\"1.*\":{\"x86_64\":" FILE_("a") "}}", -ENOENT, NULL },
    { "\"debian\":{\"12.5\":{\"arm64\":" FILE_("a") "}}", -ENOENT, NULL },
    { "\"debian\":{\"11\":{\"x86_64\":" FILE_("a") "}},\"_any\":{\"_any\":{\"_any\":" FILE_(
          "b") "}}",
      0, "b" },
    { "\"windows\":{\"_any\":{\"x86_64\":" FILE_("a") "}}", -ENOENT, NULL },
    { "\"_any\":{\"_any\":{\"_any\":" FILE_("n") "}}", -EINVAL, NULL },
    { "\"_any\":{\"_any\":{\"_any\":" FILE_("none") "}}", -EINVAL, NULL },
    { "\"_any\":[]", -ENOENT, NULL },
};

static void chooses(void **state)
{
    const struct fl_package_node node = { "debian", "12.5", "x86_64" };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_package_choice choice = { 0 };
        char text[2048];

        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":\"2.0\",\"version\":\"1.2\",\"packages\":{%s},\"files\":{"
                 "\"a\":{\"checksums\":{\"sha256\":\"" SUM "\"}},"
                 "\"b\":{\"checksums\":{\"sha256\":\"" SUM "\"},\"downloadLocation\":\"u\"},"
                 "\"n\":{}}}",
                 cases[i].packages);
        assert_int_equal(fl_package_choose(text, &node, &arena, &choice, NULL), cases[i].want);
        if (cases[i].want == 0) {
            assert_string_equal(choice.file, cases[i].file);
            assert_string_equal(choice.version, "1.2");
            assert_int_equal(choice.sha256[10], 'a'); /* lower case */
        }
    }
}

static void versions_that_are_no_names(void **state)
{
    static const char *const bad[] = { "..", "", "a/b", "1 2", "." };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_false(fl_package_name_safe(bad[i]));
    assert_true(fl_package_name_safe("1.0-2_b"));
}

static void platforms(void **state)
{
    (void)state;
    assert_string_equal(fl_package_platform("Debian GNU/Linux")->name, "debian");
    assert_string_equal(fl_package_platform("DEBIAN gnu/linux")->name, "debian");
    assert_string_equal(fl_package_platform("openSUSE Leap")->name, "opensuseleap");
    assert_string_equal(fl_package_platform("openSUSE Tumbleweed")->name, "opensuse");
    assert_string_equal(fl_package_platform("Red Hat Enterprise Linux")->family, "rhel");
    assert_string_equal(fl_package_platform(NULL)->name, "linux");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses),
        cmocka_unit_test(versions_that_are_no_names),
        cmocka_unit_test(platforms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
