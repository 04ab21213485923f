/* control_reports.c - what nodes say about jobs: to the store first, then acknowledged.
 *
 * Source: protocol 2 §3.3-§3.5.
 */
#include "server/channel/control_priv.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "common/wire/control.h"
#include "server/command/job.h"

#include <errno.h>
#include <string.h>

#define REPORT_ARENA_BYTES (4 * 1024 * 1024)
#define ACK_ARENA_BYTES    (64 * 1024)

enum kind {
    KIND_CONNECTED,
    KIND_ACK,
    KIND_REPLY,
};

static const char *const kind_names[] = { "node connected", "ack", "reply" };

struct fl_ctl_report {
    struct fl_ctl_report *next;
    enum kind kind;
    struct fl_control *ctl;
    char node_id[32];
    uint64_t gen;
    size_t bytes;
    struct fl_arena arena;
    char *job_id;
    /* an ack */
    char *code;
    char command_id[FL_UUID_BYTES];
    /* a reply */
    struct fl_reply reply;
    uint8_t message_id[16];
};

static struct fl_ctl_report *report_free(struct fl_ctl_report *p)
{
    p->ctl->waiting_bytes -= p->bytes;
    fl_arena_done(&p->arena);
    free(p);
    return NULL;
}

/* NULL when too much waits for the store: the agent says it again. */
static struct fl_ctl_report *report_new(struct fl_ctl_channel *ch, size_t bytes, size_t arena_bytes)
{
    struct fl_ctl_report *p;

    if (ch->ctl->waiting_bytes + bytes > FL_CTL_MAX_WAITING)
        return NULL;
    p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->ctl = ch->ctl;
    memcpy(p->node_id, ch->node_id, sizeof(p->node_id));
    p->gen = ch->gen;
    p->bytes = bytes;
    p->ctl->waiting_bytes += bytes;
    fl_arena_init(&p->arena, arena_bytes);
    return p;
}

/* ---- to the store ---- */
static int report_run(struct fl_engine *e, void *arg, struct fl_err *err)
{
    struct fl_ctl_report *p = arg;

    switch (p->kind) {
    case KIND_CONNECTED:
        return fl_engine_connected(e, p->node_id, err);
    case KIND_ACK:
        return fl_engine_ack(e, p->node_id, p->job_id, p->code, err);
    case KIND_REPLY:
        return fl_engine_reply(e, p->node_id, &p->reply, err);
    }
    return -EINVAL;
}

static void send_reply_ack(struct fl_ctl_channel *ch, const char *job_id, const uint8_t id[16])
{
    char text[FL_UUID_BYTES];
    struct fl_msg_job_reply_ack ack = { .job_id = (char *)job_id, .acked_message_id = text };
    fl_autobuf struct fl_buf payload = FL_BUF(8192);

    fl_uuid_format(id, text);
    if (fl_json_encode(&fl_shape_job_reply_ack, &ack, &payload) == 0)
        fl_ctl_send(ch, FL_MSG_AGENT_JOB_REPLY_ACK, payload.data, payload.len, NULL);
}

static bool is_start_report(const struct fl_reply *reply)
{
    return reply->bare && reply->event == FL_EV_DELIVERED;
}

/* The start report and the failure that follows an ack 51408 are fire-and-forget: an ack would
 * only be warned of. A failure with words is our agents', who wait for it. */
static bool wants_ack(const struct fl_reply *reply)
{
    return !is_start_report(reply) &&
           !(reply->bare && reply->event == FL_EV_FAILED && !*reply->trace);
}

static void ack_stored(struct fl_ctl_channel *ch, const struct fl_ctl_report *p, int r)
{
    struct fl_ctl_job *job = fl_ctl_job_by_command(ch, p->command_id);

    if (r < 0) {
        if (job)
            job->acked = false; /* sent again; the agent then says that it has it */
        return;
    }
    if (fl_ack_event(p->code, 0) == FL_EV_DELIVERED)
        fl_ctl_set_recent(ch, p->command_id);
    if (job)
        fl_ctl_job_done(ch, job);
}

static void woken(struct fl_ctl_channel *ch, int r, bool again)
{
    if (r < 0)
        fl_ctl_drop(ch, 1013); /* nothing else would wake its jobs: let it come again */
    else if (again)
        fl_ctl_on_connected(ch);
}

static void put_behind(struct fl_ctl_report *p)
{
    p->next = NULL;
    *p->ctl->waiting_tail = p;
    p->ctl->waiting_tail = &p->next;
    fl_ctl_arm(p->ctl);
}

static void report_done(void *arg, int r, bool again)
{
    struct fl_ctl_report *p = arg;
    struct fl_control *ctl = p->ctl;
    struct fl_ctl_channel *ch = ctl->stopped ? NULL : fl_ctl_find(ctl, p->node_id, p->gen);

    if (ch && fl_store_trouble(r)) {
        put_behind(p); /* it is told again in a second; agents would repeat it after minutes */
        fl_ctl_unref(ctl);
        return;
    }
    if (r == 0 && p->kind != KIND_CONNECTED)
        fl_metrics_count(ctl->plane->metrics,
                         p->kind == KIND_ACK ? FL_CTR_JOB_ACKS : FL_CTR_JOB_REPLIES);
    if (ch && p->kind == KIND_CONNECTED)
        woken(ch, r, again);
    else if (ch && p->kind == KIND_ACK)
        ack_stored(ch, p, r);
    else if (ch && r == 0 && wants_ack(&p->reply))
        send_reply_ack(ch, p->job_id, p->message_id);
    report_free(p);
    if (!ctl->stopped && ctl->waiting)
        fl_ctl_submit_waiting(ctl);
    fl_ctl_unref(ctl);
}

