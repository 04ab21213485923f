/* Jobs from FL_NET_JOB to the last acknowledgement, with real workers: this program is its own
 * worker. */
#include "tests/agent/monitor/jobs_fixture.h"

static void one_step_is_told_in_three_replies(void **state)
{
    struct fixture *f = *state;

    send_shell(f, "c1", "\"echo hi\"");
    assert_int_equal(f->n_acks, 1);
    assert_string_equal(f->acks[0], "200");
    assert_int_equal(f->n_replies, 1);
    assert_false(f->replies[0].expect_ack);
    assert_has(f->replies[0].content, "\"runtimeStatusCounts\":null");
    assert_has(f->replies[0].content, "\"documentStatus\":\"InProgress\"");
    assert_has(f->replies[0].content, "\"runtimeStatus\":null");

    wait_replies(f, 3);
    assert_true(f->replies[1].expect_ack);
    assert_has(f->replies[1].content, "\"documentStatus\":\"InProgress\"");
    assert_has(f->replies[1].content,
               "\"runtimeStatus\":{\"runIt\":{\"status\":\"Success\",\"code\":0,"
               "\"name\":\"aws:runShellScript\",\"output\":\"hi\\n\"");
    assert_has(f->replies[2].content, "\"runtimeStatusCounts\":{\"Success\":1}");
    assert_has(f->replies[2].content, "\"documentStatus\":\"Success\"");
    assert_has(f->replies[2].content, "\"standardOutput\":\"hi\\n\",\"standardError\":\"\"}}}");
    assert_string_equal(f->replies[2].topic, "aws.ssm.sendCommand");
    wait_closed(f);
    assert_false(exists(f, "jobs/c1"));
    assert_true(exists(f, "done/c1/journal"));
}

static void two_steps_end_in_an_empty_map(void **state)
{
    struct fixture *f = *state;

    send_job(f, "c1",
             "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"inputs\":{\"runCommand\":[\"exit "
             "3\"]}},"
             "{\"action\":\"aws:runShellScript\",\"name\":\"b\",\"inputs\":{\"runCommand\":["
             "\"true\"]}}");
    wait_replies(f, 4);
    assert_has(f->replies[1].content, "{\"a\":{\"status\":\"Failed\",\"code\":3");
    assert_has(f->replies[2].content, "{\"b\":{\"status\":\"Success\",\"code\":0");
    assert_has(f->replies[3].content, "\"documentStatus\":\"Failed\"");
    assert_has(f->replies[3].content, "\"runtimeStatus\":{}");
}

static void a_bad_document_fails_with_a_bare_reply(void **state)
{
    struct fixture *f = *state;

    send_job(f, "c1", "");
    wait_replies(f, 2);
    assert_string_equal(f->acks[0], "200");
    assert_has(f->replies[1].content, "\"documentStatus\":\"Failed\"");
    assert_has(f->replies[1].content, "\"runtimeStatus\":null");
    assert_has(f->replies[1].content, "Unsupported schema format");
}

static void what_may_not_be_accepted(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *id, *want;
    } cases[] = {
        { "..", "51406" },  { ".hidden", "51406" }, { "a/b", "51406" }, { "", "51406" },
        { "a b", "51406" }, { "ok", "200" },        { "ok", "51405" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        send_shell(f, cases[i].id, "\"true\"");
        assert_string_equal(f->acks[f->n_acks - 1], cases[i].want);
    }
    wait_closed(f);
    send_shell(f, "ok", "\"true\""); /* over, but seen */
    assert_string_equal(f->acks[f->n_acks - 1], "51405");
    fl_jobs_close(f->jobs);
    send_shell(f, "late", "\"true\"");
    assert_string_equal(f->acks[f->n_acks - 1], "51401");
}

