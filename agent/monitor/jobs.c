/* jobs.c - see jobs.h: the queue, and what becomes of old folders. What comes is job_accept.c's,
 * what is found on disk job_load.c's. */
#include "agent/monitor/jobs.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define SWEEP_EVERY_MS   (15LL * 60 * 1000)
#define SWEEP_EVERY_JOBS 100

/* ---- jobs in memory ---- */

struct job *fl_job_free(struct job *job)
{
    if (!job)
        return NULL;
    fl_job_detach(job);
    free(job->command_id);
    free(job->job_id);
    free(job->document_name);
    free(job->replies);
    free(job->failure);
    free(job);
    return NULL;
}

struct job *fl_job_new(struct fl_jobs *jobs, const struct fl_job *from)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->jobs = jobs;
    job->dir_fd = job->journal.fd = job->policy_fd = -1;
    job->command_id = strdup(from->command_id);
    job->job_id = strdup(from->job_id);
    job->document_name = strdup(from->document_name ? from->document_name : "");
    job->accepted_ms = from->accepted_ms;
    snprintf(job->nonce, sizeof(job->nonce), "%s", from->nonce);
    return job->command_id && job->job_id && job->document_name ? job : fl_job_free(job);
}

/* In order of acceptance; almost always at the end. */
void fl_job_insert(struct fl_jobs *jobs, struct job *job)
{
    struct job *before = TAILQ_LAST(&jobs->list, job_list);

    while (before && before->accepted_ms > job->accepted_ms)
        before = TAILQ_PREV(before, job_list, entry);
    if (before)
        TAILQ_INSERT_AFTER(&jobs->list, before, job, entry);
    else
        TAILQ_INSERT_HEAD(&jobs->list, job, entry);
    jobs->n_jobs++;
}

struct job *fl_job_find(struct fl_jobs *jobs, const char *command_id)
{
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        if (strcmp(job->command_id, command_id) == 0)
            return job;
    return NULL;
}

size_t fl_jobs_in_state(const struct fl_jobs *jobs, enum job_state state)
{
    struct job *job;
    size_t n = 0;

    TAILQ_FOREACH (job, &jobs->list, entry)
        n += job->state == state;
    return n;
}

/* None is begun just before the machine goes down. */
bool fl_jobs_can_start(const struct fl_jobs *jobs)
{
    return !jobs->closed && jobs->n_holding == 0 &&
           (int64_t)jobs->n_running < jobs->conf.config->command_workers;
}

/* Starting a process takes long enough that others are heard between two of them. */
void fl_jobs_start_next(struct fl_jobs *jobs)
{
    struct job *job = TAILQ_FIRST(&jobs->list);

    if (!fl_jobs_can_start(jobs) || fl_timer_active(jobs->start_timer))
        return;
    while (job && job->state != JOB_QUEUED)
        job = TAILQ_NEXT(job, entry);
    if (!job)
        return;
    fl_timer_start(jobs->start_timer, 0);
    fl_job_start(job);
}

static void on_start_timer(void *arg)
{
    fl_jobs_start_next(arg);
}

void fl_job_ended(struct job *job)
{
    struct fl_jobs *jobs = job->jobs;

    if (job->state == JOB_ENDED)
        return;
    jobs->n_running -= job->state == JOB_RUNNING;
    fl_job_stop_waiting(job);
    job->state = JOB_ENDED;
    fl_job_detach(job);
    fl_doclimit_sweep(&jobs->limit);
    fl_log_info("document ended", FL_S("command", job->command_id), FL_S("status", job->status),
                FL_I("ms", fl_now_ms() - job->accepted_ms));
    fl_jobs_start_next(jobs);
}

/* ---- old folders ---- */

static void on_swept(void *arg, int status)
{
    struct fl_jobs *jobs = arg;

    jobs->sweeper = fl_child_free(jobs->sweeper);
    if (status != 0)
        fl_log_warn("old job folders could not all be removed", FL_I("status", status));
}

