/* jobs_fixture.h - a monitor's jobs without monitor and net: what goes out is collected, the
 * program is its own worker (run_role).
 */
#pragma once
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
#include "tests/program.h"
#include "tests/runmode.h"

#define MAX_REPLIES 64
#define PATIENCE_MS patience_ms(20000)

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

static inline int take_ack(void *arg, const struct fl_net_job_ack *ack)
{
    struct fixture *f = arg;

    snprintf(f->acks[f->n_acks++ % 64], sizeof(f->acks[0]), "%s", ack->status_code);
    return 0;
}

struct late_ack {
    struct fixture *f;
    char id[64];
};

static inline void ack_now(void *arg)
{
    struct late_ack *late = arg;

    if (late->f->jobs)
        fl_jobs_acked(late->f->jobs, late->id);
    free(late);
}

static inline int take_reply(void *arg, const struct fl_net_job_reply *reply)
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

static inline void start_jobs(struct fixture *f)
{
    struct fl_err err = { 0 };
    const struct fl_jobs_conf conf = {
        .loop = f->loop,
        .state_dir = f->dir,
        .config = &f->config,
        .platform = &f->platform,
        .node_id = "mi-0123456789abcdef0",
        .region = "local",
        .program = this_program(),
        .worker = this_program(),
        .out = { .ack = take_ack, .reply = take_reply, .arg = f },
    };

    if (fl_jobs_new(&conf, &f->jobs, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
}

static inline int setup(void **state)
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
    assert_int_equal(fl_loop_new(&f->loop), 0);
    start_jobs(f);
    fl_jobs_online(f->jobs, true);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
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

static inline void no_op(void *arg)
{
}

/* Runs the loop until `n` messages have been answered. */
static inline void wait_acks(struct fixture *f, size_t n)
{
    int64_t end = fl_mono_ms() + PATIENCE_MS;
    struct fl_timer *tick = fl_timer_new(f->loop, no_op, NULL);

    assert_non_null(tick);
    while (f->n_acks < n && fl_mono_ms() < end) {
        fl_timer_start(tick, 100);
        fl_loop_run_once(f->loop, true);
    }
    fl_timer_free(tick);
    if (f->n_acks < n)
        fail_msg("only %zu of %zu acks", f->n_acks, n);
}

static inline void post_job(struct fixture *f, const char *id, const char *steps)
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

static inline void send_job(struct fixture *f, const char *id, const char *steps)
{
    size_t before = f->n_acks;

    post_job(f, id, steps);
    wait_acks(f, before + 1);
}

static inline void post_shell(struct fixture *f, const char *id, const char *script)
{
    char steps[32768];

    snprintf(
        steps, sizeof(steps),
        "{\"action\":\"aws:runShellScript\",\"name\":\"runIt\",\"inputs\":{\"runCommand\":[%s]}}",
        script);
    post_job(f, id, steps);
}

static inline void send_shell(struct fixture *f, const char *id, const char *script)
{
    size_t before = f->n_acks;

    post_shell(f, id, script);
    wait_acks(f, before + 1);
}

/* Lines that end when the test says so. */
static inline const char *until_let_go(const struct fixture *f)
{
    static char script[TMPDIR_BYTES + 64];

    snprintf(script, sizeof(script), "\"while [ ! -e %s/go ]; do sleep 0.05; done\"", f->dir);
    return script;
}

static inline void let_go(const struct fixture *f)
{
    char path[TMPDIR_BYTES + 8];
    int fd;

    snprintf(path, sizeof(path), "%s/go", f->dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static inline void send_cancel(struct fixture *f, const char *target)
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

/* Runs the loop until `n` replies have been sent. */
static inline void wait_replies(struct fixture *f, size_t n)
{
    int64_t end = fl_mono_ms() + PATIENCE_MS;
    struct fl_timer *tick = fl_timer_new(f->loop, no_op, NULL);

    assert_non_null(tick);
    while (f->n_replies < n && fl_mono_ms() < end) {
        fl_timer_start(tick, 100);
        fl_loop_run_once(f->loop, true);
    }
    fl_timer_free(tick);
    if (f->n_replies < n)
        fail_msg("only %zu of %zu replies", f->n_replies, n);
}

static inline void wait_closed(struct fixture *f)
{
    int64_t end = fl_mono_ms() + PATIENCE_MS;
    struct fl_timer *tick = fl_timer_new(f->loop, no_op, NULL);
    struct fl_jobs_counts c;

    assert_non_null(tick);
    do {
        fl_timer_start(tick, 20);
        fl_loop_run_once(f->loop, true);
        c = fl_jobs_count(f->jobs);
    } while ((c.unacked_replies || c.running || c.queued || c.waiting) && fl_mono_ms() < end);
    fl_timer_free(tick);
    assert_int_equal(c.unacked_replies, 0);
    assert_int_equal(c.running, 0);
}

static inline bool exists(struct fixture *f, const char *below)
{
    char path[TMPDIR_BYTES + 64];

    snprintf(path, sizeof(path), "%s/%s", f->dir, below);
    return access(path, F_OK) == 0;
}

static inline void wait_exists(struct fixture *f, const char *below)
{
    int64_t end = fl_mono_ms() + PATIENCE_MS;

    while (!exists(f, below)) {
        if (fl_mono_ms() > end)
            fail_msg("%s does not come", below);
        fl_loop_run_once(f->loop, false);
    }
}

#define assert_has(text, what)                        \
    do {                                              \
        if (!strstr((text), (what)))                  \
            fail_msg("%s\nlacks %s", (text), (what)); \
    } while (0)

/* The status of a role this program was started for, or -1: the tests are to be run. */
static inline int run_role(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "sweep") == 0)
        return fl_sweep_main(argc - 1, argv + 1);
    if (argc > 1)
        return fl_worker_main(argc, argv);
    fl_log_setup(FL_LOG_ERROR, FL_LOG_TEXT, NULL);
    return -1;
}