static void ten_are_taken_the_eleventh_is_not(void **state)
{
    struct fixture *f = *state;
    char id[16];

    for (int i = 0; i < 11; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        send_shell(f, id, until_let_go(f));
        assert_string_equal(f->acks[i], i < 10 ? "200" : "51402");
    }
    assert_int_equal(fl_jobs_count(f->jobs).running, 5);
    assert_int_equal(fl_jobs_count(f->jobs).queued, 5);
    let_go(f);
    wait_closed(f);
    assert_int_equal(f->n_replies, 30);
}

static void a_running_step_is_cancelled_at_once(void **state)
{
    struct fixture *f = *state;
    int64_t begin;

    send_job(
        f, "c1",
        "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"inputs\":{\"runCommand\":[\"echo out; "
        "sleep "
        "60\"]}},{\"action\":\"aws:runShellScript\",\"name\":\"b\",\"inputs\":{\"runCommand\":["
        "\"true\"]}}");
    wait_exists(f, "jobs/c1/steps/0/stdout");
    begin = fl_mono_ms();
    send_cancel(f, "c1");
    assert_string_equal(f->acks[1], "200");
    assert_string_equal(f->replies[1].topic, "aws.ssm.cancelCommand");
    assert_has(f->replies[1].content, "\"documentStatus\":\"InProgress\"");
    wait_replies(f, 5);
    assert_true(fl_mono_ms() - begin < 3000);
    assert_has(f->replies[2].content, "{\"a\":{\"status\":\"Cancelled\",\"code\":137");
    assert_has(f->replies[2].content, "\"standardOutput\":\"out\\n\"");
    assert_has(f->replies[3].content, "{\"b\":{\"status\":\"Cancelled\",\"code\":1,");
    assert_has(f->replies[3].content, "\"startDateTime\":\"0001-01-01T00:00:00.000Z\"");
    assert_has(f->replies[4].content, "\"documentStatus\":\"Cancelled\"");
}

static void a_queued_document_is_cancelled_without_running(void **state)
{
    struct fixture *f = *state;
    char script[TMPDIR_BYTES + 64];

    f->config.command_workers = 1;
    send_shell(f, "c1", until_let_go(f));
    snprintf(script, sizeof(script), "\"touch %s/ran\"", f->dir);
    send_shell(f, "c2", script);
    send_cancel(f, "c2");
    let_go(f);
    wait_closed(f);
    assert_false(exists(f, "ran"));
    for (size_t i = 0, n = 0; i < f->n_replies; i++)
        if (strstr(f->replies[i].job_id, ".c2.") && f->replies[i].expect_ack)
            assert_has(f->replies[i].content, n++ == 0 ? "\"status\":\"Cancelled\",\"code\":1,"
                                                       : "\"documentStatus\":\"Cancelled\"");
}

static void a_cancel_of_nothing_is_acknowledged(void **state)
{
    struct fixture *f = *state;

    send_cancel(f, "unknown");
    assert_string_equal(f->acks[0], "200");
    assert_int_equal(f->n_replies, 1);
    assert_int_equal(fl_jobs_count(f->jobs).running, 0);
}

static void replies_wait_for_the_channel_and_repeat_their_ids(void **state)
{
    struct fixture *f = *state;

    f->auto_ack = false;
    fl_jobs_online(f->jobs, false);
    send_shell(f, "c1", "\"echo hi\"");
    while (fl_jobs_count(f->jobs).running)
        fl_loop_run_once(f->loop, true);
    assert_int_equal(f->n_replies, 1);
    fl_jobs_online(f->jobs, true);
    assert_int_equal(f->n_replies, 3);
    fl_jobs_online(f->jobs, true); /* another channel */
    assert_int_equal(f->n_replies, 5);
    assert_string_equal(f->replies[1].message_id, f->replies[3].message_id);
    assert_string_equal(f->replies[2].message_id, f->replies[4].message_id);
    assert_true(fl_uuid_valid(f->replies[1].message_id));

    fl_jobs_acked(f->jobs, f->replies[1].message_id);
    f->jobs = fl_jobs_free(f->jobs); /* a monitor that was killed */
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    assert_int_equal(f->n_replies, 6); /* only the final one */
    assert_string_equal(f->replies[5].message_id, f->replies[2].message_id);
    fl_jobs_acked(f->jobs, f->replies[5].message_id);
    assert_true(exists(f, "done/c1/journal"));
    send_shell(f, "c1", "\"echo hi\"");
    assert_string_equal(f->acks[1], "51405");
}

