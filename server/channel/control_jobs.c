/* control_jobs.c - reading a node's work from the store and sending it.
 *
 * The store is the truth: a job is sent as long as its invocation is released and not acknowledged,
 * so sending again is reading again. Source: protocol 2 §3.2, §3.3.
 */
#include "server/channel/control_priv.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/control.h"
#include "server/api/nodes.h"
#include "server/call.h"
#include "server/command/status.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FETCH_ARENA_BYTES (8 * 1024 * 1024) /* a window of jobs of 64 KiB and more */
#define JOB_MAX_BYTES     (1024 * 1024)

/* ---- what is on the wire ---- */
struct fl_ctl_job *fl_ctl_job_by_message(struct fl_ctl_channel *ch, const uint8_t id[16])
{
    for (unsigned i = 0; ch->jobs && i < FL_CTL_WINDOW; i++)
        if (ch->jobs[i].used && memcmp(ch->jobs[i].message_id, id, 16) == 0)
            return &ch->jobs[i];
    return NULL;
}

struct fl_ctl_job *fl_ctl_job_by_command(struct fl_ctl_channel *ch, const char *command_id)
{
    for (unsigned i = 0; ch->jobs && i < FL_CTL_WINDOW; i++)
        if (ch->jobs[i].used && strcmp(ch->jobs[i].command_id, command_id) == 0)
            return &ch->jobs[i];
    return NULL;
}

void fl_ctl_job_done(struct fl_ctl_channel *ch, struct fl_ctl_job *job)
{
    job->used = false;
    if (--ch->n_jobs == 0) {
        free(ch->jobs);
        ch->jobs = NULL;
    }
    if (ch->more)
        fl_ctl_fetch(ch, false);
}

static struct fl_ctl_job *new_job(struct fl_ctl_channel *ch)
{
    if (!ch->jobs)
        ch->jobs = calloc(FL_CTL_WINDOW, sizeof(*ch->jobs));
    for (unsigned i = 0; ch->jobs && i < FL_CTL_WINDOW; i++)
        if (!ch->jobs[i].used)
            return &ch->jobs[i];
    return NULL;
}

bool fl_ctl_is_recent(const struct fl_ctl_channel *ch, const char *command_id)
{
    uint8_t id[16];

    if (fl_uuid_parse(command_id, id) < 0)
        return false;
    for (unsigned i = 0; i < FL_CTL_RECENT; i++)
        if (memcmp(ch->recent[i], id, sizeof(id)) == 0)
            return true;
    return false;
}

void fl_ctl_set_recent(struct fl_ctl_channel *ch, const char *command_id)
{
    uint8_t id[16];

    if (fl_uuid_parse(command_id, id) < 0)
        return;
    memmove(ch->recent[0], ch->recent[1], sizeof(ch->recent) - sizeof(ch->recent[0]));
    memcpy(ch->recent[FL_CTL_RECENT - 1], id, sizeof(id));
}

bool fl_ctl_check_jobs(struct fl_ctl_channel *ch, int64_t mono_ms)
{
    bool overdue = false;

    for (unsigned i = 0; ch->jobs && i < FL_CTL_WINDOW; i++) {
        struct fl_ctl_job *job = &ch->jobs[i];

        if (!job->used || job->acked || mono_ms - job->sent_ms < FL_CTL_RESEND_MS)
            continue;
        job->used = false; /* forgotten here; the store says whether it still is to be sent */
        ch->n_jobs--;
        overdue = true;
    }
    if (ch->n_jobs == 0) {
        free(ch->jobs);
        ch->jobs = NULL;
    }
    if (overdue)
        fl_ctl_fetch(ch, false);
    return ch->n_jobs > 0 || overdue;
}

/* ---- reading ---- */
struct item {
    char *command_id;
    char *cancel_id; /* NULL: a send job */
    char *content;   /* NULL: is on the wire already */
};

struct fetch {
    struct fl_control *ctl;
    char node_id[32];
    uint64_t gen;
    bool opened;
    char busy[FL_CTL_WINDOW][37]; /* on the wire */
    unsigned n_busy;
    struct fl_arena arena;
    struct item items[2 * FL_CTL_WINDOW];
    unsigned n_items;
    bool more;
    bool gone;
};

