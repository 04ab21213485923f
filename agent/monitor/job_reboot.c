/* job_reboot.c - documents that wait for the next boot of the machine.
 *
 * The worker has written FL_JREC_REBOOT and left. The reboot is asked for once, by the configured
 * command; that it was is a note in `acks`, so that an administrator who calls it off is not
 * overruled by a restart of the agent. Whatever boots the machine, the document goes on then.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define COMMAND_MS (60LL * 1000)      /* the reboot command has so long to be done */
#define HOLD_MS    (10LL * 60 * 1000) /* then other documents are begun after all */

bool fl_job_awaits_boot(const struct job *job)
{
    char boot_id[FL_BOOT_ID_BYTES];

    if (!job->boot_id[0] || job->cancel)
        return false;
    fl_boot_id(boot_id);
    return strcmp(boot_id, job->boot_id) == 0;
}

static void release(struct job *job)
{
    job->jobs->n_holding -= job->holds;
    job->holds = false;
}

void fl_job_stop_waiting(struct job *job)
{
    if (job->state != JOB_WAITING)
        return;
    release(job);
    job->child = fl_child_free(job->child);
    job->timer = fl_timer_free(job->timer);
}

static void on_waited(void *arg)
{
    struct job *job = arg;
    int64_t left_ms = job->accepted_ms + FL_JOB_RESUME_MS - fl_now_ms();

    if (left_ms <= 0) {
        fl_job_fail(job, "fairlead: the document asked for a reboot, and the machine was not "
                         "rebooted within 48 hours");
        return;
    }
    if (job->holds)
        fl_log_warn("the machine was not rebooted: other documents go on",
                    FL_S("command", job->command_id));
    release(job);
    fl_timer_start(job->timer, (uint64_t)FL_MIN(left_ms, FL_JOB_RESUME_MS));
    fl_jobs_start_next(job->jobs);
}

static void not_asked(struct job *job, const char *why)
{
    char text[512];

    snprintf(text, sizeof(text), "fairlead: the machine could not be rebooted: %s: %s",
             job->jobs->conf.config->reboot_command, why);
    fl_job_fail(job, text);
}

static void on_command_end(void *arg, int status)
{
    struct job *job = arg;
    char why[64];

    job->child = fl_child_free(job->child);
    if (status != 0) {
        if (WIFEXITED(status))
            snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(status));
        else
            snprintf(why, sizeof(why), "killed by signal %d", WTERMSIG(status));
        not_asked(job, why);
        return;
    }
    job->reboots_asked = job->reboots;
    fl_job_note(job, FL_JREC_ASKED, "", true);
    fl_timer_start(job->timer, HOLD_MS);
}

static void on_command_late(void *arg)
{
    struct job *job = arg;

    if (job->child)
        fl_child_kill(job->child, SIGKILL);
    else
        on_waited(arg);
}

static void ask(struct job *job)
{
    char *const argv[] = { (char *)"sh", (char *)"-c", job->jobs->conf.config->reboot_command,
                           NULL };
    const struct fl_child_fd fds[] = { { STDERR_FILENO, STDERR_FILENO } };
    const struct fl_child_spec spec = {
        .path = "/bin/sh", .argv = argv, .fds = fds, .n_fds = 1, .new_group = true
    };
    struct fl_err err = { 0 };

    fl_log_warn("a document wants the machine rebooted", FL_S("command", job->command_id),
                FL_S("document", job->document_name));
    if (fl_child_spawn(job->jobs->conf.loop, &spec, on_command_end, job, &job->child, &err) < 0)
        not_asked(job, fl_err_text(&err));
    else
        fl_timer_start(job->timer, COMMAND_MS);
}

void fl_job_await_boot(struct job *job)
{
    struct fl_jobs *jobs = job->jobs;

    fl_job_detach(job);
    jobs->n_running -= job->state == JOB_RUNNING;
    job->state = JOB_WAITING;
    job->holds = true;
    jobs->n_holding++;
    job->timer = fl_timer_new(jobs->conf.loop, on_command_late, job);
    if (!job->timer)
        fl_job_fail(job, "fairlead: out of memory while waiting for the machine's reboot");
    else if (job->reboots_asked < job->reboots)
        ask(job);
    else
        fl_timer_start(job->timer, HOLD_MS);
}
