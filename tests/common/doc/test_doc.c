/* Documents: what is accepted, what it becomes, and the words of refusal (protocol 4 §1, §2.2). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/doc/doc.h"

#define STEP \
    "{\"action\":\"aws:runShellScript\",\"name\":\"a\",\"inputs\":{\"runCommand\":[\"x\"]}}"

static const struct {
    const char *doc;
    const char *want; /* how the error begins; NULL: accepted */
} cases[] = {
    { "{\"schemaVersion\":\"2.2\",\"mainSteps\":[" STEP "]}", NULL },
    { "{\"schemaVersion\":\"2.0\",\"mainSteps\":[" STEP "]}", NULL },
    { "{\"schemaVersion\":\"2.0.1\",\"mainSteps\":[" STEP "]}", NULL },
    { "{\"schemaVersion\":\"2.0.3\",\"mainSteps\":[" STEP "],\"runtimeConfig\":null}", NULL },
    { "{\"SCHEMAVERSION\":\"2.2\",\"MainSteps\":[" STEP "],\"unknown\":1}", NULL },
    { "{\"schemaVersion\":\"1.0\",\"runtimeConfig\":{\"aws:p\":{\"properties\":[]}}}", NULL },
    { "{\"schemaVersion\":\"1.2\",\"runtimeConfig\":{\"aws:p\":{}},\"mainSteps\":null}", NULL },
    { "{\"schemaVersion\":\"0.3\",\"mainSteps\":[" STEP "]}",
      "Document with schema version 0.3 is not supported by this version of ssm agent, please "
      "update to "
      "latest version" },
    { "{\"schemaVersion\":\"2.1\",\"mainSteps\":[" STEP "]}",
      "Document with schema version 2.1 is" },
    { "{\"mainSteps\":[" STEP "]}", "Document with schema version  is" },
    { "{\"schemaVersion\":\"2.2\",\"mainSteps\":[]}", "Unsupported schema format" },
    { "{\"schemaVersion\":\"2.2\"}", "Unsupported schema format" },
    { "{\"schemaVersion\":\"1.2\"}", "Unsupported schema format" },
    { "{\"schemaVersion\":\"1.2\",\"runtimeConfig\":{}}", "Unsupported schema format" },
    { "null", "Unsupported schema format" },
    { "[]", "the document is not a JSON object" },
    { "{", "the document is not a JSON object" },
    { "{\"schemaVersion\":2.2,\"mainSteps\":[" STEP "]}",
      "encountered error while parsing input - internal error json: cannot unmarshal number into "
      "Go "
      "struct field DocumentContent.schemaVersion of type string" },
    { "{\"schemaVersion\":\"2.2\",\"mainSteps\":[{\"action\":\"a\",\"name\":\"b\","
      "\"timeoutSeconds\":\"60\"}]}",
      "encountered error while parsing input - internal error json: cannot unmarshal string into "
      "Go "
      "struct field InstancePluginConfig.timeoutSeconds of type int" },
    { "{\"schemaVersion\":\"2.2\",\"parameters\":{\"p\":{\"allowedValues\":[1]}},\"mainSteps\":"
      "[" STEP "]}",
      "encountered error while parsing input - internal error json: cannot unmarshal number into "
      "Go "
      "struct field Parameter.allowedValues of type string" },
    { "{\"schemaVersion\":\"2.2\",\"mainSteps\":[{\"name\":\"b\"}]}", "step 1: action must have" },
    { "{\"schemaVersion\":\"2.2\",\"mainSteps\":[{\"action\":\"a\",\"name\":\"\"}]}",
      "step 1: name must have" },
    { "{\"schemaVersion\":\"2.2\",\"mainSteps\":[{\"action\":\"a\",\"name\":\"x\\ny\"}]}",
      "step 1: name holds a control character" },
};

