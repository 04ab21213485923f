/* Replies of nodes: decoding, limits, and merging in any order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/codec/codec.h"
#include "common/wire/control.h"
#include "server/command/result.h"

static struct fl_arena arena;

static int setup(void **state)
{
    (void)state;
    fl_arena_init(&arena, 16 * 1024 * 1024);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_arena_done(&arena);
    return 0;
}

/* The example of protocol 2 §3.4. */
static const char example[] =
    "{\"additionalInfo\":{\"agent\":{\"lang\":\"en-US\",\"name\":\"amazon-ssm-agent\",\"os\":\"\","
    "\"osver\":\"1\",\"ver\":\"3.3.0.0\"},\"dateTime\":\"2026-01-02T03:04:05.678Z\",\"runId\":\"\","
    "\"runtimeStatusCounts\":{\"Success\":1}},\"documentStatus\":\"Success\","
    "\"documentTraceOutput\":\"\",\"runtimeStatus\":{\"runIt\":{\"status\":\"Success\",\"code\":0,"
    "\"name\":\"aws:runShellScript\",\"output\":\"hi\\n\","
    "\"startDateTime\":\"2026-01-02T03:04:05.600Z\",\"endDateTime\":\"2026-01-02T03:04:05.670Z\","
    "\"outputS3BucketName\":\"\",\"outputS3KeyPrefix\":\"\",\"stepName\":\"\","
    "\"standardOutput\":\"hi\\n\",\"standardError\":\"\"}}}";

static void the_example(void **state)
{
    struct fl_buf payload;
    struct fl_reply r;

    (void)state;
    fl_buf_init(&payload, 8192);
    fl_buf_puts(&payload, "{\"schemaVersion\":1,\"jobId\":\"aws.ssm.c.mi-1\",\"content\":");
    fl_json_quote(&payload, example, strlen(example));
    fl_buf_puts(&payload, ",\"topic\":\"aws.ssm.sendCommand\"}");
    assert_int_equal(fl_reply_decode(payload.data, payload.len, &arena, &r, NULL), 0);
    fl_buf_done(&payload);

    assert_string_equal(r.job_id, "aws.ssm.c.mi-1");
    assert_false(r.cancel);
    assert_false(r.bare);
    assert_int_equal(r.event, FL_EV_SUCCEEDED);
    assert_int_equal(r.n_steps, 1);
    assert_string_equal(r.steps[0].step, "runIt");
    assert_string_equal(r.steps[0].plugin, "aws:runShellScript");
    assert_string_equal(r.steps[0].out, "hi\n");
    assert_int_equal(r.steps[0].finished_ms - r.steps[0].started_ms, 70);
}

/* Members that only official agents send, of other versions too, and those that they leave out. */
static void what_our_agents_never_send(void **state)
{
    static const char text[] =
        "{\"AdditionalInfo\":{\"agent\":null,\"ableToOpenMGSConnection\":true,"
        "\"runtimeStatusCounts\":null},\"documentStatus\":\"InProgress\",\"added\":[{}],"
        "\"runtimeStatus\":{"
        "\"a\":{\"status\":\"PassedAndReboot\",\"code\":-1,\"name\":\"aws:domainJoin\","
        "\"output\":\"<nil>\",\"startDateTime\":\"0001-01-01T00:00:00.000Z\","
        "\"standardError\":null,\"added\":{}},"
        "\"b\":{\"Status\":\"TestFailure\",\"Code\":3},"
        "\"c\":{\"status\":\"DeliveryTimedOut\"}}}"; /* the plane's word */
    struct fl_reply r;
    bool ended;

    (void)state;
    assert_int_equal(fl_reply_decode_content("j", text, sizeof(text) - 1, &arena, &r, NULL), 0);
    assert_int_equal(r.event, FL_EV_DELIVERED);
    assert_int_equal(r.n_steps, 3);
    assert_int_equal(r.steps[0].code, -1);
    assert_int_equal(r.steps[0].started_ms, 0);
    assert_string_equal(r.steps[0].output, "<nil>");
    assert_string_equal(r.steps[0].err, "");
    assert_int_equal(fl_inv_state_of_step(r.steps[0].status, &ended), FL_INV_IN_PROGRESS);
    assert_false(ended);
    assert_int_equal(r.steps[1].code, 3);
    assert_int_equal(fl_inv_state_of_step(r.steps[1].status, &ended), FL_INV_FAILED);
    assert_true(ended);
    assert_int_equal(fl_inv_state_of_step(r.steps[2].status, &ended), FL_INV_IN_PROGRESS);
    assert_false(ended);
}

