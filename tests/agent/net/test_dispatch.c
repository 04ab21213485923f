#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/net/dispatch.h"
#include "common/wire/agentmessage.h"
#include "common/wire/control.h"

#define JOB_ID     "aws.ssm.11111111-2222-3333-4444-555555555555.mi-0123456789abcdef0"
#define MESSAGE_ID "00112233-4455-6677-8899-aabbccddeeff"
#define CREATED_MS 1700000000123

/* What came out. */
struct got {
    unsigned n_sent, n_jobs, n_acked, n_audits;
    unsigned n_sessions, n_closed, n_task_acked;
    char session_id[128], content[256];
    char sent_type[4][64];
    char sent[4][2048];
    char job_id[256], command_id[128], message_id[64], cancel_job_id[256], document[128];
    char acked[64], event[64];
    bool cancel;
    int64_t created_ms;
    int refuse; /* what the monitor answers */
};

static void out_send(void *arg, const char *type, const char *payload, size_t len)
{
    struct got *g = arg;

    assert_true(g->n_sent < FL_ARRAY_LEN(g->sent));
    snprintf(g->sent_type[g->n_sent], sizeof(g->sent_type[0]), "%s", type);
    snprintf(g->sent[g->n_sent++], sizeof(g->sent[0]), "%.*s", (int)len, payload);
}

static int out_job(void *arg, const struct fl_net_job *job)
{
    struct got *g = arg;

    g->n_jobs++;
    snprintf(g->job_id, sizeof(g->job_id), "%s", job->job_id);
    snprintf(g->command_id, sizeof(g->command_id), "%s", job->command_id);
    snprintf(g->message_id, sizeof(g->message_id), "%s", job->message_id);
    snprintf(g->cancel_job_id, sizeof(g->cancel_job_id), "%s",
             job->cancel_job_id ? job->cancel_job_id : "");
    snprintf(g->document, sizeof(g->document), "%s", job->document_name ? job->document_name : "");
    g->cancel = job->cancel;
    g->created_ms = job->created_ms;
    return g->refuse;
}

static void out_acked(void *arg, const char *message_id)
{
    struct got *g = arg;

    g->n_acked++;
    snprintf(g->acked, sizeof(g->acked), "%s", message_id);
}

static void out_audit(void *arg, const char *event, const char *subject, const char *detail)
{
    struct got *g = arg;

    g->n_audits++;
    snprintf(g->event, sizeof(g->event), "%s", event);
}

static int out_session(void *arg, const struct fl_net_session *session)
{
    struct got *g = arg;

    g->n_sessions++;
    snprintf(g->session_id, sizeof(g->session_id), "%s", session->session_id);
    snprintf(g->document, sizeof(g->document), "%s", session->document_name);
    snprintf(g->content, sizeof(g->content), "%s", session->content);
    return g->refuse;
}

static void out_session_close(void *arg, const char *session_id)
{
    struct got *g = arg;

    g->n_closed++;
    snprintf(g->session_id, sizeof(g->session_id), "%s", session_id);
}

static void out_task_acked(void *arg, const char *message_id)
{
    struct got *g = arg;

    g->n_task_acked++;
    snprintf(g->acked, sizeof(g->acked), "%s", message_id);
}

static const struct fl_dispatch_out out = {
    .send = out_send,
    .job = out_job,
    .acked = out_acked,
    .session = out_session,
    .session_close = out_session_close,
    .task_acked = out_task_acked,
    .audit = out_audit,
};

static void deliver_frame(struct fl_dispatch *d, const char *type, const char *payload)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    struct fl_frame f = { .schema_version = 1,
                          .created_ms = CREATED_MS,
                          .payload = payload,
                          .payload_len = strlen(payload) };

    snprintf(f.type, sizeof(f.type), "%s", type);
    assert_int_equal(fl_uuid_parse(MESSAGE_ID, f.message_id), 0);
    assert_int_equal(fl_frame_encode(&f, &b), 0);
    fl_dispatch_message(d, b.data, b.len);
}

static struct got deliver(const char *type, const char *payload, int refuse)
{
    struct got g = { .refuse = refuse };
    struct fl_dispatch d = {
        .node_id = "mi-0123456789abcdef0", .agent_version = "3.3.987.0", .out = &out, .arg = &g
    };

    deliver_frame(&d, type, payload);
    return g;
}

#define SEND_CONTENT                                                                       \
    "{\\\"Parameters\\\":{},\\\"DocumentContent\\\":{\\\"schemaVersion\\\":\\\"2.2\\\"},"  \
    "\\\"CommandId\\\":\\\"11111111-2222-3333-4444-555555555555\\\",\\\"DocumentName\\\":" \
    "\\\"Demo\\\"}"

#define JOB(content, id, topic, version)                                   \
    "{\"Content\":\"" content "\",\"JobId\":\"" id "\",\"Topic\":\"" topic \
    "\",\"SchemaVersion\":" version "}"