static void no_more_than_a_window_is_in_flight(void **state)
{
    struct fixture *f = *state;
    char steps[16384] = "";

    f->auto_ack = false;
    for (int i = 0; i < 30; i++)
        sprintf(steps + strlen(steps),
                "%s{\"action\":\"aws:bogus\",\"name\":\"s%d\",\"inputs\":{}}", i ? "," : "", i);
    send_job(f, "c1", steps);
    while (fl_jobs_count(f->jobs).running)
        fl_loop_run_once(f->loop, true);
    assert_int_equal(f->n_replies, 1 + 16);
    fl_jobs_acked(f->jobs, f->replies[1].message_id);
    assert_int_equal(f->n_replies, 1 + 17);
}

static void a_new_monitor_finds_the_running_worker(void **state)
{
    struct fixture *f = *state;

    send_shell(f, "c1", "\"echo one; sleep 1; echo two\"");
    wait_exists(f, "jobs/c1/steps/0/stdout");
    f->jobs = fl_jobs_free(f->jobs);
    start_jobs(f);
    assert_int_equal(fl_jobs_count(f->jobs).running, 1);
    fl_jobs_online(f->jobs, true);
    wait_replies(f, 3);
    assert_has(f->replies[2].content, "\"standardOutput\":\"one\\ntwo\\n\"");
    wait_closed(f);
}

static void a_document_that_ended_meanwhile_is_reported(void **state)
{
    struct fixture *f = *state;

    send_shell(f, "c1", "\"echo one; sleep 0.3\"");
    f->jobs = fl_jobs_free(f->jobs);
    for (int i = 0; i < 200 && i >= 0; i++) { /* the worker's socket is all there is to see */
        struct fl_journal lock;
        int dir_fd, r;
        char path[TMPDIR_BYTES + 64];

        snprintf(path, sizeof(path), "%s/jobs/c1", f->dir);
        dir_fd = open(path, O_RDONLY | O_DIRECTORY);
        r = fl_jobdir_open(dir_fd, "journal", &lock, NULL);
        assert_int_equal(r, 0);
        if (lseek(lock.fd, 0, SEEK_END) > 200 && fl_jobdir_lock(lock.fd) == 0)
            i = -2;
        fl_journal_done(&lock);
        close(dir_fd);
        usleep(20000);
    }
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    wait_replies(f, 3);
    assert_has(f->replies[2].content, "\"documentStatus\":\"Success\"");
}

/* The script kills the parent of the shell that runs it, which is the worker. */
static void a_killed_worker_is_replaced_and_the_step_not_repeated(void **state)
{
    struct fixture *f = *state;
    char steps[2048];

    snprintf(
        steps, sizeof(steps),
        "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"inputs\":{\"runCommand\":[\"echo x >> "
        "%s/ran; echo be$((1))fore; until grep -rqs be1fore %s/jobs; do sleep 0.01; done; "
        "set -- $(cat /proc/$PPID/stat); kill -9 $4; sleep 60\"]}},"
        "{\"action\":\"aws:runShellScript\",\"name\":\"b\",\"inputs\":{\"runCommand\":[\"echo "
        "b\"]}}",
        f->dir, f->dir);
    send_job(f, "c1", steps);
    wait_replies(f, 4);
    assert_has(f->replies[1].content, "{\"a\":{\"status\":\"Failed\",\"code\":1,");
    assert_has(f->replies[1].content, "\"standardOutput\":\"be1fore\\n\"");
    assert_has(f->replies[1].content,
               "fairlead: the worker was interrupted while this step ran; it was "
               "not run again");
    assert_has(f->replies[2].content, "\"standardOutput\":\"b\\n\"");
    assert_has(f->replies[3].content, "\"documentStatus\":\"Failed\"");
    wait_closed(f);
    {
        char path[TMPDIR_BYTES + 64];
        struct stat st;

        snprintf(path, sizeof(path), "%s/ran", f->dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, 2);
    }
}