static void accepted_or_refused(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_err err = { 0 };
        struct fl_doc doc;
        int r;
        r = fl_doc_load(cases[i].doc, "{}", "linux", &arena, &doc, &err);
        if (!cases[i].want) {
            if (r < 0)
                fail_msg("%s: %s", cases[i].doc, err.text);
            assert_int_equal(doc.n_steps, 1);
        } else {
            assert_true(r < 0);
            if (strncmp(err.text, cases[i].want, strlen(cases[i].want)) != 0)
                fail_msg("%s: %s", cases[i].doc, err.text);
        }
    }
}

static void defaults_and_names(void **state)
{
    static const char doc_text[] =
        "{\"schemaVersion\":\"2.2\",\"parameters\":{\"a\":{\"type\":\"String\",\"default\":\"da\"},"
        "\"my_p\":{\"default\":\"dm\"},\"none\":{\"type\":\"String\"}},"
        "\"mainSteps\":[{\"action\":\"aws:x\",\"name\":\"n\",\"inputs\":{\"v\":\"{{ a }} {{ my_p "
        "}} {{ none "
        "}} {{ free }}\"}}]}";
    static const struct {
        const char *params, *want;
    } p[] = {
        { "{}", "{\"v\":\"da dm null {{ free }}\"}" },
        { NULL, "{\"v\":\"da dm null {{ free }}\"}" },
        { "null", "{\"v\":\"da dm null {{ free }}\"}" },
        { "{\"a\":\"x\",\"my_p\":\"given\",\"none\":1,\"free\":\"f\"}", "{\"v\":\"x dm 1 f\"}" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(p); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_doc doc;
        assert_int_equal(fl_doc_load(doc_text, p[i].params, "linux", &arena, &doc, NULL), 0);
        assert_string_equal(doc.steps[0].inputs, p[i].want);
        assert_string_equal(doc.steps[0].key, "n");
        assert_string_equal(doc.steps[0].action, "aws:x");
    }
}

/* Steps one, two, three; `members` are those of the first. */
static const struct {
    const char *mode, *members; /* mode: the parameter's default */
    const char *error;          /* how it begins, or NULL */
    struct fl_doc_control want;
} control_cases[] = {
    { "written", "\"isEnd\":true", NULL, { .is_end = true } },
    { "written", "\"isEnd\":\"False\"", NULL, { 0 } },
    { "written",
      "\"timeoutSeconds\":60,\"maxAttempts\":3",
      NULL,
      { .timeout_s = 60, .max_attempts = 3 } },
    { "written", "\"onFailure\":\"abort\"", NULL, { .on_failure = FL_ON_FAILURE_ABORT } },
    { "written", "\"onFailure\":\"exit\"", NULL, { .on_failure = FL_ON_FAILURE_ABORT } },
    { "written", "\"onFailure\":\"Continue\"", NULL, { 0 } },
    { "written",
      "\"onFailure\":\"successAndExit\"",
      NULL,
      { .on_failure = FL_ON_FAILURE_SUCCEED } },
    { "written",
      "\"onFailure\":\"step:three\",\"nextStep\":\"two\",\"onCancel\":\"step:three\"",
      NULL,
      { .on_failure = FL_ON_FAILURE_GO_TO, .failure_step = 2, .next_step = 1, .cancel_step = 2 } },
    { "written", "\"onCancel\":\"Abort\",\"nextStep\":null", NULL, { 0 } },
    { "written", "\"onFailure\":\"retry\"", "step 1: onFailure: must be", { 0 } },
    { "written",
      "\"onFailure\":\"step:one\"",
      "step 1: onFailure: no later step has this name",
      { 0 } },
    { "written", "\"nextStep\":\"four\"", "step 1: nextStep: no later step has this name", { 0 } },
    { "written", "\"nextStep\":2", "step 1: nextStep: has the wrong type", { 0 } },
    { "written", "\"isEnd\":\"maybe\"", "step 1: isEnd: must be true or false", { 0 } },
    { "written", "\"onCancel\":\"two\"", "step 1: onCancel: must be", { 0 } },
    { "written", "\"timeoutSeconds\":-1", "step 1: timeoutSeconds: must lie", { 0 } },
    { "written", "\"timeoutSeconds\":172801", "step 1: timeoutSeconds: must lie", { 0 } },
    { "written", "\"maxAttempts\":101", "step 1: maxAttempts: must lie", { 0 } },
    /* As the official agent has it: whatever stands there. */
    { "official",
      "\"isEnd\":[],\"nextStep\":2,\"onFailure\":\"retry\",\"maxAttempts\":-7",
      NULL,
      { 0 } },
    { NULL,
      "\"isEnd\":[],\"nextStep\":\"two\",\"onFailure\":\"Abort\",\"timeoutSeconds\":9",
      NULL,
      { 0 } },
    { "writen", "\"isEnd\":true", "parameter fairleadSteps: must be", { 0 } },
};

static void controls(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(control_cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        const struct fl_doc_control *want = &control_cases[i].want, *c;
        char text[2048], declared[128] = "";
        struct fl_err err = { 0 };
        struct fl_doc doc;
        int r;
        if (control_cases[i].mode)
            snprintf(declared, sizeof(declared),
                     "\"fairleadSteps\":{\"type\":\"String\",\"default\":\"%s\"}",
                     control_cases[i].mode);
        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":\"2.2\",\"parameters\":{%s},\"mainSteps\":["
                 "{\"action\":\"a\",\"name\":\"one\",%s},{\"action\":\"a\",\"name\":\"two\"},"
                 "{\"action\":\"a\",\"name\":\"three\"}]}",
                 declared, control_cases[i].members);
        r = fl_doc_load(text, "{}", "linux", &arena, &doc, &err);
        if (control_cases[i].error) {
            assert_int_equal(r, -EINVAL);
            if (strncmp(err.text, control_cases[i].error, strlen(control_cases[i].error)) != 0)
                fail_msg("%s: %s", text, err.text);
            continue;
        }
        if (r < 0)
            fail_msg("%s: %s", text, err.text);
        c = &doc.steps[0].control;
        assert_int_equal(c->timeout_s, want->timeout_s);
        assert_int_equal(c->max_attempts, want->max_attempts);
        assert_int_equal(c->on_failure, want->on_failure);
        assert_int_equal(c->failure_step, want->failure_step);
        assert_int_equal(c->cancel_step, want->cancel_step);
        assert_int_equal(c->next_step, want->next_step);
        assert_int_equal(c->is_end, want->is_end);
    }
}