static void a_job_reaches_the_monitor(void **state)
{
    struct got g = deliver("agent_job", JOB(SEND_CONTENT, JOB_ID, "aws.ssm.sendCommand", "1"), 0);

    assert_int_equal(g.n_jobs, 1);
    assert_int_equal(g.n_sent, 0); /* the monitor acknowledges, when it is on disk */
    assert_string_equal(g.job_id, JOB_ID);
    assert_string_equal(g.command_id, "11111111-2222-3333-4444-555555555555");
    assert_string_equal(g.message_id, MESSAGE_ID);
    assert_string_equal(g.document, "Demo");
    assert_false(g.cancel);
    assert_int_equal(g.created_ms, CREATED_MS);

    g = deliver("agent_job",
                JOB("{\\\"CancelMessageId\\\":\\\"target\\\"}", JOB_ID,
                    "aws.ssm.cancelCommand.us.east.1", "1"),
                0);
    assert_int_equal(g.n_jobs, 1);
    assert_true(g.cancel);
    assert_string_equal(g.cancel_job_id, "target");
}

static void a_full_monitor_is_answered_for(void **state)
{
    struct got g =
        deliver("agent_job", JOB(SEND_CONTENT, JOB_ID, "aws.ssm.sendCommand", "1"), -ENOBUFS);

    assert_int_equal(g.n_sent, 1);
    assert_string_equal(g.sent[0],
                        "{\"jobId\":\"" JOB_ID "\",\"acknowledgedMessageId\":\"" MESSAGE_ID
                        "\",\"createdDate\":\"2023-11-14T22:13:20.123Z\",\"statusCode\":\"51402\","
                        "\"errorMessage\":\"ProcessorBufferFull\"}");
}

static void bad_jobs_are_refused(void **state)
{
    static const struct {
        const char *payload, *code;
        unsigned sent; /* with the Failed reply when the job can be named */
    } cases[] = {
        { "", "51408", 1 },
        { "not json", "51408", 1 },
        { "[]", "51408", 1 },
        { "{\"JobId\":5}", "51408", 1 },
        { "{}", "51406", 1 },
        { JOB(SEND_CONTENT, "", "aws.ssm.sendCommand", "1"), "51406", 1 },
        { JOB(SEND_CONTENT, JOB_ID, "aws.ssm.other", "1"), "51408", 2 },
        { JOB(SEND_CONTENT, JOB_ID, "", "1"), "51408", 2 },
        { JOB(SEND_CONTENT, JOB_ID, "aws.ssm.sendCommand", "2"), "51408", 2 },
        { JOB("", JOB_ID, "aws.ssm.sendCommand", "1"), "51408", 2 },
        { JOB("{", JOB_ID, "aws.ssm.sendCommand", "1"), "51408", 2 },
        { JOB("{}", JOB_ID, "aws.ssm.sendCommand", "1"), "51408", 2 },
        { JOB("{\\\"DocumentContent\\\":\\\"text\\\"}", JOB_ID, "aws.ssm.sendCommand", "1"),
          "51408", 2 },
        { JOB("{\\\"DocumentContent\\\":{},\\\"CloudWatchOutputEnabled\\\":true}", JOB_ID,
              "aws.ssm.sendCommand", "1"),
          "51408", 2 },
        { JOB("{}", JOB_ID, "aws.ssm.cancelCommand", "1"), "51408", 2 },
        { JOB(SEND_CONTENT, "aws.ssm.../../etc.mi-1", "aws.ssm.sendCommand", "1"), "51408", 2 },
        { JOB(SEND_CONTENT, "a/b", "aws.ssm.sendCommand", "1"), "51408", 2 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct got g = deliver("agent_job", cases[i].payload, 0);
        char want[64];

        print_message("%s\n", cases[i].payload);
        snprintf(want, sizeof(want), "\"statusCode\":\"%s\"", cases[i].code);
        assert_int_equal(g.n_jobs, 0);
        assert_int_equal(g.n_audits, 1);
        assert_int_equal(g.n_sent, cases[i].sent);
        assert_string_equal(g.sent_type[0], "agent_job_ack");
        assert_non_null(strstr(g.sent[0], want));
        assert_non_null(strstr(g.sent[0], "\"acknowledgedMessageId\":\"" MESSAGE_ID "\""));
        if (cases[i].sent == 2) {
            assert_string_equal(g.sent_type[1], "agent_job_reply");
            assert_non_null(strstr(g.sent[1], "\\\"documentStatus\\\":\\\"Failed\\\""));
        }
    }
}

static void acks_of_replies_are_passed_on(void **state)
{
    static const char *const bad[] = { "", "{}", "{\"acknowledgedMessageId\":\"x\"}", "[]" };
    struct got g = deliver("agent_job_reply_ack",
                           "{\"jobId\":\"j\",\"acknowledgedMessageId\":\"" MESSAGE_ID "\"}", 0);

    assert_int_equal(g.n_acked, 1);
    assert_string_equal(g.acked, MESSAGE_ID);
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        g = deliver("agent_job_reply_ack", bad[i], 0);
        assert_int_equal(g.n_acked, 0);
        assert_int_equal(g.n_audits, 1);
    }
}

