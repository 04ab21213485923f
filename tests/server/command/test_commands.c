/* Run Command's operations: checks and their order, replies, filters, pages, choosing a step. */
#include "tests/server/command/command_fixture.h"

#include "server/command/record.h"

static struct fl_fixture f;
static char node[24], cmd[37];

static int setup(void **state)
{
    (void)state;
    fl_fixture_open(&f);
    make_node(&f, "Dev", true, node);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fl_fixture_close(&f);
    return 0;
}

/* Each row has one more fault to its left: the first in the order of protocol 6 §3.3 decides. $N is
 * a node, $X an unknown one. */
static const struct {
    const char *members, *error;
} refused[] = {
    { "\"InstanceIds\":[\"x\"],\"Targets\":[]", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"Comment\":\"$101\"", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"TimeoutSeconds\":29", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"TimeoutSeconds\":2592001", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"MaxConcurrency\":\"0\"", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"MaxConcurrency\":\"101%\"", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"MaxErrors\":\"-1\"", "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"NotificationConfig\":{\"NotificationType\":\"x\"}",
      "ValidationException" },
    { "\"InstanceIds\":[\"$N\"],\"AlarmConfiguration\":{\"Alarms\":[]}", "ValidationException" },
    { "\"DocumentName\":\"NoSuchDoc\"", "InvalidParameters" },
    { "\"DocumentName\":\"NoSuchDoc\",\"InstanceIds\":[\"$N\"],\"Targets\":[{\"Key\":\"tag:a\","
      "\"Values\":[\"b\"]}]",
      "InvalidParameters" },
    { "\"DocumentName\":\"NoSuchDoc\",\"DocumentVersion\":\"99\",\"InstanceIds\":[\"$N\"]",
      "InvalidDocument" },
    { "\"DocumentVersion\":\"99\",\"DocumentHash\":\"00\",\"InstanceIds\":[\"$N\"]",
      "InvalidDocumentVersion" },
    { "\"DocumentHash\":\"00\",\"Parameters\":{},\"InstanceIds\":[\"$N\"]", "InvalidDocument" },
    { "\"Parameters\":{},\"InstanceIds\":[\"$X\",\"$X\"]", "InvalidParameters" },
    { "\"Parameters\":{\"commands\":[\"id\"],\"nope\":[\"x\"]},\"InstanceIds\":[\"$X\"]",
      "InvalidParameters" },
    { "\"InstanceIds\":[\"$X\",\"$X\"]", "DuplicateInstanceId" },
    { "\"DocumentName\":\"AWS-RunPowerShellScript\",\"InstanceIds\":[\"$N\",\"$X\"]",
      "InvalidInstanceId" },
    { "\"DocumentName\":\"AWS-RunPowerShellScript\",\"InstanceIds\":[\"$N\"],"
      "\"OutputS3BucketName\":\"nowhere\"",
      "UnsupportedPlatformType" },
    { "\"InstanceIds\":[\"$N\"],\"OutputS3BucketName\":\"nowhere\",\"NotificationConfig\":{"
      "\"NotificationEvents\":[\"All\"]}",
      "InvalidOutputFolder" },
    { "\"InstanceIds\":[\"$N\"],\"NotificationConfig\":{\"NotificationEvents\":[\"All\"]},"
      "\"ServiceRoleArn\":\"x\"",
      "InvalidNotificationConfig" },
    { "\"InstanceIds\":[\"$N\"],\"ServiceRoleArn\":\"x\"", "InvalidRole" },
};

