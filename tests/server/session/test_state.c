/* Every state of a session with every event, written from protocol 3 §11. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/util.h"
#include "server/session/state.h"

static const struct {
    const char *from;
    const char *to[FL_SESS_EV__N]; /* joined, client lost, terminate, complete, failed */
} table[] = {
    { "Connecting", { "Connected", "=", "Terminating", "Terminated", "Failed" } },
    { "Connected", { "=", "Disconnected", "Terminating", "Terminated", "Failed" } },
    { "Disconnected", { "Connected", "=", "Terminating", "Terminated", "Failed" } },
    { "Terminating", { "=", "=", "=", "Terminated", "Failed" } },
    { "Terminated", { "=", "=", "=", "=", "=" } },
    { "Failed", { "=", "=", "=", "=", "=" } },
};

static void every_state_with_every_event(void **state)
{
    (void)state;
    assert_int_equal(FL_ARRAY_LEN(table), FL_SESS__N);
    for (size_t i = 0; i < FL_ARRAY_LEN(table); i++)
        for (int ev = 0; ev < FL_SESS_EV__N; ev++) {
            enum fl_session_status from = fl_session_status_of(table[i].from);
            const char *want = table[i].to[ev];

            assert_int_not_equal(from, FL_SESS__N);
            assert_string_equal(
                fl_session_status_name(fl_session_next(from, (enum fl_session_event)ev)),
                strcmp(want, "=") == 0 ? table[i].from : want);
        }
}

static void the_last_two_are_final(void **state)
{
    (void)state;
    for (int s = 0; s < FL_SESS__N; s++)
        assert_int_equal(fl_session_over((enum fl_session_status)s),
                         s == FL_SESS_TERMINATED || s == FL_SESS_FAILED);
    assert_int_equal(fl_session_status_of("Nowhere"), FL_SESS__N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_with_every_event),
        cmocka_unit_test(the_last_two_are_final),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