static void where_the_files_of_a_step_are(void **state)
{
#define BUCKET "\"outputS3BucketName\":\"b\",\"outputS3KeyPrefix\":\"p/c/n/awsrunShellScript\""
    static const struct {
        const char *members, *want;
    } cases[] = {
        { BUCKET ",\"stepName\":\"runIt\"", "p/c/n/awsrunShellScript/runIt" },
        { BUCKET ",\"stepName\":\"\"", "p/c/n/awsrunShellScript" },
        { BUCKET, "p/c/n/awsrunShellScript" },
        { "\"outputS3BucketName\":\"b\",\"outputS3KeyPrefix\":\"/c/n/x\",\"stepName\":\"s\"",
          "c/n/x/s" },
        { "\"outputS3BucketName\":\"\",\"outputS3KeyPrefix\":\"x\",\"stepName\":\"s\"", "" },
    };
#undef BUCKET

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char text[300];
        struct fl_reply r;
        int len =
            snprintf(text, sizeof(text), "{\"runtimeStatus\":{\"s\":{%s}}}", cases[i].members);

        assert_int_equal(fl_reply_decode_content("j", text, (size_t)len, &arena, &r, NULL), 0);
        assert_string_equal(r.steps[0].s3_prefix, cases[i].want);
    }
}

static void what_a_document_status_means(void **state)
{
    static const struct {
        const char *content;
        bool bare;
        enum fl_inv_event event;
    } cases[] = {
        { "{\"documentStatus\":\"InProgress\",\"runtimeStatus\":null}", true, FL_EV_DELIVERED },
        { "{\"documentStatus\":\"InProgress\"}", true, FL_EV_DELIVERED },
        { "{\"documentStatus\":\"Failed\",\"runtimeStatus\":null}", true, FL_EV_FAILED },
        { "{\"documentStatus\":\"Success\",\"runtimeStatus\":{}}", false, FL_EV_SUCCEEDED },
        { "{\"documentStatus\":\"SuccessAndReboot\",\"runtimeStatus\":{}}", false,
          FL_EV_DELIVERED },
        { "{\"DOCUMENTSTATUS\":\"Cancelled\",\"RuntimeStatus\":{}}", false, FL_EV_WAS_CANCELLED },
        { "{}", true, FL_EV_DELIVERED },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_reply r;

        assert_int_equal(fl_reply_decode_content("j", cases[i].content, strlen(cases[i].content),
                                                 &arena, &r, NULL),
                         0);
        assert_int_equal(r.bare, cases[i].bare);
        assert_int_equal(r.event, cases[i].event);
    }
}

static void what_cannot_be_read(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{\"runtimeStatus\":[]}",
        "{\"runtimeStatus\":{\"a\":7}}",
        "{\"runtimeStatus\":{\"a\":{\"code\":\"x\"}}}",
        "{\"documentStatus\":1}",
    };
    struct fl_reply r;

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++)
        assert_true(fl_reply_decode_content("j", bad[i], strlen(bad[i]), &arena, &r, NULL) < 0);
    assert_true(fl_reply_decode("{\"jobId\":\"x\"}", 13, &arena, &r, NULL) < 0);
}

static void long_texts_are_cut_by_characters(void **state)
{
    const size_t n = 30000;
    char *text = malloc(3 * n + 400);
    struct fl_reply r;
    size_t len;

    (void)state;
    len = (size_t)sprintf(text, "{\"runtimeStatus\":{\"s\":{\"standardOutput\":\"");
    for (size_t i = 0; i < n; i++)
        len += (size_t)sprintf(text + len, "\u00e4");
    len += (size_t)sprintf(text + len, "\",\"standardError\":\"x\",\"output\":null}}}");
    assert_int_equal(fl_reply_decode_content("j", text, len, &arena, &r, NULL), 0);
    free(text);
    assert_int_equal(strlen(r.steps[0].out), 2 * FL_STEP_MAX_STDOUT);
    assert_string_equal(r.steps[0].err, "x");
    assert_string_equal(r.steps[0].output, "");
}

static void stderr_is_shown_up_to_8000(void **state)
{
    char *text = fl_arena_alloc(&arena, 9001);
    char *shown;

    (void)state;
    memset(text, 'e', 8000);
    assert_ptr_equal(fl_step_show_stderr(&arena, text), text);
    memset(text, 'e', 9000);
    shown = fl_step_show_stderr(&arena, text);
    assert_int_equal(strlen(shown), 8000);
    assert_string_equal(shown + 7980, "--output truncated--");
}

