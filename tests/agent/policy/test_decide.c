/* A whole job under a policy: which step is refused and in what words, when a signature counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/policy/decide.h"
#include "common/doc/signed.h"

#define NODE    "mi-0123456789abcdef0"
#define NOW_S   1767355200
#define NONCE   "0123456789abcdef0123456789abcdef"
#define STEP(n) "{\"action\":\"aws:runShellScript\",\"name\":\"" n "\",\"inputs\":{}}"
#define DOC                                                                                    \
    "{\"schemaVersion\":\"2.2\",\"parameters\":{\"FairleadSignature\":{\"type\":\"String\"}}," \
    "\"mainSteps\":[" STEP("one") "," STEP("two") ",{\"action\":\"aws:other\",\"name\":"       \
                                                  "\"three\",\"inputs\":{}}]}"

static struct fl_ed25519 *key;
static char *public;

static int make_key(void **state)
{
    return fl_ed25519_generate(&key, NULL) || fl_ed25519_public_text(key, &public);
}

static int free_key(void **state)
{
    key = fl_ed25519_free(key);
    free(public);
    return 0;
}

static void decide(const char *rules, const char *signature, int64_t now_s, struct fl_arena *arena,
                   struct fl_judgement *ret)
{
    char policy[4096], content[8192];
    struct fl_node_policy *p = NULL;
    struct fl_err err = { 0 };
    const struct fl_job job = { .document_name = "Doc", .node_id = NODE, .content = content };

    snprintf(policy, sizeof(policy),
             "{\"version\":1,\"default\":\"deny\",\"keys\":{\"alice\":\"%s\"},\"labels\":[\"web\"],"
             "\"rules\":[%s]}",
             public, rules);
    snprintf(content, sizeof(content),
             "{\"DocumentContent\":" DOC ",\"Parameters\":{\"FairleadSignature\":\"%s\"}}",
             signature);
    if (fl_node_policy_parse(policy, strlen(policy), &p, &err) < 0)
        fail_msg("%s", fl_err_text(&err));
    fl_decide_job(p, &job, "root", now_s * 1000, arena, ret);
    fl_node_policy_free(p);
}

static void sign(const char *targets, int64_t from_s, int64_t to_s, struct fl_buf *out)
{
    struct fl_signature s = { .key = "alice",
                              .not_before_s = from_s,
                              .not_after_s = to_s,
                              .nonce = NONCE,
                              .targets = (char *)targets };
    fl_autobuf struct fl_buf payload = FL_BUF(65536);
    struct fl_err err = { 0 };
    assert_int_equal(fl_signature_payload(&s, "Doc", DOC, "{}", &payload, &err), 0);
    assert_int_equal(fl_ed25519_sign(key, payload.data, payload.len, &s.sig), 0);
    assert_int_equal(fl_signature_format(&s, out, &err), 0);
    free(s.sig);
}

static void the_refused_step_is_named(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_judgement j;
    decide("{\"name\":\"shell\",\"effect\":\"allow\",\"match\":{\"actions\":[\"aws:run*\"]}}", "",
           NOW_S, &arena, &j);
    assert_false(j.allowed);
    assert_int_equal(j.step, 2);
    assert_string_equal(j.key, "three");
    assert_string_equal(j.action, "aws:other");
    assert_string_equal(j.why, "fairlead: refused by the policy of this node: no rule allows it "
                               "(step 3, three, aws:other)");
    decide("{\"name\":\"all\",\"effect\":\"allow\",\"match\":{}}", "", NOW_S, &arena, &j);
    assert_true(j.allowed);
    assert_false(j.by_signature);
    assert_null(j.nonce);
    assert_int_equal(strlen(j.document_sha256), 64);
}

static void a_document_that_is_none_is_told_as_a_worker_would(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    const struct fl_job job = { .content = "{\"DocumentContent\":{\"schemaVersion\":\"9\"}}" };
    const char *text = "{\"version\":1,\"default\":\"allow\",\"rules\":[]}";
    struct fl_node_policy *p = NULL;
    struct fl_judgement j;
    assert_int_equal(fl_node_policy_parse(text, strlen(text), &p, NULL), 0);
    fl_decide_job(p, &job, "root", 1, &arena, &j);
    assert_false(j.allowed);
    assert_non_null(strstr(j.broken, "schema version 9 is not supported"));
    fl_node_policy_free(p);
}

static const struct {
    const char *targets;
    int64_t from_s, to_s;
    const char *why; /* NULL: it counts */
} signatures[] = {
    { "*", NOW_S - 10, NOW_S + 10, NULL },
    { NODE, NOW_S, NOW_S + 1, NULL },
    { "mi-1,@web", NOW_S - 10, NOW_S + 10, NULL },
    { "mi-1,@db", NOW_S - 10, NOW_S + 10, "it is for other nodes" },
    { "*", NOW_S - 10, NOW_S, "it expired at 2026-01-02T12:00:00Z" },
    { "*", NOW_S + 1, NOW_S + 10, "it holds from 2026-01-02T12:00:01Z on" },
};

