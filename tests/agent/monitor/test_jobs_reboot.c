/* What the monitor does when a document asks for a reboot: asks once, holds the others, tells what
 * is to be told under ids of their own, and fails the document when there is no reboot to be had.
 */
#include "tests/agent/monitor/jobs_fixture.h"
#include "tests/agent/next_boot.h"

/* The fixture's configuration, with a command that only notes that it ran. */
static void configure(struct fixture *f, const char *after)
{
    static char command[TMPDIR_BYTES + 128];

    snprintf(command, sizeof(command), "echo asked >> %s/asked; %s", f->dir, after);
    f->config.reboot_command = command;
}

static int asked(struct fixture *f)
{
    char path[TMPDIR_BYTES + 64];
    fl_autofree char *text = NULL;
    size_t len = 0;

    snprintf(path, sizeof(path), "%s/asked", f->dir);
    return fl_file_read(path, 4096, &text, &len, NULL) < 0 ? 0 : (int)(len / strlen("asked\n"));
}

/* bad, then a step that wants n reboots. */
static void send_rebooting(struct fixture *f, const char *id, int n)
{
    char steps[2048];

    snprintf(steps, sizeof(steps),
             "{\"action\":\"aws:runShellScript\",\"name\":\"bad\",\"inputs\":{\"runCommand\":["
             "\"exit 3\"]}},{\"action\":\"aws:runShellScript\",\"name\":\"rb\",\"inputs\":{"
             "\"runCommand\":[\"echo r >> %s/ran; [ $(wc -l < %s/ran) -gt %d ] || exit 194\"]}}",
             f->dir, f->dir, n);
    send_job(f, id, steps);
}

/* Reboots that the job's notes say were asked for. */
static int noted(struct fixture *f, const char *id)
{
    struct fl_journal_record rec;
    char path[TMPDIR_BYTES + 64];
    struct fl_journal acks;
    int r = 1, n = 0;

    snprintf(path, sizeof(path), "%s/jobs/%s/acks", f->dir, id);
    fl_journal_init(&acks, open(path, O_RDONLY | O_CLOEXEC), fl_job_rows, 0);
    assert_true(acks.fd >= 0);
    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);

        r = fl_journal_read(&acks, &arena, &rec);
        n += r == 1 && rec.type == FL_JREC_ASKED;
    }
    fl_journal_done(&acks);
    return n;
}

/* Until it waits, n reboots were asked for and noted, and all is told. */
static void wait_waiting(struct fixture *f, const char *id, int n)
{
    struct fl_timer *tick = fl_timer_new(f->loop, no_op, NULL);
    int64_t end = fl_mono_ms() + PATIENCE_MS;

    while ((fl_jobs_count(f->jobs).waiting == 0 || fl_jobs_count(f->jobs).unacked_replies ||
            noted(f, id) < n) &&
           fl_mono_ms() < end) {
        fl_timer_start(tick, 20);
        fl_loop_run_once(f->loop, true);
    }
    fl_timer_free(tick);
    assert_int_equal(fl_jobs_count(f->jobs).waiting, 1);
    assert_int_equal(noted(f, id), n);
}

static void restart(struct fixture *f)
{
    f->jobs = fl_jobs_free(f->jobs);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
}

static void boot(struct fixture *f, const char *id)
{
    char path[TMPDIR_BYTES + 64];

    f->jobs = fl_jobs_free(f->jobs);
    snprintf(path, sizeof(path), "%s/jobs/%s/journal", f->dir, id);
    next_boot(path);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
}

