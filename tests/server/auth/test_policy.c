/* What a policy allows, and what is refused as a policy. */
#include "server/auth/policy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ARN         "arn:aws:ssm:local:123456789012:managed-instance/mi-0123456789abcdef0"
#define ST(body)    "{\"Version\":\"2012-10-17\",\"Statement\":" body "}"
#define ALLOW(rest) "{\"Effect\":\"Allow\"," rest "}"
#define DENY(rest)  "{\"Effect\":\"Deny\"," rest "}"
#define ALL         "\"Action\":\"*\",\"Resource\":\"*\""

static struct fl_strmap_entry tag_rows[] = { { (char *)"Env", (char *)"Dev" },
                                             { (char *)"Role", (char *)"db1" } };
static const struct fl_strmap tags = { tag_rows, FL_ARRAY_LEN(tag_rows) };

static const struct fl_policy_request base = {
    .action = "ssm:SendCommand",
    .resource = ARN,
    .source_ip = "192.0.2.10",
    .username = "ann",
    .principal = "arn:aws:iam::123456789012:user/ann",
    .account = "123456789012",
    .resource_tags = &tags,
};

static enum fl_verdict verdict(const char *text, enum fl_policy_kind kind,
                               const struct fl_policy_request *req)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    const struct fl_policy *p;
    struct fl_err err = { 0 };

    if (fl_policy_parse(text, strlen(text), kind, &arena, &p, &err) < 0)
        fail_msg("%s: %s", text, fl_err_text(&err));
    return fl_policy_eval(p, req);
}

/* A session, asked about by its owner, by another user, by a role. */
#define SESSION "arn:aws:ssm:local:123456789012:session/ann-0123456789abcdefg"
#define OWN     "\"Action\":\"*\",\"Resource\":\"arn:aws:ssm:*:*:session/${aws:username}-*\""
#define OWN_TAG                                                           \
    "\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"StringLike\":{" \
    "\"ssm:resourceTag/aws:ssmmessages:session-id\":[\"${aws:userid}\"]}}"

static const struct {
    const char *text, *username, *user_id;
    enum fl_verdict want;
} own_cases[] = {
    { ST(ALLOW(OWN)), "ann", NULL, FL_VERDICT_ALLOW },
    { ST(ALLOW(OWN)), "bob", NULL, FL_VERDICT_SILENT },
    { ST(ALLOW(OWN)), "an", NULL, FL_VERDICT_SILENT },
    { ST(ALLOW(OWN)), "*", NULL, FL_VERDICT_SILENT },
    { ST(ALLOW(OWN)), NULL, "AROA:x", FL_VERDICT_SILENT },
    { ST("[" ALLOW(ALL) "," DENY(OWN) "]"), "ann", NULL, FL_VERDICT_DENY },
    { ST(ALLOW("\"Action\":\"*\",\"NotResource\":\"*/${aws:username}-*\"")), "bob", NULL,
      FL_VERDICT_ALLOW },
    /* a variable without a value makes the statement say nothing */
    { ST(ALLOW("\"Action\":\"*\",\"NotResource\":\"*/${aws:username}-*\"")), NULL, "AROA:x",
      FL_VERDICT_SILENT },
    { ST(ALLOW(OWN_TAG)), "ann", "AIDAANN", FL_VERDICT_ALLOW },
    { ST(ALLOW(OWN_TAG)), "bob", "AIDABOB", FL_VERDICT_SILENT },
    { ST(ALLOW(OWN_TAG)), "bob", NULL, FL_VERDICT_SILENT },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringNotEquals\":{\"ssm:resourceTag/"
                   "aws:ssmmessages:session-id\":\"${aws:userid}\"}}")),
      "bob", NULL, FL_VERDICT_SILENT },
    { ST(ALLOW(ALL ",\"Condition\":{\"BoolIfExists\":{\"ssm:SessionDocumentAccessCheck\":"
                   "\"true\"}}")),
      "ann", NULL, FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"Bool\":{\"ssm:SessionDocumentAccessCheck\":\"true\"}}")),
      "ann", NULL, FL_VERDICT_SILENT },
};

static void own_sessions(void **state)
{
    static struct fl_strmap_entry rows[] = { { (char *)"aws:ssmmessages:session-id",
                                               (char *)"AIDAANN" } };
    static const struct fl_strmap session_tags = { rows, 1 };

    for (size_t i = 0; i < FL_ARRAY_LEN(own_cases); i++) {
        struct fl_policy_request req = base;

        req.action = "ssm:TerminateSession";
        req.resource = SESSION;
        req.resource_tags = &session_tags;
        req.username = own_cases[i].username;
        req.user_id = own_cases[i].user_id;
        if (verdict(own_cases[i].text, FL_POLICY_IDENTITY, &req) != own_cases[i].want)
            fail_msg("case %zu: %s", i, own_cases[i].text);
    }
}

