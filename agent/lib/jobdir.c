/* jobdir.c - see jobdir.h. */
#include "agent/lib/jobdir.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "common/base/file.h"

/* Room kept for a journal, so that a job once accepted can still be reported on a full disk. */
#define JOURNAL_RESERVE_BYTES (64 << 10)

#define F(type, member, key) FL_FIELD(struct type, member, key, 0)
static const struct fl_field job_fields[] = {
    F(fl_job, job_id, "jobId"),
    F(fl_job, command_id, "commandId"),
    F(fl_job, document_name, "documentName"),
    F(fl_job, content, "content"),
    F(fl_job, created_ms, "created"),
    F(fl_job, accepted_ms, "accepted"),
    F(fl_job, nonce, "nonce"),
    F(fl_job, node_id, "nodeId"),
    F(fl_job, region, "region"),
    F(fl_job, platform_name, "platformName"),
    F(fl_job, platform_version, "platformVersion"),
    F(fl_job, aws_profile, "awsProfile"),
    F(fl_job, aws_credentials_file, "awsCredentialsFile"),
    F(fl_job, output_max_bytes, "outputMaxBytes"),
};
static const struct fl_field policy_fields[] = {
    F(fl_job_policy, text, "text"),          F(fl_job_policy, document_sha256, "documentSha256"),
    F(fl_job_policy, signed_by, "signedBy"), F(fl_job_policy, run_as, "runAs"),
    F(fl_job_policy, time_ms, "time"),
};
static const struct fl_field run_fields[] = {
    F(fl_jrec_run, time_ms, "time"),
    F(fl_jrec_run, pid, "pid"),
};
static const struct fl_field step_start_fields[] = {
    F(fl_jrec_step_start, index, "index"),
    F(fl_jrec_step_start, time_ms, "time"),
};
static const struct fl_field step_child_fields[] = {
    F(fl_jrec_step_child, pid, "pid"),
    F(fl_jrec_step_child, start_ticks, "startTicks"),
    F(fl_jrec_step_child, boot_id, "bootId"),
};
static const struct fl_field step_done_fields[] = {
    F(fl_jrec_step_done, index, "index"),
    F(fl_jrec_step_done, key, "key"),
    F(fl_jrec_step_done, plugin, "plugin"),
    F(fl_jrec_step_done, status, "status"),
    F(fl_jrec_step_done, code, "code"),
    F(fl_jrec_step_done, start_ms, "start"),
    F(fl_jrec_step_done, end_ms, "end"),
    F(fl_jrec_step_done, output_json, "output"),
    F(fl_jrec_step_done, stdout_json, "stdout"),
    F(fl_jrec_step_done, stderr_json, "stderr"),
    F(fl_jrec_step_done, stdout_bytes, "stdoutBytes"),
    F(fl_jrec_step_done, stderr_bytes, "stderrBytes"),
    F(fl_jrec_step_done, stop, "stop"),
    F(fl_jrec_step_done, s3_bucket, "s3Bucket"),
    F(fl_jrec_step_done, s3_prefix, "s3Prefix"),
    F(fl_jrec_step_done, step_name, "stepName"),
};
static const struct fl_field doc_done_fields[] = {
    F(fl_jrec_doc_done, status, "status"),
    F(fl_jrec_doc_done, counts, "counts"),
    F(fl_jrec_doc_done, n_results, "results"),
    F(fl_jrec_doc_done, error, "error"),
};
static const struct fl_field reboot_fields[] = {
    F(fl_jrec_reboot, index, "index"),
    F(fl_jrec_reboot, boot_id, "bootId"),
    F(fl_jrec_reboot, counts, "counts"),
    F(fl_jrec_reboot, n_results, "results"),
};
static const struct fl_field go_to_fields[] = {
    F(fl_jrec_go_to, index, "index"),
};
static const struct fl_field acked_fields[] = {
    F(fl_jrec_acked, message_id, "messageId"),
};
#undef F

static const struct fl_shape job_shape = FL_SHAPE(struct fl_job, "Job", job_fields);
static const struct fl_shape policy_shape =
    FL_SHAPE(struct fl_job_policy, "JobPolicy", policy_fields);
static const struct fl_shape run_shape = FL_SHAPE(struct fl_jrec_run, "Run", run_fields);
static const struct fl_shape step_start_shape =
    FL_SHAPE(struct fl_jrec_step_start, "StepStart", step_start_fields);
static const struct fl_shape step_child_shape =
    FL_SHAPE(struct fl_jrec_step_child, "StepChild", step_child_fields);
