/* The host of a step, with plugins made for it: what a cancel does that comes between two runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include "agent/worker/step.h"
#include "tests/agent/tmpdir.h"

static int runs;

/* Is over as soon as it began, as `status` says. */
static enum fl_status status;

static int start(struct fl_step *step, const void *input, struct fl_err *err)
{
    runs++;
    fl_step_done(step, status, status == FL_STATUS_FAILED);
    return 0;
}

static void cancel(struct fl_step *step)
{
}

static const struct fl_plugin at_once = {
    .name = "test:atOnce", .input = &fl_shape_empty, .start = start, .cancel = cancel
};

static void on_group(void *arg, const struct fl_group *group)
{
}

static void on_done(void *arg)
{
    fl_loop_stop(arg);
}

static const struct {
    const char *inputs;
    uint32_t attempts;
    enum fl_status each;
    bool cancelled; /* after the first run is over, and before anybody noticed */
    int want_runs;
    enum fl_status want;
} cases[] = {
    { "[{},{},{}]", 1, FL_STATUS_SUCCESS, false, 3, FL_STATUS_SUCCESS },
    { "[{},{},{}]", 1, FL_STATUS_SUCCESS, true, 1, FL_STATUS_CANCELLED },
    { "[{}]", 1, FL_STATUS_SUCCESS, true, 1, FL_STATUS_SUCCESS },
    { "{}", 3, FL_STATUS_FAILED, false, 3, FL_STATUS_FAILED },
    { "{}", 3, FL_STATUS_FAILED, true, 1, FL_STATUS_FAILED },
    { "{}", 3, FL_STATUS_TIMED_OUT, false, 3, FL_STATUS_TIMED_OUT },
    { "{}", 3, FL_STATUS_SUCCESS, false, 1, FL_STATUS_SUCCESS },
    { "[{},{}]", 2, FL_STATUS_FAILED, false, 4, FL_STATUS_FAILED },
    { "[]", 2, FL_STATUS_FAILED, false, 0, FL_STATUS_SUCCESS },
};

static void runs_and_attempts(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char dir[TMPDIR_BYTES];
        struct fl_loop *loop;
        struct fl_step *step;
        int dir_fd;

        make_tmpdir(dir);
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(fl_loop_new(&loop), 0);
        runs = 0;
        status = cases[i].each;
        assert_int_equal(fl_step_new(loop, &at_once, cases[i].inputs,
                                     &(struct fl_step_context){ .dir = dir }, dir_fd, 1000,
                                     &(struct fl_step_host){
                                         .on_group = on_group, .on_done = on_done, .arg = loop },
                                     &step),
                         0);
        assert_int_equal(fl_step_limit(step, 0, cases[i].attempts), 0);
        fl_step_begin(step);
        if (cases[i].cancelled)
            fl_step_cancel(step);
        fl_loop_run(loop);
        if (runs != cases[i].want_runs || fl_step_status(step) != cases[i].want)
            fail_msg("case %zu: %d runs, %s", i, runs, fl_status_name(fl_step_status(step)));
        fl_step_free(step);
        fl_loop_free(loop);
        close(dir_fd);
        rmdir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_and_attempts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