/* Replaces $N, $X and $101; adds the document and parameters that the row leaves out. */
static void write_request(const char *members, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "{");

    if (!strstr(members, "DocumentName"))
        n += (size_t)snprintf(out + n, size - n, "\"DocumentName\":\"AWS-RunShellScript\",");
    if (!strstr(members, "Parameters"))
        n += (size_t)snprintf(out + n, size - n, "\"Parameters\":{\"commands\":[\"id\"]},");
    for (const char *p = members; *p; p++) {
        if (strncmp(p, "$N", 2) == 0)
            n += (size_t)snprintf(out + n, size - n, "%s", node);
        else if (strncmp(p, "$X", 2) == 0)
            n += (size_t)snprintf(out + n, size - n, "mi-00000000000000000");
        else if (strncmp(p, "$101", 4) == 0)
            n += (size_t)snprintf(out + n, size - n, "%0101d", 0);
        else
            n += (size_t)snprintf(out + n, size - n, "%c", *p);
        p += strncmp(p, "$101", 4) == 0 ? 3 : *p == '$' ? 1 : 0;
    }
    snprintf(out + n, size - n, "}");
}

static void the_first_fault_decides(void **state)
{
    char request[2048];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(refused); i++) {
        write_request(refused[i].members, request, sizeof(request));
        fl_fixture_fails(&f, "SendCommand", request, refused[i].error);
    }
    fl_fixture_ok(&f, "ListCommands", "{}");
    assert_int_equal(fl_fixture_count(&f, "Commands"), 0); /* nothing was left behind */
}

static void large_parameters_are_refused(void **state)
{
    char *request = malloc(70000);
    size_t n;

    (void)state;
    n = (size_t)sprintf(request,
                        "{\"DocumentName\":\"AWS-RunShellScript\",\"InstanceIds\":[\"%s\"],"
                        "\"Parameters\":{\"commands\":[\"",
                        node);
    memset(request + n, 'x', 65536);
    strcpy(request + n + 65536, "\"]}}");
    fl_fixture_fails(&f, "SendCommand", request, "MaxDocumentSizeExceeded");
    free(request);
}

static int add_bucket(struct fl_call *call, void *name)
{
    int r = fl_sql_exec(call->tx, FL_SQL_bucket_add, NULL, FL_T(call->account), FL_T(name),
                        FL_T(call->region), FL_N(0));

    return FL_MIN(r, 0);
}

static void outputs_go_where_there_is_a_bucket(void **state)
{
    static const char outputs[] = "outputs";
    char request[256];

    (void)state;
    write_request("\"InstanceIds\":[\"$N\"],\"OutputS3BucketName\":\"outputs\"", request,
                  sizeof(request));
    fl_fixture_fails(&f, "SendCommand", request, "InvalidOutputFolder");
    f.plane.conf.output_buckets_elsewhere = true;
    fl_fixture_ok(&f, "SendCommand", request);
    f.plane.conf.output_buckets_elsewhere = false;
    fl_fixture_fails(&f, "SendCommand", request, "InvalidOutputFolder");
    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, add_bucket, (void *)outputs), 0);
    fl_fixture_ok(&f, "SendCommand", request);
    assert_string_equal(fl_fixture_text(&f, "Command.OutputS3BucketName"), "outputs");
    write_request("\"InstanceIds\":[\"$N\"],\"OutputS3BucketName\":\"\"", request, sizeof(request));
    fl_fixture_fails(&f, "SendCommand", request, "ValidationException");
}

static void the_text_for_unknown_nodes(void **state)
{
    (void)state;
    fl_fixture_fails(&f, "SendCommand",
                     "{\"DocumentName\":\"AWS-RunShellScript\",\"InstanceIds\":["
                     "\"mi-00000000000000000\"],\"Parameters\":{\"commands\":[\"id\"]}}",
                     "InvalidInstanceId");
    assert_string_equal(f.err.text, "Instances [[mi-00000000000000000]] not in a valid state for "
                                    "account 123456789012");
}