#define ERRORS "all errors during param validation errors: "
#define IN(p)  "error thrown in 'AllowedRegexParamValidator' while validating parameter /" p "/: "
#define NOT(v) "parameter value /" v "/ does not match the allowed pattern "
static const struct {
    const char *declared, *supplied;
    const char *want; /* NULL: accepted */
} pattern_cases[] = {
    { "{\"p\":{\"allowedPattern\":\"b+\"}}", "{\"p\":\"abbc\"}", NULL }, /* a search */
    { "{\"p\":{\"allowedPattern\":\"^b$\"}}", "{\"p\":\"b\\n\"}",
      ERRORS IN("p") NOT("b\n") "/^b$/" },
    { "{\"p\":{\"allowedPattern\":\"\"}}", "{\"p\":\"x\"}", NULL },
    { "{\"p\":{\"allowedPattern\":\"^d\",\"default\":\"e\"}}", "{}",
      ERRORS IN("p") NOT("e") "/^d/" },
    { "{\"p\":{\"allowedPattern\":\"^[ab]$\"}}", "{\"p\":[\"a\",\"b\"]}", NULL },
    { "{\"p\":{\"allowedPattern\":\"^[ab]$\"}}", "{\"p\":[\"a\",\"c\"]}",
      ERRORS IN("p") NOT("c") "/^[ab]$/" },
    { "{\"p\":{\"allowedPattern\":\"^\\\\d+$\"}}", "{\"p\":12}", NULL },
    { "{\"p\":{\"allowedPattern\":\"^.\\\"a\\\":1.$\"}}", "{\"p\":{\"a\":1}}", NULL },
    { "{\"p\":{\"allowedPattern\":\".*\"}}", "{}", ERRORS IN("p") NOT("null") "/.*/" },
    { "{\"p\":{\"allowedPattern\":\"^ok\"}}", "{\"p\":\"ok\\u0000bad\"}",
      "parameter p: a value cannot hold a NUL" },
    { "{\"p\":{}}", "{\"p\":[{\"a\":\"\\u0000\"}]}", "parameter p: a value cannot hold a NUL" },
    { "{\"p\":{\"default\":\"\\u0000\"}}", "{}", "parameter p: a value cannot hold a NUL" },
    { "{}", "{\"p\":\"\\u0000\"}", "parameter p: a value cannot hold a NUL" },
    { "{\"p\":{\"allowedPattern\":\"(\"}}", "{\"p\":\"x\"}",
      ERRORS IN("p") "allowed pattern /(/: not a regular expression" },
    { "{\"p\":{\"allowedPattern\":\"^(a+)+$\"}}",
      "{\"p\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"}",
      ERRORS IN("p") "allowed pattern /^(a+)+$/: the pattern takes too much work" },
    { "{\"p\":{\"allowedPattern\":\"^a\"},\"q\":{\"allowedPattern\":\"^a\"}}",
      "{\"p\":\"b\",\"q\":\"c\"}", ERRORS IN("p") NOT("b") "/^a/\n" IN("q") NOT("c") "/^a/" },
};

