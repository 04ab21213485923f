/* dispatch.c - see dispatch.h. */
#include "agent/net/dispatch.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/text.h"
#include "common/base/clock.h"
#include "common/wire/datachannel.h"

#define MAX_COMMAND_ID    100
#define MAX_JOB_ID        200
#define MAX_REPLY_BYTES   65536
#define AUDITS_PER_WINDOW 20
#define AUDIT_WINDOW_MS   60000

static void audit(struct fl_dispatch *d, const char *event, const char *subject, const char *detail)
{
    int64_t now = fl_mono_ms();

    if (now - d->audit_window_ms >= AUDIT_WINDOW_MS) {
        d->audit_window_ms = now;
        d->audits = 0;
    }
    if (d->audits >= AUDITS_PER_WINDOW) {
        d->audits_dropped++;
        return;
    }
    d->audits++;
    d->out->audit(d->arg, event, subject, detail);
}

static void send_json(struct fl_dispatch *d, const char *type, const struct fl_shape *shape,
                      const void *in)
{
    fl_autobuf struct fl_buf text = FL_BUF(MAX_REPLY_BYTES);

    if (fl_json_encode(shape, in, &text) == 0)
        d->out->send(d->arg, type, text.data, text.len);
}

void fl_dispatch_ack(struct fl_dispatch *d, const struct fl_net_job_ack *ack)
{
    char created[FL_ISO_BYTES];

    fl_time_iso(ack->created_ms, false, created);
    send_json(d, FL_MSG_AGENT_JOB_ACK, &fl_shape_job_ack,
              &(struct fl_msg_job_ack){ .job_id = ack->job_id,
                                        .acked_message_id = ack->message_id,
                                        .created_date = created,
                                        .status_code = ack->status_code,
                                        .error_message = fl_text(fl_ack_text(ack->status_code)) });
}

/* ---- agent_job ---- */

struct incoming {
    const struct fl_frame *frame;
    char message_id[FL_UUID_BYTES];
    struct fl_arena *arena;
};

/* The Failed reply that follows an ack 51408, fire and forget (protocol 2 §3.3, §3.5). */
static void send_failed(struct fl_dispatch *d, const char *job_id, const char *topic)
{
    fl_autobuf struct fl_buf inner = FL_BUF(MAX_REPLY_BYTES);
    char now[FL_ISO_BYTES];
    struct fl_msg_agent_info agent = { .lang = fl_text("en-US"),
                                       .name = fl_text("amazon-ssm-agent"),
                                       .os = fl_text(""),
                                       .osver = fl_text("1"),
                                       .ver = fl_text(d->agent_version) };
    struct fl_msg_additional_info info = { .agent = &agent,
                                           .date_time = now,
                                           .run_id = fl_text("") };
    const struct fl_msg_result result = { .info = &info,
                                          .document_status = fl_text("Failed"),
                                          .trace_output = fl_text("") };

    fl_time_iso(fl_now_ms(), false, now);
    if (fl_json_encode(&fl_shape_result, &result, &inner) < 0)
        return;
    send_json(d, FL_MSG_AGENT_JOB_REPLY, &fl_shape_job_reply,
              &(struct fl_msg_job_reply){ .schema_version = 1,
                                          .job_id = fl_text(job_id),
                                          .content = inner.data,
                                          .topic = fl_text(topic) });
}

static void refuse(struct fl_dispatch *d, const struct incoming *m, const char *job_id,
                   const char *code, const char *why)
{
    audit(d, "job-refused", job_id, why);
    fl_dispatch_ack(d, &(struct fl_net_job_ack){ .job_id = fl_text(job_id),
                                                 .message_id = fl_text(m->message_id),
                                                 .created_ms = (int64_t)m->frame->created_ms,
                                                 .status_code = fl_text(code) });
}