static void every_member_of_the_reply_is_there(void **state)
{
    static const struct {
        const char *member, *want;
    } cases[] = {
        { "DocumentName", "AWS-RunShellScript" },
        { "DocumentVersion", "$DEFAULT" },
        { "Comment", "" },
        { "Status", "Pending" },
        { "StatusDetails", "Pending" },
        { "MaxConcurrency", "50" },
        { "MaxErrors", "0" },
        { "TimeoutSeconds", "3600" },
        { "TargetCount", "1" },
        { "CompletedCount", "0" },
        { "ErrorCount", "0" },
        { "DeliveryTimedOutCount", "0" },
        { "OutputS3BucketName", "" },
        { "OutputS3KeyPrefix", "" },
        { "ServiceRole", "" },
        { "NotificationConfig.NotificationArn", "" },
        { "NotificationConfig.NotificationEvents", "[]" },
        { "NotificationConfig.NotificationType", "" },
        { "CloudWatchOutputConfig.CloudWatchLogGroupName", "" },
        { "CloudWatchOutputConfig.CloudWatchOutputEnabled", "false" },
        { "Parameters.commands.0", "echo hi" },
        { "Targets", "[]" },
    };
    char path[80];

    (void)state;
    send_to(&f, node, cmd);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        snprintf(path, sizeof(path), "Command.%s", cases[i].member);
        assert_non_null(fl_fixture_text(&f, path));
        assert_string_equal(fl_fixture_text(&f, path), cases[i].want);
    }
    assert_string_equal(fl_fixture_text(&f, "Command.InstanceIds.0"), node);
    assert_int_equal(atoll(fl_fixture_text(&f, "Command.ExpiresAfter")) -
                         atoll(fl_fixture_text(&f, "Command.RequestedDateTime")),
                     7200);
    /* the list says the same, but for what has happened since */
    fl_fixture_ok(&f, "ListCommands", "{}");
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        snprintf(path, sizeof(path), "Commands.0.%s", cases[i].member);
        if (strncmp(cases[i].member, "Status", 6) != 0)
            assert_string_equal(fl_fixture_text(&f, path), cases[i].want);
    }
}

static void timeouts_add_up(void **state)
{
    static const struct {
        const char *members;
        int want;
    } cases[] = {
        { "\"TimeoutSeconds\":600", 4200 },
        { "\"TimeoutSeconds\":30,\"Parameters\":{\"commands\":[\"id\"],\"executionTimeout\":"
          "[\"5\"]}",
          35 },
    };
    char request[512], members[300];

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        snprintf(members, sizeof(members), "%s,\"InstanceIds\":[\"$N\"]", cases[i].members);
        write_request(members, request, sizeof(request));
        fl_fixture_ok(&f, "SendCommand", request);
        assert_int_equal(atoll(fl_fixture_text(&f, "Command.ExpiresAfter")) -
                             atoll(fl_fixture_text(&f, "Command.RequestedDateTime")),
                         cases[i].want);
    }
}

/* ---- the job ---- */
static int read_job(struct fl_call *call, void *arg)
{
    fl_autocursor struct fl_cursor *c = NULL;

    assert_int_equal(fl_sql_open(call->tx, FL_SQL_command_job_get, &c, NULL, FL_T(cmd)), 0);
    assert_int_equal(fl_sql_next(c, NULL), 1);
    snprintf(arg, 8192, "%s", fl_sql_text(c, 0));
    return 0;
}

static void the_job_has_values_as_documents_see_them(void **state)
{
    char request[512], job[8192], want[200];

    (void)state;
    write_request("\"InstanceIds\":[\"$N\"],\"Parameters\":{\"commands\":[\"a\",\"b\"],"
                  "\"workingDirectory\":[\"/tmp\"]},\"CloudWatchOutputConfig\":{"
                  "\"CloudWatchOutputEnabled\":true,\"CloudWatchLogGroupName\":\"g\"}",
                  request, sizeof(request));
    fl_fixture_ok(&f, "SendCommand", request);
    snprintf(cmd, sizeof(cmd), "%s", fl_fixture_text(&f, "Command.CommandId"));
    fl_fixture_run(&f, FL_LANE_READ, read_job, job);
    assert_non_null(strstr(job, "\"Parameters\":{\"commands\":[\"a\",\"b\"],"
                                "\"workingDirectory\":\"/tmp\"}"));
    assert_non_null(strstr(job, "\"DocumentContent\":{\"schemaVersion\":"));
    assert_non_null(strstr(job, "\"CloudWatchOutputEnabled\":\"true\""));
    assert_non_null(strstr(job, "\"CloudWatchLogGroupName\":\"g\""));
    snprintf(want, sizeof(want), "\"CommandId\":\"%s\"", cmd);
    assert_non_null(strstr(job, want));
}

