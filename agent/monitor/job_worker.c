/* job_worker.c - a job's worker process: started, attached to, followed, started again.
 *
 * A worker may be our child or one that an earlier monitor started. Whether it lives is told by the
 * lock on its journal; what it did, by the journal alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/clock.h"
#include "plugins/status.h"

#define RECORD_MAX_BYTES  (4u << 20)
#define RETRY_BASE_MS     200
#define RETRY_CAP_MS      60000
#define CLOSE_AGAIN_MS    1000
#define REFUSAL_MAX_BYTES 8192
#define PROBE_MS          20 /* after an attached worker's socket closed: its lock goes a moment later */

int fl_job_open(struct job *job)
{
    fl_autofree char *path = fl_path_join(job->jobs->jobs_dir, job->command_id);
    uint64_t read_so_far = job->journal.end;
    int r;

    if (job->dir_fd >= 0)
        return 0;
    job->dir_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (job->dir_fd < 0)
        return -errno;
    r = fl_jobdir_open(job->dir_fd, "journal", &job->journal, NULL);
    job->journal.end = read_so_far;
    if (r < 0)
        close(FL_TAKE_FD(job->dir_fd));
    return r;
}

void fl_job_detach(struct job *job)
{
    job->ipc = fl_ipc_free(job->ipc);
    job->child = fl_child_free(job->child);
    job->timer = fl_timer_free(job->timer);
    job->judge = fl_judge_free(job->judge);
    fl_journal_done(&job->journal);
    if (job->policy_fd >= 0)
        close(FL_TAKE_FD(job->policy_fd));
    if (job->dir_fd >= 0)
        close(FL_TAKE_FD(job->dir_fd));
}

static void take_record(struct job *job, const struct fl_journal_record *rec)
{
    const struct fl_jrec_step_done *step = rec->in;
    const struct fl_jrec_doc_done *doc = rec->in;
    const struct fl_jrec_reboot *reboot = rec->in;
    const struct fl_jrec_delivered *delivered = rec->in;
    enum fl_status status;

    switch (rec->type) {
    case FL_JREC_DELIVERED:
        job->delivered |= delivered->all;
        job->undelivered |= !delivered->all;
        break;
    case FL_JREC_RUN:
        job->runs++;
        if (job->boot_id[0])
            fl_job_repeat_replies(job);
        job->boot_id[0] = '\0';
        job->begun = true;
        break;
    case FL_JREC_STEP_DONE:
        fl_job_add_reply(job, step->index, rec->offset,
                         fl_status_parse(step->status, &status) == 0 && fl_status_is_bad(status));
        break;
    case FL_JREC_REBOOT:
        fl_job_add_reply(job, FL_REPLY_FINAL, rec->offset, false);
        job->reboots++;
        job->runs = 0; /* what was counted are tries to get so far */
        snprintf(job->boot_id, sizeof(job->boot_id), "%s", reboot->boot_id ? reboot->boot_id : "");
        break;
    case FL_JREC_DOC_DONE:
        fl_job_add_reply(job, FL_REPLY_FINAL, rec->offset, false);
        snprintf(job->status, sizeof(job->status), "%s", doc->status ? doc->status : "Failed");
        break;
    default:
        break;
    }
}

void fl_job_follow(struct job *job)
{
    int r = job->dir_fd >= 0 ? 1 : 0;

    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
        struct fl_journal_record rec;
        r = fl_journal_read(&job->journal, &arena, &rec);
        if (r == 1)
            take_record(job, &rec);
    }
    if (r < 0)
        fl_log_error("journal cannot be read", FL_S("command", job->command_id),
                     FL_S("error", strerror(-r)));
}

/* Looks at the journal and draws the conclusions. The job may be gone afterwards: true then. */
static bool look(struct job *job)
{
    struct fl_jobs *jobs = job->jobs;
    bool over;

    fl_job_follow(job);
    over = job->status[0] != '\0';
    if (over)
        fl_job_ended(job);
    fl_jobs_pump(jobs);
    return over;
}

/* Both records or none: one sync. The step's offset goes to *ret_step_at. */
static int write_end(struct job *job, struct fl_jrec_step_done *step, struct fl_jrec_doc_done *doc,
                     uint64_t *ret_step_at)
{
    int r = fl_job_open(job);

    if (r == 0)
        r = fl_jobdir_lock(job->journal.fd);
    if (r == 0)
        r = fl_journal_cut(&job->journal);
    *ret_step_at = job->journal.end;
    if (r == 0 && step)
        r = fl_journal_append(&job->journal, FL_JREC_STEP_DONE, step, NULL);
    if (r == 0)
        r = fl_journal_append(&job->journal, FL_JREC_DOC_DONE, doc, NULL);
    return r < 0 ? r : fl_journal_commit(&job->journal, NULL);
}

static int write_failure(struct job *job, const char *text)
{
    char status[] = "Failed";
    struct fl_jrec_doc_done rec = { .status = status, .error = (char *)text };
    uint64_t at;

    return write_end(job, NULL, &rec, &at);
}

