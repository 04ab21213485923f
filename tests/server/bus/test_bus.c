/* The bus: each subscriber of a subject is told once per waiting key, on its loop. */
#include "server/bus/bus.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct heard {
    char text[256];
};

static void hear(void *arg, const char *key)
{
    struct heard *h = arg;
    size_t len = strlen(h->text);

    snprintf(h->text + len, sizeof(h->text) - len, "%s ", key);
}

static void equal_keys_are_folded(void **state)
{
    struct fl_loop *loop = NULL;
    struct fl_bus *bus = NULL;
    struct heard work = { 0 }, work2 = { 0 }, drop = { 0 };

    assert_int_equal(fl_loop_new(&loop), 0);
    assert_int_equal(fl_bus_new(&bus), 0);
    assert_int_equal(fl_bus_subscribe(bus, FL_SUBJECT_NODE_WORK, loop, hear, &work), 0);
    assert_int_equal(fl_bus_subscribe(bus, FL_SUBJECT_NODE_WORK, loop, hear, &work2), 0);
    assert_int_equal(fl_bus_subscribe(bus, FL_SUBJECT_NODE_DROP, loop, hear, &drop), 0);

    fl_bus_publish(bus, FL_SUBJECT_NODE_WORK, "a");
    fl_bus_publish(bus, FL_SUBJECT_NODE_WORK, "b");
    fl_bus_publish(bus, FL_SUBJECT_NODE_WORK, "a");
    fl_bus_publish(bus, FL_SUBJECT_NODE_DROP, "a");
    fl_bus_publish(bus, "nobody", "a");
    assert_string_equal(work.text, ""); /* never inside the call */
    fl_loop_run_once(loop, false);
    assert_string_equal(work.text, "a b ");
    assert_string_equal(work2.text, "a b ");
    assert_string_equal(drop.text, "a ");

    fl_bus_publish(bus, FL_SUBJECT_NODE_WORK, "a"); /* said again after it was heard */
    fl_loop_run_once(loop, false);
    assert_string_equal(work.text, "a b a ");
    fl_bus_publish(bus, FL_SUBJECT_NODE_WORK, "left behind");
    fl_bus_free(bus);
    fl_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(equal_keys_are_folded) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