/* ---- reading ---- */
/* protocol 2 §3.2: the official agent reads every member as a string, and a map as an object. */
static void every_member_of_the_job_is_there(void **state)
{
    char request[512], job[8192], want[300];

    (void)state;
    snprintf(request, sizeof(request),
             "{\"DocumentName\":\"AWS-RunRemoteScript\",\"InstanceIds\":[\"%s\"],\"Parameters\":{"
             "\"sourceType\":[\"S3\"],\"sourceInfo\":[\"{\\\"path\\\":\\\"p\\\"}\"],"
             "\"commandLine\":[\"true\"]}}",
             node);
    fl_fixture_ok(&f, "SendCommand", request);
    snprintf(cmd, sizeof(cmd), "%s", fl_fixture_text(&f, "Command.CommandId"));
    fl_fixture_run(&f, FL_LANE_READ, read_job, job);
    snprintf(want, sizeof(want),
             "{\"Parameters\":{\"sourceType\":\"S3\",\"sourceInfo\":{\"path\":\"p\"},"
             "\"commandLine\":\"true\"},\"DocumentContent\":{");
    assert_memory_equal(job, want, strlen(want));
    snprintf(
        want, sizeof(want),
        "},\"CommandId\":\"%s\",\"DocumentName\":\"AWS-RunRemoteScript\","
        "\"OutputS3BucketName\":\"\",\"OutputS3KeyPrefix\":\"\",\"CloudWatchLogGroupName\":\"\","
        "\"CloudWatchOutputEnabled\":\"false\"}",
        cmd);
    assert_string_equal(job + strlen(job) - strlen(want), want);
}

static void pages_show_every_command_once_newest_first(void **state)
{
    char ids[5][37], request[4096], token[3000] = "";

    (void)state;
    for (int i = 0; i < 5; i++) {
        send_to(&f, node, ids[i]);
        f.now_ms += i % 2; /* some of them in the same millisecond */
    }
    for (int op = 0; op < 3; op++) {
        static const char *const ops[] = { "ListCommands", "ListCommandInvocations",
                                           "ListCommands" };
        static const char *const paths[] = { "Commands.0.CommandId",
                                             "CommandInvocations.0.CommandId",
                                             "Commands.0.CommandId" };
        unsigned seen = 0;

        *token = 0;
        for (int page = 0; page < 5; page++) {
            snprintf(request, sizeof(request), "{\"MaxResults\":1%s%s%s%s%s%s}",
                     *token ? ",\"NextToken\":\"" : "", token, *token ? "\"" : "",
                     op == 2 ? ",\"InstanceId\":\"" : "", op == 2 ? node : "", op == 2 ? "\"" : "");
            fl_fixture_ok(&f, ops[op], request);
            for (int i = 0; i < 5; i++)
                if (strcmp(fl_fixture_text(&f, paths[op]), ids[i]) == 0)
                    seen |= 1u << i;
            if (page < 4)
                snprintf(token, sizeof(token), "%s", fl_fixture_text(&f, "NextToken"));
            else
                assert_null(fl_fixture_text(&f, "NextToken"));
        }
        assert_int_equal(seen, 31);
    }
    fl_fixture_ok(&f, "ListCommands", "{}");
    assert_string_equal(fl_fixture_text(&f, "Commands.0.CommandId"), ids[4]);
    fl_fixture_fails(&f, "ListCommands", "{\"NextToken\":\"nonsense\"}", "InvalidNextToken");
}

