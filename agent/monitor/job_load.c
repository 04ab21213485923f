/* job_load.c - what is on disk when the monitor starts: found, repaired, gone on with. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define RECORD_MAX_BYTES (4u << 20)

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
        return fl_err_nomem(err);
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
    *ret_job = fl_job_new(jobs, &on_disk);
    r = *ret_job ? fl_job_open(*ret_job) : -ENOMEM;
    if (r < 0) {
        *ret_job = fl_job_free(*ret_job);
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
        fl_job_insert(jobs, job);
}

void fl_jobs_fail_damaged(struct fl_jobs *jobs)
{
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        if (job->damaged && job->state == JOB_QUEUED)
            fl_job_fail(job, "fairlead: the files of this document were damaged on the node; how "
                             "far it ran is not known, it was not run again");
}

int fl_jobs_load(struct fl_jobs *jobs, struct fl_err *err)
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