static void a_worker_that_never_comes_up_fails_the_document(void **state)
{
    struct fixture *f = *state;
    char path[TMPDIR_BYTES + 64];

    /* Damaged while it waited for its turn: no worker can read it. */
    f->config.command_workers = 1;
    send_shell(f, "c0", until_let_go(f));
    send_shell(f, "c1", "\"echo hi\"");
    snprintf(path, sizeof(path), "%s/jobs/c1/job", f->dir);
    assert_int_equal(truncate(path, 20), 0);
    let_go(f);
    wait_replies(f, 5);
    assert_has(f->replies[4].content, "\"documentStatus\":\"Failed\"");
    assert_has(f->replies[4].content, "no worker could finish this document (3 tries)");
    wait_closed(f);
}

static void a_state_folder_that_cannot_be_written_refuses(void **state)
{
    struct fixture *f = *state;
    char path[TMPDIR_BYTES + 64];

    snprintf(path, sizeof(path), "%s/jobs", f->dir);
    assert_int_equal(rmdir(path), 0);
    send_shell(f, "c1", "\"echo hi\"");
    assert_string_equal(f->acks[0], "51499");
    assert_int_equal(f->n_replies, 1); /* once, without acknowledgement: the plane asks again */
    assert_false(f->replies[0].expect_ack);
    assert_has(f->replies[0].content, "\"documentStatus\":\"Failed\"");
    assert_has(f->replies[0].content, "this node cannot keep the document");
    assert_has(f->replies[0].content, "No such file or directory");
}

static void configured_cleaning_takes_the_folder_away(void **state)
{
    struct fixture *f = *state;
    static char clean[] = "clean-success";

    f->config.orchestration_cleanup = clean;
    send_shell(f, "good", "\"true\"");
    send_shell(f, "bad", "\"false\"");
    wait_closed(f);
    assert_false(exists(f, "done/good"));
    assert_true(exists(f, "done/bad"));
    send_shell(f, "good", "\"true\"");
    assert_string_equal(f->acks[2], "51405");
}

/* ---- while the disk is slow: the pool's only thread waits for a byte ---- */

static int gate[2];

static void wait_at_gate(void *arg)
{
    char c;

    (void)!read(gate[0], &c, 1);
}

static int setup_slow(void **state)
{
    return pipe2(gate, O_CLOEXEC) == 0 ? setup(state) : -1;
}

static int teardown_slow(void **state)
{
    close(gate[1]);
    close(gate[0]);
    return teardown(state);
}

static void close_gate(struct fixture *f)
{
    assert_int_equal(fl_loop_work(f->loop, wait_at_gate, no_op, NULL), 0);
}

static void open_gate(void)
{
    assert_int_equal(write(gate[1], "x", 1), 1);
}

static void turn(struct fixture *f, int n)
{
    while (n-- > 0)
        fl_loop_run_once(f->loop, false);
}

static void others_are_answered_while_jobs_are_written(void **state)
{
    struct fixture *f = *state;
    char id[32];

    f->config.command_workers = 100;
    send_shell(f, "known", "\"true\"");
    wait_closed(f);
    close_gate(f);
    for (int i = 0; i < 15; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        post_shell(f, id, "\"true\"");
        turn(f, 3);
    }
    assert_int_equal(f->n_acks, 1); /* what is not on disk is not acknowledged */
    assert_int_equal(fl_jobs_count(f->jobs).queued, 15);
    post_shell(f, "known", "\"true\"");
    send_cancel(f, "known");
    assert_int_equal(f->n_acks, 3);
    assert_string_equal(f->acks[1], "51405");
    assert_string_equal(f->acks[2], "200");
    open_gate();
    wait_acks(f, 18);
    for (size_t i = 3; i < 18; i++)
        assert_string_equal(f->acks[i], "200");
    wait_closed(f);
    for (int i = 0; i < 15; i++) {
        snprintf(id, sizeof(id), "done/c%d", i);
        assert_true(exists(f, id));
    }
}

