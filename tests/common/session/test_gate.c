#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/session/gate.h"

static const struct {
    enum fl_gate gate;
    const char *version;
    bool open;
} rows[] = {
    { FL_GATE_CLIENT_MUX, "1.1.70", true },
    { FL_GATE_CLIENT_MUX, "1.1.70.0", true },
    { FL_GATE_CLIENT_MUX, "1.1.69.9", false },
    { FL_GATE_CLIENT_MUX, "1.1", false }, /* a missing part is less */
    { FL_GATE_CLIENT_MUX, "1.2", true },
    { FL_GATE_CLIENT_MUX, "1.10.0.0", true }, /* numbers, not letters */
    { FL_GATE_CLIENT_NO_KEEPALIVE, "1.2.331.0", false },
    { FL_GATE_CLIENT_NO_KEEPALIVE, "1.2.331.1", true },
    { FL_GATE_CLIENT_NO_KEEPALIVE, "1.2.677.0", true },
    { FL_GATE_CLIENT_SEPARATE_OUTPUT, "1.2.295.0", false },
    { FL_GATE_CLIENT_SEPARATE_OUTPUT, "1.2.296.0", true },
    { FL_GATE_AGENT_MUX, "3.0.196.0", false },
    { FL_GATE_AGENT_MUX, "3.0.197.0", true },
    { FL_GATE_AGENT_MUX, "3.3.0.0", true },
    { FL_GATE_AGENT_MUX, "3.3.0", false }, /* the plugin takes four parts only */
    { FL_GATE_AGENT_MUX, "3.3.0.0.1", false },
    { FL_GATE_AGENT_NO_KEEPALIVE, "3.1.1511.0", false },
    { FL_GATE_AGENT_NO_KEEPALIVE, "3.1.1511.1", true },
    { FL_GATE_AGENT_TERMINATE_FLAG, "2.3.722.0", false },
    { FL_GATE_AGENT_TERMINATE_FLAG, "2.3.750.0", true },
    { FL_GATE_CLIENT_MUX, NULL, false },
    { FL_GATE_CLIENT_MUX, "", false },
    { FL_GATE_CLIENT_MUX, "x", false },
    { FL_GATE_CLIENT_MUX, "9.9.9-beta", false },
    { FL_GATE_CLIENT_MUX, "9..9", false },
    { FL_GATE_CLIENT_MUX, "9.9.", false },
    { FL_GATE_CLIENT_MUX, "-9.9.9", false },
    { FL_GATE_CLIENT_MUX, "1.9999999999999999999.0", false },
    { FL_GATE_CLIENT_MUX, "9.9.9.9.9.9.9.9.9", false },
};

static void gates_open_by_version(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(rows); i++) {
        print_message("  %d %s\n", (int)rows[i].gate, rows[i].version ? rows[i].version : "(none)");
        assert_int_equal(fl_gate_open(rows[i].gate, rows[i].version), rows[i].open);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(gates_open_by_version) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
