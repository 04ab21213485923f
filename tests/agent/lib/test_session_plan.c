/* What a session's document and parameters come to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/session_plan.h"

#define DOC(type, rest) "{\"schemaVersion\":\"1.0\",\"sessionType\":\"" type "\"" rest "}"
#define CONTENT(document, rest) \
    "{\"SessionId\":\"alice-1\",\"DocumentName\":\"D\",\"DocumentContent\":" document rest "}"

static struct fl_arena arena;

static int reset(void **state)
{
    fl_arena_done(&arena);
    fl_arena_init(&arena, 8 << 20);
    return 0;
}

static struct fl_session_plan good(const char *content)
{
    struct fl_session_plan plan;
    struct fl_err err = { 0 };

    if (fl_session_plan_load(content, NULL, &arena, &plan, &err) < 0)
        fail_msg("%s: %s", content, err.text);
    return plan;
}

static void shells(void **state)
{
    struct fl_session_plan p = good(
        CONTENT(DOC("Standard_Stream", ",\"properties\":{\"linux\":{\"commands\":\"ignored\"}},"
                                       "\"inputs\":{\"shellProfile\":{\"linux\":\"cd /\"},"
                                       "\"kmsKeyId\":\"\",\"runAsEnabled\":false,"
                                       "\"runAsDefaultUser\":\"bob\"}"),
                ""));

    assert_int_equal(p.kind, FL_SESSION_STANDARD);
    assert_string_equal(p.profile, "cd /");
    assert_null(p.kms_key_id);
    assert_null(p.commands);
    assert_false(p.run_as_named);
    assert_false(p.extras.handshake);

    p = good(
        CONTENT(DOC("InteractiveCommands", ",\"parameters\":{\"command\":{\"type\":\"String\"}},"
                                           "\"properties\":{\"linux\":{\"commands\":"
                                           "\"x {{ command }}\",\"runAsElevated\":\"true\"}},"
                                           "\"inputs\":{\"kmsKeyId\":\"k\"}"),
                ",\"Parameters\":{\"command\":\"echo a$$b\"}"));
    assert_string_equal(p.commands, "x echo a$b");
    assert_string_equal(p.parameters, "{\"command\":\"echo a$$b\"}");
    assert_true(p.elevated);
    assert_string_equal(p.kms_key_id, "k");
    assert_null(p.profile);
}

static void logging(void **state)
{
    struct fl_session_plan p = good(
        CONTENT(DOC("Standard_Stream",
                    ",\"inputs\":{\"s3BucketName\":\"b\",\"s3KeyPrefix\":\"p\","
                    "\"s3EncryptionEnabled\":\"true\",\"cloudWatchLogGroupName\":\"g\","
                    "\"cloudWatchEncryptionEnabled\":false,\"cloudWatchStreamingEnabled\":true}"),
                ""));

    assert_string_equal(p.logging.bucket, "b");
    assert_string_equal(p.logging.prefix, "p");
    assert_string_equal(p.logging.group, "g");
    assert_true(p.logging.bucket_encrypted && !p.logging.group_encrypted && p.logging.stream);

    /* streams are of shells; empty names are none */
    p = good(CONTENT(DOC("InteractiveCommands", ",\"properties\":{\"linux\":{\"commands\":\"a\"}},"
                                                "\"inputs\":{\"s3BucketName\":\"\","
                                                "\"cloudWatchLogGroupName\":\"g\","
                                                "\"cloudWatchStreamingEnabled\":true}"),
                     ""));
    assert_null(p.logging.bucket);
    assert_false(p.logging.stream);

    /* where the plane does it, and where nothing is shown */
    p = good(CONTENT(DOC("Standard_Stream", ",\"inputs\":{\"s3BucketName\":\"b\","
                                            "\"cloudWatchLogGroupName\":\"g\"}"),
                     ",\"Fairlead\":{\"KeepsBucket\":true}"));
    assert_null(p.logging.bucket);
    assert_string_equal(p.logging.group, "g");
    p = good(CONTENT(DOC("Port", ",\"properties\":{},\"inputs\":{\"s3BucketName\":\"b\"}"), ""));
    assert_null(p.logging.bucket);
}

