/* Jobs from FL_NET_JOB to the last acknowledgement, with real workers: this program is its own
 * worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/lib/ipc_worker.h"
#include "agent/lib/jobdir.h"
#include "agent/monitor/jobs.h"
#include "agent/monitor/sweep.h"
#include "agent/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/control.h"
#include "tests/agent/tmpdir.h"

#define MAX_REPLIES 64
#define PATIENCE_MS 20000

/* What went out to net. */
struct sent {
    char job_id[256], topic[64], message_id[64];
    char *content;
    bool expect_ack;
};

struct fixture {
    char dir[TMPDIR_BYTES];
    struct fl_loop *loop;
    struct fl_agent_config config;
    struct fl_platform platform;
    struct fl_jobs *jobs;
    char acks[64][8];
    size_t n_acks;
    struct sent replies[MAX_REPLIES];
    size_t n_replies;
    bool auto_ack;
    int refuse; /* returned for every reply */
};

static int take_ack(void *arg, const struct fl_net_job_ack *ack)
{
    struct fixture *f = arg;

    snprintf(f->acks[f->n_acks++ % 64], sizeof(f->acks[0]), "%s", ack->status_code);
    return 0;
}

struct late_ack {
    struct fixture *f;
    char id[64];
};

static void ack_now(void *arg)
{
    struct late_ack *late = arg;

    if (late->f->jobs)
        fl_jobs_acked(late->f->jobs, late->id);
    free(late);
}

static int take_reply(void *arg, const struct fl_net_job_reply *reply)
{
    struct fixture *f = arg;
    struct sent *s = &f->replies[f->n_replies];

    if (f->refuse)
        return f->refuse;
    if (f->n_replies == MAX_REPLIES)
        return -ENOBUFS;
    f->n_replies++;
    snprintf(s->job_id, sizeof(s->job_id), "%s", reply->job_id);
    snprintf(s->topic, sizeof(s->topic), "%s", reply->topic);
    snprintf(s->message_id, sizeof(s->message_id), "%s", reply->message_id);
    s->content = strdup(reply->content);
    s->expect_ack = reply->expect_ack;
    if (f->auto_ack && reply->expect_ack) {
        struct late_ack *late = calloc(1, sizeof(*late));

        late->f = f;
        snprintf(late->id, sizeof(late->id), "%s", reply->message_id);
        fl_loop_post(f->loop, ack_now, late);
    }
    return 0;
}