static void the_document_of_a_session_is_always_checked(void **state)
{
    struct fl_policy_request req = base;

    req.action = "ssm:StartSession";
    assert_int_equal(verdict(ST(ALLOW(ALL ",\"Condition\":{\"Bool\":{"
                                          "\"ssm:SessionDocumentAccessCheck\":\"true\"}}")),
                             FL_POLICY_IDENTITY, &req),
                     FL_VERDICT_ALLOW);
    assert_int_equal(verdict(ST(ALLOW(ALL ",\"Condition\":{\"BoolIfExists\":{"
                                          "\"ssm:SessionDocumentAccessCheck\":\"false\"}}")),
                             FL_POLICY_IDENTITY, &req),
                     FL_VERDICT_SILENT);
}

static const struct {
    const char *text;
    enum fl_verdict want;
} cases[] = {
    { ST(ALLOW(ALL)), FL_VERDICT_ALLOW },
    { ST("[" ALLOW(ALL) "]"), FL_VERDICT_ALLOW },
    { ST("[" ALLOW(ALL) "," DENY("\"Action\":\"ssm:Send*\",\"Resource\":\"*\"") "]"),
      FL_VERDICT_DENY },
    { ST("[" DENY("\"Action\":\"ssm:Send*\",\"Resource\":\"*\"") "," ALLOW(ALL) "]"),
      FL_VERDICT_DENY }, /* order does not matter */
    { ST(ALLOW("\"Action\":\"SSM:sendcommand\",\"Resource\":\"*\"")), FL_VERDICT_ALLOW },
    { ST(ALLOW("\"Action\":\"ssm:List*\",\"Resource\":\"*\"")), FL_VERDICT_SILENT },
    { ST(ALLOW("\"Action\":[\"ssm:List*\",\"ssm:SendComman?\"],\"Resource\":\"*\"")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW("\"NotAction\":\"ssm:SendCommand\",\"Resource\":\"*\"")), FL_VERDICT_SILENT },
    { ST(ALLOW("\"NotAction\":\"ssm:List*\",\"Resource\":\"*\"")), FL_VERDICT_ALLOW },
    { ST(ALLOW("\"Action\":\"*\",\"Resource\":\"arn:aws:ssm:*:*:managed-instance/*\"")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW("\"Action\":\"*\",\"Resource\":\"arn:aws:ssm:*:*:MANAGED-instance/*\"")),
      FL_VERDICT_SILENT }, /* resources keep letter case */
    { ST(ALLOW("\"Action\":\"*\",\"NotResource\":\"" ARN "\"")), FL_VERDICT_SILENT },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"ssm:resourceTag/Env\":\"Dev\"}}")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"aws:resourcetag/Env\":[\"x\",\"Dev\"]}}")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"ssm:resourceTag/env\":\"Dev\"}}")),
      FL_VERDICT_SILENT }, /* tag keys keep letter case */
    { ST(ALLOW(ALL ",\"Condition\":{\"StringLike\":{\"ssm:resourceTag/Role\":\"db*\"}}")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"ssm:resourceTag/Role\":\"db*\"}}")),
      FL_VERDICT_SILENT },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringNotEquals\":{\"ssm:resourceTag/Env\":\"Prod\"}}")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringNotEquals\":{\"ssm:resourceTag/Nope\":\"Prod\"}}")),
      FL_VERDICT_ALLOW }, /* an absent key differs from everything */
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"aws:RequestTag/Env\":\"Dev\"}}")),
      FL_VERDICT_SILENT },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"aws:username\":\"ann\"}}")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"192.0.2.0/24\"}}")),
      FL_VERDICT_ALLOW },
    { ST(ALLOW(ALL ",\"Condition\":{\"NotIpAddress\":{\"aws:SourceIp\":[\"10.0.0.0/8\","
                   "\"192.0.2.0/24\"]}}")),
      FL_VERDICT_SILENT },
    { ST(ALLOW(ALL ",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"192.0.2.0/24\"},"
                   "\"StringEquals\":{\"aws:username\":\"bob\"}}")),
      FL_VERDICT_SILENT }, /* all conditions must hold */
};

static void identity_policies(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        if (verdict(cases[i].text, FL_POLICY_IDENTITY, &base) != cases[i].want)
            fail_msg("%s: not %d", cases[i].text, cases[i].want);
}

