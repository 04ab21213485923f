/* cmocka.c - one test of a program at a time, and crashes that stay crashes; see fault.h.
 *
 * cmocka catches SIGSEGV and goes on with the next test: here it must not.
 */
#include "fault.h"
#include <signal.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

EXPORT int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *const tests,
                                   const size_t n, CMFixtureFunction setup,
                                   CMFixtureFunction teardown)
{
    const char *only = getenv("FL_FAULT_TEST");

    if (only && *only == '\0') {
        for (size_t i = 0; i < n; i++)
            printf("test %s\n", tests[i].name);
        return 0;
    }
    if (only)
        ((void (*)(const char *))dlsym(RTLD_NEXT, "cmocka_set_test_filter"))(only);
    return REAL(_cmocka_run_group_tests)(name, tests, n, setup, teardown);
}

EXPORT __sighandler_t signal(int signo, __sighandler_t handler)
{
    if (fault_called_by(CALLER, "libcmocka"))
        return SIG_DFL;
    return REAL(signal)(signo, handler);
}