static void allowed_patterns(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(pattern_cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_err err = { 0 };
        struct fl_doc doc;
        char text[1024];
        int r;
        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":\"2.2\",\"parameters\":%s,\"mainSteps\":[" STEP "]}",
                 pattern_cases[i].declared);
        r = fl_doc_load(text, pattern_cases[i].supplied, "linux", &arena, &doc, &err);
        if (!pattern_cases[i].want) {
            if (r < 0)
                fail_msg("%s: %s", text, err.text);
            continue;
        }
        assert_int_equal(r, -EINVAL);
        assert_string_equal(err.name, FL_ERR_PARAMETER);
        if (strncmp(err.text, pattern_cases[i].want, strlen(pattern_cases[i].want)) != 0)
            fail_msg("%s: %s", text, err.text);
    }
}

static const struct {
    const char *declaration, *supplied;
    const char *name, *value; /* NULL: no variable */
} env_cases[] = {
    { "\"p\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\"}", "{\"p\":\"a b\"}", "SSM_p",
      "a b" },
    { "\"p\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\",\"default\":\"d\"}", "{}",
      "SSM_p", "d" },
    { "\"my_p\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\",\"default\":\"d\"}", "{}",
      "SSM_my_p", "d" },
    { "\"p\":{\"type\":\"String\"}", "{\"p\":\"x\"}", NULL, NULL },
    { "\"p\":{\"type\":\"String\",\"interpolationType\":\"other\"}", "{\"p\":\"x\"}", NULL, NULL },
    { "\"p\":{\"type\":\"StringList\",\"interpolationType\":\"ENV_VAR\"}", "{\"p\":[\"x\"]}", NULL,
      NULL },
    { "\"p\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\"}", "{}", NULL, NULL },
    { "\"p=q\":{\"type\":\"String\",\"interpolationType\":\"ENV_VAR\",\"default\":\"d\"}", "{}",
      NULL, NULL },
};

