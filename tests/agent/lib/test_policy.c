/* The policy file: what is refused and where; what rules fit what steps. Cases are data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/lib/policy.h"

#define KEY            "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
#define MAX_POLICY     8192
/* 2026-01-02 is a Friday. */
#define FRIDAY_NOON_MS 1767355200000LL

static struct fl_node_policy *parse(const char *text)
{
    struct fl_node_policy *p = NULL;
    struct fl_err err = { 0 };

    if (fl_node_policy_parse(text, strlen(text), &p, &err) < 0)
        fail_msg("%s\n%s", text, fl_err_text(&err));
    return p;
}

/* ---- reading ---- */

#define RULES(rules) "{\"version\":1,\"default\":\"deny\",\"rules\":[" rules "]}"
#define MATCH(match) RULES("{\"name\":\"r\",\"effect\":\"allow\",\"match\":{" match "}}")

static const struct {
    const char *text, *want;
} bad[] = {
    { "", "line 1: '[' or '{' expected" },
    { "{\n\"version\": 1,\n]", "line 3: " },
    { "[]", "line 1: must be an object" },
    { "{\"version\":1,\"version\":1}", "line 1: duplicate object key" },
    { "{}", "line 1: \"version\" is missing" },
    { "{\"version\":2,\"default\":\"deny\",\"rules\":[]}", "line 1: version: must be 1" },
    { "{\"version\":\"1\",\"default\":\"deny\",\"rules\":[]}", "version: must be an integer" },
    { "{\"version\":1,\n\"default\":\"Deny\",\"rules\":[]}", "line 2: default: must be allow or" },
    { "{\"version\":1,\"default\":\"deny\"}", "\"rules\" is missing" },
    { "{\"version\":1,\"default\":\"deny\",\"rules\":[],\n\"rulez\":[]}",
      "line 2: rulez: unknown member" },
    { "{\"version\":1,\"default\":\"deny\",\"rules\":{}}", "rules: must be a list" },
    { RULES("7"), "rules[0]: must be an object" },
    { RULES("{\"name\":\"r\",\"effect\":\"allow\"}"), "rules[0]: \"match\" is missing" },
    { RULES("{\"name\":\"r\",\"effect\":\"allow\",\"match\":null}"), "must be an object" },
    { RULES("{\"name\":\"r\",\"effect\":\"alow\",\"match\":{}}"),
      "rules[0].effect: must be allow or deny" },
    { RULES("{\"name\":\"\",\"effect\":\"allow\",\"match\":{}}"), "rules[0].name: must be a str" },
    { RULES("{\"name\":\"a\\\"b\",\"effect\":\"allow\",\"match\":{}}"), "rules[0].name: more" },
    { RULES("{\"name\":\"r\",\"effect\":\"allow\",\"match\":{}},\n{\"name\":\"r\",\"effect\":"
            "\"deny\",\"match\":{}}"),
      "line 2: rules[1].name: another rule has this name" },
    { MATCH("\"action\":[\"x\"]"), "rules[0].match.action: unknown member" },
    { MATCH("\"actions\":\"x\""), "rules[0].match.actions: must be a list of strings, not empty" },
    /* an empty list would fit everything */
    { MATCH("\"actions\":[]"), "rules[0].match.actions: must be a list of strings, not empty" },
    { MATCH("\"actions\":null"), "rules[0].match.actions: must be a list of strings" },
    { MATCH("\"actions\":[\n\"x\",\n1]"), "line 3: rules[0].match.actions[1]: must be a string" },
    { MATCH("\"parameters\":{}"), "rules[0].match.parameters: must be an object of strings" },
    { MATCH("\"parameters\":{\"a\":[]}"), "rules[0].match.parameters.a: must be a string" },
    { MATCH("\"parameters\":{\"a\":\"(\"}"), "match.parameters.a: not a regular expression: " },
    { MATCH("\"inputs\":{\"a\":\"((x{99}){99}){99}\"}"),
      "match.inputs.a: not a regular expression" },
    { MATCH("\"documentHashes\":[\"AB\"]"), "documentHashes[0]: must be SHA-256" },
    { MATCH("\"signedBy\":[\"bob\"]"), "signedBy[0]: not the name of one of \"keys\"" },
    { MATCH("\"times\":[\"8:00-18:00\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"08:00-18:00 CET\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"08:00-08:00\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"08:60-09:00\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"24:00-09:00\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"00:00-24:01\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"Mon- 08:00-09:00\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"Mon,08:00-09:00\"]"), "times[0]: must be like" },
    { MATCH("\"times\":[\"mon 08:00-09:00\"]"), "times[0]: must be like" },
    { "{\"version\":1,\"default\":\"deny\",\"rules\":[],\"keys\":{\"a b\":\"" KEY "\"}}",
      "keys.a b: names of keys" },
    { "{\"version\":1,\"default\":\"deny\",\"rules\":[],\"keys\":{\"a\":\"x\"}}",
      "keys.a: must be an Ed25519 public key" },
    { "{\"version\":1,\"default\":\"deny\",\"rules\":[],\"labels\":[\"a,b\"]}",
      "labels[0]: label" },
    { "{\"a\\u0000\":1}", "line 1: " },
};