static const struct fl_shape step_done_shape =
    FL_SHAPE(struct fl_jrec_step_done, "StepDone", step_done_fields);
static const struct fl_shape doc_done_shape =
    FL_SHAPE(struct fl_jrec_doc_done, "DocDone", doc_done_fields);
static const struct fl_shape reboot_shape =
    FL_SHAPE(struct fl_jrec_reboot, "Reboot", reboot_fields);
static const struct fl_shape go_to_shape = FL_SHAPE(struct fl_jrec_go_to, "GoTo", go_to_fields);
static const struct fl_field delivered_fields[] = { FL_FIELD(struct fl_jrec_delivered, all, "all",
                                                             0) };
static const struct fl_shape delivered_shape =
    FL_SHAPE(struct fl_jrec_delivered, "Delivered", delivered_fields);
static const struct fl_shape acked_shape = FL_SHAPE(struct fl_jrec_acked, "Acked", acked_fields);

const struct fl_journal_row fl_job_rows[] = {
    { FL_JREC_JOB, &job_shape },
    { FL_JREC_RUN, &run_shape },
    { FL_JREC_STEP_START, &step_start_shape },
    { FL_JREC_STEP_CHILD, &step_child_shape },
    { FL_JREC_STEP_DONE, &step_done_shape },
    { FL_JREC_DOC_DONE, &doc_done_shape },
    { FL_JREC_REBOOT, &reboot_shape },
    { FL_JREC_GO_TO, &go_to_shape },
    { FL_JREC_DELIVERED, &delivered_shape },
    { FL_JREC_ACKED, &acked_shape },
    { FL_JREC_CANCEL, &fl_shape_empty },
    { FL_JREC_ASKED, &fl_shape_empty },
    { FL_JREC_POLICY, &policy_shape },
    { 0, NULL },
};

bool fl_command_id_valid(const char *s)
{
    size_t len = s ? strlen(s) : 0;

    return len >= 1 && len <= FL_COMMAND_ID_MAX_BYTES && s[0] != '.' &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static bool printable(const char *s, size_t max_bytes)
{
    size_t len = s ? strlen(s) : 0;

    if (len == 0 || len > max_bytes)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return false;
    return true;
}

int fl_job_check(const struct fl_job *job, struct fl_err *err)
{
    if (!printable(job->job_id, FL_JOB_MAX_ID_BYTES))
        return fl_err_set(err, -EINVAL, NULL, "job id: must have 1 to %d printable bytes",
                          FL_JOB_MAX_ID_BYTES);
    if (!fl_command_id_valid(job->command_id))
        return fl_err_set(err, -EINVAL, NULL, "command id: must match [A-Za-z0-9._-]{1,%d}",
                          FL_COMMAND_ID_MAX_BYTES);
    if (job->document_name && job->document_name[0] &&
        !printable(job->document_name, FL_JOB_MAX_NAME_BYTES))
        return fl_err_set(err, -EINVAL, NULL, "document name: more than %d bytes or not printable",
                          FL_JOB_MAX_NAME_BYTES);
    if (!job->content || strlen(job->content) > FL_JOB_MAX_CONTENT_BYTES)
        return fl_err_set(err, -EINVAL, NULL, "content: missing or more than %u bytes",
                          FL_JOB_MAX_CONTENT_BYTES);
    return 0;
}

/* splitmix64: a good mixer, no secret; the nonce is what makes ids unguessable enough. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void fl_job_reply_id(const char *nonce, uint32_t reboots, int64_t index, char out[FL_UUID_BYTES])
{
    uint64_t half[2] = { 0, 0 };
    uint8_t id[16];

    for (size_t i = 0; i < FL_JOB_NONCE_DIGITS && nonce[i]; i++) {
        uint64_t *h = &half[i / 16];
        char c = nonce[i];

        *h = *h << 4 | (uint64_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    half[0] = mix(half[0] ^ mix((uint64_t)index ^ (uint64_t)reboots << 32));
    half[1] = mix(half[1] ^ half[0]);
    memcpy(id, half, sizeof(id));
    id[6] = (id[6] & 0x0f) | 0x40; /* version 4 */
    id[8] = (id[8] & 0x3f) | 0x80; /* RFC 4122 variant */
    fl_uuid_format(id, out);
}

static int create_file(int dir_fd, const char *name, struct fl_err *err)
{
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd < 0 ? fl_err_set(err, -errno, NULL, "cannot create %s: %s", name, strerror(errno))
                  : fd;
}

/* A folder in the making. */
struct making {
    int dir_fd;
    struct fl_journal job;
    bool made;
};