static const struct {
    const char *principal; /* of the policy */
    enum fl_verdict want;
} trust_cases[] = {
    { "\"*\"", FL_VERDICT_ALLOW },
    { "{\"AWS\":\"arn:aws:iam::123456789012:root\"}", FL_VERDICT_ALLOW },
    { "{\"AWS\":\"123456789012\"}", FL_VERDICT_ALLOW },
    { "{\"AWS\":[\"arn:aws:iam::123456789012:user/bob\",\"arn:aws:iam::123456789012:user/ann\"]}",
      FL_VERDICT_ALLOW },
    { "{\"AWS\":\"arn:aws:iam::123456789012:user/bob\"}", FL_VERDICT_SILENT },
    { "{\"AWS\":\"arn:aws:iam::210987654321:root\"}", FL_VERDICT_SILENT },
    { "{\"Service\":\"ssm.amazonaws.com\"}", FL_VERDICT_SILENT },
};

static void trust_policies(void **state)
{
    struct fl_policy_request req = base;

    req.action = "sts:AssumeRole";
    for (size_t i = 0; i < FL_ARRAY_LEN(trust_cases); i++) {
        char text[512];

        snprintf(text, sizeof(text),
                 "{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\","
                 "\"Principal\":%s}}",
                 trust_cases[i].principal);
        if (verdict(text, FL_POLICY_TRUST, &req) != trust_cases[i].want)
            fail_msg("%s: not %d", text, trust_cases[i].want);
    }
}

/* What we do not understand must not be stored: it would allow more, or less, than it says. */
static const struct {
    const char *text;
    const char *word; /* stands in the error */
} bad[] = {
    { "", "policy" },
    { "[]", "object" },
    { "{}", "statements" },
    { ST("[]"), "statements" },
    { ST("{\"Effect\":\"Allow\"}"), "Action" },
    { ST(ALLOW("\"Action\":\"*\"")), "Resource" },
    { ST("{" ALL "}"), "Effect" },
    { ST("{\"Effect\":\"allow\"," ALL "}"), "Effect" },
    { ST(ALLOW(ALL ",\"NotAction\":\"*\"")), "Action" },
    { ST(ALLOW("\"Action\":\"SendCommand\",\"Resource\":\"*\"")), "service:Operation" },
    { ST(ALLOW("\"Action\":7,\"Resource\":\"*\"")), "Action" },
    { ST(ALLOW("\"Action\":[],\"Resource\":\"*\"")), "Action" },
    { ST(ALLOW(ALL ",\"Principal\":\"*\"")), "Principal" },
    { ST(ALLOW(ALL ",\"Conditions\":{}")), "Conditions" },
    { ST(ALLOW(ALL ",\"Condition\":{\"DateGreaterThan\":{\"aws:CurrentTime\":\"x\"}}")),
      "DateGreaterThan" },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"aws:PrincipalOrgID\":\"x\"}}")),
      "aws:PrincipalOrgID" },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"ssm:resourceTag/\":\"x\"}}")),
      "ssm:resourceTag/" },
    { ST(ALLOW(ALL ",\"Condition\":{\"StringEquals\":{\"aws:SourceIp\":\"192.0.2.1\"}}")),
      "aws:SourceIp" },
    { ST(ALLOW(ALL ",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"192.0.2.0/33\"}}")),
      "aws:SourceIp" },
    { ST(ALLOW("\"Action\":\"*\",\"Resource\":\"arn:${aws:PrincipalTag/x}\"")), "aws:userid" },
    { ST(ALLOW("\"Action\":\"ssm:${aws:username}\",\"Resource\":\"*\"")), "${" },
    { ST(ALLOW(ALL ",\"Condition\":{\"Bool\":{\"aws:username\":\"true\"}}")), "Bool" },
    { "{\"Version\":\"2012-10-17\",\"Statment\":{}}", "Statment" },
    { ST(ALLOW(ALL)) "x", "policy" },
};

static void refused_policies(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        const struct fl_policy *p;
        struct fl_err err = { 0 };

        if (fl_policy_parse(bad[i].text, strlen(bad[i].text), FL_POLICY_IDENTITY, &arena, &p,
                            &err) >= 0)
            fail_msg("accepted: %s", bad[i].text);
        if (!strstr(fl_err_text(&err), bad[i].word))
            fail_msg("%s: %s", bad[i].text, fl_err_text(&err));
        assert_string_equal(err.name, "MalformedPolicyDocument");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_policies),
        cmocka_unit_test(trust_policies),
        cmocka_unit_test(refused_policies),
        cmocka_unit_test(own_sessions),
        cmocka_unit_test(the_document_of_a_session_is_always_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
