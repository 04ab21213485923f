/* job_policy.c - a job before its worker: may it run here at all?
 *
 * Asked once, when the document's turn comes. A yes stands in the job folder, on disk before the
 * worker starts, with the policy it was given under; a document that has begun is not asked about
 * again. What cannot be decided is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "agent/lib/policy.h"
#include "agent/monitor/jobs_priv.h"
#include "agent/monitor/used.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

static void fail(struct job *job, const char *why)
{
    char text[FL_ERR_TEXT_BYTES + 128];

    snprintf(text, sizeof(text), "fairlead: refused by the policy of this node: %s", why);
    fl_job_fail(job, text);
}

/* Ends the job; what else there is to say of the signature goes behind `why`. */
static void refuse(struct job *job, const struct fl_judgement *j, const char *why)
{
    fl_log_warn("document refused by policy", FL_S("command", job->command_id),
                FL_S("document", job->document_name), FL_S("error", why));
    fl_job_refuse(job, &(struct fl_refused_step){ j->step, j->key, j->action }, why);
}

/* The text of the policy that was judged by; small, and this is done once a job. */
static int keep(struct job *job, int policy_fd, const struct fl_judgement *j, struct fl_err *err)
{
    fl_autofree char *text = NULL;
    char run_as[64];
    int r;

    if (lseek(policy_fd, 0, SEEK_SET) < 0)
        return fl_err_set(err, -errno, NULL, "policy: %s", strerror(errno));
    r = fl_fd_read_all(policy_fd, FL_POLICY_MAX_BYTES, &text, NULL);
    if (r < 0)
        return fl_err_set(err, r, NULL, "policy: %s", strerror(-r));
    fl_judge_run_as(run_as, sizeof(run_as));
    return fl_jobdir_put_policy(job->dir_fd,
                                &(struct fl_job_policy){ .text = text,
                                                         .document_sha256 = j->document_sha256,
                                                         .signed_by = j->signed_by,
                                                         .run_as = run_as,
                                                         .time_ms = j->time_ms },
                                err);
}

/* The signature is this command's from now on, if it was needed. */
static int use_signature(struct job *job, const struct fl_judgement *j, struct fl_err *err)
{
    if (!j->by_signature)
        return 0;
    return fl_signature_use(job->jobs->conf.state_dir, j->nonce, j->not_after_s, job->command_id,
                            fl_now_ms(), err);
}

static void allow(struct job *job, int policy_fd, const struct fl_judgement *j)
{
    struct fl_err err = { 0 };
    char text[FL_ERR_TEXT_BYTES + 128];
    int r = use_signature(job, j, &err);

    if (r == -EEXIST) {
        snprintf(text, sizeof(text),
                 "fairlead: refused by the policy of this node: %s asks for a signature, and this "
                 "one does not count: %s",
                 j->why, fl_err_text(&err));
        refuse(job, j, text);
        return;
    }
    if (r == 0)
        r = keep(job, policy_fd, j, &err);
    if (r < 0) {
        fail(job, fl_err_text(&err));
        return;
    }
    fl_log_info("document allowed by policy", FL_S("command", job->command_id), FL_S("by", j->why),
                FL_S("signed", j->signed_by));
    fl_job_run(job);
}

static void on_judged(void *arg, const struct fl_judgement *j, const char *why)
{
    struct job *job = arg;
    fl_autofd int policy_fd = FL_TAKE_FD(job->policy_fd);

    /* The judgement lives until this returns. */
    job->judge = fl_judge_free(job->judge);
    if (!j || j->error)
        fail(job, j ? j->error : why);
    else if (j->broken)
        fl_job_fail(job, j->broken);
    else if (!j->allowed || (j->by_signature && !j->nonce))
        refuse(job, j, j->why ? j->why : "fairlead: refused by the policy of this node");
    else
        allow(job, policy_fd, j);
}

static void on_unusable(void *arg)
{
    struct job *job = arg;

    job->timer = fl_timer_free(job->timer);
    fail(job, job->jobs->conf.policy->fault);
}

/* Not at once: the end of one job starts the next, and of those there may be many. */
static int fail_soon(struct job *job, struct fl_err *err)
{
    job->timer = fl_timer_new(job->jobs->conf.loop, on_unusable, job);
    if (!job->timer)
        return fl_err_nomem(err);
    fl_timer_start(job->timer, 0);
    return 1;
}

static bool is_decided(const struct job *job)
{
    struct stat st;

    return job->begun || job->cancel || fstatat(job->dir_fd, "policy", &st, 0) == 0;
}

int fl_job_ask_policy(struct job *job, struct fl_err *err)
{
    const struct fl_jobs_conf *conf = &job->jobs->conf;
    fl_autofd int policy_fd = -1;
    fl_autofd int job_fd = -1;
    char run_as[64];
    int r;

    if (!conf->policy || is_decided(job))
        return 0;
    r = fl_policyfile_open(conf->policy, &policy_fd);
    if (r == 0)
        return 0;
    if (r < 0)
        return fail_soon(job, err);
    job_fd = openat(job->dir_fd, "job", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (job_fd < 0)
        return fl_err_set(err, -errno, NULL, "job: %s", strerror(errno));
    fl_judge_run_as(run_as, sizeof(run_as));
    r = fl_judge_start(conf->loop, conf->paths, conf->config->net_user, run_as, FL_JUDGE_JOB,
                       policy_fd, job_fd, on_judged, job, &job->judge, err);
    if (r < 0)
        return r;
    job->policy_fd = FL_TAKE_FD(policy_fd);
    return 1;
}
