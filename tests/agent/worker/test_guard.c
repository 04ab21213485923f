/* The policy at each step, in the worker: what the job folder says is held to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "agent/lib/jobdir.h"
#include "agent/worker/guard.h"
#include "tests/agent/lib/tempdir.h"

#define DOC "{\"schemaVersion\":\"2.2\",\"parameters\":{\"p\":{\"default\":\"x\"}}}"
static char policy[] =
    "{\"version\":1,\"default\":\"deny\",\"rules\":["
    "{\"name\":\"look\",\"effect\":\"allow\",\"match\":{\"inputs\":{\"runCommand\":\"uptime\"}}},"
    "{\"name\":\"now\",\"effect\":\"allow\",\"match\":{\"actions\":[\"aws:now\"],"
    "\"times\":[\"00:00-00:01 UTC\"],\"parameters\":{\"p\":\"x\"}}}]}";

static int dir(void)
{
    return open(tempdir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void put(int64_t time_ms)
{
    fl_autofd int fd = dir();
    struct fl_err err = { 0 };
    const struct fl_job_policy p = { .text = policy, .run_as = "root", .time_ms = time_ms };

    assert_int_equal(fl_jobdir_put_policy(fd, &p, &err), 0);
}

static bool allows(const char *action, const char *inputs)
{
    fl_autofd int fd = dir();
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    const struct fl_doc_step step = { .key = "s",
                                      .action = (char *)action,
                                      .inputs = (char *)inputs };
    struct fl_step_guard *g = NULL;
    struct fl_err err = { 0 };
    char *text = NULL;
    bool ok;
    assert_int_equal(fl_step_guard_new(fd, "Doc", DOC, "{}", &g, &err), 0);
    ok = fl_step_guard_allows(g, &step, &arena, &text);
    assert_int_equal(ok, text == NULL);
    if (text)
        assert_non_null(strstr(text, "refused by the policy of this node"));
    fl_step_guard_free(g);
    return ok;
}

static void without_a_policy_all_is_allowed(void **state)
{
    assert_true(allows("aws:runShellScript", "{\"runCommand\":[\"id\"]}"));
}

static void each_step_is_held_to_it(void **state)
{
    put(1);
    assert_true(allows("aws:runShellScript", "{\"runCommand\":[\"uptime\"]}"));
    assert_false(allows("aws:runShellScript", "{\"runCommand\":[\"id\"]}"));
}

/* A window is judged by when the document was accepted, not by when its last step begins. */
static void time_stands_still(void **state)
{
    put(30000);
    assert_true(allows("aws:now", "{\"x\":1}"));
    put(90000);
    assert_false(allows("aws:now", "{\"x\":1}"));
}

static void a_damaged_policy_forbids_the_document(void **state)
{
    fl_autofd int fd = dir();
    fl_autofd int file = -1;
    struct fl_step_guard *g = NULL;
    struct fl_err err = { 0 };
    put(1);
    file = openat(fd, "policy", O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(file, "X", 1, 40), 1);
    assert_true(fl_step_guard_new(fd, "Doc", DOC, "{}", &g, &err) < 0);
    assert_null(g);
    assert_int_equal(ftruncate(file, 0), 0);
    assert_true(fl_step_guard_new(fd, "Doc", DOC, "{}", &g, &err) < 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_policy_all_is_allowed),
        TEST(each_step_is_held_to_it),
        TEST(time_stands_still),
        TEST(a_damaged_policy_forbids_the_document),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
