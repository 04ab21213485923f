/* Which stage a package begins with, and how every way through the stages ends (protocol 4 §5.4).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "plugins/configure_package/plan.h"

#define ST(s) FL_PACKAGE_##s
static const struct {
    struct fl_package_facts facts; /* uninstall, in place, state, same version, whole, has old,
                                      rebooted */
    enum fl_package_stage want;
} cases[] = {
    { { false, false, ST(NONE), false, false, false, false }, FL_STAGE_INSTALL },
    { { false, true, ST(UNINSTALLED), true, false, false, false }, FL_STAGE_INSTALL },
    { { false, false, ST(INSTALLED), true, true, false, false }, FL_STAGE_VALIDATE },
    { { false, true, ST(INSTALLED), true, true, false, false }, FL_STAGE_VALIDATE },
    { { false, false, ST(INSTALLED), true, false, false, false }, FL_STAGE_CLEAN },
    { { false, false, ST(INSTALLED), false, false, false, false }, FL_STAGE_REMOVE_OLD },
    { { false, true, ST(INSTALLED), false, true, false, false }, FL_STAGE_UPDATE },
    { { false, false, ST(FAILED), true, true, false, false }, FL_STAGE_CLEAN },
    { { false, false, ST(UNKNOWN), false, false, false, false }, FL_STAGE_CLEAN },
    /* what waited for a reboot */
    { { false, false, ST(INSTALLING), true, true, false, true }, FL_STAGE_INSTALL },
    { { false, false, ST(INSTALLING), true, true, true, true }, FL_STAGE_INSTALL_OVER },
    { { false, false, ST(INSTALLING), false, true, true, true }, FL_STAGE_CLEAN },
    { { false, false, ST(UPGRADING), true, true, true, true }, FL_STAGE_REMOVE_OLD },
    { { false, false, ST(ROLLBACK_UNINSTALL), true, true, true, true }, FL_STAGE_UNDO },
    { { false, false, ST(ROLLBACK_INSTALL), true, true, true, true }, FL_STAGE_RESTORE },
    { { false, true, ST(UPDATING), true, true, true, true }, FL_STAGE_UPDATE },
    /* what was interrupted is taken off first */
    { { false, false, ST(INSTALLING), true, true, false, false }, FL_STAGE_CLEAN },
    { { false, false, ST(INSTALLING), true, true, true, false }, FL_STAGE_CLEAN_NEW },
    { { false, false, ST(UPGRADING), true, true, true, false }, FL_STAGE_CLEAN },
    { { false, false, ST(ROLLBACK_UNINSTALL), true, true, true, false }, FL_STAGE_CLEAN_NEW },
    { { false, false, ST(ROLLBACK_INSTALL), true, true, true, false }, FL_STAGE_CLEAN },
    { { false, true, ST(UPDATING), true, true, true, false }, FL_STAGE_CLEAN },
    /* uninstall */
    { { true, false, ST(NONE), true, true, false, false }, FL_STAGE_ABSENT },
    { { true, false, ST(INSTALLED), false, true, false, false }, FL_STAGE_ABSENT },
    { { true, false, ST(INSTALLED), true, true, false, false }, FL_STAGE_UNINSTALL },
    { { true, false, ST(UNINSTALLING), true, true, false, false }, FL_STAGE_UNINSTALL },
    { { true, false, ST(FAILED), true, true, false, false }, FL_STAGE_UNINSTALL },
};

static void begins(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_package_begin(&cases[i].facts), cases[i].want);
}

/* Whatever the scripts say, it ends, and after a failure of the new version with the old one. */
static void every_way_ends(void **state)
{
    (void)state;
    for (int first = 0; first < FL_STAGE__SCRIPTS; first++)
        for (unsigned outcomes = 0; outcomes < 1u << FL_STAGE__SCRIPTS; outcomes++) {
            enum fl_package_stage s = (enum fl_package_stage)first;
            int steps = 0;

            while (s < FL_STAGE__SCRIPTS) {
                const struct fl_package_step *step = fl_package_step(s);

                assert_non_null(step->script);
                assert_true(++steps <= FL_STAGE__SCRIPTS);
                s = outcomes & 1u << s ? step->good : step->bad;
            }
            assert_in_range(s, FL_STAGE_DONE, FL_STAGE_RESTORED);
        }
}

static void a_failed_upgrade_is_undone(void **state)
{
    (void)state;
    assert_int_equal(fl_package_step(FL_STAGE_INSTALL_OVER)->bad, FL_STAGE_UNDO);
    assert_int_equal(fl_package_step(FL_STAGE_UNDO)->good, FL_STAGE_RESTORE);
    assert_int_equal(fl_package_step(FL_STAGE_RESTORE)->good, FL_STAGE_RESTORED);
    assert_true(fl_package_step(FL_STAGE_RESTORE)->of_old);
    assert_int_equal(fl_package_step(FL_STAGE_UPDATE)->bad, FL_STAGE_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins),
        cmocka_unit_test(every_way_ends),
        cmocka_unit_test(a_failed_upgrade_is_undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
