/* Replies, byte for byte (protocol 2 §3.4), and never too long to be sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/platform.h"
#include "agent/monitor/reply.h"
#include "agent/worker/output.h"
#include "common/doc/doc.h"

#define NOW 1767323045678 /* 2026-01-02T03:04:05.678Z */
#define INFO                                                                                   \
    "{\"additionalInfo\":{\"agent\":{\"lang\":\"en-US\",\"name\":\"amazon-ssm-agent\",\"os\":" \
    "\"\","                                                                                    \
    "\"osver\":\"1\",\"ver\":\"" FL_AGENT_WIRE_VERSION                                         \
    "\"},\"dateTime\":\"2026-01-02T03:04:05.678Z\",\"runId\":\"\",\"runtimeStatusCounts\":"
#define STEP                                                                                       \
    "{\"runIt\":{\"status\":\"Success\",\"code\":0,\"name\":\"aws:runShellScript\",\"output\":"    \
    "\"hi\\n\","                                                                                   \
    "\"startDateTime\":\"2026-01-02T03:04:05.600Z\",\"endDateTime\":\"2026-01-02T03:04:05.670Z\"," \
    "\"outputS3BucketName\":\"\",\"outputS3KeyPrefix\":\"\",\"stepName\":\"\",\"standardOutput\":" \
    "\"hi\\n\",\"standardError\":\"\"}}"

static const struct fl_reply_agent agent = { .os_lang = "en-US", .os_name = "", .os_version = "1" };

static char key[] = "runIt", plugin[] = "aws:runShellScript", success[] = "Success",
            hi[] = "\"hi\\n\"", none[] = "\"\"";

static struct fl_jrec_step_done sample(void)
{
    return (struct fl_jrec_step_done){ .key = key,
                                       .plugin = plugin,
                                       .status = success,
                                       .start_ms = NOW - 78,
                                       .end_ms = NOW - 8,
                                       .output_json = hi,
                                       .stdout_json = hi,
                                       .stderr_json = none };
}

static void bare(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);

    assert_int_equal(fl_reply_bare(&agent, "InProgress", NULL, NOW, &b), 0);
    assert_string_equal(b.data,
                        INFO "null},\"documentStatus\":\"InProgress\",\"documentTraceOutput\":"
                             "\"\",\"runtimeStatus\":null}");
}

static void one_step(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    struct fl_jrec_step_done s = sample();

    assert_int_equal(fl_reply_step(&agent, &s, NOW, &b), 0);
    assert_string_equal(b.data, INFO "{\"Success\":1}},\"documentStatus\":\"InProgress\","
                                     "\"documentTraceOutput\":\"\",\"runtimeStatus\":" STEP "}");
}

static void final_with_one_step_and_with_more(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    static char failed[] = "Failed";
    struct fl_intmap_entry counts[] = { { success, 1 }, { failed, 2 } };
    struct fl_jrec_step_done s = sample();
    struct fl_jrec_doc_done doc = { .status = success, .counts = { counts, 1 }, .n_results = 1 };

    assert_int_equal(fl_reply_final(&agent, &doc, &s, NOW, &b), 0);
    assert_string_equal(b.data, INFO "{\"Success\":1}},\"documentStatus\":\"Success\","
                                     "\"documentTraceOutput\":\"\",\"runtimeStatus\":" STEP "}");
    fl_buf_reset(&b);
    doc = (struct fl_jrec_doc_done){ .status = failed, .counts = { counts, 2 }, .n_results = 3 };
    assert_int_equal(fl_reply_final(&agent, &doc, NULL, NOW, &b), 0);
    assert_string_equal(b.data, INFO "{\"Success\":1,\"Failed\":2}},\"documentStatus\":\"Failed\","
                                     "\"documentTraceOutput\":\"\",\"runtimeStatus\":{}}");
}

static void a_document_error_is_told(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    static char failed[] = "Failed", error[] = "Unsupported schema format";
    struct fl_jrec_doc_done doc = { .status = failed, .error = error };

    assert_int_equal(fl_reply_final(&agent, &doc, NULL, NOW, &b), 0);
    assert_string_equal(b.data, INFO "null},\"documentStatus\":\"Failed\",\"documentTraceOutput\":"
                                     "\"Unsupported schema format\",\"runtimeStatus\":null}");
}

static void a_step_that_never_began_has_zero_times(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    struct fl_jrec_step_done s = sample();

    s.start_ms = s.end_ms = 0;
    assert_int_equal(fl_reply_step(&agent, &s, NOW, &b), 0);
    assert_non_null(strstr(b.data, "\"startDateTime\":\"0001-01-01T00:00:00.000Z\",\"endDateTime\":"
                                   "\"0001-01-01T00:00:00.000Z\""));
}

/* The longest names, and texts as long as the worker lets them be. */
static void the_largest_reply_fits(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    char name[FL_DOC_MAX_NAME_BYTES + 1], *text = malloc(FL_REPLY_TEXT_MAX_BYTES + 1);
    static char status[] = "SuccessAndReboot";
    struct fl_jrec_step_done s = sample();
    json_t *json;

    memset(name, '"', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memset(text, 'x', FL_REPLY_TEXT_MAX_BYTES);
    text[0] = text[FL_REPLY_TEXT_MAX_BYTES - 1] = '"';
    text[FL_REPLY_TEXT_MAX_BYTES] = '\0';
    s.key = s.plugin = name;
    s.status = status;
    s.code = INT64_MIN;
    s.stdout_json = text;
    assert_int_equal(fl_reply_step(&agent, &s, NOW, &b), 0);
    assert_true(b.len <= FL_REPLY_MAX_BYTES);
    json = json_loads(b.data, 0, NULL);
    assert_non_null(json);
    json_decref(json);
    free(text);
}

static void a_nul_in_the_output_survives(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(1 << 20);
    static char nul[] = "\"a\\u0000b\"";
    struct fl_jrec_step_done s = sample();

    s.stdout_json = nul;
    assert_int_equal(fl_reply_step(&agent, &s, NOW, &b), 0);
    assert_non_null(strstr(b.data, "\"standardOutput\":\"a\\u0000b\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare),
        cmocka_unit_test(one_step),
        cmocka_unit_test(final_with_one_step_and_with_more),
        cmocka_unit_test(a_document_error_is_told),
        cmocka_unit_test(a_step_that_never_began_has_zero_times),
        cmocka_unit_test(the_largest_reply_fits),
        cmocka_unit_test(a_nul_in_the_output_survives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