static const struct {
    const char *declaration, *supplied;
    const char *want; /* what stands in the error; NULL: accepted */
} nested_cases[] = {
    { "\"allowedValues\":[\"on\",\"off\"]", "\"off\"", NULL },
    { "\"allowedValues\":[\"on\",\"off\"]", "\"offs\"",
      "'AllowedValueParamValidator' while validating parameter /p/: parameter value /offs/ is not "
      "in the "
      "allowed list [on off]" },
    { "\"allowedValues\":[\"on\"]", "[\"on\",\"on\"]", NULL },
    { "\"allowedValues\":[\"on\"]", "[\"on\",\"off\"]", "parameter value /off/ is not" },
    { "\"allowedValues\":[\"1\"]", "1", NULL },
    { "\"allowedValues\":[\"on\"],\"default\":\"on\"", "null", NULL },
    { "\"minChars\":2", "\"ab\"", NULL },
    { "\"minChars\":\"2\"", "\"a\"", "'MinMaxCharParamValidator' while" },
    { "\"maxChars\":2", "\"abc\"", "3 characters, more than 2" },
    { "\"maxChars\":2", "[\"ab\",\"abc\"]", "3 characters, more than 2" },
    { "\"minItems\":1", "[]", "'MinMaxItemParamValidator' while" },
    { "\"maxItems\":1", "{\"a\":1,\"b\":2}", "2 items, more than 1" },
    { "\"maxItems\":1", "\"text\"", NULL },
};

/* Of a document that was sent none of this is checked here. */
static void limits_of_nested_documents(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(nested_cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        char text[1024], supplied[256];
        struct fl_err err = { 0 };
        struct fl_doc doc;
        int r;
        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":\"2.2\",\"parameters\":{\"p\":{%s}},\"mainSteps\":[" STEP "]}",
                 nested_cases[i].declaration);
        snprintf(supplied, sizeof(supplied), "{\"p\":%s}", nested_cases[i].supplied);
        assert_int_equal(fl_doc_load(text, supplied, "linux", &arena, &doc, NULL), 0);
        r = fl_doc_load_nested(text, supplied, "linux", NULL, &arena, &doc, &err);
        assert_int_equal(r, nested_cases[i].want ? -EINVAL : 0);
        if (nested_cases[i].want && !strstr(err.text, nested_cases[i].want))
            fail_msg("%s: %s", text, err.text);
    }
}