static void filters_of_commands(void **state)
{
    /* one finished command, one open; sent at 00:00:00 and 00:01:00 */
    static const struct {
        const char *filter;
        int want;
    } cases[] = {
        { "{\"key\":\"Status\",\"value\":\"Success\"}", 1 },
        { "{\"key\":\"Status\",\"value\":\"InProgress\"}", 1 },
        { "{\"key\":\"Status\",\"value\":\"NoInstancesInTag\"}", 0 },
        { "{\"key\":\"ExecutionStage\",\"value\":\"Complete\"}", 1 },
        { "{\"key\":\"ExecutionStage\",\"value\":\"Executing\"}", 1 },
        { "{\"key\":\"DocumentName\",\"value\":\"AWS-RunShellScript\"}", 2 },
        { "{\"key\":\"DocumentName\",\"value\":\"Other\"}", 0 },
        { "{\"key\":\"InvokedAfter\",\"value\":\"2026-01-01T00:00:30Z\"}", 1 },
        { "{\"key\":\"InvokedBefore\",\"value\":\"2026-01-01T00:00:30Z\"}", 1 },
        { "{\"key\":\"InvokedBefore\",\"value\":\"2026-01-01T00:00:30Z\"},"
          "{\"key\":\"ExecutionStage\",\"value\":\"Executing\"}",
          0 },
    };
    char request[400], open[37];

    (void)state;
    send_to(&f, node, cmd);
    reply(&f, cmd, node, REPLY_DONE);
    f.now_ms += 60000;
    send_to(&f, node, open);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        snprintf(request, sizeof(request), "{\"Filters\":[%s]}", cases[i].filter);
        fl_fixture_ok(&f, "ListCommands", request);
        assert_int_equal(fl_fixture_count(&f, "Commands"), cases[i].want);
        snprintf(request, sizeof(request), "{\"InstanceId\":\"%s\",\"Filters\":[%s]}", node,
                 cases[i].filter);
        fl_fixture_ok(&f, "ListCommands", request);
        assert_int_equal(fl_fixture_count(&f, "Commands"), cases[i].want);
        if (strstr(cases[i].filter, "ExecutionStage"))
            continue;
        /* an invocation is Pending where its command is InProgress */
        snprintf(request, sizeof(request), "{\"Filters\":[%s]}", cases[i].filter);
        fl_fixture_ok(&f, "ListCommandInvocations", request);
        assert_int_equal(fl_fixture_count(&f, "CommandInvocations"),
                         strstr(cases[i].filter, "InProgress") ? 0 : cases[i].want);
    }
}

static void what_lists_refuse(void **state)
{
    static const struct {
        const char *op, *request, *error;
    } cases[] = {
        { "ListCommands", "{\"MaxResults\":51}", "ValidationException" },
        { "ListCommands", "{\"CommandId\":\"x\"}", "ValidationException" },
        { "ListCommands", "{\"CommandId\":\"00000000-0000-0000-0000-000000000000\"}",
          "InvalidCommandId" },
        { "ListCommands", "{\"Filters\":[{\"key\":\"Nope\",\"value\":\"x\"}]}",
          "ValidationException" },
        { "ListCommands", "{\"Filters\":[{\"key\":\"Status\",\"value\":\"Nope\"}]}",
          "ValidationException" },
        { "ListCommands", "{\"Filters\":[{\"key\":\"InvokedAfter\",\"value\":\"noon\"}]}",
          "ValidationException" },
        { "ListCommands",
          "{\"InstanceId\":\"mi-00000000000000000\",\"Filters\":[{\"key\":\"Status\",\"value\":"
          "\"Pending\"}]}",
          "InvalidFilterKey" },
        { "ListCommandInvocations",
          "{\"Filters\":[{\"key\":\"ExecutionStage\",\"value\":\"Complete\"}]}",
          "InvalidFilterKey" },
        { "GetCommandInvocation",
          "{\"CommandId\":\"00000000-0000-0000-0000-000000000000\",\"InstanceId\":"
          "\"mi-00000000000000000\"}",
          "InvocationDoesNotExist" },
        { "CancelCommand", "{\"CommandId\":\"00000000-0000-0000-0000-000000000000\"}",
          "InvalidCommandId" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        fl_fixture_fails(&f, cases[i].op, cases[i].request, cases[i].error);
    fl_fixture_ok(&f, "ListCommandInvocations",
                  "{\"CommandId\":\"00000000-0000-0000-0000-000000000000\"}");
    assert_int_equal(fl_fixture_count(&f, "CommandInvocations"), 0);
}

static void cancel_names_what_is_wrong(void **state)
{
    char request[300];

    (void)state;
    send_to(&f, node, cmd);
    snprintf(request, sizeof(request),
             "{\"CommandId\":\"%s\",\"InstanceIds\":[\"mi-00000000000000000\"]}", cmd);
    fl_fixture_fails(&f, "CancelCommand", request, "InvalidInstanceId");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"InstanceIds\":[\"%s\",\"%s\"]}",
             cmd, node, node);
    fl_fixture_fails(&f, "CancelCommand", request, "DuplicateInstanceId");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"InstanceIds\":[\"%s\"]}", cmd,
             node);
    fl_fixture_ok(&f, "CancelCommand", request);
    assert_string_equal(f.reply, "{}");
}