static bool is_busy(const struct fetch *f, const char *command_id)
{
    for (unsigned i = 0; i < f->n_busy; i++)
        if (strcmp(f->busy[i], command_id) == 0)
            return true;
    return false;
}

static int read_cancels(struct fl_tx *tx, struct fetch *f)
{
    fl_autocursor struct fl_cursor *c = NULL;
    unsigned n = 0;
    int r = fl_sql_open(tx, FL_SQL_command_cancel_list, &c, NULL, FL_T(f->node_id),
                        FL_N(FL_CTL_WINDOW));

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        struct item *it = &f->items[f->n_items];

        n++;
        if (is_busy(f, fl_sql_text(c, 1)))
            continue;
        it->command_id = fl_arena_strdup(&f->arena, fl_sql_text(c, 0));
        it->cancel_id = fl_arena_strdup(&f->arena, fl_sql_text(c, 1));
        if (!it->command_id || !it->cancel_id)
            return -ENOMEM;
        f->n_items++;
    }
    f->more = f->more || n == FL_CTL_WINDOW;
    return r;
}

static int read_content(struct fl_tx *tx, struct fetch *f, struct item *it)
{
    fl_autocursor struct fl_cursor *c = NULL;
    int r = fl_sql_open(tx, FL_SQL_command_job_get, &c, NULL, FL_T(it->command_id));

    if (r >= 0)
        r = fl_sql_next(c, NULL);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    it->content = fl_arena_strdup(&f->arena, fl_sql_text(c, 0));
    return it->content ? 0 : -ENOMEM;
}

static int read_sends(struct fl_tx *tx, struct fetch *f)
{
    fl_autocursor struct fl_cursor *c = NULL;
    unsigned n = 0;
    int r = fl_sql_open(tx, FL_SQL_invocation_deliverable, &c, NULL, FL_T(f->node_id),
                        FL_N(FL_STAGE_RELEASED), FL_N(FL_CTL_WINDOW));

    while (r >= 0 && (r = fl_sql_next(c, NULL)) > 0) {
        struct item *it = &f->items[f->n_items];

        n++;
        if (is_busy(f, fl_sql_text(c, 0)))
            continue;
        it->command_id = fl_arena_strdup(&f->arena, fl_sql_text(c, 0));
        if (!it->command_id)
            return -ENOMEM;
        r = read_content(tx, f, it);
        if (r < 0)
            return r;
        f->n_items++;
    }
    f->more = f->more || n == FL_CTL_WINDOW;
    return r;
}

static int read_state(struct fl_tx *tx, struct fetch *f)
{
    struct fl_call call;
    int r;

    fl_call_init(&call, f->ctl->plane, &f->arena, NULL, "", fl_now_ms());
    call.tx = tx;
    r = fl_node_exists(&call, f->node_id, NULL);
    f->gone = r == 0;
    return FL_MIN(r, 0);
}

static int fetch_run(struct fl_tx *tx, void *arg)
{
    struct fetch *f = arg;
    int r = f->opened ? read_state(tx, f) : 0;

    if (r == 0)
        r = read_cancels(tx, f);
    return r == 0 ? read_sends(tx, f) : r;
}

/* ---- sending ---- */
static int build_job(const struct fetch *f, const struct item *it, struct fl_buf *out)
{
    fl_autobuf struct fl_buf content = FL_BUF(4096);
    char target[128], id[128];
    struct fl_msg_cancel_content cancel = { .cancel_message_id = target };
    char send_topic[] = FL_TOPIC_SEND, cancel_topic[] = FL_TOPIC_CANCEL;
    struct fl_msg_job job = { .content = it->content,
                              .job_id = id,
                              .topic = it->cancel_id ? cancel_topic : send_topic,
                              .schema_version = 1 };

    snprintf(target, sizeof(target), "aws.ssm.%s.%s", it->command_id, f->node_id);
    snprintf(id, sizeof(id), "aws.ssm.%s.%s", it->cancel_id ? it->cancel_id : it->command_id,
             f->node_id);
    if (it->cancel_id) {
        int r = fl_json_encode(&fl_shape_cancel_content, &cancel, &content);

        if (r < 0)
            return r;
        job.content = content.data;
    }
    return fl_json_encode(&fl_shape_job, &job, out);
}