/* Into the journal, or if the folder cannot be written either, from memory. */
void fl_job_fail(struct job *job, const char *text)
{
    struct fl_jobs *jobs = job->jobs;
    uint64_t at = job->journal.end;

    fl_log_error("document failed", FL_S("command", job->command_id), FL_S("error", text));
    if (write_failure(job, text) < 0)
        job->failure = strdup(text);
    snprintf(job->status, sizeof(job->status), "Failed");
    fl_job_add_reply(job, FL_REPLY_FINAL, at, false);
    fl_job_ended(job);
    fl_jobs_pump(jobs);
}

void fl_job_refuse(struct job *job, const struct fl_refused_step *step, const char *text)
{
    fl_autobuf struct fl_buf json = FL_BUF(REFUSAL_MAX_BYTES);
    char status[] = "Failed";
    struct fl_intmap_entry count = { .key = status, .value = 1 };
    struct fl_jrec_step_done done = { .index = step->index,
                                      .key = (char *)step->key,
                                      .plugin = (char *)step->action,
                                      .status = status,
                                      .code = 1,
                                      .start_ms = fl_now_ms() };
    struct fl_jrec_doc_done doc = { .status = status, .counts = { &count, 1 }, .n_results = 1 };
    uint64_t at;
    if (fl_json_quote(&json, text, strlen(text)) < 0) {
        fl_job_fail(job, text);
        return;
    }
    done.end_ms = done.start_ms;
    done.output_json = done.stderr_json = json.data;
    done.stderr_bytes = (int64_t)strlen(text);
    if (write_end(job, &done, &doc, &at) < 0) {
        fl_job_fail(job, text);
        return;
    }
    job->journal.end = at;
    look(job);
}

static void on_close_again(void *arg)
{
    struct job *job = arg;

    job->timer = fl_timer_free(job->timer);
    fl_job_close(job);
}

/* An end that only memory knows is brought to disk first: the next start would run the document. */
void fl_job_close(struct job *job)
{
    if (job->failure && !job->failure_kept) {
        job->failure_kept = write_failure(job, job->failure) == 0;
        fl_job_detach(job);
    }
    if (!job->failure || job->failure_kept) {
        fl_job_retire(job);
        return;
    }
    job->timer = fl_timer_new(job->jobs->conf.loop, on_close_again, job);
    if (job->timer)
        fl_timer_start(job->timer, CLOSE_AGAIN_MS);
}

static void on_retry(void *arg)
{
    struct job *job = arg;

    job->timer = fl_timer_free(job->timer);
    fl_job_start(job);
}

static void retry_later(struct job *job, const char *why)
{
    char text[256];

    if (job->runs >= (uint32_t)job->jobs->conf.config->command_retry_limit) {
        snprintf(text, sizeof(text),
                 "fairlead: no worker could finish this document (%u tries): %s", job->runs, why);
        fl_job_fail(job, text);
        return;
    }
    fl_log_warn("worker will be started again", FL_S("command", job->command_id), FL_S("why", why));
    job->timer = fl_timer_new(job->jobs->conf.loop, on_retry, job);
    if (job->timer)
        fl_timer_start(job->timer, fl_backoff_next_ms(&job->backoff, fl_random_u32()));
}

/* ---- a worker that is not our child ---- */

static void on_probe(void *arg);

static void probe_later(struct job *job)
{
    fl_timer_free(job->timer);
    job->timer = fl_timer_new(job->jobs->conf.loop, on_probe, job);
    if (job->timer)
        fl_timer_start(job->timer, PROBE_MS + fl_backoff_next_ms(&job->backoff, 0) / 4);
}

/* Does it still live? Then attach again, else take over. */
static void on_probe(void *arg)
{
    struct job *job = arg;
    struct fl_journal lock fl_autojournal = { .fd = -1 };

    job->timer = fl_timer_free(job->timer);
    if (look(job))
        return;
    if (fl_jobdir_open(job->dir_fd, "journal", &lock, NULL) == 0 && fl_jobdir_lock(lock.fd) == 0) {
        fl_journal_done(&lock);
        if (fl_job_awaits_boot(job))
            fl_job_await_boot(job);
        else
            retry_later(job, "the worker ended without a result");
        return;
    }
    fl_journal_done(&lock);
    fl_job_attach_or_probe(job);
}

static int on_look(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    look(arg);
    return 0;
}

static int on_need_fetch(void *arg, const struct fl_ipc_msg *msg, struct fl_err *err)
{
    struct job *job = arg;

    return fl_fetch_source_give(&job->jobs->conf.fetch, job->ipc, FL_WORKER_FETCH, msg->id,
                                "command", job->command_id);
}

static const struct fl_ipc_binding bindings[] = {
    { FL_WORKER_LOOK, on_look },
    { FL_WORKER_NEED_FETCH, on_need_fetch },
};

static void on_ipc_close(void *arg, int why, const struct fl_err *err)
{
    struct job *job = arg;

    job->ipc = fl_ipc_free(job->ipc);
    /* Our own child tells its end itself. */
    if (!job->child && !look(job))
        probe_later(job);
}