/* ---- several steps ---- */
static int insert_two_steps(struct fl_call *call, void *arg)
{
    struct fl_engine e = { .call = call };
    char *ids[] = { node };
    const struct fl_engine_start start = { .command_id = cmd,
                                           .expires_ms = call->now_ms + 1000,
                                           .max_concurrency = "50",
                                           .max_errors = "0",
                                           .node_ids = { ids, 1 } };
    static const char steps[] = "[{\"name\":\"one\",\"action\":\"aws:runShellScript\"},"
                                "{\"name\":\"two\",\"action\":\"aws:runShellScript\"}]";

    (void)arg;
    assert_int_equal(fl_sql_exec(call->tx, FL_SQL_command_insert, NULL, FL_T(cmd),
                                 FL_T(call->account), FL_T(call->region), FL_N(call->now_ms),
                                 FL_N(start.expires_ms), FL_N(1), FL_T("Two"), FL_T("1"), FL_T(""),
                                 FL_T("{}"), FL_T("[]"), FL_T("[]"), FL_T("[]"), FL_T(steps),
                                 FL_T("50"), FL_T("0"), FL_T(""), FL_T(""), FL_T(""), FL_T(""),
                                 FL_T("{}"), FL_T("{}"), FL_NULL),
                     1);
    return fl_engine_start(&e, &start, NULL);
}

#define STEP(name, status, out)                                                           \
    "\"" name "\":{\"status\":\"" status "\",\"code\":0,\"name\":\"aws:runShellScript\"," \
    "\"output\":\"" out "\",\"standardOutput\":\"" out "\"}"

static void get(const char *plugin)
{
    char request[300];

    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"InstanceId\":\"%s\"%s%s%s}", cmd,
             node, plugin ? ",\"PluginName\":\"" : "", plugin ? plugin : "", plugin ? "\"" : "");
    fl_fixture_ok(&f, "GetCommandInvocation", request);
}