/* ---- merging ---- */
static struct fl_step_result step(const char *status, int64_t code, int64_t start, int64_t end,
                                  const char *out)
{
    return (struct fl_step_result){ .step = (char *)"s",
                                    .plugin = (char *)"p",
                                    .status = (char *)status,
                                    .code = code,
                                    .started_ms = start,
                                    .finished_ms = end,
                                    .output = (char *)out,
                                    .out = (char *)out,
                                    .err = (char *)"",
                                    .s3_bucket = (char *)"",
                                    .s3_prefix = (char *)"" };
}

/* Merges in the order of `order` and gives the one that stays. */
static size_t merge(const struct fl_step_result *list, const size_t *order, size_t n)
{
    size_t best = order[0];

    for (size_t i = 1; i < n; i++)
        if (fl_step_replaces(&list[best], &list[order[i]]))
            best = order[i];
    return best;
}

static void swap(size_t *a, size_t *b)
{
    size_t t = *a;

    *a = *b;
    *b = t;
}

static bool next_permutation(size_t *a, size_t n)
{
    size_t i = n - 1, j = n - 1;

    while (i > 0 && a[i - 1] >= a[i])
        i--;
    if (i == 0)
        return false;
    while (a[j] <= a[i - 1])
        j--;
    swap(&a[i - 1], &a[j]);
    for (j = n - 1; i < j; i++, j--)
        swap(&a[i], &a[j]);
    return true;
}

static void any_order_gives_the_same_step(void **state)
{
    const struct fl_step_result list[] = {
        step("NotStarted", 0, 0, 0, ""),
        step("InProgress", 0, 10, 0, ""),
        step("SuccessAndReboot", 194, 10, 20, "before"),
        step("InProgress", 0, 30, 0, "before"),
        step("Success", 0, 30, 40, "before after"),
        step("Success", 0, 30, 40, "before after"), /* the final reply repeats it */
    };
    size_t order[FL_ARRAY_LEN(list)];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(list); i++)
        order[i] = i;
    do {
        size_t got = merge(list, order, FL_ARRAY_LEN(list));

        assert_string_equal(list[got].status, "Success");
        assert_string_equal(list[got].out, "before after");
    } while (next_permutation(order, FL_ARRAY_LEN(list)));
}

static void replacing_is_a_total_order(void **state)
{
    const struct fl_step_result list[] = {
        step("Success", 0, 1, 2, "a"),   step("Success", 0, 1, 2, "b"),
        step("Failed", 1, 1, 2, "a"),    step("Success", 0, 1, 3, "a"),
        step("InProgress", 0, 1, 9, ""), step("SuccessAndReboot", 194, 1, 5, "a"),
        step("Success", 0, 2, 2, "a"),   step("FutureWord", 0, 1, 9, "z"),
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(list); i++) {
        assert_false(fl_step_replaces(&list[i], &list[i]));
        for (size_t j = 0; j < FL_ARRAY_LEN(list); j++) {
            if (i != j)
                assert_int_not_equal(fl_step_replaces(&list[i], &list[j]),
                                     fl_step_replaces(&list[j], &list[i]));
            for (size_t k = 0; k < FL_ARRAY_LEN(list); k++)
                if (fl_step_replaces(&list[i], &list[j]) && fl_step_replaces(&list[j], &list[k]))
                    assert_true(fl_step_replaces(&list[i], &list[k]));
        }
    }
}

static void what_a_step_shows(void **state)
{
    static const struct {
        const char *status;
        enum fl_inv_state want;
        bool ended;
    } cases[] = {
        { "NotStarted", FL_INV_PENDING, false },
        { "InProgress", FL_INV_IN_PROGRESS, false },
        { "SuccessAndReboot", FL_INV_IN_PROGRESS, false },
        { "Success", FL_INV_SUCCESS, true },
        { "Skipped", FL_INV_SUCCESS, true },
        { "Failed", FL_INV_FAILED, true },
        { "TimedOut", FL_INV_EXEC_TIMED_OUT, true },
        { "Cancelled", FL_INV_CANCELLED, true },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        bool ended;

        assert_int_equal(fl_inv_state_of_step(cases[i].status, &ended), cases[i].want);
        assert_int_equal(ended, cases[i].ended);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example),
        cmocka_unit_test(what_our_agents_never_send),
        cmocka_unit_test(where_the_files_of_a_step_are),
        cmocka_unit_test(what_a_document_status_means),
        cmocka_unit_test(what_cannot_be_read),
        cmocka_unit_test(long_texts_are_cut_by_characters),
        cmocka_unit_test(stderr_is_shown_up_to_8000),
        cmocka_unit_test(any_order_gives_the_same_step),
        cmocka_unit_test(replacing_is_a_total_order),
        cmocka_unit_test(what_a_step_shows),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