static void what_is_said_of_a_job_comes_after_it(void **state)
{
    struct fixture *f = *state;
    char script[TMPDIR_BYTES + 64];

    snprintf(script, sizeof(script), "\"touch %s/ran\"", f->dir);
    close_gate(f);
    post_shell(f, "c1", script);
    turn(f, 3);
    post_shell(f, "c1", script);
    send_cancel(f, "c1");
    turn(f, 3);
    assert_int_equal(f->n_acks, 0);
    open_gate();
    wait_acks(f, 3);
    assert_string_equal(f->acks[0], "200");
    assert_string_equal(f->acks[1], "51405");
    assert_string_equal(f->acks[2], "200");
    wait_closed(f);
    assert_has(f->replies[f->n_replies - 1].content, "\"documentStatus\":\"Cancelled\"");
}

static void what_is_being_written_takes_its_place(void **state)
{
    struct fixture *f = *state;
    char id[16];

    close_gate(f);
    for (int i = 0; i < 12; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        post_shell(f, id, "\"true\"");
        turn(f, 1);
    }
    assert_int_equal(f->n_acks, 2);
    assert_string_equal(f->acks[0], "51402");
    assert_string_equal(f->acks[1], "51402");
    open_gate();
    wait_acks(f, 12);
    wait_closed(f);
}

static void workers_are_not_started_all_in_one_turn(void **state)
{
    struct fixture *f = *state;
    size_t queued = 20;
    char id[16];

    f->config.command_workers = 100;
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "c%d", i);
        post_shell(f, id, "\"true\"");
    }
    while (queued > 0) {
        size_t before = queued;

        fl_loop_run_once(f->loop, true);
        queued = fl_jobs_count(f->jobs).queued;
        if (before > queued + 3) /* libuv looks at its timers twice in a turn of one's own */
            fail_msg("%zu workers were started in one turn", before - queued);
    }
    wait_closed(f);
}

static void a_monitor_that_ends_leaves_what_it_wrote(void **state)
{
    struct fixture *f = *state;

    close_gate(f);
    post_shell(f, "c1", "\"true\"");
    turn(f, 3);
    f->jobs = fl_jobs_free(f->jobs);
    open_gate();
    wait_exists(f, "jobs/c1/job");
    turn(f, 3);
    assert_int_equal(f->n_acks, 0);
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_step_is_told_in_three_replies),
        T(two_steps_end_in_an_empty_map),
        T(a_bad_document_fails_with_a_bare_reply),
        T(what_may_not_be_accepted),
        T(ten_are_taken_the_eleventh_is_not),
        T(a_running_step_is_cancelled_at_once),
        T(a_queued_document_is_cancelled_without_running),
        T(a_cancel_of_nothing_is_acknowledged),
        T(replies_wait_for_the_channel_and_repeat_their_ids),
        T(no_more_than_a_window_is_in_flight),
        T(a_new_monitor_finds_the_running_worker),
        T(a_document_that_ended_meanwhile_is_reported),
        T(a_killed_worker_is_replaced_and_the_step_not_repeated),
        T(a_worker_that_never_comes_up_fails_the_document),
        T(a_state_folder_that_cannot_be_written_refuses),
        T(configured_cleaning_takes_the_folder_away),
#define SLOW(name) cmocka_unit_test_setup_teardown(name, setup_slow, teardown_slow)
        SLOW(others_are_answered_while_jobs_are_written),
        SLOW(what_is_said_of_a_job_comes_after_it),
        SLOW(what_is_being_written_takes_its_place),
        SLOW(workers_are_not_started_all_in_one_turn),
        SLOW(a_monitor_that_ends_leaves_what_it_wrote),
    };

    int role = run_role(argc, argv);

    fl_loop_pool_size(1); /* the gate is one thread's; the pool is made once for all tests */
    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}
