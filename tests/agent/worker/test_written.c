/* Documents whose steps mean what is written beside their inputs: fairleadSteps is "written". */
#include <signal.h>
#include "agent/lib/ipc_net.h"
#include "tests/agent/worker/worker_fixture.h"

static void make_written(const char *steps)
{
    char *content = NULL;

    assert_true(asprintf(&content,
                         "{\"DocumentContent\":{\"schemaVersion\":\"2.2\",\"parameters\":{"
                         "\"fairleadSteps\":{\"type\":\"String\",\"default\":\"written\"}},"
                         "\"mainSteps\":[%s]},\"CommandId\":\"c1\"}",
                         steps) > 0);
    make_job(content);
    free(content);
}

/* A step with members beside its inputs. */
#define STEP(name, members, script)                                     \
    "{\"action\":\"aws:runShellScript\",\"name\":\"" name "\"," members \
    "\"inputs\":{\"runCommand\":[\"" script "\"]}}"
#define FINALLY(name) SHELL_WITH(name, "\"finallyStep\":true,", "echo " name)

static const struct {
    const char *steps;
    const char *want; /* statuses of the steps: S Success, F Failed, T TimedOut, K Skipped */
    const char *status;
} cases[] = {
    { STEP("a", "\"onFailure\":\"Abort\",", "exit 3") "," STEP("b", "", "echo b") "," FINALLY("c"),
      "FKS", "Failed" },
    { STEP("a", "\"onFailure\":\"Continue\",", "exit 3") "," STEP("b", "", "echo b"), "FS",
      "Failed" },
    { STEP("a", "\"onFailure\":\"successAndExit\",", "exit 3") "," STEP("b", "", "echo b"), "SK",
      "Success" },
    { STEP("a", "\"onFailure\":\"step:c\",",
           "exit 3") "," STEP("b", "", "echo b") "," STEP("c", "", "echo c"),
      "FKS", "Failed" },
    { STEP("a", "\"onFailure\":\"step:c\",", "true") "," STEP("b", "", "echo b") "," STEP("c", "",
                                                                                          "echo c"),
      "SSS", "Success" },
    { STEP("a", "\"nextStep\":\"c\",", "true") "," STEP("b", "", "echo b") "," STEP("c", "",
                                                                                    "echo c"),
      "SKS", "Success" },
    { STEP("a", "\"nextStep\":\"c\",", "exit 3") "," STEP("b", "", "echo b") "," STEP("c", "",
                                                                                      "echo c"),
      "FSS", "Failed" },
    { STEP("a", "\"isEnd\":true,", "true") "," STEP("b", "", "echo b") "," FINALLY("c"), "SKS",
      "Success" },
    { STEP("a", "\"isEnd\":true,", "exit 3") "," STEP("b", "", "echo b"), "FK", "Failed" },
    { STEP("a", "\"timeoutSeconds\":1,\"onFailure\":\"Abort\",", "sleep 60") "," STEP("b", "",
                                                                                      "echo b"),
      "TK", "TimedOut" },
    /* The step's own time, when it is the shorter one. */
    { "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"timeoutSeconds\":900,\"inputs\":{"
      "\"timeoutSeconds\":5,\"runCommand\":[\"sleep 60\"]}}",
      "T", "TimedOut" },
    /* A list that runs out of time does not begin its next element. */
    { "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"timeoutSeconds\":1,\"inputs\":["
      "{\"runCommand\":[\"sleep 60\"]},{\"runCommand\":[\"echo never\"]}]}",
      "T", "TimedOut" },
    /* Inputs and members: the inputs are looked at first. */
    { "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"nextStep\":\"c\",\"inputs\":{"
      "\"onSuccess\":"
      "\"exit\",\"runCommand\":[\"true\"]}}," STEP("b", "", "echo b") "," STEP("c", "", "echo c"),
      "SKK", "Success" },
};

static void what_is_written_is_done(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct outcome o;
        char got[16] = "";

        make_written(cases[i].steps);
        run_worker();
        read_outcome(&o);
        for (int k = 0; k < o.dones; k++)
            got[k] = strcmp(o.steps[k].status, "Skipped") == 0 ? 'K' : o.steps[k].status[0];
        if (strcmp(got, cases[i].want) != 0 || strcmp(o.status, cases[i].status) != 0)
            fail_msg("%s\nis %s %s", cases[i].steps, got, o.status);
        for (int k = 0; k < o.dones; k++)
            assert_null(strstr(o.steps[k].text[1], "never"));
        free_outcome(&o);
    }
}

static void not_asked_for_it_is_not_done(void **state)
{
    struct outcome o;

    make_document(
        STEP("a", "\"onFailure\":\"Abort\",\"nextStep\":\"c\",\"isEnd\":true,\"maxAttempts\":3,",
             "echo x; exit 3") "," STEP("b", "", "echo b") "," STEP("c", "", "echo c"));
    run_worker();
    read_outcome(&o);
    assert_string_equal(o.steps[0].text[1], "\"x\\n\"");
    assert_string_equal(o.steps[1].status, "Success");
    assert_string_equal(o.steps[2].status, "Success");
    free_outcome(&o);
}

static const struct {
    const char *attempts, *script;
    const char *status;
    int code;
    const char *out;
} attempt_cases[] = {
    { "3", "echo x >> t; echo try; [ $(wc -l < t) -ge 2 ]", "Success", 0, "\"try\\n\\ntry\\n\"" },
    { "3", "echo x >> t; echo try; [ $(wc -l < t) -ge 9 ]", "Failed", 1,
      "\"try\\n\\ntry\\n\\ntry\\n\"" },
    { "1", "echo try; exit 3", "Failed", 3, "\"try\\n\"" },
    { "3", "echo try; exit 169", "Failed", 169, NULL },
    { "3", "echo try; exit 168", "Success", 168, NULL },
};