static void steps_are_told_apart(void **state)
{
    char request[200];

    (void)state;
    strcpy(cmd, "11111111-2222-4333-8444-555555555555");
    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, insert_two_steps, NULL), 0);
    ack(&f, cmd, node, "200");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"Details\":true}", cmd);
    fl_fixture_ok(&f, "ListCommandInvocations", request);
    assert_int_equal(fl_fixture_count(&f, "CommandInvocations.0.CommandPlugins"), 2);
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.0.Status"),
                        "InProgress");
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.1.Status"),
                        "Pending");
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.0.ResponseCode"),
                        "-1");

    /* the last step first, and the document's end before both */
    reply(&f, cmd, node, "{\"documentStatus\":\"Success\",\"runtimeStatus\":{}}");
    reply(&f, cmd, node,
          "{\"documentStatus\":\"InProgress\",\"runtimeStatus\":{" STEP("two", "Skipped", "") "}}");
    reply(
        &f, cmd, node,
        "{\"documentStatus\":\"InProgress\",\"runtimeStatus\":{" STEP("one", "Success", "1") "}}");
    fl_fixture_ok(&f, "ListCommandInvocations", request);
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.0.Name"), "one");
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.0.Output"), "1");
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.1.Status"),
                        "Success");

    get(NULL);
    assert_string_equal(fl_fixture_text(&f, "PluginName"), "");
    assert_string_equal(fl_fixture_text(&f, "ResponseCode"), "-1");
    assert_string_equal(fl_fixture_text(&f, "Status"), "Success");
    assert_string_equal(fl_fixture_text(&f, "StandardOutputContent"), "");
}

#define PLUGIN "CommandInvocations.0.CommandPlugins."

/* A poll for the end must see one. */
static void a_node_that_does_not_come_back_has_no_step_in_progress(void **state)
{
    char request[200];

    (void)state;
    send_to(&f, node, cmd);
    ack(&f, cmd, node, "200");
    reply(&f, cmd, node,
          "{\"documentStatus\":\"SuccessAndReboot\",\"runtimeStatus\":{" STEP(
              "aws:runShellScript", "SuccessAndReboot", "1") "}}");
    get(NULL);
    assert_string_equal(fl_fixture_text(&f, "Status"), "InProgress");
    f.now_ms += 7201 * 1000;
    tick(&f);
    assert_string_equal(invocation(&f, cmd, node), "TimedOut/DeliveryTimedOut");
    get(NULL);
    assert_string_equal(fl_fixture_text(&f, "Status"), "TimedOut");
    assert_string_equal(fl_fixture_text(&f, "StatusDetails"), "DeliveryTimedOut");
    assert_string_equal(fl_fixture_text(&f, "ResponseCode"), "-1");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"Details\":true}", cmd);
    fl_fixture_ok(&f, "ListCommandInvocations", request);
    assert_string_equal(fl_fixture_text(&f, PLUGIN "0.StatusDetails"), "DeliveryTimedOut");
}

/* protocol 4 §5.5: the step stays in progress, and the updater speaks for it by its action. */
static void an_updater_ends_the_step_of_its_action(void **state)
{
    char request[200];

    (void)state;
    strcpy(cmd, "11111111-2222-4333-8444-555555555556");
    assert_int_equal(fl_fixture_run(&f, FL_LANE_WRITE, insert_two_steps, NULL), 0);
    ack(&f, cmd, node, "200");
    reply(&f, cmd, node,
          "{\"documentStatus\":\"InProgress\",\"runtimeStatus\":{" STEP("one", "InProgress",
                                                                        "") "}}");
    reply(&f, cmd, node,
          "{\"documentStatus\":\"Success\",\"runtimeStatus\":{" STEP("aws:runShellScript",
                                                                     "Success", "updated") "}}");
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"Details\":true}", cmd);
    fl_fixture_ok(&f, "ListCommandInvocations", request);
    assert_string_equal(fl_fixture_text(&f, PLUGIN "0.Status"), "Success");
    assert_string_equal(fl_fixture_text(&f, PLUGIN "0.ResponseCode"), "0");
    assert_string_equal(fl_fixture_text(&f, PLUGIN "0.Output"), "updated");
    assert_string_equal(fl_fixture_text(&f, PLUGIN "1.Output"), "");
}