static void variables_of_scripts(void **state)
{
    fl_autoarena struct fl_arena nul_arena = FL_ARENA(1 << 20);
    struct fl_err err = { 0 };
    struct fl_doc doc;

    for (size_t i = 0; i < FL_ARRAY_LEN(env_cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        char text[1024];

        snprintf(text, sizeof(text),
                 "{\"schemaVersion\":\"2.2\",\"parameters\":{%s},\"mainSteps\":[" STEP "]}",
                 env_cases[i].declaration);
        assert_int_equal(fl_doc_load(text, env_cases[i].supplied, "linux", &arena, &doc, NULL), 0);
        assert_int_equal(doc.env.n, env_cases[i].name ? 1 : 0);
        if (!env_cases[i].name)
            continue;
        assert_string_equal(doc.env.v[0].key, env_cases[i].name);
        assert_string_equal(doc.env.v[0].value, env_cases[i].value);
    }
    assert_int_equal(
        fl_doc_load("{\"schemaVersion\":\"2.2\",\"parameters\":{\"p\":{\"type\":\"String\","
                    "\"interpolationType\":\"ENV_VAR\"}},\"mainSteps\":[" STEP "]}",
                    "{\"p\":\"a\\u0000b\"}", "linux", &nul_arena, &doc, &err),
        -EINVAL);
}

#define EQ "\"StringEquals\": "
static const struct {
    const char *pre;
    enum fl_doc_precondition want;
    const char *text;
} pre_cases[] = {
    { "{}", FL_PRE_NONE, "" },
    { "{\"StringEquals\":[\"platformType\",\"Linux\"]}", FL_PRE_TRUE, "" },
    { "{\"StringEquals\":[\"LINUX\",\"platformType\"]}", FL_PRE_TRUE, "" },
    { "{\"StringEquals\":[\"platformType\",\"Windows\"]}", FL_PRE_FALSE,
      EQ "[platformType, Windows]" },
    { "{\"StringEquals\":[\"{{ p }}\",\"v\"]}", FL_PRE_TRUE, "" },
    { "{\"StringEquals\":[\"x{{ p }}\",\"xv\"]}", FL_PRE_TRUE, "" },
    { "{\"StringEquals\":[\"{{ p }}\",\"V\"]}", FL_PRE_FALSE, EQ "[{{ p }}, V]" },
    { "{\"StringEquals\":[\"a\"]}", FL_PRE_INVALID, EQ "operator accepts exactly 2 arguments" },
    { "{\"StringEquals\":null}", FL_PRE_INVALID, EQ "operator accepts exactly 2 arguments" },
    { "{\"StringEquals\":[\"platformType\",\"platformType\"]}", FL_PRE_INVALID,
      EQ "[platformType platformType]" },
    { "{\"StringEquals\":[\"a\",\"a\"]}", FL_PRE_INVALID,
      EQ "operator's arguments can't be identical" },
    { "{\"StringEquals\":[\"{{ssm:x}}\",\"a\"]}", FL_PRE_INVALID,
      EQ "operator's arguments can't contain SSM parameters" },
    { "{\"StringEquals\":[\"a\",\"{{ ssm-secure:/x/y }}\"]}", FL_PRE_INVALID,
      EQ "operator's arguments can't contain secure SSM parameters" },
    { "{\"StringEquals\":[\"platformType\",\"{{ p }}\"]}", FL_PRE_INVALID,
      EQ "the second argument for the platformType variable can't contain document parameters" },
    { "{\"StringEquals\":[\"x\",\"y\"]}", FL_PRE_INVALID,
      EQ "at least one of operator's arguments must contain a valid document parameter" },
    { "{\"StringLike\":[\"x\",\"y\"]}", FL_PRE_INVALID, "unrecognized operator: \"StringLike\"" },
    { "{\"StringLike\":[],\"StringEquals\":[\"platformType\",\"macos\"]}", FL_PRE_FALSE,
      "unrecognized operator: \"StringLike\", " EQ "[platformType, macos]" },
};

static void preconditions(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(pre_cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_doc doc;
        char text[1024];
        snprintf(
            text, sizeof(text),
            "{\"schemaVersion\":\"2.2\",\"parameters\":{\"p\":{\"default\":\"v\"}},\"mainSteps\":["
            "{\"action\":\"aws:x\",\"name\":\"n\",\"precondition\":%s}]}",
            pre_cases[i].pre);
        assert_int_equal(fl_doc_load(text, NULL, "linux", &arena, &doc, NULL), 0);
        assert_int_equal(doc.steps[0].precondition, pre_cases[i].want);
        assert_string_equal(doc.steps[0].precondition_text, pre_cases[i].text);
        assert_string_equal(doc.steps[0].inputs, "null");
    }
}

static void too_many_steps(void **state)
{
    size_t step = strlen(STEP) + 1;
    char *text = malloc(200 + (FL_DOC_MAX_STEPS + 1) * step), *p = text;
    fl_autoarena struct fl_arena arena = FL_ARENA(32 << 20);
    struct fl_doc doc;
    p += sprintf(p, "{\"schemaVersion\":\"2.2\",\"mainSteps\":[");
    for (int i = 0; i <= FL_DOC_MAX_STEPS; i++)
        p += sprintf(p, "%s" STEP, i ? "," : "");
    strcpy(p, "]}");
    assert_int_equal(fl_doc_load(text, NULL, "linux", &arena, &doc, NULL), -EINVAL);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepted_or_refused),
        cmocka_unit_test(controls),
        cmocka_unit_test(limits_of_nested_documents),
        cmocka_unit_test(allowed_patterns),
        cmocka_unit_test(variables_of_scripts),
        cmocka_unit_test(defaults_and_names),
        cmocka_unit_test(preconditions),
        cmocka_unit_test(too_many_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