/* 0, or -EAGAIN when the store has no room now. */
static int submit(struct fl_ctl_report *p)
{
    int r;

    fl_ctl_ref(p->ctl);
    r = fl_engine_submit(p->ctl->plane, p->ctl->loop, kind_names[p->kind], report_run, report_done,
                         p);
    if (r < 0)
        fl_ctl_unref(p->ctl);
    return r;
}

bool fl_ctl_submit_waiting(struct fl_control *ctl)
{
    while (ctl->waiting) {
        struct fl_ctl_report *p = ctl->waiting;
        struct fl_ctl_report *next = p->next;

        if (submit(p) < 0)
            return true;
        ctl->waiting = next;
        if (!next)
            ctl->waiting_tail = &ctl->waiting;
    }
    return false;
}

void fl_ctl_free_waiting(struct fl_control *ctl)
{
    while (ctl->waiting) {
        struct fl_ctl_report *p = ctl->waiting;

        ctl->waiting = p->next;
        report_free(p);
    }
    ctl->waiting_tail = &ctl->waiting;
}

/* In the order they came: behind those that already wait. */
static void hand_over(struct fl_ctl_report *p)
{
    struct fl_control *ctl = p->ctl;

    if (ctl->waiting || submit(p) < 0)
        put_behind(p);
}

void fl_ctl_on_connected(struct fl_ctl_channel *ch)
{
    struct fl_ctl_report *p = report_new(ch, 0, ACK_ARENA_BYTES);

    if (p) /* kind: KIND_CONNECTED; through the writer, behind whatever still thought it was away */
        hand_over(p);
    else
        fl_ctl_drop(ch, 1013);
}

/* ---- from the wire ---- */
static void bad_frame(struct fl_ctl_channel *ch)
{
    fl_metrics_count(ch->ctl->plane->metrics, FL_CTR_BAD_FRAMES);
}

void fl_ctl_on_ack(struct fl_ctl_channel *ch, const struct fl_frame *frame)
{
    struct fl_ctl_report *p = report_new(ch, frame->payload_len, ACK_ARENA_BYTES);
    struct fl_ctl_job *job = NULL;
    struct fl_msg_job_ack in;
    uint8_t id[16];

    if (!p)
        return;
    if (fl_json_decode(&fl_shape_job_ack, frame->payload, frame->payload_len,
                       FL_DECODE_NOCASE | FL_DECODE_LAX, &p->arena, &in, NULL) < 0) {
        bad_frame(ch);
        report_free(p);
        return;
    }
    if (in.job_id && *in.job_id) {
        if (fl_job_command_id(in.job_id, p->command_id, sizeof(p->command_id)) == 0)
            job = fl_ctl_job_by_command(ch, p->command_id);
    } else if (in.acked_message_id && fl_uuid_parse(in.acked_message_id, id) == 0) {
        /* the agent could not read the job: its ack has no id but the frame's */
        job = fl_ctl_job_by_message(ch, id);
        if (job)
            memcpy(p->command_id, job->command_id, sizeof(p->command_id));
    }
    if (!*p->command_id) {
        report_free(p);
        return;
    }
    p->kind = KIND_ACK;
    p->job_id = fl_arena_printf(&p->arena, "aws.ssm.%s.%s", p->command_id, ch->node_id);
    p->code = in.status_code;
    if (!p->job_id) {
        report_free(p);
        return;
    }
    if (job)
        job->acked = true;
    hand_over(p);
}

/* The plane knows already that the job was taken: nothing to store. */
static bool says_nothing_new(struct fl_ctl_channel *ch, const struct fl_reply *reply)
{
    char id[FL_UUID_BYTES];
    const struct fl_ctl_job *job;

    if (!is_start_report(reply) || fl_job_command_id(reply->job_id, id, sizeof(id)) < 0)
        return false;
    job = fl_ctl_job_by_command(ch, id);
    return reply->cancel || (job && job->acked) || fl_ctl_is_recent(ch, id);
}

void fl_ctl_on_reply(struct fl_ctl_channel *ch, const struct fl_frame *frame)
{
    struct fl_ctl_report *p = report_new(ch, frame->payload_len, REPORT_ARENA_BYTES);
    struct fl_err err = { 0 };
    int r;

    if (!p)
        return;
    memcpy(p->message_id, frame->message_id, sizeof(p->message_id));
    r = fl_reply_decode(frame->payload, frame->payload_len, &p->arena, &p->reply, &err);
    if (r < 0) {
        bad_frame(ch);
        fl_log_warn("reply of a node is unreadable", FL_S("node", ch->node_id),
                    FL_S("error", fl_err_text(&err)));
        if (r != -ENOMEM) /* it would come again for two hours and be no better */
            send_reply_ack(ch, "", p->message_id);
        report_free(p);
        return;
    }
    p->kind = KIND_REPLY;
    p->job_id = p->reply.job_id;
    if (says_nothing_new(ch, &p->reply))
        report_free(p);
    else
        hand_over(p);
}
