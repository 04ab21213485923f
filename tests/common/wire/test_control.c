#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "common/wire/control.h"

static struct fl_arena arena;

static int setup(void **state)
{
    fl_arena_init(&arena, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    fl_arena_done(&arena);
    return 0;
}

/* Each is as the official agent writes it (protocol 2): decoding and encoding gives the same bytes.
 */
static const struct {
    const struct fl_shape *shape;
    const char *text;
} examples[] = {
    { &fl_shape_create_channel, "{\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"u\"}" },
    { &fl_shape_open_channel,
      "{\"Cookie\":null,\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"u\",\"TokenValue\":\"t\","
      "\"AgentVersion\":\"3.3.0.0\",\"PlatformType\":\"linux\"}" },
    { &fl_shape_open_channel,
      "{\"Cookie\":null,\"MessageSchemaVersion\":\"1.0\",\"RequestId\":\"u\",\"TokenValue\":\"t\","
      "\"AgentVersion\":\"3.2.1478.0\",\"PlatformType\":\"linux\",\"RequireAcknowledgement\":"
      "true}" },
    { &fl_shape_job,
      "{\"Content\":\"{}\",\"JobId\":\"aws.ssm.c.mi-0\",\"Topic\":\"aws.ssm.sendCommand\","
      "\"SchemaVersion\":1}" },
    { &fl_shape_send_content,
      "{\"Parameters\":{\"commands\":[\"uptime\"]},\"DocumentContent\":{\"schemaVersion\":\"2.2\","
      "\"description\":\"d\",\"parameters\":{\"commands\":{\"type\":\"StringList\"}},\"mainSteps\":"
      "[{"
      "\"action\":\"aws:runShellScript\",\"name\":\"runIt\",\"inputs\":{\"runCommand\":\"{{ "
      "commands "
      "}}\"}}]},\"CommandId\":\"11111111-2222-3333-4444-555555555555\",\"DocumentName\":\"Demo\","
      "\"OutputS3BucketName\":\"\",\"OutputS3KeyPrefix\":\"\",\"CloudWatchLogGroupName\":\"\","
      "\"CloudWatchOutputEnabled\":\"false\"}" },
    { &fl_shape_cancel_content, "{\"CancelMessageId\":\"aws.ssm.c.mi-0\"}" },
    { &fl_shape_job_ack,
      "{\"jobId\":\"aws.ssm.c.mi-0\",\"acknowledgedMessageId\":\"u\",\"createdDate\":"
      "\"2023-11-14T22:13:20.123Z\",\"statusCode\":\"200\",\"errorMessage\":\"Successful\"}" },
    { &fl_shape_job_reply,
      "{\"schemaVersion\":1,\"jobId\":\"aws.ssm.c.mi-0\",\"content\":\"{}\",\"topic\":"
      "\"aws.ssm.sendCommand\"}" },
    { &fl_shape_job_reply_ack,
      "{\"jobId\":\"aws.ssm.11111111-2222-3333-4444-555555555555.mi-0123456789abcdef0\","
      "\"acknowledgedMessageId\":\"01020304-0506-0708-090a-0b0c0d0e0f10\"}" },
    { &fl_shape_result,
      "{\"additionalInfo\":{\"agent\":{\"lang\":\"en-US\",\"name\":\"amazon-ssm-agent\",\"os\":"
      "\"\","
      "\"osver\":\"1\",\"ver\":\"3.3.0.0\"},\"dateTime\":\"2026-01-02T03:04:05.678Z\",\"runId\":"
      "\"\","
      "\"runtimeStatusCounts\":{\"Success\":1}},\"documentStatus\":\"Success\","
      "\"documentTraceOutput\":\"\",\"runtimeStatus\":{\"runIt\":{\"status\":\"Success\"}}}" },
    { &fl_shape_result, "{\"additionalInfo\":{\"agent\":{\"lang\":\"en-US\",\"name\":\"amazon-ssm-"
                        "agent\",\"os\":\"\","
                        "\"osver\":\"1\",\"ver\":\"3.3.0.0\"},\"dateTime\":\"2026-01-02T03:04:05."
                        "678Z\",\"runId\":\"\","
                        "\"runtimeStatusCounts\":null},\"documentStatus\":\"InProgress\","
                        "\"documentTraceOutput\":\"\","
                        "\"runtimeStatus\":null}" },
    { &fl_shape_step,
      "{\"status\":\"Success\",\"code\":0,\"name\":\"aws:runShellScript\",\"output\":\"hi\\n\","
      "\"startDateTime\":\"2026-01-02T03:04:05.600Z\",\"endDateTime\":\"2026-01-02T03:04:05.670Z\","
      "\"outputS3BucketName\":\"\",\"outputS3KeyPrefix\":\"\",\"stepName\":\"\",\"standardOutput\":"
      "\"hi\\n\",\"standardError\":\"\"}" },
    { &fl_shape_task, "{\"Content\":\"{}\",\"TaskId\":\"s-1\",\"Topic\":\"aws.ssm.startSession\","
                      "\"SchemaVersion\":1}" },
};

static void examples_round_trip(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(examples); i++) {
        const struct fl_shape *shape = examples[i].shape;
        fl_autobuf struct fl_buf out = FL_BUF(1 << 20);
        void *msg = fl_arena_alloc(&arena, shape->size);
        struct fl_err err = { 0 };

        assert_int_equal(
            fl_json_decode(shape, examples[i].text, strlen(examples[i].text), 0, &arena, msg, &err),
            0);
        assert_int_equal(fl_json_encode(shape, msg, &out), 0);
        assert_string_equal(out.data, examples[i].text);
    }
}

