/* Whole documents: sound ones, and what is wrong with others, with its line and member. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/doc/check.h"

#define STEP  "mainSteps:\n- action: aws:runShellScript\n  name: a\n  inputs:\n"
#define HEAD  "schemaVersion: '2.2'\n"
#define LINES HEAD STEP "    runCommand: [id]\n"
#define PARAM HEAD "parameters:\n  p:\n"
#define BOOK  "schemaVersion: '0.3'\n"

static int check(enum fl_doc_type type, const char *text, struct fl_doc_facts *facts,
                 struct fl_err *err)
{
    static struct fl_arena arena = FL_ARENA(1 << 20);
    struct fl_doc_source src = { text[0] == '{' ? FL_DOC_JSON : FL_DOC_YAML, text, strlen(text) };

    fl_arena_done(&arena);
    fl_arena_init(&arena, 1 << 20);
    return fl_doc_check(type, &src, &arena, facts, err);
}

static void sound_documents_pass(void **state)
{
    static const struct {
        enum fl_doc_type type;
        const char *text;
        unsigned platforms;
    } cases[] = {
        { FL_DOC_COMMAND, LINES, FL_DOC_LINUX | FL_DOC_MACOS },
        { FL_DOC_COMMAND, "schemaVersion: 2.2\n" STEP "    runCommand: [id]\n",
          FL_DOC_LINUX | FL_DOC_MACOS },
        { FL_DOC_POLICY, LINES, FL_DOC_LINUX | FL_DOC_MACOS },
        { FL_DOC_OTHER, "[1, 2]", FL_DOC_ANYWHERE },
        { FL_DOC_COMMAND,
          "{\"schemaVersion\":\"1.2\",\"runtimeConfig\":{\"aws:runPowerShellScript\":{"
          "\"properties\":"
          "[{\"id\":\"0\",\"runCommand\":[\"dir\"]}]}}}",
          FL_DOC_WINDOWS },
        /* both scripts, one for each platform; a download runs anywhere */
        { FL_DOC_COMMAND,
          HEAD
          "mainSteps:\n"
          "- {action: 'aws:downloadContent', name: d, inputs: {sourceType: S3, sourceInfo: '{}'}}\n"
          "- {action: 'aws:runShellScript', name: s, inputs: {runCommand: [id]},\n"
          "   precondition: {StringEquals: [platformType, Linux]}}\n"
          "- {action: 'aws:runPowerShellScript', name: w, inputs: {runCommand: [dir]},\n"
          "   precondition: {StringEquals: [platformType, Windows]}}\n",
          FL_DOC_ANYWHERE },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- {action: 'aws:refreshAssociation', name: r}\n",
          FL_DOC_ANYWHERE },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- {action: 'acme:restart', name: r, inputs: {x: 1}}\n",
          FL_DOC_ANYWHERE },
        /* references: declared, Parameter Store's, and what only looks like one */
        { FL_DOC_COMMAND,
          PARAM
          "    type: String\n" STEP "    runCommand:\n"
          "    - echo {{ p }} {{p}} {{ssm:x}} {{ ssm:/a/b:1 }} {{ .Names }} {{ global:REGION }}\n"
          "    timeoutSeconds: '{{ p }}'\n",
          FL_DOC_LINUX | FL_DOC_MACOS },
        { FL_DOC_COMMAND,
          PARAM "    type: StringList\n    default: [a]\n" STEP "    runCommand: '{{ p }}'\n",
          FL_DOC_LINUX | FL_DOC_MACOS },
        { FL_DOC_COMMAND,
          HEAD
          "parameters:\n"
          "  s: {type: String, default: ab, allowedPattern: '^[a-z]+$', minChars: 1, maxChars: "
          "'2'}\n"
          "  l: {type: StringList, default: [x], allowedValues: [x, z], minItems: 1, maxItems: 2}\n"
          "  i: {type: Integer, default: 5}\n"
          "  b: {type: Boolean, default: true}\n"
          "  m: {type: StringMap, default: {a: b}, displayType: textarea}\n"
          "  n: {type: MapList, default: [{a: b}]}\n"
          "  e: {type: String, default: '{{ ssm:x }}', maxChars: 1, interpolationType: "
          "ENV_VAR}\n" STEP "    runCommand: [id]\n",
          FL_DOC_LINUX | FL_DOC_MACOS },
        { FL_DOC_SESSION,
          "schemaVersion: '1.0'\nsessionType: Standard_Stream\ninputs: {runAsEnabled: false}\n",
          FL_DOC_ANYWHERE },
        { FL_DOC_PACKAGE,
          "{\"schemaVersion\":\"2.0\",\"version\":\"1\",\"packages\":{},\"files\":{}}",
          FL_DOC_ANYWHERE },
        { FL_DOC_AUTOMATION,
          BOOK
          "assumeRole: '{{ role }}'\n"
          "parameters: {role: {type: String, default: ''}, id: {type: 'AWS::EC2::Instance::Id'}}\n"
          "variables: {v: {type: Integer, default: 0}}\n"
          "mainSteps:\n"
          "- {name: one, action: 'aws:executeAwsApi', inputs: {Service: ssm, Api: ListNodes},\n"
          "   outputs: [{Name: Ids, Selector: '$.Nodes', Type: MapList}], onFailure: 'step:last'}\n"
          "- name: each\n"
          "  action: aws:loop\n"
          "  nextStep: last\n"
          "  inputs:\n"
          "    Iterators: '{{ one.Ids }}'\n"
          "    Steps:\n"
          "    - {name: inner, action: 'aws:sleep', inputs: {Duration: PT1S}}\n"
          "- {name: last, action: 'aws:runCommand', isEnd: true, timeoutSeconds: '{{ variable:v "
          "}}',\n"
          "   inputs: {DocumentName: AWS-RunShellScript, InstanceIds: ['{{ id }}'],\n"
          "            Comment: '{{ each.CurrentIteration }} {{ global:DATE }}'}}\n"
          "outputs: [one.Ids]\n",
          FL_DOC_ANYWHERE },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_doc_facts facts;
        struct fl_err err = { 0 };

        if (check(cases[i].type, cases[i].text, &facts, &err) < 0)
            fail_msg("case %zu: %s", i, fl_err_text(&err));
        if (facts.platforms != cases[i].platforms)
            fail_msg("case %zu: platforms %u", i, facts.platforms);
    }
}