static void tried_again(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(attempt_cases); i++) {
        char steps[1024], t[TMPDIR_BYTES + 64];
        struct outcome o;

        snprintf(steps, sizeof(steps),
                 "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"maxAttempts\":%s,\"inputs\":{"
                 "\"workingDirectory\":\"%s\",\"runCommand\":[\"%s\"]}}",
                 attempt_cases[i].attempts, dir, attempt_cases[i].script);
        make_written(steps);
        run_worker();
        read_outcome(&o);
        assert_int_equal(o.dones, 1);
        assert_string_equal(o.steps[0].status, attempt_cases[i].status);
        assert_int_equal(o.steps[0].code, attempt_cases[i].code);
        if (attempt_cases[i].out)
            assert_string_equal(o.steps[0].text[1], attempt_cases[i].out);
        assert_null(strstr(o.steps[0].text[1], "try\\n\\ntry\\n\\ntry\\n\\ntry"));
        if (!attempt_cases[i].out)
            assert_null(strstr(o.steps[0].text[1], "try\\n\\ntry"));
        free_outcome(&o);
        snprintf(t, sizeof(t), "%s/t", dir);
        unlink(t);
    }
}

/* ---- cancelled ---- */

static void wait_for(const char *below)
{
    char path[TMPDIR_BYTES + 64];

    snprintf(path, sizeof(path), "%s/%s", dir, below);
    for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), 0);
}

static int on_look(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    return 0;
}

static void on_close(void *arg, int why, const struct fl_err *err)
{
    bool *gone = arg;

    *gone = true;
}

static void cancel(void)
{
    static const char nothing[1];
    struct fl_ipc_row rows[FL_N_WORKER_ROWS];
    char path[TMPDIR_BYTES + 64];
    struct fl_loop *loop;
    struct fl_ipc *ipc;
    bool gone = false;
    int dir_fd, fd;

    job_path(path, "");
    dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(fl_worker_connect(dir_fd, &fd), 0);
    assert_int_equal(fl_loop_new(&loop), 0);
    fl_ipc_bind(fl_worker_rows, FL_N_WORKER_ROWS,
                &(struct fl_ipc_binding){ FL_WORKER_LOOK, on_look }, 1, rows);
    assert_int_equal(fl_ipc_new(loop, fd, rows, FL_N_WORKER_ROWS, on_close, &gone, &ipc), 0);
    assert_int_equal(fl_ipc_send(ipc, FL_WORKER_CANCEL, 0, nothing, NULL, 0), 0);
    while (fl_ipc_queued(ipc) > 0 && !gone)
        fl_loop_run_once(loop, true);
    fl_ipc_free(ipc);
    fl_loop_free(loop);
    close(dir_fd);
}

#define CLEANING                                                      \
    STEP("a", "\"onCancel\":\"step:c\",", "touch %s/began; sleep 60") \
    "," STEP("b", "", "echo b") "," STEP(                             \
        "c", "", "echo cleaned >> %s/cleaned; touch %s/cleaning; %s") "," STEP("d", "", "echo d")

static void check_cleaned(void)
{
    struct outcome o;

    read_outcome(&o);
    assert_int_equal(o.dones, 4);
    assert_string_equal(o.steps[0].status, "Cancelled");
    assert_string_equal(o.steps[1].status, "Cancelled");
    assert_string_equal(o.steps[2].status, "Success");
    assert_string_equal(o.steps[3].status, "Success");
    assert_string_equal(o.status, "Cancelled");
    free_outcome(&o);
}

static void a_cancelled_document_cleans_up(void **state)
{
    char steps[2048];
    pid_t worker;

    snprintf(steps, sizeof(steps), CLEANING, dir, dir, dir, "sleep 0.3");
    make_written(steps);
    worker = start_worker(NULL);
    wait_for("began");
    cancel();
    wait_for("cleaning");
    cancel(); /* a monitor that comes back says it again */
    assert_int_equal(wait_worker(worker), 0);
    check_cleaned();
}

/* The worker dies after the cancel; the next one is told of it by its arguments. */
static void cleaning_up_goes_on_after_a_kill(void **state)
{
    char steps[2048];
    struct outcome o;
    pid_t worker;

    snprintf(steps, sizeof(steps), CLEANING, dir, dir, dir, "sleep 60");
    make_written(steps);
    worker = start_worker(NULL);
    wait_for("began");
    cancel();
    wait_for("cleaning");
    kill(worker, SIGKILL);
    wait_worker(worker);
    assert_int_equal(wait_worker(start_worker("--cancel")), 0);
    read_outcome(&o);
    assert_string_equal(o.steps[0].status, "Cancelled");
    assert_string_equal(o.steps[2].status, "Cancelled"); /* interrupted, not run again */
    assert_string_equal(o.steps[3].status, "Success");
    free_outcome(&o);

    /* And before any result of the cancel was written. */
    snprintf(steps, sizeof(steps), CLEANING, dir, dir, dir, "true");
    make_written(steps);
    worker = start_worker(NULL);
    wait_for("began");
    job_path(steps, "/steps/0/_script.sh");
    while (access(steps, F_OK) < 0)
        usleep(10000);
    kill(worker, SIGKILL);
    wait_worker(worker);
    assert_int_equal(wait_worker(start_worker("--cancel")), 0);
    check_cleaned();
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_written_is_done),        T(not_asked_for_it_is_not_done),     T(tried_again),
        T(a_cancelled_document_cleans_up), T(cleaning_up_goes_on_after_a_kill),
    };
    int role = run_role(argc, argv);

    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}
