/* New jobs while another file of the monitor's is being written, on a file system that hangs. */
#include "agent/monitor/monitor.h"
#include "tests/agent/monitor/jobs_fixture.h"

static int gate[2];

static void wait_at_gate(void *arg)
{
    char c;

    (void)!read(gate[0], &c, 1);
}

static int setup_pool(void **state)
{
    fl_loop_pool_size(FL_MONITOR_POOL_THREADS);
    return pipe2(gate, O_CLOEXEC) == 0 ? setup(state) : -1;
}

static int teardown_pool(void **state)
{
    int r;

    close(gate[1]);
    r = teardown(state); /* and who waits at the gate is done */
    close(gate[0]);
    return r;
}

static void a_file_that_hangs_holds_up_no_job(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(fl_loop_work(f->loop, wait_at_gate, no_op, NULL), 0);
    send_shell(f, "c1", "\"true\"");
    assert_string_equal(f->acks[0], "200");
    wait_closed(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_that_hangs_holds_up_no_job, setup_pool,
                                        teardown_pool),
    };
    int role = run_role(argc, argv);

    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}