static void values_of_parameter_store(void **state)
{
    static const char content[] = CONTENT(
        DOC("InteractiveCommands", ",\"properties\":{\"linux\":{\"commands\":\"{{ssm:a}}\"}},"
                                   "\"inputs\":{\"s3BucketName\":\"{{ssm:b}}\"}"),
        "");
    struct fl_ssm_refs *refs = fl_ssm_refs_new();
    const char *names[FL_SSM_REFS_BATCH];
    struct fl_session_plan p;

    assert_int_equal(fl_session_plan_load(content, refs, &arena, &p, NULL), 0);
    assert_string_equal(p.commands, "{{ssm:a}}");
    assert_int_equal(fl_ssm_refs_next(refs, names), 2);
    fl_ssm_refs_learn(refs, "a", NULL, 1, "String", "echo a");
    fl_ssm_refs_learn(refs, "b", NULL, 1, "String", "bucket");
    assert_int_equal(fl_session_plan_load(content, refs, &arena, &p, NULL), 0);
    assert_string_equal(p.commands, "echo a");
    assert_string_equal(p.logging.bucket, "bucket");
    fl_ssm_refs_free(refs);
}

static void commands(void **state)
{
    struct fl_session_plan p = good(CONTENT(
        DOC("NonInteractiveCommands",
            ",\"properties\":{\"linux\":{\"commands\":\"a\",\"separateOutputStream\":\"true\","
            "\"stdOutSeparatorPrefix\":\"O:\\r\\n\",\"stdErrSeparatorPrefix\":\"\",\"shell\":"
            "\"true\","
            "\"stdin\":true}}"),
        ",\"Fairlead\":{\"MaxPayload\":65536,\"EndOfInput\":true}"));

    assert_true(p.separate_output && p.shell && p.has_stdin && !p.elevated);
    assert_string_equal(p.stdout_prefix, "O:\r\n");
    assert_null(p.stderr_prefix);
    assert_int_equal(p.extras.max_payload, 65536);
    assert_true(p.extras.end_of_input);
}

static void ports(void **state)
{
    struct fl_session_plan p =
        good(CONTENT(DOC("Port", ",\"parameters\":{\"portNumber\":{\"type\":\"String\",\"default\":"
                                 "\"80\"}},\"properties\":{\"portNumber\":\"{{ portNumber }}\","
                                 "\"type\":\"LocalPortForwarding\"},"
                                 "\"inputs\":{\"kmsKeyId\":\"never for ports\"}"),
                     ""));

    assert_string_equal(p.properties, "{\"portNumber\":\"80\",\"type\":\"LocalPortForwarding\"}");
    assert_null(p.kms_key_id);
    assert_null(fl_session_plan_user(&p, true, "bob"));
}