static int fill(struct making *m, const struct fl_job *job, struct fl_err *err)
{
    fl_autofd int journal = create_file(m->dir_fd, "journal", err);
    fl_autofd int acks = journal < 0 ? -1 : create_file(m->dir_fd, "acks", err);
    int fd;

    if (journal < 0 || acks < 0)
        return journal < 0 ? journal : acks;
    /* Where the file system cannot reserve, a full disk is met later. */
    if (fallocate(journal, FALLOC_FL_KEEP_SIZE, 0, JOURNAL_RESERVE_BYTES) < 0 && errno == ENOSPC)
        return fl_err_set(err, -ENOSPC, NULL, "no room for a journal");
    if (mkdirat(m->dir_fd, "steps", 0700) < 0)
        return fl_err_set(err, -errno, NULL, "cannot create a job folder: %s", strerror(errno));
    fd = create_file(m->dir_fd, "job", err);
    if (fd < 0)
        return fd;
    fl_journal_init(&m->job, fd, fl_job_rows, 0);
    return fl_journal_append(&m->job, FL_JREC_JOB, job, err);
}

static int make(struct making *m, int jobs_fd, const char *jobs_dir, const struct fl_job *job,
                struct fl_err *err)
{
    fl_autofree char *path = fl_path_join(jobs_dir, job->command_id);

    if (!path)
        return fl_err_nomem(err);
    if (mkdirat(jobs_fd, job->command_id, 0700) < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno));
    m->made = true;
    m->dir_fd = openat(jobs_fd, job->command_id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return m->dir_fd < 0 ? fl_err_set(err, -errno, NULL, "%s: %s", path, strerror(errno))
                         : fill(m, job, err);
}

static int sync_error(struct fl_err *err)
{
    return fl_err_set(err, -errno, NULL, "cannot sync a job folder: %s", strerror(errno));
}

/* By path: one reason to be here is that no descriptor is left. */
void fl_jobdir_discard(const char *jobs_dir, const char *command_id)
{
    static const char *const below[] = { "/job", "/journal", "/acks", "/steps", "" };

    for (size_t i = 0; i < FL_ARRAY_LEN(below); i++) {
        fl_autofree char *path = NULL;

        if (asprintf(&path, "%s/%s%s", jobs_dir, command_id, below[i]) < 0)
            path = NULL;
        else
            (void)remove(path);
    }
}

/* Everything is made before the first sync: a journaling file system then commits it all at once,
 * and the syncs that follow find nothing left to do. */
void fl_jobdir_create_all(const char *jobs_dir, struct fl_jobdir_row *rows, size_t n)
{
    fl_autofd int jobs_fd = open(jobs_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int open_error = errno;
    struct making all[FL_JOBDIR_MAX_ROWS];

    assert(n <= FL_JOBDIR_MAX_ROWS);
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct making){ .dir_fd = -1, .job = { .fd = -1 } };
        rows[i].r = jobs_fd < 0 ? fl_err_set(&rows[i].err, -open_error, NULL, "%s: %s", jobs_dir,
                                             strerror(open_error))
                                : make(&all[i], jobs_fd, jobs_dir, rows[i].job, &rows[i].err);
    }
    for (size_t i = 0; i < n; i++)
        if (rows[i].r == 0 && (fsync(all[i].job.fd) < 0 || fsync(all[i].dir_fd) < 0))
            rows[i].r = sync_error(&rows[i].err);
    if (jobs_fd >= 0 && fsync(jobs_fd) < 0)
        for (size_t i = 0; i < n; i++)
            rows[i].r = rows[i].r < 0 ? rows[i].r : sync_error(&rows[i].err);
    for (size_t i = 0; i < n; i++) {
        fl_journal_done(&all[i].job);
        if (all[i].dir_fd >= 0)
            close(all[i].dir_fd);
        /* Refused is refused: it must not be found and run after a restart. */
        if (rows[i].r < 0 && all[i].made)
            fl_jobdir_discard(jobs_dir, rows[i].job->command_id);
    }
}

int fl_jobdir_create(const char *jobs_dir, const struct fl_job *job, struct fl_err *err)
{
    struct fl_jobdir_row row = { .job = job };

    fl_jobdir_create_all(jobs_dir, &row, 1);
    if (row.r < 0 && err)
        *err = row.err;
    return row.r;
}