static void bad_files_are_refused_with_line_and_member(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        struct fl_node_policy *p = NULL;
        struct fl_err err = { 0 };

        assert_true(fl_node_policy_parse(bad[i].text, strlen(bad[i].text), &p, &err) < 0);
        assert_null(p);
        if (!strstr(fl_err_text(&err), bad[i].want))
            fail_msg("%s\n%s\nlacks %s", bad[i].text, fl_err_text(&err), bad[i].want);
    }
}

static void what_stands_in_it(void **state)
{
    struct fl_node_policy *p =
        parse("{\"version\":1,\"default\":\"allow\",\"keys\":{\"alice\":\"" KEY "\"},"
              "\"labels\":[\"web\",\"db\"],\"rules\":["
              "{\"name\":\"trusts\",\"effect\":\"allow\",\"match\":{\"documents\":[\"*\"]}},"
              "{\"name\":\"no\",\"effect\":\"deny\",\"match\":{}},"
              "{\"name\":\"signed\",\"effect\":\"allow\",\"match\":{\"signedBy\":[\"alice\"]}}]}");
    size_t n, i = 0;
    char *const *labels = fl_node_policy_labels(p, &n);

    assert_int_equal(n, 2);
    assert_string_equal(labels[1], "db");
    assert_int_equal(fl_node_policy_n_rules(p), 3);
    assert_true(fl_node_policy_default_allows(p));
    assert_string_equal(fl_node_policy_key(p, "alice"), KEY);
    assert_null(fl_node_policy_key(p, "bob"));
    assert_string_equal(fl_node_policy_next_trusting(p, &i), "trusts");
    assert_null(fl_node_policy_next_trusting(p, &i));
    fl_node_policy_free(p);
}

/* ---- deciding: one rule that allows under a default that denies, and the reverse ---- */

static const struct fl_node_policy_subject shell = {
    .document = "AWS-RunShellScript",
    .document_sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    .parameters =
        "{\"commands\":[\"uptime\",\"df -h\"],\"n\":3,\"none\":null,\"m\":{\"b\":1,\"a\":2},"
        "\"FairleadSignature\":\"whatever\"}",
    .action = "aws:runShellScript",
    .inputs = "{\"runCommand\":[\"uptime\",\"df -h\"],\"timeoutSeconds\":\"60\"}",
    .signed_by = "alice",
    .run_as = "root",
    .time_ms = FRIDAY_NOON_MS,
};

#define ALL_PARAMETERS "\"n\":\".*\",\"none\":\".*\",\"m\":\".*\""