static void bad(void **state)
{
    static const struct {
        const char *content, *words;
    } cases[] = {
        { "", "JSON" },
        { "[]", "" },
        { "{}", "missing" },
        { CONTENT("5", ""), "object" },
        { CONTENT(DOC("", ""), ""), "sessionType" },
        { CONTENT(DOC("Shell", ""), ""), "sessionType" },
        { CONTENT("{\"schemaVersion\":\"2.2\",\"sessionType\":\"Port\"}", ""), "schemaVersion" },
        { CONTENT("{\"sessionType\":\"Standard_Stream\"}", ""), "schemaVersion" },
        { CONTENT(DOC("Port", ""), ""), "properties" },
        { CONTENT(DOC("Port", ",\"properties\":[]"), ""), "properties" },
        { CONTENT(DOC("InteractiveCommands", ""), ""), "commands" },
        { CONTENT(DOC("InteractiveCommands", ",\"properties\":{\"linux\":{\"commands\":\" \"}}"),
                  ""),
          "commands" },
        { CONTENT(DOC("InteractiveCommands", ",\"properties\":{\"linux\":{\"commands\":[\"a\"]}}"),
                  ""),
          "commands" },
        { CONTENT(DOC("InteractiveCommands",
                      ",\"properties\":{\"linux\":{\"commands\":\"a\",\"runAsElevated\":1}}"),
                  ""),
          "runAsElevated" },
        { CONTENT(DOC("NonInteractiveCommands",
                      ",\"properties\":{\"linux\":{\"commands\":\"a\",\"stdOutSeparatorPrefix\":"
                      "\"a b\"}}"),
                  ""),
          "stdOutSeparatorPrefix" },
        { CONTENT(DOC("Standard_Stream", ",\"inputs\":{\"runAsEnabled\":\"perhaps\"}"), ""),
          "runAsEnabled" },
        { CONTENT(DOC("Standard_Stream", ",\"inputs\":{\"s3EncryptionEnabled\":5}"), ""),
          "s3EncryptionEnabled" },
        { CONTENT(DOC("Standard_Stream", ",\"inputs\":{\"runAsEnabled\":true,"
                                         "\"runAsDefaultUser\":\"{{ssm:who}}\"}"),
                  ""),
          "Parameter Store" },
        { CONTENT(
              DOC("Standard_Stream",
                  ",\"parameters\":{\"a\":{\"type\":\"String\",\"allowedPattern\":\"^[0-9]+$\"}}"),
              ",\"Parameters\":{\"a\":\"x\"}"),
          "allowed pattern" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_session_plan plan;
        struct fl_err err = { 0 };

        assert_true(fl_session_plan_load(cases[i].content, NULL, &arena, &plan, &err) < 0);
        if (!strstr(err.text, cases[i].words))
            fail_msg("%s: %s", cases[i].content, err.text);
    }
}

static void users(void **state)
{
#define SHELL(inputs, rest) CONTENT(DOC("Standard_Stream", ",\"inputs\":{" inputs "}"), rest)
    static const struct {
        const char *content;
        bool root;
        const char *configured, *user;
    } cases[] = {
        { SHELL("", ""), true, NULL, "ssm-user" },
        { SHELL("", ""), true, "", "ssm-user" },
        { SHELL("", ""), true, "ops", "ops" },
        { SHELL("", ""), false, "ops", NULL },
        { SHELL("\"runAsDefaultUser\":\"bob\"", ""), true, "ops", "ops" },
        { SHELL("\"runAsEnabled\":true,\"runAsDefaultUser\":\"bob\"", ""), true, "ops", "bob" },
        { SHELL("\"runAsEnabled\":\"true\",\"runAsDefaultUser\":\"bob\"",
                ",\"RunAsUser\":\"carol\""),
          true, "ops", "carol" },
        { SHELL("", ",\"RunAsUser\":\"carol\""), true, NULL, "carol" },
        { SHELL("\"runAsEnabled\":true", ""), true, "ops", "" },
        { CONTENT(DOC("InteractiveCommands", ",\"properties\":{\"linux\":{\"commands\":\"a\","
                                             "\"runAsElevated\":true}}"),
                  ",\"RunAsUser\":\"carol\""),
          true, "ops", "root" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_session_plan p = good(cases[i].content);
        const char *user = fl_session_plan_user(&p, cases[i].root, cases[i].configured);

        if (cases[i].user)
            assert_string_equal(user, cases[i].user);
        else
            assert_null(user);
    }
}

static int end(void **state)
{
    fl_arena_done(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shells, reset),
        cmocka_unit_test_setup(commands, reset),
        cmocka_unit_test_setup(ports, reset),
        cmocka_unit_test_setup(bad, reset),
        cmocka_unit_test_setup(users, reset),
        cmocka_unit_test_setup(logging, reset),
        cmocka_unit_test_setup(values_of_parameter_store, reset),
    };

    return cmocka_run_group_tests(tests, NULL, end);
}