static void case_of_names_does_not_matter(void **state)
{
    static const char text[] = "{\"jobid\":\"j\",\"AcknowledgedMessageID\":\"u\",\"other\":1}";
    struct fl_msg_job_ack ack;

    assert_int_equal(
        fl_json_decode(&fl_shape_job_ack, text, strlen(text), FL_DECODE_NOCASE, &arena, &ack, NULL),
        0);
    assert_string_equal(ack.job_id, "j");
    assert_string_equal(ack.acked_message_id, "u");
    assert_null(ack.status_code); /* old agents: success */
}

static void wrong_jobs_are_refused(void **state)
{
    static const struct {
        const struct fl_shape *shape;
        const char *text;
    } cases[] = {
        { &fl_shape_job, "{\"JobId\":\"j\",\"Topic\":\"t\",\"SchemaVersion\":1}" },
        { &fl_shape_job, "{\"JobId\":\"j\",\"Content\":\"{}\",\"SchemaVersion\":1}" },
        { &fl_shape_job, "{\"JobId\":1,\"Content\":\"{}\",\"Topic\":\"t\"}" },
        { &fl_shape_send_content, "{\"CommandId\":\"c\",\"Parameters\":{}}" },
        { &fl_shape_send_content, "{\"DocumentContent\":{},\"CloudWatchOutputEnabled\":true}" },
        { &fl_shape_cancel_content, "{}" },
        { &fl_shape_open_channel, "{\"Cookie\":null}" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        assert_int_equal(fl_json_decode(cases[i].shape, cases[i].text, strlen(cases[i].text),
                                        FL_DECODE_NOCASE, &arena,
                                        fl_arena_alloc(&arena, cases[i].shape->size), NULL),
                         -EINVAL);
}

static void ack_texts(void **state)
{
    assert_string_equal(fl_ack_text("200"), "Successful");
    assert_string_equal(fl_ack_text(FL_ACK_PARSE_ERROR), "AgentJobMessageParseError");
    assert_string_equal(fl_ack_text(FL_ACK_UNEXPECTED), "UnexpectedError");
    assert_string_equal(fl_ack_text("1"), "UnexpectedError");
    assert_string_equal(fl_ack_text(NULL), "UnexpectedError");
}

static void command_ids(void **state)
{
    static const struct {
        const char *job_id, *want; /* NULL: refused */
    } cases[] = {
        { "aws.ssm.11111111-2222-3333-4444-555555555555.mi-0123456789abcdef0",
          "11111111-2222-3333-4444-555555555555" },
        { "aws.ssm.a.b.c", "b" },
        { "aws.ssm.a", "aws.ssm.a" },
        { "aws.ssm..a", "aws.ssm..a" },
        { "plain", "plain" },
        { "aws.ssm.a..b", NULL },
        { "", NULL },
        { "1234567890123456789012345678901234567890", NULL },
    };
    char out[40];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        int r = fl_job_command_id(cases[i].job_id, out, sizeof(out));

        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        if (cases[i].want)
            assert_string_equal(out, cases[i].want);
    }
}

static void tokens_are_written(void **state)
{
    fl_autobuf struct fl_buf out = FL_BUF(4096);
    fl_autofree char *token = NULL;

    assert_int_equal(fl_channel_token_xml("CreateControlChannelResponse", "a<b&c", &out), 0);
    assert_string_equal(out.data, "<CreateControlChannelResponse><MessageSchemaVersion>1.0"
                                  "</MessageSchemaVersion><TokenValue>a&lt;b&amp;c</TokenValue>"
                                  "</CreateControlChannelResponse>");
    assert_int_equal(fl_channel_token_parse(out.data, out.len, &token), 0);
    assert_string_equal(token, "a<b&c");
}

static void tokens_are_read(void **state)
{
    static const struct {
        const char *xml, *want;
    } cases[] = {
        { "<?xml version=\"1.0\"?>\n<x:R xmlns:x=\"u\"><x:TokenValue a='>'>t</x:TokenValue></x:R>",
          "t" },
        { "<R><TokenValue><![CDATA[a<b]]></TokenValue></R>", "a<b" },
        { "<R><!-- <TokenValue>no</TokenValue> --><TokenValue>yes</TokenValue></R>", "yes" },
        { "<R><TokenValue/></R>", NULL },
        { "<R><TokenValue></TokenValue></R>", NULL },
        { "<R><Token>t</Token></R>", NULL },
        { "<R><TokenValue>t", NULL },
        { "{\"TokenValue\":\"t\"}", NULL },
        { "", NULL },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autofree char *token = NULL;
        int r = fl_channel_token_parse(cases[i].xml, strlen(cases[i].xml), &token);

        assert_int_equal(r, cases[i].want ? 0 : -EBADMSG);
        if (cases[i].want)
            assert_string_equal(token, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_round_trip),
        cmocka_unit_test(case_of_names_does_not_matter),
        cmocka_unit_test(wrong_jobs_are_refused),
        cmocka_unit_test(ack_texts),
        cmocka_unit_test(command_ids),
        cmocka_unit_test(tokens_are_written),
        cmocka_unit_test(tokens_are_read),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
