/* job_accept.c - what the control channel says: a new job is judged, on disk, then acknowledged. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/control.h"

/* ---- answers ---- */

static void send_ack(struct fl_jobs *jobs, const struct fl_net_job *in, const char *code)
{
    jobs->conf.out.ack(jobs->conf.out.arg, &(struct fl_net_job_ack){ .job_id = in->job_id,
                                                                     .message_id = in->message_id,
                                                                     .created_ms = in->created_ms,
                                                                     .status_code = (char *)code });
}

/* A bare status: InProgress after an ack 200, Failed after a refusal that needs a reason. Sent
 * once, never acknowledged: a plane that misses it asks again. */
static void send_status(struct fl_jobs *jobs, const struct fl_net_job *in, const char *topic,
                        const char *status, const char *trace)
{
    fl_autobuf struct fl_buf content = FL_BUF(8192);
    char id[FL_UUID_BYTES];
    if (fl_reply_bare(&jobs->agent, status, trace, fl_now_ms(), &content) < 0)
        return;
    fl_uuid4(id);
    jobs->conf.out.reply(jobs->conf.out.arg, &(struct fl_net_job_reply){ .job_id = in->job_id,
                                                                         .topic = (char *)topic,
                                                                         .message_id = id,
                                                                         .content = content.data,
                                                                         .expect_ack = false });
}

/* ---- acceptance ---- */

/* 1 if the id was seen, 0 if not; negative errno: it cannot be told now. */
static int is_known(struct fl_jobs *jobs, const char *command_id)
{
    const char *const dirs[] = { jobs->jobs_dir, jobs->done_dir };

    if (fl_job_find(jobs, command_id))
        return 1;
    for (size_t i = 0; i < FL_ARRAY_LEN(dirs); i++) {
        fl_autofree char *path = fl_path_join(dirs[i], command_id);

        if (!path)
            return -ENOMEM;
        if (access(path, F_OK) == 0)
            return 1;
        if (errno != ENOENT)
            return -errno;
    }
    return fl_seen_has(&jobs->seen, command_id);
}

/* What is on its way to the disk waits too. */
static bool is_full(const struct fl_jobs *jobs)
{
    const struct fl_agent_config *config = jobs->conf.config;
    size_t coming = fl_intake_count(jobs->intake);
    int64_t room = config->command_buffer;

    if (fl_jobs_can_start(jobs))
        room += config->command_workers - (int64_t)jobs->n_running;
    return (int64_t)(fl_jobs_in_state(jobs, JOB_QUEUED) + coming) >= room ||
           jobs->n_jobs + coming >= FL_JOBS_MAX_OPEN;
}

/* Its folder is on disk. In the list of what was seen and in memory, or nowhere. */
static int keep_job(struct fl_jobs *jobs, const struct fl_job *job, struct job **ret_job,
                    struct fl_err *err)
{
    struct job *kept = fl_job_new(jobs, job);
    int r = kept ? fl_seen_add(&jobs->seen, job->command_id, job->accepted_ms) : -ENOMEM;

    if (r < 0) {
        fl_jobdir_discard(jobs->jobs_dir, job->command_id);
        fl_job_free(kept);
        return fl_err_set(err, r, NULL, "cannot note the command id: %s", strerror(-r));
    }
    *ret_job = kept;
    return 0;
}

/* FL_ACK_OK for a job that is on its way to the disk, or to be looked at once another is there; it
 * is answered then. Else the ack's code; of FL_ACK_UNEXPECTED and FL_ACK_INVALID the reason is in
 * *err. */
static const char *accept_job(struct fl_jobs *jobs, const struct fl_net_job *in, struct fl_err *err)
{
    const struct fl_agent_config *config = jobs->conf.config;
    char nonce[FL_JOB_NONCE_DIGITS + 1];
    struct fl_job job = {
        .job_id = in->job_id,
        .command_id = in->command_id,
        .document_name = in->document_name,
        .content = in->content,
        .created_ms = in->created_ms,
        .accepted_ms = fl_now_ms(),
        .nonce = nonce,
        .node_id = (char *)jobs->conf.node_id,
        .region = (char *)jobs->conf.region,
        .platform_name = (char *)jobs->conf.platform->name,
        .platform_version = (char *)jobs->conf.platform->version,
        .output_max_bytes = config->output_max_bytes,
    };
    int r;

    if (config->share_creds && config->share_profile && config->share_profile[0])
        job.aws_profile = config->share_profile;
    if (config->share_creds && config->credentials_file && config->credentials_file[0])
        job.aws_credentials_file = config->credentials_file;

    if (jobs->closed)
        return FL_ACK_CLOSED;
    if (fl_job_check(&job, err) < 0) {
        fl_log_warn("job refused", FL_S("error", fl_err_text(err)));
        return FL_ACK_INVALID;
    }
    if (fl_intake_has(jobs->intake, in->command_id)) {
        r = fl_intake_later(jobs->intake, in);
    } else {
        r = is_known(jobs, in->command_id);
        if (r > 0)
            return FL_ACK_DUPLICATE;
        if (r < 0)
            fl_err_set(err, r, NULL, "cannot look whether it ran before: %s", strerror(-r));
        if (is_full(jobs))
            return FL_ACK_BUFFER_FULL;
        fl_random_hex(nonce, FL_JOB_NONCE_DIGITS);
        if (r == 0)
            r = fl_intake_make(jobs->intake, in, &job);
    }
    if (r == -ENOBUFS)
        return FL_ACK_BUFFER_FULL;
    if (r == -ENOMEM)
        fl_err_nomem(err);
    return r < 0 ? FL_ACK_UNEXPECTED : FL_ACK_OK;
}

