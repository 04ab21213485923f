/* Services: their start, what they listen to, errands, and a stop while work is on its way. */
#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/http/service.h"
#include "tests/server/fixture.h"

struct state {
    struct fl_duty duty;
    int zero; /* as it was at `begin` */
};

static struct fl_fixture f;
static struct fl_loop *loop;
static int begin_says, turns, most_runs;
static atomic_int runs; /* errands run on the store's thread */
static char last_key[20];

static int begin(void *state)
{
    const struct state *s = state;

    assert_ptr_equal(s->duty.plane, &f.plane);
    assert_ptr_equal(s->duty.loop, loop);
    assert_int_equal(s->zero, 0);
    return begin_says;
}

static void on_timer(void *state)
{
    turns++;
    fl_loop_stop(((struct state *)state)->duty.loop);
}

static int errand(struct fl_engine *e, const char *key, struct fl_err *err)
{
    (void)err;
    assert_non_null(e->call->tx);
    snprintf(last_key, sizeof(last_key), "%s", key);
    e->effects.again = ++runs < most_runs;
    return 0;
}

static void on_hint(void *state, const char *key)
{
    struct state *s = state;

    assert_int_equal(fl_duty_errand(&s->duty, "a test", errand, key), 0);
}

static const struct fl_service_hint hints[] = { { FL_SUBJECT_NODE_DROP, on_hint }, { NULL, NULL } };

static const struct fl_service service = {
    .name = "probe",
    .state_bytes = sizeof(struct state),
    .begin = begin,
    .on_timer = on_timer,
    .hints = hints,
};

static int setup(void **state)
{
    (void)state;
    fl_fixture_open(&f);
    assert_int_equal(fl_loop_new(&loop), 0);
    begin_says = turns = 0;
    runs = 0;
    most_runs = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_fixture_close(&f);
    loop = fl_loop_free(loop);
    return 0;
}

static struct state *started(void)
{
    void *s = NULL;

    assert_int_equal(fl_service_start(&service, &f.plane, loop, &s, NULL), 0);
    return s;
}

static void what_cannot_begin_says_so(void **state)
{
    struct fl_err err = { 0 };
    void *s = NULL;

    (void)state;
    begin_says = -EIO;
    assert_int_equal(fl_service_start(&service, &f.plane, loop, &s, &err), -EIO);
    assert_string_equal(fl_err_text(&err), "probe: Input/output error");
    assert_null(s);
    fl_service_stop(s);
}

static void its_timer_runs(void **state)
{
    struct state *s = started();

    (void)state;
    fl_loop_run(loop);
    assert_int_equal(turns, 1);
    fl_service_stop(s);
}

static void an_errand_is_run_until_it_is_done(void **state)
{
    struct state *s = started();

    (void)state;
    most_runs = 3;
    fl_bus_publish(f.plane.bus, FL_SUBJECT_NODE_DROP, "mi-1");
    while (runs < 3 || s->duty.refs > 1)
        fl_loop_run_once(loop, true);
    assert_string_equal(last_key, "mi-1");
    assert_int_equal(runs, 3);
    fl_service_stop(s);
}

/* The last to come back frees it, and starts nothing new. */
static void stopped_with_work_on_its_way(void **state)
{
    struct state *s = started();

    (void)state;
    most_runs = 3;
    fl_duty_ref(&s->duty);
    assert_int_equal(fl_duty_errand(&s->duty, "a test", errand, "mi-2"), 0);
    assert_int_equal(s->duty.refs, 3);
    fl_service_stop(s);
    assert_null(s->duty.timer);
    while (s->duty.refs > 1)
        fl_loop_run_once(loop, true);
    assert_int_equal(runs, 1);
    fl_duty_unref(&s->duty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_cannot_begin_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(its_timer_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(an_errand_is_run_until_it_is_done, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_with_work_on_its_way, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