static const struct {
    const char *match;
    bool fits_allow, fits_deny;
} matches[] = {
    { "", true, true },
    { "\"documents\":[\"AWS-*\"]", true, true },
    { "\"documents\":[\"X\",\"AWS-Run?hellScript\"]", true, true },
    { "\"documents\":[\"AWS\"]", false, false },
    { "\"documentHashes\":[\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]",
      true, true },
    { "\"documentHashes\":[\"0000000000000000000000000000000000000000000000000000000000000000\"]",
      false, false },
    { "\"actions\":[\"aws:run*\"]", true, true },
    { "\"actions\":[\"aws:runPowerShellScript\"]", false, false },
    { "\"documents\":[\"AWS-*\"],\"actions\":[\"other\"]", false, false },
    { "\"signedBy\":[\"alice\"]", true, true },
    { "\"signedBy\":[\"carol\"]", false, false },
    { "\"runAs\":[\"root\"]", true, true },
    { "\"runAs\":[\"Root\"]", false, false },
    { "\"sessionTypes\":[\"*\"]", false, false }, /* a step is no session */
    /* windows; it is Friday noon, UTC */
    { "\"times\":[\"12:00-12:01 UTC\"]", true, true },
    { "\"times\":[\"11:00-12:00 UTC\"]", false, false },
    { "\"times\":[\"11:00-12:00 UTC\",\"Fri 00:00-24:00 UTC\"]", true, true },
    { "\"times\":[\"Mon-Thu,Sat-Sun 00:00-24:00 UTC\"]", false, false },
    { "\"times\":[\"Sat-Fri 00:00-24:00 UTC\"]", true, true },
    { "\"times\":[\"Thu 22:00-13:00 UTC\"]", true, true }, /* into the next day */
    { "\"times\":[\"Fri 22:00-13:00 UTC\"]", false, false },
    { "\"times\":[\"Fri 12:00-11:00 UTC\"]", true, true },
    /* parameters: a rule that allows must know each and every value; one that denies any */
    { "\"parameters\":{\"commands\":\"uptime|df -h\"," ALL_PARAMETERS "}", true, true },
    { "\"parameters\":{\"commands\":\"uptime\"," ALL_PARAMETERS "}", false, true },
    { "\"parameters\":{\"commands\":\"uptime|df\"," ALL_PARAMETERS "}", false, true },
    { "\"parameters\":{\"commands\":\"ptim\"," ALL_PARAMETERS "}", false, false },
    { "\"parameters\":{\"commands\":\".*\"}", false, true },
    { "\"parameters\":{\"commands\":\".*\",\"absent\":\".*\"," ALL_PARAMETERS "}", false, false },
    { "\"parameters\":{\"commands\":\".*\",\"n\":\"3\",\"none\":\"null\",\"m\":\"\\\\{\\\"a\\\":2.*"
      "\"}",
      true, true },
    { "\"parameters\":{\"Commands\":\".*\"," ALL_PARAMETERS "}", false, false },
    /* inputs, in any letter case */
    { "\"inputs\":{\"runCommand\":\"uptime|df -h\",\"timeoutSeconds\":\"[0-9]+\"}", true, true },
    { "\"inputs\":{\"runCommand\":\"([[:alpha:]]{1,49}){1,100}( "
      "-h)?\",\"timeoutSeconds\":\"[0-9]+\"}",
      true, true },
    { "\"inputs\":{\"RUNCOMMAND\":\"uptime|df -h\",\"timeoutseconds\":\"[0-9]+\"}", true, true },
    { "\"inputs\":{\"runCommand\":\"uptime|df -h\"}", false, true },
    { "\"inputs\":{\"runCommand\":\"uptime\",\"timeoutSeconds\":\".*\"}", false, true },
    { "\"inputs\":{\"runCommand\":\".*\",\"timeoutSeconds\":\".*\",\"more\":\"x\"}", true, false },
    { "\"inputs\":{\"workingDirectory\":\".*\"}", false, false },
};

static struct fl_node_policy *one_rule(const char *match, bool allow)
{
    char text[MAX_POLICY];

    snprintf(text, sizeof(text),
             "{\"version\":1,\"default\":\"%s\",\"keys\":{\"alice\":\"" KEY "\",\"carol\":\"" KEY
             "\"},\"rules\":[{\"name\":\"r\",\"effect\":\"%s\",\"match\":{%s}}]}",
             allow ? "deny" : "allow", allow ? "allow" : "deny", match);
    return parse(text);
}