/* A process of its own removes what is too old or too much: it takes its memory with it. */
static void sweep(struct fl_jobs *jobs)
{
    const struct fl_agent_config *config = jobs->conf.config;
    char max_bytes[24], max_files[24], max_hours[24];
    char *const argv[] = { (char *)"fairlead-agent: sweep",
                           (char *)"sweep",
                           jobs->done_dir,
                           max_bytes,
                           max_files,
                           max_hours,
                           NULL };
    const struct fl_child_fd fds[] = { { STDERR_FILENO, STDERR_FILENO } };
    const struct fl_child_spec spec = {
        .path = jobs->conf.program, .argv = argv, .fds = fds, .n_fds = 1, .new_group = true
    };
    struct fl_err err = { 0 };

    /* A folder is the proof that its id was seen; after it only the list is. */
    if (jobs->sweeper || fl_seen_sync(&jobs->seen) < 0)
        return;
    snprintf(max_bytes, sizeof(max_bytes), "%lld", (long long)config->jobs_max_bytes);
    snprintf(max_files, sizeof(max_files), "%lld", (long long)config->jobs_max_files);
    snprintf(max_hours, sizeof(max_hours), "%lld", (long long)config->log_retention_hours);
    jobs->swept_ms = fl_mono_ms();
    jobs->closed_since_sweep = 0;
    if (fl_child_spawn(jobs->conf.loop, &spec, on_swept, jobs, &jobs->sweeper, &err) < 0)
        fl_log_warn("old job folders not removed", FL_S("error", fl_err_text(&err)));
}

/* Are the outputs to go now? After an upload: if there was one, and all of it arrived. */
static bool outputs_are_due(const struct job *job)
{
    const char *when = job->jobs->conf.config->output_cleanup;

    return when && (strcmp(when, "after-execution") == 0 ||
                    (strcmp(when, "after-upload") == 0 && job->delivered && !job->undelivered));
}

/* What the configuration wants gone at once: the outputs, or the whole folder. */
static bool clean(const struct job *job, const char *path)
{
    static const struct {
        const char *value, *status;
    } whole[] = {
        { "clean-success", "Success" },
        { "clean-success-failed", "Success" },
        { "clean-success-failed", "Failed" },
    };
    const struct fl_agent_config *config = job->jobs->conf.config;
    fl_autofree char *steps = fl_path_join(path, "steps");

    for (size_t i = 0; config->orchestration_cleanup && i < FL_ARRAY_LEN(whole); i++)
        if (strcmp(config->orchestration_cleanup, whole[i].value) == 0 &&
            strcmp(job->status, whole[i].status) == 0)
            return fl_seen_sync(&job->jobs->seen) == 0 && fl_dir_remove(path, NULL) == 0;
    if (steps && outputs_are_due(job))
        fl_dir_remove(steps, NULL);
    return false;
}

void fl_job_retire(struct job *job)
{
    struct fl_jobs *jobs = job->jobs;
    fl_autofree char *from = fl_path_join(jobs->jobs_dir, job->command_id);
    fl_autofree char *to = fl_path_join(jobs->done_dir, job->command_id);

    if (from && to && !clean(job, from) && rename(from, to) < 0)
        fl_log_warn("job folder not moved", FL_S("folder", from), FL_S("error", strerror(errno)));
    TAILQ_REMOVE(&jobs->list, job, entry);
    jobs->n_jobs--;
    fl_job_free(job);
    jobs->closed_since_sweep++;
    if (jobs->closed_since_sweep >= SWEEP_EVERY_JOBS || jobs->swept_ms == 0 ||
        fl_mono_ms() - jobs->swept_ms >= SWEEP_EVERY_MS)
        sweep(jobs);
}

/* ---- the object ---- */