static int open_ipc(struct job *job, int fd)
{
    if (job->jobs->worker_rows[0].type == 0)
        fl_ipc_bind(fl_worker_rows, FL_N_WORKER_ROWS, bindings, FL_ARRAY_LEN(bindings),
                    job->jobs->worker_rows);
    job->ipc = fl_ipc_free(job->ipc);
    return fl_ipc_new(job->jobs->conf.loop, fd, job->jobs->worker_rows, FL_N_WORKER_ROWS,
                      on_ipc_close, job, &job->ipc);
}

static int attach(struct job *job)
{
    int fd, r = fl_job_open(job);

    if (r == 0)
        r = fl_worker_connect(job->dir_fd, &fd);
    if (r == 0)
        r = open_ipc(job, fd);
    if (r < 0)
        return r;
    job->backoff.tries = 0;
    if (job->cancel)
        fl_job_cancel_worker(job);
    return 0; /* the worker says "look" to whoever connects */
}

void fl_job_attach_or_probe(struct job *job)
{
    if (attach(job) < 0)
        probe_later(job);
}

void fl_job_cancel_worker(struct job *job)
{
    static const char nothing[1];

    if (job->ipc)
        fl_ipc_send(job->ipc, FL_WORKER_CANCEL, 0, nothing, NULL, 0);
}

/* ---- a worker of our own ---- */

static void on_exit_status(void *arg, int status)
{
    struct job *job = arg;
    char why[64];

    job->child = fl_child_free(job->child);
    job->ipc = fl_ipc_free(job->ipc);
    if (look(job))
        return;
    if (fl_job_awaits_boot(job)) {
        fl_job_await_boot(job);
        return;
    }
    if (job->runs == job->runs_before)
        job->runs++; /* it did not get as far as to say so in the journal */
    if (WIFEXITED(status) && WEXITSTATUS(status) == FL_WORKER_EXIT_BUSY) {
        /* Another monitor's worker, started a moment before we looked. */
        probe_later(job);
        return;
    }
    if (WIFSIGNALED(status))
        snprintf(why, sizeof(why), "the worker was killed by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof(why), "the worker ended with status %d", WEXITSTATUS(status));
    retry_later(job, why);
}

static int spawn(struct job *job, struct fl_err *err)
{
    const struct fl_agent_config *config = job->jobs->conf.config;
    fl_autofree char *path = fl_path_join(job->jobs->jobs_dir, job->command_id);
    fl_autofd int cgroup_fd = fl_doclimit_join(&job->jobs->limit, job->command_id);
    char reboots[24];
    char *const argv[] = {
        (char *)"fairlead-agent-worker",
        (char *)"--log-level",
        config->log_level ? config->log_level : (char *)"info",
        (char *)"--log-format",
        config->log_format ? config->log_format : (char *)"text",
        (char *)"--reboots",
        reboots,
        (char *)"--net-user",
        config->net_user ? config->net_user : (char *)"fairlead",
        (char *)"--plugins",
        config->plugins_dir ? config->plugins_dir : (char *)"",
        path,
        job->cancel ? (char *)"--cancel" : NULL,
        NULL,
    };
    int fds[2], r;

    snprintf(reboots, sizeof(reboots), "%lld", (long long)config->command_retry_limit);
    if (!path || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
        r = path ? -errno : -ENOMEM;
        return fl_err_set(err, r, NULL, "cannot make a socket pair: %s", strerror(-r));
    }
    {
        const struct fl_child_fd child_fds[] = { { STDERR_FILENO, STDERR_FILENO }, { 3, fds[1] } };
        const struct fl_child_spec spec = {
            .path = job->jobs->conf.worker,
            .argv = argv,
            .fds = child_fds,
            .n_fds = FL_ARRAY_LEN(child_fds),
            .new_group = true,
            .cgroup_fd = cgroup_fd,
        };

        r = fl_child_spawn(job->jobs->conf.loop, &spec, on_exit_status, job, &job->child, err);
    }
    close(fds[1]);
    if (r < 0) {
        close(fds[0]);
        return r;
    }
    return open_ipc(job, fds[0]);
}

static void start_failed(struct job *job, const struct fl_err *err)
{
    job->runs++;
    retry_later(job, fl_err_text(err));
}

void fl_job_run(struct job *job)
{
    struct fl_err err = { 0 };

    if (spawn(job, &err) < 0)
        start_failed(job, &err);
}

void fl_job_start(struct job *job)
{
    struct fl_err err = { 0 };
    int r;

    job->runs_before = job->runs;
    fl_job_stop_waiting(job);
    if (job->state != JOB_RUNNING)
        job->jobs->n_running++;
    job->state = JOB_RUNNING;
    if (job->backoff.base_ms == 0)
        job->backoff = (struct fl_backoff){ .base_ms = RETRY_BASE_MS, .cap_ms = RETRY_CAP_MS };
    r = fl_job_open(job);
    if (r == 0 && faccessat(job->dir_fd, "journal", W_OK, 0) < 0)
        r = -errno;
    if (r < 0)
        fl_err_set(&err, r, NULL, "job folder: %s", strerror(-r));
    else
        r = fl_job_ask_policy(job, &err);
    if (r == 0)
        fl_job_run(job);
    else if (r < 0)
        start_failed(job, &err);
}
