/* job_replies.c - replies on their way: a window of them in flight, sent again until acknowledged.
 *
 * A reply is built from the journal each time it is sent, so nothing of it stays in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "agent/monitor/jobs_priv.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/doc/doc.h"
#include "common/wire/control.h"

#define WINDOW           16    /* replies in flight */
#define IN_FLIGHT_MS     10000 /* then a reply no longer counts as in flight */
#define RESEND_MS        (5LL * 60 * 1000)
#define LAST_CHANCE_MS   (2 * RESEND_MS)
#define RETRY_MS         1000 /* net's queue is full */
#define RECORD_MAX_BYTES (4u << 20)
#define REPLY_BUF_BYTES  (256u << 10)

int fl_job_add_reply(struct job *job, int64_t index, uint64_t offset, bool again)
{
    struct job_reply *grown;

    /* A worker's journal cannot hold more results than a document has steps, each time it runs. */
    if (job->n_replies > (job->reboots + 1) * (FL_DOC_MAX_STEPS + 1))
        return -EMSGSIZE;
    grown = realloc(job->replies, (job->n_replies + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    job->replies = grown;
    job->replies[job->n_replies++] = (struct job_reply){
        .index = index, .reboots = job->reboots, .offset = offset, .again = again
    };
    return 0;
}

void fl_job_repeat_replies(struct job *job)
{
    size_t n = job->n_replies;

    for (size_t i = 0; i < n; i++)
        if (job->replies[i].again && job->replies[i].reboots + 1 == job->reboots)
            fl_job_add_reply(job, job->replies[i].index, job->replies[i].offset, true);
}

size_t fl_job_unacked(const struct job *job)
{
    size_t n = 0;

    for (size_t i = 0; i < job->n_replies; i++)
        n += !job->replies[i].acked;
    return n;
}

/* Reads the record at `offset` of an open journal. */
static int read_record(struct fl_journal *j, uint64_t offset, struct fl_arena *arena,
                       struct fl_journal_record *ret)
{
    int r;

    j->end = offset;
    r = fl_journal_read(j, arena, ret);
    return r < 0 ? r : r == 0 ? -EBADMSG : 0;
}

static int read_step(struct fl_journal *j, uint64_t offset, struct fl_arena *arena,
                     const struct fl_jrec_step_done **ret)
{
    struct fl_journal_record rec;
    int r = read_record(j, offset, arena, &rec);

    if (r == 0 && rec.type != FL_JREC_STEP_DONE)
        r = -EBADMSG;
    if (r == 0)
        *ret = rec.in;
    return r;
}

/* The last reply of a run: at the document's end, or before a reboot. */
static int build_final(struct job *job, struct fl_journal *j, const struct job_reply *final,
                       struct fl_arena *arena, struct fl_buf *out)
{
    const struct fl_reply_agent *agent = &job->jobs->agent;
    const struct fl_jrec_step_done *only = NULL;
    char reboot_status[] = "SuccessAndReboot";
    struct fl_jrec_doc_done doc;
    struct fl_journal_record rec;
    int r = read_record(j, final->offset, arena, &rec);

    if (r < 0)
        return r;
    if (rec.type == FL_JREC_DOC_DONE) {
        doc = *(const struct fl_jrec_doc_done *)rec.in;
    } else if (rec.type == FL_JREC_REBOOT) {
        const struct fl_jrec_reboot *reboot = rec.in;

        doc = (struct fl_jrec_doc_done){ .status = reboot_status,
                                         .counts = reboot->counts,
                                         .n_results = reboot->n_results };
    } else {
        return -EBADMSG;
    }
    for (size_t i = 0; r == 0 && doc.n_results == 1 && i < job->n_replies; i++)
        if (job->replies[i].index != FL_REPLY_FINAL && job->replies[i].reboots == final->reboots)
            r = read_step(j, job->replies[i].offset, arena, &only);
    return r < 0 ? r : fl_reply_final(agent, &doc, only, fl_now_ms(), out);
}

static int open_file(const struct job *job, const char *name, struct fl_journal *ret)
{
    fl_autofree char *path = fl_path_join(job->jobs->jobs_dir, job->command_id);
    fl_autofd int dir_fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    return dir_fd < 0 ? -errno : fl_jobdir_open(dir_fd, name, ret, NULL);
}

static int build(struct job *job, const struct job_reply *reply, struct fl_buf *out)
{
    const struct fl_reply_agent *agent = &job->jobs->agent;
    struct fl_journal j fl_autojournal = { .fd = -1 };
    fl_autoarena struct fl_arena arena = FL_ARENA(RECORD_MAX_BYTES);
    const struct fl_jrec_step_done *step;
    int r;
    if (job->failure && reply == &job->replies[job->n_replies - 1])
        return fl_reply_bare(agent, "Failed", job->failure, fl_now_ms(), out);
    r = open_file(job, "journal", &j);
    if (r < 0)
        return r;
    if (reply->index == FL_REPLY_FINAL)
        return build_final(job, &j, reply, &arena, out);
    r = read_step(&j, reply->offset, &arena, &step);
    return r < 0 ? r : fl_reply_step(agent, step, fl_now_ms(), out);
}

/* 0 if it was sent (or can never be), else net does not take it now. */
static int send_reply(struct job *job, struct job_reply *reply)
{
    fl_autobuf struct fl_buf content = FL_BUF(REPLY_BUF_BYTES);
    char id[FL_UUID_BYTES], topic[] = FL_TOPIC_SEND;
    int r;
    r = build(job, reply, &content);
    if (r < 0) {
        fl_log_error("reply cannot be built", FL_S("command", job->command_id),
                     FL_I("step", reply->index), FL_S("error", strerror(-r)));
        reply->sent_ms = fl_mono_ms();
        return 0;
    }
    fl_job_reply_id(job->nonce, reply->reboots, reply->index, id);
    r = job->jobs->conf.out.reply(job->jobs->conf.out.arg,
                                  &(struct fl_net_job_reply){ .job_id = job->job_id,
                                                              .topic = topic,
                                                              .message_id = id,
                                                              .content = content.data,
                                                              .expect_ack = true });
    if (r == 0)
        reply->sent_ms = fl_mono_ms();
    return r;
}

struct pump {
    int64_t now_ms;
    size_t in_flight;
    int64_t due_ms;  /* earliest moment something is to be done; INT64_MAX: never */
    int64_t free_ms; /* earliest moment a place in the window becomes free */
};

static void look_at(struct pump *p, struct job_reply *reply)
{
    int64_t age = p->now_ms - reply->sent_ms;

    if (reply->acked || reply->sent_ms == 0)
        return;
    if (age >= RESEND_MS) {
        reply->sent_ms = 0;
        return;
    }
    p->due_ms = FL_MIN(p->due_ms, reply->sent_ms + RESEND_MS);
    if (age < IN_FLIGHT_MS) {
        p->in_flight++;
        p->free_ms = FL_MIN(p->free_ms, reply->sent_ms + IN_FLIGHT_MS);
    }
}

/* Sends the job's waiting replies; false when no more can be sent now. */
static bool send_waiting(struct job *job, struct pump *p)
{
    for (size_t i = 0; i < job->n_replies; i++) {
        struct job_reply *reply = &job->replies[i];

        if (reply->acked || reply->sent_ms != 0)
            continue;
        if (p->in_flight >= WINDOW) {
            p->due_ms = FL_MIN(p->due_ms, p->free_ms);
            return false;
        }
        if (send_reply(job, reply) < 0) {
            p->due_ms = FL_MIN(p->due_ms, p->now_ms + RETRY_MS);
            return false;
        }
        p->in_flight++;
        p->due_ms = FL_MIN(p->due_ms, reply->sent_ms + RESEND_MS);
        p->free_ms = FL_MIN(p->free_ms, reply->sent_ms + IN_FLIGHT_MS);
    }
    return true;
}

/* The age is the wall clock's, which may have jumped: nothing is given up that did not have its
 * chance on a channel that was open all the while. */
static void give_up_old(struct fl_jobs *jobs)
{
    struct job *job, *next;

    if (!jobs->online || fl_mono_ms() - jobs->online_ms < LAST_CHANCE_MS)
        return;
    for (job = TAILQ_FIRST(&jobs->list); job; job = next) {
        next = TAILQ_NEXT(job, entry);
        if (job->state != JOB_ENDED || job->accepted_ms + FL_JOBS_KEEP_MS > fl_now_ms())
            continue;
        fl_log_warn("replies given up: not acknowledged for seven days",
                    FL_S("command", job->command_id),
                    FL_I("replies", (int64_t)fl_job_unacked(job)));
        fl_job_retire(job);
    }
}

void fl_jobs_pump(struct fl_jobs *jobs)
{
    struct pump p = { .now_ms = fl_mono_ms(), .due_ms = INT64_MAX, .free_ms = INT64_MAX };
    struct job *job;

    if (!jobs->online) {
        fl_timer_stop(jobs->reply_timer);
        return;
    }
    TAILQ_FOREACH (job, &jobs->list, entry)
        for (size_t i = 0; i < job->n_replies; i++)
            look_at(&p, &job->replies[i]);
    TAILQ_FOREACH (job, &jobs->list, entry)
        if (!send_waiting(job, &p))
            break;
    if (p.due_ms == INT64_MAX)
        fl_timer_stop(jobs->reply_timer);
    else
        fl_timer_start(jobs->reply_timer, (uint64_t)FL_MAX(p.due_ms - p.now_ms, (int64_t)0) + 1);
}

void fl_jobs_on_reply_timer(void *arg)
{
    struct fl_jobs *jobs = arg;

    give_up_old(jobs);
    fl_jobs_pump(jobs);
}

void fl_jobs_online(struct fl_jobs *jobs, bool online)
{
    struct job *job;

    /* A new channel knows nothing of what the old one was given. */
    TAILQ_FOREACH (job, &jobs->list, entry)
        for (size_t i = 0; i < job->n_replies; i++)
            job->replies[i].sent_ms = 0;
    jobs->online = online;
    jobs->online_ms = fl_mono_ms();
    fl_jobs_pump(jobs);
}

/* A record in the job's `acks`. */
int fl_job_note(struct job *job, uint16_t type, const void *record, bool sync)
{
    struct fl_journal acks fl_autojournal = { .fd = -1 };
    int r = open_file(job, "acks", &acks);

    if (r == 0) {
        acks.end = job->acks_end;
        r = fl_journal_append(&acks, type, record, NULL);
    }
    if (r == 0 && sync)
        r = fl_journal_commit(&acks, NULL);
    if (r == 0)
        job->acks_end = acks.end;
    else
        fl_log_warn("job note not kept", FL_S("command", job->command_id),
                    FL_S("error", strerror(-r)));
    return r;
}

static struct job_reply *find_reply(struct fl_jobs *jobs, const char *message_id,
                                    struct job **ret_job)
{
    char id[FL_UUID_BYTES];
    struct job *job;

    TAILQ_FOREACH (job, &jobs->list, entry)
        for (size_t i = 0; i < job->n_replies; i++) {
            if (job->replies[i].acked)
                continue;
            fl_job_reply_id(job->nonce, job->replies[i].reboots, job->replies[i].index, id);
            if (strcasecmp(id, message_id) == 0) {
                *ret_job = job;
                return &job->replies[i];
            }
        }
    return NULL;
}

void fl_jobs_acked(struct fl_jobs *jobs, const char *message_id)
{
    struct job *job;
    struct job_reply *reply = message_id ? find_reply(jobs, message_id, &job) : NULL;

    if (!reply)
        return; /* of a status reply, a duplicate, or a stranger's */
    reply->acked = true;
    if (job->state == JOB_ENDED && fl_job_unacked(job) == 0) {
        fl_job_close(job);
    } else {
        char id[FL_UUID_BYTES];

        /* Without sync: lost in a power cut, the reply is sent once more under the same id. */
        fl_job_reply_id(job->nonce, reply->reboots, reply->index, id);
        fl_job_note(job, FL_JREC_ACKED, &(struct fl_jrec_acked){ .message_id = id }, false);
    }
    fl_jobs_pump(jobs);
}