int fl_jobdir_repair(int dir_fd, const struct fl_job *job, struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    fl_autofd int journal = openat(dir_fd, "journal", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int fd, r;

    unlinkat(dir_fd, "job.new", 0);
    fd = create_file(dir_fd, "job.new", err);
    if (fd < 0)
        return fd;
    fl_journal_init(&j, fd, fl_job_rows, 0);
    r = fl_journal_append(&j, FL_JREC_JOB, job, err);
    if (r < 0)
        return r;
    if (journal < 0 || fsync(fd) < 0 ||
        (linkat(dir_fd, "job", dir_fd, FL_JOB_DAMAGED_FILE, 0) < 0 && errno != EEXIST &&
         errno != ENOENT) ||
        renameat(dir_fd, "job.new", dir_fd, "job") < 0 || fsync(dir_fd) < 0)
        return fl_err_set(err, -errno, NULL, "cannot repair a job folder: %s", strerror(errno));
    return 0;
}

bool fl_jobdir_is_unborn(int dir_fd)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    struct fl_journal_record rec;
    fl_autoarena struct fl_arena arena = FL_ARENA(4u << 20);
    struct stat st;
    int fd;
    if (fstatat(dir_fd, "journal", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size > 0)
        return false;
    fd = openat(dir_fd, "job", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT;
    fl_journal_init(&j, fd, fl_job_rows, 0);
    return fl_journal_read(&j, &arena, &rec) == 0;
}

static int take_job(struct fl_journal *j, struct fl_arena *arena, struct fl_job *ret_job,
                    struct fl_err *err)
{
    struct fl_journal_record rec;
    const struct fl_job *job;
    int r = fl_journal_read(j, arena, &rec);

    if (r < 0 || r == 0 || rec.type != FL_JREC_JOB)
        return fl_err_set(err, r < 0 ? r : -EBADMSG, NULL, "job: damaged");
    job = rec.in;
    r = fl_job_check(job, err);
    if (r < 0)
        return r;
    if (!job->nonce || strlen(job->nonce) != FL_JOB_NONCE_DIGITS)
        return fl_err_set(err, -EBADMSG, NULL, "job: damaged nonce");
    *ret_job = *job;
    return 0;
}

int fl_jobdir_load(int dir_fd, struct fl_arena *arena, struct fl_job *ret_job, struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    int fd = openat(dir_fd, "job", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "job: %s", strerror(errno));
    fl_journal_init(&j, fd, fl_job_rows, 0);
    return take_job(&j, arena, ret_job, err);
}

int fl_jobdir_read(int job_fd, struct fl_arena *arena, struct fl_job *ret_job, struct fl_err *err)
{
    struct fl_journal j;

    fl_journal_init(&j, job_fd, fl_job_rows, 0);
    return take_job(&j, arena, ret_job, err);
}

int fl_jobdir_put_policy(int dir_fd, const struct fl_job_policy *policy, struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    int fd, r;

    unlinkat(dir_fd, "policy.new", 0);
    fd = create_file(dir_fd, "policy.new", err);
    if (fd < 0)
        return fd;
    fl_journal_init(&j, fd, fl_job_rows, 0);
    r = fl_journal_append(&j, FL_JREC_POLICY, policy, err);
    if (r == 0 && (fsync(fd) < 0 || renameat(dir_fd, "policy.new", dir_fd, "policy") < 0 ||
                   fsync(dir_fd) < 0))
        r = fl_err_set(err, -errno, NULL, "cannot keep the policy of a job: %s", strerror(errno));
    return r;
}

int fl_jobdir_get_policy(int dir_fd, struct fl_arena *arena, struct fl_job_policy *ret_policy,
                         struct fl_err *err)
{
    struct fl_journal j fl_autojournal = { .fd = -1 };
    int fd = openat(dir_fd, "policy", O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r;
    struct fl_journal_record rec;

    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "policy: %s", strerror(errno));
    fl_journal_init(&j, fd, fl_job_rows, 0);
    r = fl_journal_read(&j, arena, &rec);
    if (r != 1 || rec.type != FL_JREC_POLICY)
        return fl_err_set(err, r < 0 ? r : -EBADMSG, NULL, "policy: damaged");
    *ret_policy = *(const struct fl_job_policy *)rec.in;
    return ret_policy->text ? 1 : fl_err_set(err, -EBADMSG, NULL, "policy: damaged");
}

int fl_jobdir_open(int dir_fd, const char *name, struct fl_journal *ret, struct fl_err *err)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && errno == EROFS)
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fl_err_set(err, -errno, NULL, "%s: %s", name, strerror(errno));
    fl_journal_init(ret, fd, fl_job_rows, 0);
    return 0;
}

int fl_jobdir_lock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}