static void asked_once_and_told_twice(void **state)
{
    struct fixture *f = *state;

    configure(f, "true");
    send_rebooting(f, "c1", 1);
    wait_waiting(f, "c1", 1);
    assert_int_equal(asked(f), 1);
    assert_int_equal(f->n_replies, 4); /* in progress, bad, rb, the document */
    assert_has(f->replies[2].content, "\"rb\":{\"status\":\"SuccessAndReboot\",\"code\":194");
    assert_has(f->replies[2].content, "\"documentStatus\":\"InProgress\"");
    assert_has(f->replies[3].content, "\"documentStatus\":\"SuccessAndReboot\"");
    assert_has(f->replies[3].content,
               "\"runtimeStatusCounts\":{\"SuccessAndReboot\":1,\"Failed\":1}");

    /* A restart of the agent is no reboot, and asks for none. */
    restart(f);
    wait_waiting(f, "c1", 1);
    assert_int_equal(asked(f), 1);
    assert_int_equal(f->n_replies, 4);

    boot(f, "c1");
    wait_closed(f);
    assert_int_equal(f->n_replies, 7); /* bad again, rb, the document */
    assert_has(f->replies[4].content, "\"bad\":{\"status\":\"Failed\",\"code\":3");
    assert_has(f->replies[5].content, "\"rb\":{\"status\":\"Success\",\"code\":0");
    assert_has(f->replies[6].content, "\"documentStatus\":\"Failed\"");
    assert_has(f->replies[6].content, "\"runtimeStatusCounts\":{\"Success\":1,\"Failed\":1}");
    for (size_t i = 0; i < f->n_replies; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(f->replies[i].message_id, f->replies[k].message_id);
    assert_true(exists(f, "done/c1"));
    assert_int_equal(asked(f), 1);
}

/* Killed before it was noted that the command ran: asked again, which changes nothing. */
static void asked_again_when_nobody_knows(void **state)
{
    struct fixture *f = *state;
    char path[TMPDIR_BYTES + 64];

    configure(f, "true");
    send_rebooting(f, "c1", 1);
    wait_waiting(f, "c1", 1);
    f->jobs = fl_jobs_free(f->jobs);
    snprintf(path, sizeof(path), "%s/jobs/c1/acks", f->dir);
    assert_int_equal(truncate(path, 0), 0);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    wait_waiting(f, "c1", 1);
    assert_int_equal(asked(f), 2);
}

static void every_reboot_is_asked_for(void **state)
{
    struct fixture *f = *state;

    configure(f, "true");
    send_rebooting(f, "c1", 2);
    wait_waiting(f, "c1", 1);
    boot(f, "c1");
    wait_waiting(f, "c1", 2);
    assert_int_equal(asked(f), 2);
    boot(f, "c1");
    wait_closed(f);
    assert_int_equal(f->n_replies, 4 + 3 + 3);
    assert_has(f->replies[9].content, "\"runtimeStatusCounts\":{\"Success\":1,\"Failed\":1}");
}

static void others_are_held_until_then(void **state)
{
    struct fixture *f = *state;

    configure(f, "true");
    send_rebooting(f, "c1", 1);
    wait_waiting(f, "c1", 1);
    send_shell(f, "c2", "\"echo hi\"");
    assert_int_equal(fl_jobs_count(f->jobs).running, 0);
    assert_int_equal(fl_jobs_count(f->jobs).queued, 1);
    boot(f, "c1");
    wait_closed(f);
    assert_has(f->replies[f->n_replies - 1].content, "\"documentStatus\":\"");
    assert_true(exists(f, "done/c1") && exists(f, "done/c2"));
}

static void a_cancel_ends_the_wait_and_the_hold(void **state)
{
    struct fixture *f = *state;

    configure(f, "true");
    send_rebooting(f, "c1", 1);
    wait_waiting(f, "c1", 1);
    send_shell(f, "c2", "\"echo hi\"");
    send_cancel(f, "c1");
    wait_closed(f);
    assert_true(exists(f, "done/c1") && exists(f, "done/c2"));
    assert_int_equal(asked(f), 1);
}

/* Killed between the note of the cancel and the worker that is to tell it. */
static void a_cancel_that_was_noted_ends_the_wait(void **state)
{
    struct fixture *f = *state;
    struct fl_journal acks;
    char path[TMPDIR_BYTES + 64];

    configure(f, "true");
    send_rebooting(f, "c1", 1);
    wait_waiting(f, "c1", 1);
    f->jobs = fl_jobs_free(f->jobs);
    snprintf(path, sizeof(path), "%s/jobs/c1/acks", f->dir);
    fl_journal_init(&acks, open(path, O_RDWR | O_CLOEXEC), fl_job_rows, 0);
    acks.end = (uint64_t)lseek(acks.fd, 0, SEEK_END);
    assert_int_equal(fl_journal_append(&acks, FL_JREC_CANCEL, "", NULL), 0);
    fl_journal_done(&acks);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    wait_closed(f);
    assert_true(exists(f, "done/c1"));
    assert_has(f->replies[f->n_replies - 2].content, "\"rb\":{\"status\":\"Cancelled\",\"code\":1");
}

static void without_a_reboot_the_document_fails(void **state)
{
    struct fixture *f = *state;

    configure(f, "exit 5");
    send_rebooting(f, "c1", 1);
    send_shell(f, "c2", "\"echo hi\"");
    wait_closed(f);
    for (size_t i = 0; i < f->n_replies; i++)
        if (strstr(f->replies[i].content, "could not be rebooted")) {
            assert_has(f->replies[i].content, "exit status 5");
            assert_has(f->replies[i].content, "\"documentStatus\":\"Failed\"");
            assert_true(exists(f, "done/c1") && exists(f, "done/c2"));
            return;
        }
    fail_msg("nobody was told");
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(asked_once_and_told_twice),           T(asked_again_when_nobody_knows),
        T(every_reboot_is_asked_for),           T(others_are_held_until_then),
        T(a_cancel_ends_the_wait_and_the_hold), T(a_cancel_that_was_noted_ends_the_wait),
        T(without_a_reboot_the_document_fails),
    };
    int role = run_role(argc, argv);

    return role >= 0 ? role : cmocka_run_group_tests(tests, NULL, NULL);
}