static void start_jobs(struct fixture *f)
{
    struct fl_err err = { 0 };
    const struct fl_jobs_conf conf = {
        .loop = f->loop,
        .state_dir = f->dir,
        .config = &f->config,
        .platform = &f->platform,
        .node_id = "mi-0123456789abcdef0",
        .region = "local",
        .program = "/proc/self/exe",
        .out = { .ack = take_ack, .reply = take_reply, .arg = f },
    };

    if (fl_jobs_new(&conf, &f->jobs, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
}

static int setup(void **state)
{
    static char empty[] = "", lang[] = "en-US", ver[] = "1", level[] = "error", text[] = "text";
    struct fixture *f = calloc(1, sizeof(*f));

    make_tmpdir(f->dir);
    f->config = (struct fl_agent_config){
        .command_workers = 5,
        .command_buffer = 5,
        .command_retry_limit = 3,
        .log_retention_hours = 336,
        .os_lang = lang,
        .os_name = empty,
        .os_version = ver,
        .log_level = level,
        .log_format = text,
        .jobs_max_bytes = 1 << 30,
        .jobs_max_files = 100000,
        .output_max_bytes = 1 << 20,
    };
    snprintf(f->platform.name, sizeof(f->platform.name), "Debian GNU/Linux");
    snprintf(f->platform.version, sizeof(f->platform.version), "12");
    f->auto_ack = true;
    fl_loop_new(&f->loop);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    f->jobs = fl_jobs_free(f->jobs);
    fl_loop_run_once(f->loop, false); /* late acknowledgements */
    f->loop = fl_loop_free(f->loop);
    for (size_t i = 0; i < f->n_replies; i++)
        free(f->replies[i].content);
    fl_dir_remove(f->dir, NULL);
    free(f);
    return 0;
}

static void send_job(struct fixture *f, const char *id, const char *steps)
{
    char content[65536], job_id[256], command_id[128];
    char message_id[] = "01020304-0506-0708-090a-0b0c0d0e0f10", name[] = "Demo";

    snprintf(command_id, sizeof(command_id), "%s", id);
    snprintf(job_id, sizeof(job_id), "aws.ssm.%s.mi-0123456789abcdef0", id);
    snprintf(
        content, sizeof(content),
        "{\"Parameters\":{},\"DocumentContent\":{\"schemaVersion\":\"2.2\",\"mainSteps\":[%s]},"
        "\"CommandId\":\"%s\",\"DocumentName\":\"Demo\",\"CloudWatchOutputEnabled\":\"false\"}",
        steps, id);
    fl_jobs_handle(f->jobs, &(struct fl_net_job){ .job_id = job_id,
                                                  .command_id = command_id,
                                                  .message_id = message_id,
                                                  .created_ms = 1700000000123,
                                                  .document_name = name,
                                                  .content = content });
}

static void send_shell(struct fixture *f, const char *id, const char *script)
{
    char steps[32768];

    snprintf(
        steps, sizeof(steps),
        "{\"action\":\"aws:runShellScript\",\"name\":\"runIt\",\"inputs\":{\"runCommand\":[%s]}}",
        script);
    send_job(f, id, steps);
}

static void send_cancel(struct fixture *f, const char *target)
{
    char job_id[] = "aws.ssm.cancel-1.mi-0123456789abcdef0", command_id[] = "cancel-1";
    char message_id[] = "01020304-0506-0708-090a-0b0c0d0e0f11", cancel_id[256];

    snprintf(cancel_id, sizeof(cancel_id), "aws.ssm.%s.mi-0123456789abcdef0", target);
    fl_jobs_handle(f->jobs, &(struct fl_net_job){ .job_id = job_id,
                                                  .command_id = command_id,
                                                  .message_id = message_id,
                                                  .cancel = true,
                                                  .cancel_job_id = cancel_id });
}

static void no_op(void *arg)
{
}

/* Runs the loop until `n` replies have been sent. */
static void wait_replies(struct fixture *f, size_t n)
{
    int64_t end = fl_mono_ms() + PATIENCE_MS;
    struct fl_timer *tick = fl_timer_new(f->loop, no_op, NULL);

    while (f->n_replies < n && fl_mono_ms() < end) {
        fl_timer_start(tick, 100);
        fl_loop_run_once(f->loop, true);
    }
    fl_timer_free(tick);
    if (f->n_replies < n)
        fail_msg("only %zu of %zu replies", f->n_replies, n);
}

static void wait_closed(struct fixture *f)
{
    int64_t end = fl_mono_ms() + PATIENCE_MS;
    struct fl_timer *tick = fl_timer_new(f->loop, no_op, NULL);
    struct fl_jobs_counts c;

    do {
        fl_timer_start(tick, 20);
        fl_loop_run_once(f->loop, true);
        c = fl_jobs_count(f->jobs);
    } while ((c.unacked_replies || c.running || c.queued) && fl_mono_ms() < end);
    fl_timer_free(tick);
    assert_int_equal(c.unacked_replies, 0);
    assert_int_equal(c.running, 0);
}

static bool exists(struct fixture *f, const char *below)
{
    char path[TMPDIR_BYTES + 64];

    snprintf(path, sizeof(path), "%s/%s", f->dir, below);
    return access(path, F_OK) == 0;
}

#define assert_has(text, what)                        \
    do {                                              \
        if (!strstr((text), (what)))                  \
            fail_msg("%s\nlacks %s", (text), (what)); \
    } while (0)

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
        send_shell(f, id, "\"sleep 0.2\"");
        assert_string_equal(f->acks[i], i < 10 ? "200" : "51402");
    }
    assert_int_equal(fl_jobs_count(f->jobs).running, 5);
    assert_int_equal(fl_jobs_count(f->jobs).queued, 5);
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
    while (!exists(f, "jobs/c1/steps/0/stdout"))
        fl_loop_run_once(f->loop, false);
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
    send_shell(f, "c1", "\"sleep 1\"");
    snprintf(script, sizeof(script), "\"touch %s/ran\"", f->dir);
    send_shell(f, "c2", script);
    send_cancel(f, "c2");
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
    while (!exists(f, "jobs/c1/steps/0/stdout"))
        fl_loop_run_once(f->loop, false);
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
        "%s/ran; echo before; set -- $(cat /proc/$PPID/stat); kill -9 $4; sleep 60\"]}},"
        "{\"action\":\"aws:runShellScript\",\"name\":\"b\",\"inputs\":{\"runCommand\":[\"echo "
        "b\"]}}",
        f->dir);
    send_job(f, "c1", steps);
    wait_replies(f, 4);
    assert_has(f->replies[1].content, "{\"a\":{\"status\":\"Failed\",\"code\":1,");
    assert_has(f->replies[1].content, "\"standardOutput\":\"before\\n\"");
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
    send_shell(f, "c0", "\"sleep 0.1\"");
    send_shell(f, "c1", "\"echo hi\"");
    snprintf(path, sizeof(path), "%s/jobs/c1/job", f->dir);
    assert_int_equal(truncate(path, 20), 0);
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
    assert_int_equal(f->n_replies, 0);
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
    };

    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return fl_worker_main(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "sweep") == 0)
        return fl_sweep_main(argc - 1, argv + 1);
    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
