/* jobs.c - see jobs.h: acceptance, the queue, what is found on disk, what becomes of old folders.
 */
#include "agent/monitor/jobs.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/wire/control.h"

#define RECORD_MAX_BYTES (4u << 20)
#define SWEEP_EVERY_MS   (15LL * 60 * 1000)
#define SWEEP_EVERY_JOBS 100

/* ---- messages ---- */

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

/* ---- jobs in memory ---- */

static struct job *free_job(struct job *job)
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

static struct job *new_job(struct fl_jobs *jobs, const struct fl_job *from)
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
    return job->command_id && job->job_id && job->document_name ? job : free_job(job);
}

/* In order of acceptance; almost always at the end. */
static void insert_job(struct fl_jobs *jobs, struct job *job)
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

static struct job *find_job(struct fl_jobs *jobs, const char *command_id)
{
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        if (strcmp(job->command_id, command_id) == 0)
            return job;
    return NULL;
}

static size_t count_jobs(const struct fl_jobs *jobs, enum job_state state)
{
    struct job *job;
    size_t n = 0;

    TAILQ_FOREACH (job, &jobs->list, entry)
        n += job->state == state;
    return n;
}

/* None is begun just before the machine goes down. */
static bool can_start(const struct fl_jobs *jobs)
{
    return !jobs->closed && jobs->n_holding == 0 &&
           (int64_t)jobs->n_running < jobs->conf.config->command_workers;
}

void fl_jobs_start_next(struct fl_jobs *jobs)
{
    struct job *job, *next;

    for (job = TAILQ_FIRST(&jobs->list); job && can_start(jobs); job = next) {
        next = TAILQ_NEXT(job, entry);
        if (job->state == JOB_QUEUED)
            fl_job_start(job);
    }
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
    free_job(job);
    jobs->closed_since_sweep++;
    if (jobs->closed_since_sweep >= SWEEP_EVERY_JOBS || jobs->swept_ms == 0 ||
        fl_mono_ms() - jobs->swept_ms >= SWEEP_EVERY_MS)
        sweep(jobs);
}

/* ---- acceptance ---- */

/* 1 if the id was seen, 0 if not; negative errno: it cannot be told now. */
static int is_known(struct fl_jobs *jobs, const char *command_id)
{
    const char *const dirs[] = { jobs->jobs_dir, jobs->done_dir };

    if (find_job(jobs, command_id))
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

/* On disk, in the list of what was seen, in memory: all or nothing. */
static int keep_job(struct fl_jobs *jobs, const struct fl_job *job, struct job **ret_job,
                    struct fl_err *err)
{
    struct job *kept = new_job(jobs, job);
    int r = kept ? fl_jobdir_create(jobs->jobs_dir, job, err)
                 : fl_err_set(err, -ENOMEM, NULL, "out of memory");

    if (r == 0) {
        r = fl_seen_add(&jobs->seen, job->command_id, job->accepted_ms);
        if (r < 0) {
            fl_jobdir_discard(jobs->jobs_dir, job->command_id);
            fl_err_set(err, r, NULL, "cannot note the command id: %s", strerror(-r));
        }
    }
    if (r < 0)
        free_job(kept);
    else
        *ret_job = kept;
    return r;
}

/* Journals the job. Returns the ack's code; of FL_ACK_UNEXPECTED and FL_ACK_INVALID the reason is
 * in *err. */
static const char *accept_job(struct fl_jobs *jobs, const struct fl_net_job *in,
                              struct job **ret_job, struct fl_err *err)
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
    r = is_known(jobs, in->command_id);
    if (r > 0)
        return FL_ACK_DUPLICATE;
    if (r < 0)
        fl_err_set(err, r, NULL, "cannot look whether it ran before: %s", strerror(-r));
    if ((!can_start(jobs) && (int64_t)count_jobs(jobs, JOB_QUEUED) >= config->command_buffer) ||
        jobs->n_jobs >= FL_JOBS_MAX_OPEN)
        return FL_ACK_BUFFER_FULL;

    fl_random_hex(nonce, FL_JOB_NONCE_DIGITS);
    if (r == 0)
        r = keep_job(jobs, &job, ret_job, err);
    if (r < 0) {
        fl_log_error("job refused: it cannot be kept", FL_S("command", in->command_id),
                     FL_S("error", fl_err_text(err)));
        return FL_ACK_UNEXPECTED;
    }
    return FL_ACK_OK;
}