static void a_plugin_is_chosen_by_its_name(void **state)
{
    char request[200];

    (void)state;
    send_to(&f, node, cmd);
    get("aws:runShellScript");
    assert_string_equal(fl_fixture_text(&f, "ResponseCode"), "-1");
    assert_string_equal(fl_fixture_text(&f, "ExecutionStartDateTime"), "");
    assert_string_equal(fl_fixture_text(&f, "Status"), "Pending");
    snprintf(request, sizeof(request),
             "{\"CommandId\":\"%s\",\"InstanceId\":\"%s\",\"PluginName\":\"nope\"}", cmd, node);
    fl_fixture_fails(&f, "GetCommandInvocation", request, "InvalidPluginName");
}

static void details_only_when_asked(void **state)
{
    char request[200];

    (void)state;
    send_to(&f, node, cmd);
    reply(&f, cmd, node, REPLY_DONE);
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\"}", cmd);
    fl_fixture_ok(&f, "ListCommandInvocations", request);
    assert_int_equal(fl_fixture_count(&f, "CommandInvocations.0.CommandPlugins"), 0);
    snprintf(request, sizeof(request), "{\"CommandId\":\"%s\",\"Details\":true}", cmd);
    fl_fixture_ok(&f, "ListCommandInvocations", request);
    assert_int_equal(fl_fixture_count(&f, "CommandInvocations.0.CommandPlugins"), 1);
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.0.Output"),
                        "hi\n");
    assert_string_equal(
        fl_fixture_text(&f, "CommandInvocations.0.CommandPlugins.0.StandardOutputUrl"), "");
}

/* ---- ec2messages ---- */
static void the_older_message_service(void **state)
{
    char request[2000];

    (void)state;
    send_to(&f, node, cmd);
    fl_fixture_as_node(&f, node);
    snprintf(request, sizeof(request),
             "{\"Destination\":\"%s\",\"MessagesRequestId\":\"0123456789abcdef\","
             "\"VisibilityTimeoutInSeconds\":10}",
             node);
    fl_fixture_ok(&f, "ec2messages:GetMessages", request);
    assert_int_equal(fl_fixture_count(&f, "Messages"), 0);
    assert_string_equal(fl_fixture_text(&f, "MessagesRequestId"), "0123456789abcdef");
    fl_fixture_ok(&f, "ec2messages:FailMessage",
                  "{\"MessageId\":\"x\",\"FailureType\":\"NoHandlerExists\"}");
    snprintf(request, sizeof(request),
             "{\"MessageId\":\"%s\",\"ReplyId\":\"r\",\"Payload\":"
             "\"{\\\"documentStatus\\\":\\\"Failed\\\",\\\"documentTraceOutput\\\":\\\"why\\\"}\"}",
             job_id(cmd, node));
    fl_fixture_ok(&f, "ec2messages:SendReply", request);
    assert_string_equal(fl_fixture_text(&f, "ReplyId"), "r");
    fl_fixture_fails(&f, "ec2messages:SendReply",
                     "{\"MessageId\":\"x\",\"ReplyId\":\"r\",\"Payload\":\"nonsense\"}",
                     "InvalidMessageIdException");
    fl_fixture_as_admin(&f);
    assert_string_equal(invocation(&f, cmd, node), "Failed/Failed");
    assert_string_equal(fl_fixture_text(&f, "CommandInvocations.0.TraceOutput"), "why");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_first_fault_decides),
        CASE(large_parameters_are_refused),
        CASE(outputs_go_where_there_is_a_bucket),
        CASE(the_text_for_unknown_nodes),
        CASE(every_member_of_the_reply_is_there),
        CASE(timeouts_add_up),
        CASE(the_job_has_values_as_documents_see_them),
        CASE(every_member_of_the_job_is_there),
        CASE(pages_show_every_command_once_newest_first),
        CASE(filters_of_commands),
        CASE(what_lists_refuse),
        CASE(cancel_names_what_is_wrong),
        CASE(steps_are_told_apart),
        CASE(a_node_that_does_not_come_back_has_no_step_in_progress),
        CASE(an_updater_ends_the_step_of_its_action),
        CASE(a_plugin_is_chosen_by_its_name),
        CASE(details_only_when_asked),
        CASE(the_older_message_service),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