static int prepare(struct fl_jobs *jobs, struct fl_err *err)
{
    fl_autofree char *seen = fl_path_join(jobs->conf.state_dir, "seen");
    int r;

    jobs->jobs_dir = fl_path_join(jobs->conf.state_dir, "jobs");
    jobs->done_dir = fl_path_join(jobs->conf.state_dir, "done");
    jobs->reply_timer = fl_timer_new(jobs->conf.loop, fl_jobs_on_reply_timer, jobs);
    jobs->start_timer = fl_timer_new(jobs->conf.loop, on_start_timer, jobs);
    if (seen && jobs->jobs_dir && jobs->done_dir)
        jobs->intake = fl_intake_new(
            jobs->conf.loop, jobs->jobs_dir,
            &(struct fl_intake_events){ .made = fl_job_made, .later = fl_job_later, .arg = jobs });
    if (!jobs->intake || !jobs->reply_timer || !jobs->start_timer)
        return fl_err_nomem(err);
    r = fl_dir_make(jobs->jobs_dir, 0700, err);
    if (r == 0)
        r = fl_dir_make(jobs->done_dir, 0700, err);
    if (r == 0)
        r = fl_seen_open(seen, fl_now_ms(), &jobs->seen, err);
    return r;
}

int fl_jobs_new(const struct fl_jobs_conf *conf, struct fl_jobs **ret_jobs, struct fl_err *err)
{
    struct fl_jobs *jobs = calloc(1, sizeof(*jobs));
    int r;

    if (!jobs)
        return -ENOMEM;
    jobs->conf = *conf;
    jobs->seen.fd = -1;
    fl_doclimit_open(&jobs->limit);
    TAILQ_INIT(&jobs->list);
    jobs->agent = (struct fl_reply_agent){ .os_lang = conf->config->os_lang,
                                           .os_name = conf->config->os_name,
                                           .os_version = conf->config->os_version };
    r = prepare(jobs, err);
    if (r == 0)
        r = fl_jobs_load(jobs, err);
    if (r < 0) {
        fl_jobs_free(jobs);
        return r;
    }
    fl_jobs_fail_damaged(jobs);
    fl_jobs_start_next(jobs);
    *ret_jobs = jobs;
    return 0;
}

struct fl_jobs *fl_jobs_free(struct fl_jobs *jobs)
{
    struct job *job;

    if (!jobs)
        return NULL;
    while ((job = TAILQ_FIRST(&jobs->list))) {
        TAILQ_REMOVE(&jobs->list, job, entry);
        fl_job_free(job);
    }
    jobs->sweeper = fl_child_free(jobs->sweeper);
    jobs->reply_timer = fl_timer_free(jobs->reply_timer);
    jobs->start_timer = fl_timer_free(jobs->start_timer);
    jobs->intake = fl_intake_free(jobs->intake);
    fl_seen_close(&jobs->seen);
    fl_doclimit_close(&jobs->limit);
    free(jobs->jobs_dir);
    free(jobs->done_dir);
    free(jobs);
    return NULL;
}

void fl_jobs_close(struct fl_jobs *jobs)
{
    jobs->closed = true;
}

struct fl_doclimit *fl_jobs_limit(struct fl_jobs *jobs)
{
    return &jobs->limit;
}

struct fl_jobs_counts fl_jobs_count(const struct fl_jobs *jobs)
{
    struct fl_jobs_counts c = { .running = jobs->n_running,
                                .queued = fl_jobs_in_state(jobs, JOB_QUEUED) +
                                          fl_intake_count(jobs->intake),
                                .waiting = fl_jobs_in_state(jobs, JOB_WAITING) };
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        c.unacked_replies += fl_job_unacked(job);
    return c;
}

void fl_jobs_each(const struct fl_jobs *jobs, fl_jobs_each_fn fn, void *arg)
{
    static const char *const states[] = {
        [JOB_QUEUED] = "queued",
        [JOB_RUNNING] = "running",
        [JOB_WAITING] = "waiting for a reboot",
    };
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        if (job->state != JOB_ENDED)
            fn(arg, job->command_id, job->document_name, job->accepted_ms, states[job->state]);
}