static void handle_send(struct fl_jobs *jobs, const struct fl_net_job *in)
{
    struct fl_err err = { 0 };
    struct job *job = NULL;
    const char *code = accept_job(jobs, in, &job, &err);

    send_ack(jobs, in, code);
    if (strcmp(code, FL_ACK_UNEXPECTED) == 0 || strcmp(code, FL_ACK_INVALID) == 0) {
        char text[FL_ERR_TEXT_BYTES + 64];

        snprintf(text, sizeof(text), "fairlead: this node cannot keep the document: %s",
                 fl_err_text(&err));
        send_status(jobs, in, FL_TOPIC_SEND, "Failed", text);
    }
    if (!job)
        return;
    send_status(jobs, in, FL_TOPIC_SEND, "InProgress", NULL);
    insert_job(jobs, job);
    fl_log_info("document accepted", FL_S("command", job->command_id),
                FL_S("document", job->document_name));
    fl_jobs_start_next(jobs);
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
    job = find_job(jobs, target);
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

/* ---- what is on disk at start ---- */

static void read_acks(struct job *job)
{
    struct fl_journal acks fl_autojournal = { .fd = -1 };
    int r = fl_jobdir_open(job->dir_fd, "acks", &acks, NULL) < 0 ? 0 : 1;

    while (r == 1) {
        fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
        struct fl_journal_record rec;
        char id[FL_UUID_BYTES];
        r = fl_journal_read(&acks, &arena, &rec);
        if (r != 1)
            break;
        job->cancel |= rec.type == FL_JREC_CANCEL;
        job->reboots_asked += rec.type == FL_JREC_ASKED;
        for (size_t i = 0; rec.type == FL_JREC_ACKED && i < job->n_replies; i++) {
            const struct fl_jrec_acked *acked = rec.in;

            fl_job_reply_id(job->nonce, job->replies[i].reboots, job->replies[i].index, id);
            job->replies[i].acked |= acked->message_id && strcmp(id, acked->message_id) == 0;
        }
    }
    job->acks_end = acks.end;
    if (acks.fd >= 0)
        fl_journal_cut(&acks);
}

/* Finds out what the job is doing. It may be gone afterwards. */
static void resume(struct job *job)
{
    struct fl_journal lock fl_autojournal = { .fd = -1 };

    fl_job_follow(job);
    read_acks(job);
    if (job->status[0]) {
        job->state = JOB_ENDED;
        fl_job_detach(job);
        if (fl_job_unacked(job) == 0)
            fl_job_retire(job);
        return;
    }
    if (fl_jobdir_open(job->dir_fd, "journal", &lock, NULL) == 0 &&
        fl_jobdir_lock(lock.fd) == -EWOULDBLOCK) {
        job->state = JOB_RUNNING;
        job->jobs->n_running++;
        fl_log_info("attached to a running document", FL_S("command", job->command_id));
        fl_job_attach_or_probe(job);
        return;
    }
    fl_job_detach(job); /* opened again when its turn comes */
    if (fl_job_awaits_boot(job))
        fl_job_await_boot(job);
}

/* A record that stands for one that is lost. The ids follow from the folder's name (protocol 2
 * §3.2); no content: fail_damaged knows it by that. */
static int repair(struct fl_jobs *jobs, const char *name, int dir_fd, struct fl_arena *arena,
                  struct fl_job *ret_job, struct fl_err *err)
{
    char *nonce = fl_arena_alloc(arena, FL_JOB_NONCE_DIGITS + 1);
    struct fl_job job = {
        .job_id = fl_arena_printf(arena, "aws.ssm.%s.%s", name, jobs->conf.node_id),
        .command_id = fl_arena_strdup(arena, name),
        .content = fl_arena_strdup(arena, ""),
        .accepted_ms = fl_now_ms(),
        .nonce = nonce,
        .node_id = fl_arena_strdup(arena, jobs->conf.node_id),
    };
    int r;

    if (!nonce || !job.job_id || !job.command_id || !job.content || !job.node_id)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
    fl_log_error("job folder is damaged: the document is reported as failed", FL_S("command", name),
                 FL_S("error", fl_err_text(err)), FL_S("kept", FL_JOB_DAMAGED_FILE));
    fl_random_hex(nonce, FL_JOB_NONCE_DIGITS);
    r = fl_jobdir_repair(dir_fd, &job, err);
    if (r == 0)
        *ret_job = job;
    return r;
}

/* *ret_job stays NULL for a folder that was never accepted; it is removed. -EXDEV for one that is
 * not ours. */
static int load_job(struct fl_jobs *jobs, const char *name, struct job **ret_job,
                    struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(jobs->jobs_dir, name);
    fl_autofd int dir_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    struct fl_job on_disk;
    int r;
    if (dir_fd < 0)
        return fl_err_set(err, errno == ENOTDIR || errno == ELOOP ? -EXDEV : -errno, NULL, "%s",
                          strerror(errno));
    if (fl_jobdir_is_unborn(dir_fd)) {
        fl_dir_remove(path, NULL);
        return 0;
    }
    r = fl_jobdir_load(dir_fd, &arena, &on_disk, err);
    if (r == 0 && strcmp(on_disk.command_id, name) != 0)
        return fl_err_set(err, -EXDEV, NULL, "job: belongs to another folder");
    if (r == 0 && (!on_disk.node_id || strcmp(on_disk.node_id, jobs->conf.node_id) != 0))
        return fl_err_set(err, -EXDEV, NULL, "job: belongs to another registration");
    if (r == 0 && faccessat(dir_fd, "journal", F_OK, 0) < 0)
        r = fl_err_set(err, -errno, NULL, "journal: %s", strerror(errno));
    if (r == -EBADMSG || r == -EINVAL || r == -ENOENT)
        r = repair(jobs, name, dir_fd, &arena, &on_disk, err);
    if (r < 0)
        return r;
    *ret_job = new_job(jobs, &on_disk);
    r = *ret_job ? fl_job_open(*ret_job) : -ENOMEM;
    if (r < 0) {
        *ret_job = free_job(*ret_job);
        return fl_err_set(err, r, NULL, "%s", strerror(-r));
    }
    (*ret_job)->damaged = on_disk.content[0] == '\0';
    return 0;
}

static void load_entry(struct fl_jobs *jobs, const char *name)
{
    fl_autofree char *path = fl_path_join(jobs->jobs_dir, name);
    fl_autofree char *done = fl_path_join(jobs->done_dir, name);
    struct fl_err err = { 0 };
    struct job *job = NULL;
    int r;

    if (!path || !done || !fl_command_id_valid(name))
        return;
    r = load_job(jobs, name, &job, &err);
    if (r == -EXDEV) {
        fl_log_error("job folder put aside", FL_S("folder", path),
                     FL_S("error", fl_err_text(&err)));
        rename(path, done);
    } else if (r < 0) {
        fl_log_error("job folder left for the next start", FL_S("folder", path),
                     FL_S("error", fl_err_text(&err)));
    }
    if (job)
        insert_job(jobs, job);
}

static void fail_damaged(struct fl_jobs *jobs)
{
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        if (job->damaged && job->state == JOB_QUEUED)
            fl_job_fail(job, "fairlead: the files of this document were damaged on the node; how "
                             "far it ran is not known, it was not run again");
}

static int load(struct fl_jobs *jobs, struct fl_err *err)
{
    DIR *dir = opendir(jobs->jobs_dir);
    struct job *job, *next;

    if (!dir)
        return fl_err_set(err, -errno, NULL, "%s: %s", jobs->jobs_dir, strerror(errno));
    for (struct dirent *e; (e = readdir(dir));)
        load_entry(jobs, e->d_name);
    closedir(dir);
    for (job = TAILQ_FIRST(&jobs->list); job; job = next) {
        next = TAILQ_NEXT(job, entry);
        resume(job);
    }
    return 0;
}

/* ---- the object ---- */

static int prepare(struct fl_jobs *jobs, struct fl_err *err)
{
    fl_autofree char *seen = fl_path_join(jobs->conf.state_dir, "seen");
    int r;

    jobs->jobs_dir = fl_path_join(jobs->conf.state_dir, "jobs");
    jobs->done_dir = fl_path_join(jobs->conf.state_dir, "done");
    jobs->reply_timer = fl_timer_new(jobs->conf.loop, fl_jobs_on_reply_timer, jobs);
    if (!seen || !jobs->jobs_dir || !jobs->done_dir || !jobs->reply_timer)
        return fl_err_set(err, -ENOMEM, NULL, "out of memory");
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
        r = load(jobs, err);
    if (r < 0) {
        fl_jobs_free(jobs);
        return r;
    }
    fail_damaged(jobs);
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
        free_job(job);
    }
    jobs->sweeper = fl_child_free(jobs->sweeper);
    jobs->reply_timer = fl_timer_free(jobs->reply_timer);
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

struct fl_jobs_counts fl_jobs_count(const struct fl_jobs *jobs)
{
    struct fl_jobs_counts c = { .running = jobs->n_running,
                                .queued = count_jobs(jobs, JOB_QUEUED),
                                .waiting = count_jobs(jobs, JOB_WAITING) };
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
