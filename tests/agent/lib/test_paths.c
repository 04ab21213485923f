#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "agent/lib/paths.h"

static void overrides_win_and_become_absolute(void **state)
{
    fl_autofree char *cwd = getcwd(NULL, 0);
    struct fl_paths p;

    assert_int_equal(fl_paths_init(&p, "c.json", "/s", "/r", NULL), 0);
    assert_int_equal(strncmp(p.config, cwd, strlen(cwd)), 0);
    assert_string_equal(p.config + strlen(cwd), "/c.json");
    assert_string_equal(p.state, "/s");
    assert_string_equal(p.runtime, "/r");
    assert_non_null(p.libexec);
    fl_paths_done(&p);
}

static void a_state_of_ones_own_has_its_runtime_inside(void **state)
{
    struct fl_paths p;

    assert_int_equal(fl_paths_init(&p, NULL, "/s", NULL, NULL), 0);
    assert_string_equal(p.runtime, "/s/run");
    fl_paths_done(&p);
}

static void defaults_follow_the_user(void **state)
{
    struct fl_paths p;

    setenv("HOME", "/home/u", 1);
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_STATE_HOME");
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(fl_paths_init(&p, NULL, NULL, NULL, NULL), 0);
    if (geteuid() == 0) {
        assert_string_equal(p.state, "/var/lib/fairlead");
        assert_string_equal(p.runtime, "/run/fairlead");
        fl_paths_done(&p);
        return;
    }
    assert_string_equal(p.config, "/home/u/.config/fairlead/agent.json");
    assert_string_equal(p.state, "/home/u/.local/state/fairlead");
    assert_string_equal(p.runtime, "/home/u/.local/state/fairlead/run");
    fl_paths_done(&p);
    setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
    setenv("XDG_STATE_HOME", "relative", 1); /* not absolute: ignored, as the standard says */
    assert_int_equal(fl_paths_init(&p, NULL, NULL, NULL, NULL), 0);
    assert_string_equal(p.runtime, "/run/user/1/fairlead");
    assert_string_equal(p.state, "/home/u/.local/state/fairlead");
    fl_paths_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overrides_win_and_become_absolute),
        cmocka_unit_test(a_state_of_ones_own_has_its_runtime_inside),
        cmocka_unit_test(defaults_follow_the_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