static void send_item(struct fl_ctl_channel *ch, const struct fetch *f, const struct item *it)
{
    const char *own_id = it->cancel_id ? it->cancel_id : it->command_id;
    fl_autobuf struct fl_buf payload = FL_BUF(JOB_MAX_BYTES);
    struct fl_ctl_job *job;
    int r;

    if (fl_ctl_job_by_command(ch, own_id))
        return;
    job = new_job(ch);
    if (!job) {
        ch->more = true; /* the window is full; the next ack makes room */
        return;
    }
    r = build_job(f, it, &payload);
    if (r == 0)
        r = fl_ctl_send(ch, FL_MSG_AGENT_JOB, payload.data, payload.len, job->message_id);
    if (r < 0) {
        fl_log_warn("job not sent", FL_S("node", ch->node_id), FL_S("command", it->command_id),
                    FL_S("error", strerror(-r)));
        if (ch->n_jobs == 0) {
            free(ch->jobs);
            ch->jobs = NULL;
        }
        return; /* the engine finds that there is no ack and tries again */
    }
    snprintf(job->command_id, sizeof(job->command_id), "%s", own_id);
    job->sent_ms = fl_mono_ms();
    job->used = true;
    job->acked = false;
    ch->n_jobs++;
    fl_metrics_count(ch->ctl->plane->metrics, FL_CTR_JOBS_SENT);
    fl_ctl_arm(ch->ctl);
}

static void fetch_done(void *arg, int r)
{
    struct fetch *f = arg;
    struct fl_control *ctl = f->ctl;
    struct fl_ctl_channel *ch = ctl->stopped ? NULL : fl_ctl_find(ctl, f->node_id, f->gen);

    if (ch) {
        bool again = ch->fetch_again;

        ch->fetching = false;
        ch->fetch_again = false;
        if (r < 0 && f->opened) {
            fl_ctl_later(ch, r);
        } else if (r == 0 && f->gone) {
            fl_ctl_drop(ch, 1008);
        } else if (r == 0 && !ch->retiring) {
            ch->more = f->more;
            for (unsigned i = 0; i < f->n_items; i++)
                send_item(ch, f, &f->items[i]);
            if (again)
                fl_ctl_fetch(ch, false);
        }
    }
    fl_arena_done(&f->arena);
    free(f);
    fl_ctl_unref(ctl);
}

void fl_ctl_fetch(struct fl_ctl_channel *ch, bool opened)
{
    struct fl_control *ctl = ch->ctl;
    struct fetch *f;

    if (ch->retiring || ch->held)
        return; /* all of it is read when it is let go */
    if (ch->fetching) {
        ch->fetch_again = true;
        return;
    }
    f = calloc(1, sizeof(*f));
    if (!f)
        return; /* the engine finds that there is no ack */
    f->ctl = ctl;
    memcpy(f->node_id, ch->node_id, sizeof(f->node_id));
    f->gen = ch->gen;
    f->opened = opened;
    fl_arena_init(&f->arena, FETCH_ARENA_BYTES);
    for (unsigned i = 0; ch->jobs && i < FL_CTL_WINDOW; i++)
        if (ch->jobs[i].used)
            memcpy(f->busy[f->n_busy++], ch->jobs[i].command_id, sizeof(f->busy[0]));
    fl_ctl_ref(ctl);
    if (fl_store_submit(ctl->plane->store, FL_LANE_READ, fetch_run, fetch_done, f, ctl->loop) < 0) {
        fl_arena_done(&f->arena);
        free(f);
        fl_ctl_unref(ctl);
        if (opened)
            fl_ctl_drop(ch, 1013);
        return;
    }
    ch->fetching = true;
}