static void when_a_signature_counts(void **state)
{
    static const char rule[] =
        "{\"name\":\"signed\",\"effect\":\"allow\",\"match\":{\"signedBy\":[\"alice\"]}}";

    for (size_t i = 0; i < FL_ARRAY_LEN(signatures); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        fl_autobuf struct fl_buf sig = FL_BUF(FL_SIGNATURE_MAX_BYTES);
        struct fl_judgement j;
        sign(signatures[i].targets, signatures[i].from_s, signatures[i].to_s, &sig);
        decide(rule, sig.data, NOW_S, &arena, &j);
        if (!signatures[i].why) {
            assert_true(j.allowed && j.by_signature);
            assert_string_equal(j.signed_by, "alice");
            assert_string_equal(j.nonce, NONCE);
            assert_int_equal(j.not_after_s, signatures[i].to_s);
        } else {
            assert_false(j.allowed);
            assert_null(j.signed_by);
            if (!strstr(j.why, signatures[i].why))
                fail_msg("%s\nlacks %s", j.why, signatures[i].why);
        }
    }
}

/* A session under a policy: by type, user, document, parameters. */
static void sessions(void **state)
{
#define SESSION(type, rest)                                                                  \
    "{\"SessionId\":\"a\",\"DocumentName\":\"Doc\",\"DocumentContent\":{"                    \
    "\"schemaVersion\":\"1.0\",\"sessionType\":\"" type "\",\"parameters\":{\"portNumber\":" \
    "{\"type\":\"String\",\"default\":\"22\"}},\"properties\":{\"portNumber\":"              \
    "\"{{ portNumber }}\"}}" rest "}"
#define ALLOW(match) "{\"name\":\"r\",\"effect\":\"allow\",\"match\":{" match "}}"
#define DENY(match)                                                \
    "{\"name\":\"no\",\"effect\":\"deny\",\"match\":{" match "}}," \
    "{\"name\":\"r\",\"effect\":\"allow\",\"match\":{}}"
#define COMMAND(parameters)                                                              \
    "{\"SessionId\":\"a\",\"DocumentName\":\"Doc\",\"DocumentContent\":{"                \
    "\"schemaVersion\":\"1.0\",\"sessionType\":\"InteractiveCommands\",\"parameters\":{" \
    "\"a\":{\"type\":\"String\",\"default\":\"\"},\"b\":{\"type\":\"String\","           \
    "\"default\":\"\"}},\"properties\":{\"linux\":{\"commands\":"                        \
    "\"echo {{ssm:own}} {{a}}{{b}}\"}}},\"Parameters\":{" parameters "}}"
    static const struct {
        const char *rule, *content, *own_user, *configured;
        bool allowed;
        const char *why;
    } cases[] = {
        { ALLOW("\"sessionTypes\":[\"Standard*\"]"), SESSION("Standard_Stream", ""), "root", NULL,
          true, "rule \"r\" (session, Standard_Stream, as ssm-user)" },
        { ALLOW("\"sessionTypes\":[\"Standard*\"]"), SESSION("Port", ""), "root", NULL, false,
          "no rule allows it (session, Port)" },
        { ALLOW("\"runAs\":[\"ops\"]"), SESSION("Standard_Stream", ""), "root", "ops", true,
          "ops" },
        { ALLOW("\"runAs\":[\"ops\"]"), SESSION("Standard_Stream", ",\"RunAsUser\":\"eve\""),
          "root", "ops", false, "as eve" },
        { ALLOW("\"runAs\":[\"me\"]"), SESSION("Standard_Stream", ""), "me", NULL, true, "as me" },
        { ALLOW("\"runAs\":[\"me\"]"), SESSION("Port", ""), "me", NULL, false, "Port" },
        { ALLOW("\"sessionTypes\":[\"Port\"],\"parameters\":{\"portNumber\":\"22\"}"),
          SESSION("Port", ""), "root", NULL, true, "Port" },
        { ALLOW("\"sessionTypes\":[\"Port\"],\"parameters\":{\"portNumber\":\"22\"}"),
          SESSION("Port", ",\"Parameters\":{\"portNumber\":\"23\"}"), "root", NULL, false, "Port" },
        /* A value of Parameter Store is the plane's word: no pattern bounds it. */
        { ALLOW("\"parameters\":{\"a\":\"[^;]*\",\"b\":\"[^;]*\"}"), COMMAND("\"a\":\"x\""), "root",
          NULL, true, "" },
        { ALLOW("\"parameters\":{\"a\":\"[^;]*\",\"b\":\"[^;]*\"}"), COMMAND("\"a\":\"{{ssm:x}}\""),
          "root", NULL, false, "" },
        { ALLOW("\"parameters\":{\"a\":\"[^;]*\",\"b\":\"[^;]*\"}"),
          COMMAND("\"a\":\"{{ssm:own}}\""), "root", NULL, false, "" },
        { ALLOW("\"parameters\":{\"a\":\"[^;]*\",\"b\":\"[^;]*\"}"),
          COMMAND("\"a\":\"{{ss\",\"b\":\"m:x}}\""), "root", NULL, false, "" },
        { DENY("\"parameters\":{\"a\":\"rm .*\"}"), COMMAND("\"a\":\"{{ssm:x}}\""), "root", NULL,
          false, "rule \"no\"" },
        { DENY("\"parameters\":{\"a\":\"rm .*\"}"), COMMAND("\"a\":\"ls\""), "root", NULL, true,
          "rule \"r\"" },
        { ALLOW("\"actions\":[\"*\"]"), SESSION("Standard_Stream", ""), "root", NULL, false, "" },
        { ALLOW("\"inputs\":{\"a\":\"b\"}"), SESSION("Standard_Stream", ""), "root", NULL, false,
          "" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        const struct fl_session session = { .content = (char *)cases[i].content,
                                            .user = (char *)cases[i].configured };
        struct fl_node_policy *p = NULL;
        struct fl_judgement j;
        struct fl_err err = { 0 };
        char policy[1024];

        snprintf(policy, sizeof(policy), "{\"version\":1,\"default\":\"deny\",\"rules\":[%s]}",
                 cases[i].rule);
        if (fl_node_policy_parse(policy, strlen(policy), &p, &err) < 0)
            fail_msg("%s", fl_err_text(&err));
        fl_decide_session(p, &session, cases[i].own_user, NOW_S * 1000LL, &arena, &j);
        assert_null(j.broken);
        if (j.allowed != cases[i].allowed)
            fail_msg("%zu: %s", i, j.why);
        if (!strstr(j.why, cases[i].why))
            fail_msg("%zu: %s", i, j.why);
        fl_node_policy_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions),
        cmocka_unit_test(the_refused_step_is_named),
        cmocka_unit_test(a_document_that_is_none_is_told_as_a_worker_would),
        cmocka_unit_test(when_a_signature_counts),
    };

    return cmocka_run_group_tests(tests, make_key, free_key);
}