static bool allowed(const struct fl_node_policy *p, const struct fl_node_policy_subject *s)
{
    struct fl_node_policy_verdict v;

    fl_node_policy_decide(p, s, &v);
    assert_true(v.why[0] != '\0');
    return v.allowed;
}

static void what_a_rule_fits(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(matches); i++)
        for (int allow = 0; allow < 2; allow++) {
            struct fl_node_policy *p = one_rule(matches[i].match, allow);
            bool fits = allow ? matches[i].fits_allow : matches[i].fits_deny;

            if (allowed(p, &shell) != (allow ? fits : !fits))
                fail_msg("%s: %s", matches[i].match, allow ? "allow" : "deny");
            fl_node_policy_free(p);
        }
}

/* The end of a line hides nothing, and what takes too long to tell is refused either way. */
static void what_is_hard_to_tell(void **state)
{
    static const struct {
        const char *pattern, *value;
        bool fits_allow, fits_deny;
    } cases[] = {
        { ".*reboot.*", "true\\nreboot\\n", true, true },
        { "(a+)+", "aaa", true, true },
        { "(a+)+", "aaac", false, false },
        { "(a+)+", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false, true },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        for (int allow = 0; allow < 2; allow++) {
            bool fits = allow ? cases[i].fits_allow : cases[i].fits_deny;
            struct fl_node_policy_subject s = shell;
            struct fl_node_policy *p;
            char match[200], value[200];

            snprintf(match, sizeof(match), "\"parameters\":{\"p\":\"%s\"}", cases[i].pattern);
            snprintf(value, sizeof(value), "{\"p\":[\"%s\"]}", cases[i].value);
            s.parameters = value;
            p = one_rule(match, allow);
            if (allowed(p, &s) != (allow ? fits : !fits))
                fail_msg("%s: %s", value, allow ? "allow" : "deny");
            fl_node_policy_free(p);
        }
}

/* Rule: runCommand may be "uptime" only. */
static const struct {
    const char *inputs;
    bool ok;
} inputs[] = {
    { "{\"runCommand\":[\"uptime\"]}", true },
    { "{\"runCommand\":\"uptime\"}", true },
    { "{}", true },
    { "null", true },
    { "[]", true },
    { "[{\"runCommand\":[\"uptime\"]},{\"runCommand\":[\"uptime\"]}]", true },
    { "[{\"runCommand\":[\"uptime\"]},{\"runCommand\":[\"id\"]}]", false },
    { "[{\"runCommand\":[\"uptime\"]},7]", false },
    { "7", false },
    { "{\"runCommand\":[[\"uptime\"]]}", false },
    { "{\"runCommand\":[\"uptime\"],\"RunCommand\":[\"id\"]}", false },
    { "{\"runCommand\":[\"uptime\"],\"environment\":{\"LD_PRELOAD\":\"/x\"}}", false },
    { "{\"runCommand\":[\"uptime\\u0000id\"]}", false },
    { "{\"runCommand\":[\"uptime\\nid\"]}", false },
    { "{\"runCommand\":[\"uptime\\n\"]}", false },
    { "not JSON", false },
};

static void inputs_of_every_shape(void **state)
{
    struct fl_node_policy *p = one_rule("\"inputs\":{\"runCommand\":\"uptime\"}", true);

    for (size_t i = 0; i < FL_ARRAY_LEN(inputs); i++) {
        struct fl_node_policy_subject s = shell;

        s.inputs = inputs[i].inputs;
        if (allowed(p, &s) != inputs[i].ok)
            fail_msg("%s", inputs[i].inputs);
    }
    fl_node_policy_free(p);
}

static void the_first_rule_that_fits_decides(void **state)
{
    struct fl_node_policy *p =
        parse("{\"version\":1,\"default\":\"deny\",\"rules\":["
              "{\"name\":\"a\",\"effect\":\"deny\",\"match\":{\"documents\":[\"X*\"]}},"
              "{\"name\":\"b\",\"effect\":\"allow\",\"match\":{\"documents\":[\"XY\",\"AWS-*\"]}},"
              "{\"name\":\"c\",\"effect\":\"deny\",\"match\":{}}]}");
    static const struct {
        const char *document, *why;
        bool ok;
    } cases[] = {
        { "XY", "rule \"a\"", false },
        { "AWS-X", "rule \"b\"", true },
        { "Z", "rule \"c\"", false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_node_policy_subject s = shell;
        struct fl_node_policy_verdict v;

        s.document = cases[i].document;
        fl_node_policy_decide(p, &s, &v);
        assert_int_equal(v.allowed, cases[i].ok);
        assert_string_equal(v.why, cases[i].why);
    }
    fl_node_policy_free(p);
}

/* A document in a document: only by its name. */
static void actions_that_bring_more_need_their_name(void **state)
{
    static const struct {
        const char *match;
        bool allow, ok;
    } cases[] = {
        { "", true, false },
        { "\"documents\":[\"*\"]", true, false },
        { "\"actions\":[\"aws:run*\"]", true, true },
        { "\"actions\":[\"aws:runPowerShellScript\"]", false, false }, /* the default allows */
        { "", false, false },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_node_policy *p = one_rule(cases[i].match, cases[i].allow);
        struct fl_node_policy_subject s = shell;

        s.action = "aws:runDocument";
        assert_int_equal(allowed(p, &s), cases[i].ok);
        fl_node_policy_free(p);
    }
}

static void sessions_have_rules_of_their_own(void **state)
{
    static const struct {
        const char *match;
        bool ok;
    } cases[] = {
        { "", true },
        { "\"sessionTypes\":[\"Standard_Stream\"]", true },
        { "\"sessionTypes\":[\"Port\"]", false },
        { "\"runAs\":[\"ssm-user\"]", true },
        { "\"actions\":[\"*\"]", false },
        { "\"inputs\":{\"x\":\".*\"}", false },
    };
    const struct fl_node_policy_subject s = { .session_type = "Standard_Stream",
                                              .run_as = "ssm-user",
                                              .time_ms = FRIDAY_NOON_MS };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_node_policy *p = one_rule(cases[i].match, true);

        if (allowed(p, &s) != cases[i].ok)
            fail_msg("%s", cases[i].match);
        fl_node_policy_free(p);
    }
}

/* What is not known fits nothing that asks for it. */
static void the_unknown_fits_nothing(void **state)
{
    static const char *const asked[] = {
        "\"documents\":[\"*\"]",         "\"actions\":[\"*\"]",  "\"signedBy\":[\"alice\"]",
        "\"parameters\":{\"a\":\".*\"}", "\"runAs\":[\"root\"]",
    };
    const struct fl_node_policy_subject nothing = { .time_ms = FRIDAY_NOON_MS };

    for (size_t i = 0; i < FL_ARRAY_LEN(asked); i++) {
        struct fl_node_policy *p = one_rule(asked[i], true);

        if (allowed(p, &nothing))
            fail_msg("%s", asked[i]);
        fl_node_policy_free(p);
    }
}

static void a_signature_that_was_needed_is_told(void **state)
{
    struct fl_node_policy *p = one_rule("\"signedBy\":[\"alice\"]", true);
    struct fl_node_policy *other = one_rule("", true);
    struct fl_node_policy_verdict v;

    fl_node_policy_decide(p, &shell, &v);
    assert_true(v.by_signature);
    fl_node_policy_decide(other, &shell, &v);
    assert_false(v.by_signature);
    fl_node_policy_free(p);
    fl_node_policy_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused_with_line_and_member),
        cmocka_unit_test(what_stands_in_it),
        cmocka_unit_test(what_a_rule_fits),
        cmocka_unit_test(what_is_hard_to_tell),
        cmocka_unit_test(inputs_of_every_shape),
        cmocka_unit_test(the_first_rule_that_fits_decides),
        cmocka_unit_test(actions_that_bring_more_need_their_name),
        cmocka_unit_test(sessions_have_rules_of_their_own),
        cmocka_unit_test(the_unknown_fits_nothing),
        cmocka_unit_test(a_signature_that_was_needed_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