static void refuse(struct fl_jobs *jobs, const struct fl_net_job *in, const char *code,
                   const struct fl_err *err)
{
    char text[FL_ERR_TEXT_BYTES + 64];

    send_ack(jobs, in, code);
    if (strcmp(code, FL_ACK_UNEXPECTED) == 0)
        fl_log_error("job refused: it cannot be kept", FL_S("command", in->command_id),
                     FL_S("error", fl_err_text(err)));
    else if (strcmp(code, FL_ACK_INVALID) != 0)
        return;
    snprintf(text, sizeof(text), "fairlead: this node cannot keep the document: %s",
             fl_err_text(err));
    send_status(jobs, in, FL_TOPIC_SEND, "Failed", text);
}

static void handle_send(struct fl_jobs *jobs, const struct fl_net_job *in)
{
    struct fl_err err = { 0 };
    const char *code = accept_job(jobs, in, &err);

    if (strcmp(code, FL_ACK_OK) != 0)
        refuse(jobs, in, code, &err);
}

void fl_job_made(void *arg, const struct fl_net_job *in, const struct fl_job *from, int r,
                 struct fl_err *err)
{
    struct fl_jobs *jobs = arg;
    struct job *job = NULL;

    if (r == 0)
        r = keep_job(jobs, from, &job, err);
    if (r < 0) {
        refuse(jobs, in, FL_ACK_UNEXPECTED, err);
        return;
    }
    send_ack(jobs, in, FL_ACK_OK);
    send_status(jobs, in, FL_TOPIC_SEND, "InProgress", NULL);
    fl_job_insert(jobs, job);
    fl_log_info("document accepted", FL_S("command", job->command_id),
                FL_S("document", job->document_name));
    fl_jobs_start_next(jobs);
}

void fl_job_later(void *arg, const struct fl_net_job *in)
{
    fl_jobs_handle(arg, in);
}

static void handle_cancel(struct fl_jobs *jobs, const struct fl_net_job *in)
{
    char target[FL_JOB_MAX_ID_BYTES + 1];
    struct job *job;

    if (jobs->closed) {
        send_ack(jobs, in, FL_ACK_CLOSED);
        return;
    }
    if (!in->job_id || !in->job_id[0] || strlen(in->job_id) > FL_JOB_MAX_ID_BYTES ||
        !in->cancel_job_id || fl_job_command_id(in->cancel_job_id, target, sizeof(target)) < 0) {
        send_ack(jobs, in, FL_ACK_INVALID);
        return;
    }
    if (fl_intake_has(jobs->intake, target)) {
        if (fl_intake_later(jobs->intake, in) < 0)
            send_ack(jobs, in, FL_ACK_BUFFER_FULL);
        return;
    }
    job = fl_job_find(jobs, target);
    if (job && job->state != JOB_ENDED && !job->cancel) {
        job->cancel = true;
        fl_log_info("document cancelled", FL_S("command", job->command_id));
        fl_job_note(job, FL_JREC_CANCEL, "", true);
    } else {
        job = NULL; /* unknown, over or already cancelled: there is nothing to do */
    }
    send_ack(jobs, in, FL_ACK_OK);
    send_status(jobs, in, FL_TOPIC_CANCEL, "InProgress", NULL);
    if (!job)
        return;
    /* A document without a worker is reported by one too, which runs none of its steps. */
    if (job->state == JOB_RUNNING)
        fl_job_cancel_worker(job);
    else
        fl_job_start(job);
}

void fl_jobs_handle(struct fl_jobs *jobs, const struct fl_net_job *in)
{
    if (!in->message_id || !fl_uuid_valid(in->message_id)) {
        fl_log_warn("job without a message id ignored");
        return;
    }
    if (in->cancel)
        handle_cancel(jobs, in);
    else
        handle_send(jobs, in);
}