#define SESSION(id)                                                                              \
    "{\"Content\":\"{\\\"SessionId\\\":\\\"" id "\\\",\\\"DocumentName\\\":\\\"Shell\\\","       \
    "\\\"DocumentContent\\\":{},\\\"SessionOwner\\\":\\\"arn\\\"}\",\"TaskId\":\"t\",\"Topic\":" \
    "\"t\","                                                                                     \
    "\"SchemaVersion\":1}"

static void a_session_reaches_the_monitor(void **state)
{
    struct got g = deliver("interactive_shell", SESSION("root-0abc"), 0);

    assert_int_equal(g.n_sessions, 1);
    assert_int_equal(g.n_sent + g.n_audits, 0); /* it is not acknowledged (protocol 3 §3) */
    assert_string_equal(g.session_id, "root-0abc");
    assert_string_equal(g.document, "Shell");
    assert_string_equal(g.content, "{\"SessionId\":\"root-0abc\",\"DocumentName\":\"Shell\","
                                   "\"DocumentContent\":{},\"SessionOwner\":\"arn\"}");
    g = deliver("interactive_shell", SESSION("root-0abc"), -ENOBUFS);
    assert_string_equal(g.event, "session-refused");
}

static void bad_sessions_are_refused(void **state)
{
    static const char *const bad[] = { "{}",
                                       "x",
                                       "{\"Content\":\"{}\"}",
                                       "{\"Content\":\"[]\"}",
                                       SESSION(""),
                                       SESSION("../x"),
                                       SESSION("a/b"),
                                       SESSION(".a"),
                                       SESSION("a b") };

    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct got g = deliver("interactive_shell", bad[i], 0);

        assert_int_equal(g.n_sessions + g.n_sent, 0);
        assert_string_equal(g.event, "message-refused");
    }
}

static void ends_of_sessions_are_passed_on(void **state)
{
    struct got g = deliver("channel_closed", "{\"sessionid\":\"root-0abc\",\"Output\":\"x\"}", 0);

    assert_int_equal(g.n_closed, 1);
    assert_string_equal(g.session_id, "root-0abc");
    g = deliver("channel_closed", "{\"SessionId\":\"../x\"}", 0);
    assert_int_equal(g.n_closed, 0);
    assert_string_equal(g.event, "message-refused");

    g = deliver("agent_task_acknowledge",
                "{\"SchemaVersion\":1,\"MessageId\":\"" MESSAGE_ID "\",\"TaskId\":\"x\"}", 0);
    assert_int_equal(g.n_task_acked, 1);
    assert_string_equal(g.acked, MESSAGE_ID);
    g = deliver("agent_task_acknowledge", "{\"MessageId\":\"x\"}", 0);
    assert_int_equal(g.n_task_acked, 0);
    assert_string_equal(g.event, "message-refused");
}

static void the_rest_is_ignored_or_audited(void **state)
{
    struct got g = deliver("control_channel_ready", "{}", 0);

    assert_int_equal(g.n_sent + g.n_jobs + g.n_acked + g.n_audits, 0);
    g = deliver("agent_unheard_of", "{}", 0);
    assert_int_equal(g.n_sent + g.n_jobs + g.n_acked, 0);
    assert_string_equal(g.event, "message-refused");
}

static void bad_frames_are_audited_within_bounds(void **state)
{
    struct got g = { 0 };
    struct fl_dispatch d = { .node_id = "mi-1", .agent_version = "1", .out = &out, .arg = &g };
    char zeros[FL_FRAME_HEADER_BYTES] = { 0 };

    for (size_t len = 0; len <= sizeof(zeros); len++)
        fl_dispatch_message(&d, zeros, len);
    assert_true(g.n_audits > 0 && g.n_audits <= 20);
    assert_true(d.audits_dropped > 0);
    assert_string_equal(g.event, "frame-refused");
    /* What is right still passes. */
    deliver_frame(&d, "agent_job", JOB(SEND_CONTENT, JOB_ID, "aws.ssm.sendCommand", "1"));
    assert_int_equal(g.n_jobs, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_reaches_the_monitor),
        cmocka_unit_test(a_full_monitor_is_answered_for),
        cmocka_unit_test(bad_jobs_are_refused),
        cmocka_unit_test(acks_of_replies_are_passed_on),
        cmocka_unit_test(a_session_reaches_the_monitor),
        cmocka_unit_test(bad_sessions_are_refused),
        cmocka_unit_test(ends_of_sessions_are_passed_on),
        cmocka_unit_test(the_rest_is_ignored_or_audited),
        cmocka_unit_test(bad_frames_are_audited_within_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