static bool id_ok(const char *s, size_t max)
{
    size_t len = strlen(s);

    return len > 0 && len <= max && s[0] != '.' &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static bool has_prefix(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Fills what only the content tells. */
static int read_content(const struct incoming *m, const struct fl_msg_job *in,
                        struct fl_net_job *job, struct fl_err *err)
{
    struct fl_msg_cancel_content cancel;
    struct fl_msg_send_content send;
    int r;

    if (job->cancel) {
        r = fl_json_decode(&fl_shape_cancel_content, in->content, strlen(in->content),
                           FL_DECODE_NOCASE, m->arena, &cancel, err);
        if (r == 0 && (!cancel.cancel_message_id || strlen(cancel.cancel_message_id) > MAX_JOB_ID))
            r = fl_err_set(err, -EINVAL, NULL, "CancelMessageId: missing or too long");
        if (r == 0)
            job->cancel_job_id = cancel.cancel_message_id;
        return r;
    }
    r = fl_json_decode(&fl_shape_send_content, in->content, strlen(in->content), FL_DECODE_NOCASE,
                       m->arena, &send, err);
    if (r == 0 && (!send.document_content.text || send.document_content.text[0] != '{'))
        r = fl_err_set(err, -EINVAL, NULL, "DocumentContent: missing or not an object");
    if (r == 0)
        job->document_name = send.document_name ? send.document_name : fl_text("");
    return r;
}

static void on_job(struct fl_dispatch *d, const struct incoming *m)
{
    char command_id[MAX_COMMAND_ID + 1];
    struct fl_err err = { 0 };
    struct fl_msg_job in;
    struct fl_net_job job = { .message_id = fl_text(m->message_id),
                              .created_ms = (int64_t)m->frame->created_ms,
                              .command_id = command_id };
    int r;

    r = fl_json_decode(&fl_shape_job, m->frame->payload, m->frame->payload_len,
                       FL_DECODE_NOCASE | FL_DECODE_LAX, m->arena, &in, &err);
    if (r < 0) {
        refuse(d, m, "", FL_ACK_PARSE_ERROR, fl_err_text(&err));
        return;
    }
    if (!in.job_id || !*in.job_id || strlen(in.job_id) > MAX_JOB_ID) {
        refuse(d, m, "", FL_ACK_INVALID, "JobId: missing or too long");
        return;
    }
    job.job_id = in.job_id;
    job.content = in.content;
    job.cancel = has_prefix(in.topic, FL_TOPIC_CANCEL);
    if (!job.cancel && !has_prefix(in.topic, FL_TOPIC_SEND))
        r = fl_err_set(&err, -EINVAL, NULL, "Topic: unknown");
    else if (in.schema_version > 1)
        r = fl_err_set(&err, -EINVAL, NULL, "SchemaVersion: %d is unknown", in.schema_version);
    else if (!in.content)
        r = fl_err_set(&err, -EINVAL, NULL, "Content: missing");
    else if (fl_job_command_id(in.job_id, command_id, sizeof(command_id)) < 0 ||
             !id_ok(command_id, MAX_COMMAND_ID))
        r = fl_err_set(&err, -EINVAL, NULL, "JobId: unusable command id");
    else
        r = read_content(m, &in, &job, &err);
    if (r < 0) {
        refuse(d, m, in.job_id, FL_ACK_PARSE_ERROR, fl_err_text(&err));
        send_failed(d, in.job_id, job.cancel ? FL_TOPIC_CANCEL : FL_TOPIC_SEND);
        return;
    }
    if (d->out->job(d->arg, &job) < 0)
        refuse(d, m, in.job_id, FL_ACK_BUFFER_FULL, "the monitor cannot take more");
}

/* ---- the others ---- */

static void on_reply_ack(struct fl_dispatch *d, const struct incoming *m)
{
    struct fl_msg_job_reply_ack in;

    if (fl_json_decode(&fl_shape_job_reply_ack, m->frame->payload, m->frame->payload_len,
                       FL_DECODE_NOCASE | FL_DECODE_LAX, m->arena, &in, NULL) < 0 ||
        !fl_uuid_valid(in.acked_message_id)) {
        audit(d, "message-refused", FL_MSG_AGENT_JOB_REPLY_ACK, "malformed");
        return;
    }
    d->out->acked(d->arg, in.acked_message_id);
}

static bool decode(const struct incoming *m, const struct fl_shape *shape, void *out)
{
    return fl_json_decode(shape, m->frame->payload, m->frame->payload_len,
                          FL_DECODE_NOCASE | FL_DECODE_LAX, m->arena, out, NULL) == 0;
}

/* No ack: what becomes of it shows in its data channel, or in agent_task_complete. */
static void on_session(struct fl_dispatch *d, const struct incoming *m)
{
    struct fl_msg_session_content session = { 0 };
    struct fl_msg_task in;

    if (!decode(m, &fl_shape_task, &in) || !in.content ||
        fl_json_decode(&fl_shape_session_content, in.content, strlen(in.content), FL_DECODE_NOCASE,
                       m->arena, &session, NULL) < 0 ||
        !fl_session_id_valid(session.session_id)) {
        audit(d, "message-refused", FL_MSG_INTERACTIVE_SHELL, "malformed");
        return;
    }
    if (d->out->session(d->arg, &(struct fl_net_session){ .session_id = session.session_id,
                                                          .document_name = session.document_name,
                                                          .owner = session.session_owner,
                                                          .content = in.content }) < 0)
        audit(d, "session-refused", session.session_id, "the monitor cannot take more");
}

static void on_channel_closed(struct fl_dispatch *d, const struct incoming *m)
{
    struct fl_msg_channel_closed in;

    if (decode(m, &fl_shape_channel_closed, &in) && in.session_id &&
        fl_session_id_valid(in.session_id))
        d->out->session_close(d->arg, in.session_id);
    else
        audit(d, "message-refused", FL_MSG_CHANNEL_CLOSED, "malformed");
}

static void on_task_ack(struct fl_dispatch *d, const struct incoming *m)
{
    struct fl_msg_task_ack in;

    if (decode(m, &fl_shape_task_ack, &in) && in.message_id && fl_uuid_valid(in.message_id))
        d->out->task_acked(d->arg, in.message_id);
    else
        audit(d, "message-refused", FL_MSG_AGENT_TASK_ACK, "malformed");
}

static void on_ignored(struct fl_dispatch *d, const struct incoming *m)
{
}

static const struct {
    const char *type;
    void (*handle)(struct fl_dispatch *d, const struct incoming *m);
} types[] = {
    { FL_MSG_AGENT_JOB, on_job },
    { FL_MSG_AGENT_JOB_REPLY_ACK, on_reply_ack },
    { FL_MSG_INTERACTIVE_SHELL, on_session },
    { FL_MSG_CHANNEL_CLOSED, on_channel_closed },
    { FL_MSG_AGENT_TASK_ACK, on_task_ack },
    { FL_MSG_CONTROL_CHANNEL_READY, on_ignored },
};

void fl_dispatch_message(struct fl_dispatch *d, const char *data, size_t len)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(8 * len + 65536);
    struct incoming m = { .arena = &arena };
    struct fl_err err = { 0 };
    struct fl_frame frame;

    if (fl_frame_decode(data, len, &frame, &err) < 0) {
        audit(d, "frame-refused", "control channel", fl_err_text(&err));
        return;
    }
    m.frame = &frame;
    fl_uuid_format(frame.message_id, m.message_id);
    for (size_t i = 0; i < FL_ARRAY_LEN(types); i++) {
        if (strcmp(types[i].type, frame.type) == 0) {
            types[i].handle(d, &m);
            return;
        }
    }
    audit(d, "message-refused", frame.type, "unknown type");
}