static void facts_are_told(void **state)
{
    struct fl_doc_facts facts;

    (void)state;
    assert_int_equal(check(FL_DOC_COMMAND, "description: Hi\n" LINES, &facts, NULL), 0);
    assert_string_equal(facts.schema_version, "2.2");
    assert_string_equal(facts.description, "Hi");
    assert_int_equal(check(FL_DOC_COMMAND, LINES, &facts, NULL), 0);
    assert_null(facts.description);
}

static void bad_documents_are_refused(void **state)
{
    static const struct {
        enum fl_doc_type type;
        const char *text, *error;
    } cases[] = {
        { FL_DOC_COMMAND, "{}", "line 1, column 1: schemaVersion: missing" },
        { FL_DOC_COMMAND, "[]", "line 1, column 1: must be an object" },
        { FL_DOC_COMMAND, "{\"a\"", "line 1, column " },
        { FL_DOC_COMMAND, "{\"schemaVersion\":2.2}", "column 2: schemaVersion: must be a string" },
        { FL_DOC_COMMAND, HEAD, "mainSteps: missing" },
        { FL_DOC_COMMAND, "schemaVersion: '1.2'\n", "runtimeConfig: missing" },
        { FL_DOC_COMMAND, "schemaVersion: '1.2'\nmainSteps: []\nruntimeConfig: {}\n",
          "line 2, column 1: mainSteps: there is no member of this name" },
        { FL_DOC_COMMAND, "schemaVersion: '1.2'\nruntimeConfig: {}\n", "at least one plugin" },
        { FL_DOC_COMMAND, "schemaVersion: '1.2'\nruntimeConfig:\n  aws:nope: {}\n",
          "line 3, column 3: runtimeConfig.aws:nope: there is no action" },
        { FL_DOC_COMMAND, HEAD "mainSteps: []\n", "line 2, column 1: mainSteps: must have 1 to" },
        { FL_DOC_COMMAND, HEAD "mainSteps: [1]\n",
          "line 2, column 13: mainSteps[0]: must be an object" },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- name: a\n",
          "line 3, column 3: mainSteps[0].action: missing" },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- action: aws:runShellScript\n",
          "line 3, column 3: mainSteps[0].name: missing" },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- action: aws:nope\n  name: a\n",
          "line 3, column 3: mainSteps[0].action: there is no action aws:nope" },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- {action: 'aws:sleep', name: a}\n", "no action" },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- {action: 'nope', name: a}\n", "no action" },
        { FL_DOC_COMMAND, LINES "- action: aws:runShellScript\n  name: a\n",
          "line 7, column 3: mainSteps[1]: another step has the name a" },
        { FL_DOC_COMMAND, HEAD STEP "    runCommand: id\n",
          "line 6, column 5: mainSteps[0].inputs.runCommand: must be a list or a {{ parameter }}" },
        { FL_DOC_COMMAND, HEAD STEP "    runCommand: [id, 7]\n",
          "line 6, column 22: mainSteps[0].inputs.runCommand[1]: must be a string" },
        { FL_DOC_COMMAND, HEAD STEP "    timeoutSeconds: 1\n",
          "mainSteps[0].inputs.runCommand: missing" },
        { FL_DOC_COMMAND, HEAD STEP "    runCommand: ['{{ nope }}']\n",
          "line 6, column 18: mainSteps[0].inputs.runCommand[0]: {{ nope }} refers to a "
          "parameter" },
        { FL_DOC_COMMAND, HEAD STEP "    runCommand: ['{{nope}}']\n", "{{ nope }} refers" },
        { FL_DOC_COMMAND, LINES "  precondition: {StringEquals: [platformType, '{{ x }}']}\n",
          "line 7, column 47: mainSteps[0].precondition.StringEquals[1]: {{ x }}" },
        { FL_DOC_COMMAND, LINES "  precondition: {StringEquals: [platformType]}\n", "exactly two" },
        { FL_DOC_COMMAND, LINES "  precondition: {StringLike: [a, b]}\n", "StringEquals: missing" },
        { FL_DOC_COMMAND,
          "schemaVersion: '2.0'\n" STEP
          "    runCommand: [id]\n  precondition: {StringEquals: [platformType, Linux]}\n",
          "line 7, column 3: mainSteps[0].precondition: preconditions need schemaVersion 2.2" },
        { FL_DOC_COMMAND, LINES "  timeoutSeconds: '60'\n",
          "line 7, column 3: mainSteps[0].timeoutSeconds: must be an integer" },
        { FL_DOC_COMMAND, LINES "  comment: x\n", "mainSteps[0].comment: there is no member" },
        { FL_DOC_COMMAND, HEAD "mainSteps:\n- {action: 'aws:runShellScript', name: ../x}\n",
          "mainSteps[0].name: a step's name" },
        { FL_DOC_COMMAND, LINES "parameters: []\n",
          "line 7, column 1: parameters: must be an object" },
        { FL_DOC_COMMAND, PARAM "    description: x\nmainSteps: 1\n",
          "parameters.p.type: missing" },
        { FL_DOC_COMMAND, PARAM "    type: Text\nmainSteps: 1\n",
          "line 4, column 5: parameters.p.type: \"Text\" is none of" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    mandatory: true\nmainSteps: 1\n",
          "line 5, column 5: parameters.p.mandatory: there is no member" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    default: 5\nmainSteps: 1\n",
          "line 5, column 5: parameters.p.default: does not fit type String" },
        { FL_DOC_COMMAND, PARAM "    type: StringList\n    default: x\nmainSteps: 1\n",
          "parameters.p.default: must be a list" },
        { FL_DOC_COMMAND, PARAM "    type: StringList\n    default: [1]\nmainSteps: 1\n",
          "parameters.p.default: does not fit" },
        { FL_DOC_COMMAND, PARAM "    type: Integer\n    default: x\nmainSteps: 1\n",
          "parameters.p.default: Parameter \"p\" is not of type Integer" },
        { FL_DOC_COMMAND, PARAM "    type: StringMap\n    default: '[]'\nmainSteps: 1\n",
          "parameters.p.default: Parameter \"p\" is not of type" },
        { FL_DOC_COMMAND,
          PARAM "    type: String\n    default: c\n    allowedValues: [a, b]\nmainSteps: 1\n",
          "line 5, column 5: parameters.p.default: Parameter \"p\" has a value that is not one "
          "of" },
        { FL_DOC_COMMAND,
          PARAM "    type: String\n    default: C\n    allowedPattern: '^[a-z]$'\nmainSteps: 1\n",
          "parameters.p.default: Parameter \"p\" has a value that does not match" },
        { FL_DOC_COMMAND,
          PARAM "    type: String\n    default: abc\n    maxChars: 2\nmainSteps: 1\n",
          "parameters.p.default: Parameter \"p\" is 3 characters" },
        { FL_DOC_COMMAND,
          PARAM "    type: StringList\n    default: []\n    minItems: 1\nmainSteps: 1\n",
          "parameters.p.default: Parameter \"p\" has 0 values" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    allowedPattern: '('\nmainSteps: 1\n",
          "line 5, column 5: parameters.p.allowedPattern: not a regular expression" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    allowedValues: [1]\nmainSteps: 1\n",
          "parameters.p.allowedValues[0]: must be a string" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    allowedValues: []\nmainSteps: 1\n",
          "at least one value" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    minChars: -1\nmainSteps: 1\n",
          "not negative" },
        { FL_DOC_COMMAND, PARAM "    type: String\n    minChars: x\nmainSteps: 1\n",
          "not negative" },
        { FL_DOC_COMMAND,
          PARAM "    type: String\n    minChars: 3\n    maxChars: 2\nmainSteps: 1\n",
          "the minimum is above the maximum" },
        { FL_DOC_COMMAND, HEAD "parameters: {'a b': {type: String}}\nmainSteps: 1\n",
          "a parameter's name" },
        { FL_DOC_SESSION, "schemaVersion: '1.0'\n", "sessionType: missing" },
        { FL_DOC_SESSION, "schemaVersion: '1.0'\nsessionType: Shell\n", "sessionType: must be" },
        { FL_DOC_AUTOMATION, BOOK "mainSteps:\n- {name: a-b, action: 'aws:pause', inputs: {}}\n",
          "a step's name" },
        { FL_DOC_AUTOMATION, BOOK "mainSteps:\n- {name: a, action: 'aws:runShellScript'}\n",
          "no action" },
        { FL_DOC_AUTOMATION, BOOK "mainSteps:\n- {name: a, action: 'aws:pause', nextStep: b}\n",
          "mainSteps[0].nextStep: there is no step b" },
        { FL_DOC_AUTOMATION,
          BOOK "mainSteps:\n- {name: a, action: 'aws:pause', onFailure: 'step:b'}\n",
          "mainSteps[0].onFailure: must be Abort" },
        { FL_DOC_AUTOMATION,
          BOOK "mainSteps:\n- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ b.X }}'}}\n",
          "{{ b.X }} refers to a step" },
        { FL_DOC_AUTOMATION,
          BOOK "mainSteps:\n- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ ssm:x }}'}}\n",
          "allowed only in a parameter's default" },
        { FL_DOC_AUTOMATION,
          BOOK
          "mainSteps:\n- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ variable:x }}'}}\n",
          "a variable that is not declared" },
        { FL_DOC_AUTOMATION,
          BOOK "mainSteps:\n- name: a\n  action: aws:loop\n  inputs:\n    Steps:\n"
               "    - {name: a, action: 'aws:pause'}\n",
          "line 7, column 7: mainSteps[0].inputs.Steps[0]: another step" },
        { FL_DOC_PACKAGE, "{\"schemaVersion\":\"2.0\",\"files\":{}}", "packages: missing" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_doc_facts facts = { 0 };
        struct fl_err err = { 0 };
        int r = check(cases[i].type, cases[i].text, &facts, &err);

        if (r != -EINVAL || !err.name || strcmp(err.name, "InvalidDocumentContent") != 0 ||
            !strstr(err.text, cases[i].error))
            fail_msg("%s\n%d %s", cases[i].text, r, fl_err_text(&err));
    }
}

static void types_have_their_versions(void **state)
{
    static const struct {
        enum fl_doc_type type;
        const char *version;
    } cases[] = {
        { FL_DOC_COMMAND, "0.3" }, { FL_DOC_COMMAND, "1.0" }, { FL_DOC_COMMAND, "2.1" },
        { FL_DOC_POLICY, "1.2" },  { FL_DOC_SESSION, "2.2" }, { FL_DOC_AUTOMATION, "2.2" },
        { FL_DOC_PACKAGE, "2.2" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_doc_facts facts;
        struct fl_err err = { 0 };
        char text[64];

        snprintf(text, sizeof(text), "x: 1\nschemaVersion: '%s'\n", cases[i].version);
        assert_int_equal(check(cases[i].type, text, &facts, &err), -EINVAL);
        assert_string_equal(err.name, "InvalidDocumentSchemaVersion");
        assert_non_null(strstr(err.text, "line 2, column 1: schemaVersion: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_documents_pass),
        cmocka_unit_test(facts_are_told),
        cmocka_unit_test(bad_documents_are_refused),
        cmocka_unit_test(types_have_their_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
