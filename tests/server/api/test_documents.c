/* Built-in documents: finding, describing, converting, listing; checking parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/doc/doc.h"
#include "common/doc/yaml.h"
#include "common/codec/json_load.h"
#include "server/api/document_builtin.h"
#include "server/api/document_ops.h"
#include "tests/server/fixture.h"

#define SIGNATURE                                                     \
    "fairlead1:alice:1767355200:1767355800:0123456789abcdef"          \
    "0123456789abcdef:*:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define SHELL    "AWS-RunShellScript"
#define BUILTINS 37

static void documents_are_described(void **state)
{
    static const struct {
        const char *path, *want;
    } cases[] = {
        { "Document.Name", SHELL },
        { "Document.Owner", "Amazon" },
        { "Document.HashType", "Sha256" },
        { "Document.Status", "Active" },
        { "Document.DocumentVersion", "1" },
        { "Document.LatestVersion", "1" },
        { "Document.DefaultVersion", "1" },
        { "Document.DocumentType", "Command" },
        { "Document.DocumentFormat", "JSON" },
        { "Document.SchemaVersion", "1.2" },
        { "Document.PlatformTypes", "[\"Linux\",\"MacOS\"]" },
        { "Document.Parameters.0.Name", "commands" },
        { "Document.Parameters.0.Type", "StringList" },
        { "Document.Parameters.0.DefaultValue", NULL },
        { "Document.Parameters.1.Name", "workingDirectory" },
        { "Document.Parameters.1.DefaultValue", "" },
        { "Document.Parameters.2.Name", "executionTimeout" },
        { "Document.Parameters.2.Type", "String" },
        { "Document.Parameters.2.DefaultValue", "3600" },
    };
    struct fl_fixture *f = *state;
    char hash[FL_SHA256_HEX_BYTES];
    const char *content;

    fl_fixture_ok(f, "DescribeDocument", "{\"Name\":\"" SHELL "\"}");
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const char *got = fl_fixture_text(f, cases[i].path);

        if (!cases[i].want)
            assert_null(got);
        else if (!got || strcmp(got, cases[i].want) != 0)
            fail_msg("%s is %s, not %s", cases[i].path, got ? got : "absent", cases[i].want);
    }
    snprintf(hash, sizeof(hash), "%s", fl_fixture_text(f, "Document.Hash"));
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"" SHELL "\"}");
    content = fl_fixture_text(f, "Content");
    {
        char again[FL_SHA256_HEX_BYTES];

        fl_sha256_hex(content, strlen(content), again);
        assert_string_equal(hash, again);
    }
}

static void names_and_versions_are_checked(void **state)
{
    static const struct {
        const char *request, *error;
    } cases[] = {
        { "{\"Name\":\"" SHELL "\",\"DocumentVersion\":\"1\"}", NULL },
        { "{\"Name\":\"" SHELL "\",\"DocumentVersion\":\"$LATEST\"}", NULL },
        { "{\"Name\":\"" SHELL "\",\"DocumentVersion\":\"$DEFAULT\"}", NULL },
        { "{\"Name\":\"arn:aws:ssm:local::document/" SHELL "\"}", NULL },
        { "{\"Name\":\"arn:aws:ssm:local:123456789012:document/" SHELL "\"}", NULL },
        { "{\"Name\":\"arn:aws:ssm:elsewhere::document/" SHELL "\"}", NULL },
        { "{\"Name\":\"arn:aws:ssm:elsewhere:123456789012:document/" SHELL "\"}",
          "InvalidDocument" },
        { "{\"Name\":\"arn:aws:ssm:local::document/Mine\"}", "InvalidDocument" },
        { "{\"Name\":\"arn:aws:ssm:local\"}", "InvalidDocument" },
        { "{\"Name\":\"arn:aws:s3:::bucket\"}", "InvalidDocument" },
        { "{\"Name\":\"arn:aws:ssm:local:111111111111:document/" SHELL "\"}", "InvalidDocument" },
        { "{\"Name\":\"aws-runshellscript\"}", "InvalidDocument" },
        { "{\"Name\":\"NoSuchDoc\"}", "InvalidDocument" },
        { "{\"Name\":\"" SHELL "\",\"DocumentVersion\":\"2\"}", "InvalidDocumentVersion" },
        { "{\"Name\":\"" SHELL "\",\"DocumentVersion\":\"0\"}", "ValidationException" },
        { "{\"Name\":\"" SHELL "\",\"VersionName\":\"v1\"}", "InvalidDocumentVersion" },
        { "{\"Name\":\"a b\"}", "ValidationException" },
        { "{}", "ValidationException" },
    };
    static const char *const ops[] = { "DescribeDocument", "GetDocument" };
    struct fl_fixture *f = *state;

    for (size_t o = 0; o < FL_ARRAY_LEN(ops); o++)
        for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
            if (cases[i].error)
                fl_fixture_fails(f, ops[o], cases[i].request, cases[i].error);
            else
                fl_fixture_ok(f, ops[o], cases[i].request);
        }
}

static void formats_are_converted(void **state)
{
    struct fl_fixture *f = *state;
    const char *yaml;

    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"" SHELL "\",\"DocumentFormat\":\"JSON\"}");
    assert_string_equal(fl_fixture_text(f, "DocumentFormat"), "JSON");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"" SHELL "\",\"DocumentFormat\":\"YAML\"}");
    assert_string_equal(fl_fixture_text(f, "DocumentFormat"), "YAML");
    yaml = fl_fixture_text(f, "Content");
    assert_non_null(strstr(yaml, "schemaVersion: \"1.2\"\n"));
    assert_non_null(strstr(yaml, "default: \"3600\"\n"));
    assert_non_null(strstr(yaml, "runCommand: \"{{ commands }}\"\n"));
    fl_fixture_fails(f, "GetDocument", "{\"Name\":\"" SHELL "\",\"DocumentFormat\":\"TEXT\"}",
                     "ValidationException");
    fl_fixture_fails(f, "GetDocument", "{\"Name\":\"" SHELL "\",\"DocumentFormat\":\"XML\"}",
                     "ValidationException");
}

static void yaml_keeps_types(void **state)
{
    static const struct {
        const char *json, *yaml;
    } cases[] = {
        { "{\"a\":\"true\",\"b\":true,\"c\":\"1\",\"d\":1,\"e\":null,\"f\":\"null\",\"g\":\"\"}",
          "a: \"true\"\nb: true\nc: \"1\"\nd: 1\ne: null\nf: \"null\"\ng: \"\"\n" },
        { "{\"y\":\"No\",\"x\":[1.5,2.0,\"~\",\"a: b\",\"# c\",\"-\"]}",
          "\"y\": \"No\"\nx:\n- 1.5\n- 2.0\n- \"~\"\n- \"a: b\"\n- \"# c\"\n- \"-\"\n" },
        { "{\"script\":\"echo a\\necho b\\n\"}", "script: |\n  echo a\n  echo b\n" },
        { "{\"script\":\"\\techo\"}", "script: \"\\techo\"\n" },
        { "{\"z\":{},\"a\":[]}", "z: {}\na: []\n" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(4096);

        json_t *v = fl_json_load_text(cases[i].json, 0, NULL);

        assert_int_equal(fl_yaml_dump(v, &out, NULL), 0);
        json_decref(v);
        assert_string_equal(out.data, cases[i].yaml);
    }
}

static void documents_are_listed(void **state)
{
    static const struct {
        const char *request;
        int want;
        const char *error;
    } cases[] = {
        { "{}", BUILTINS, NULL },
        { "{\"Filters\":[{\"Key\":\"Owner\",\"Values\":[\"Amazon\"]}]}", BUILTINS, NULL },
        { "{\"Filters\":[{\"Key\":\"Owner\",\"Values\":[\"Self\"]}]}", 0, NULL },
        { "{\"Filters\":[{\"Key\":\"Owner\",\"Values\":[\"Self\",\"Amazon\"]}]}", 0,
          "ValidationException" },
        { "{\"Filters\":[{\"Key\":\"Owner\",\"Values\":[\"Me\"]}]}", 0, "ValidationException" },
        { "{\"Filters\":[{\"Key\":\"Name\",\"Values\":[\"AWS-RunS\"]}]}", 1, NULL },
        { "{\"Filters\":[{\"Key\":\"Name\",\"Values\":[\"RunS\"]}]}", 0, NULL },
        { "{\"Filters\":[{\"Key\":\"SearchKeyword\",\"Values\":[\"powershell\"]}]}", 1, NULL },
        { "{\"Filters\":[{\"Key\":\"PlatformTypes\",\"Values\":[\"Linux\"]}]}", BUILTINS - 1,
          NULL },
        { "{\"Filters\":[{\"Key\":\"PlatformTypes\",\"Values\":[\"Linux\",\"Windows\"]}]}",
          BUILTINS, NULL },
        { "{\"Filters\":[{\"Key\":\"DocumentType\",\"Values\":[\"Session\"]}]}", 8, NULL },
        { "{\"Filters\":[{\"Key\":\"tag:a\",\"Values\":[\"b\"]}]}", 0, NULL },
        { "{\"Filters\":[{\"Key\":\"Nope\",\"Values\":[\"b\"]}]}", 0, "InvalidFilterKey" },
        { "{\"Filters\":[{\"Values\":[\"b\"]}]}", 0, "InvalidFilterKey" },
        { "{\"DocumentFilterList\":[{\"key\":\"Owner\",\"value\":\"Amazon\"}]}", BUILTINS, NULL },
        { "{\"DocumentFilterList\":[{\"key\":\"Nope\",\"value\":\"b\"}]}", 0,
          "ValidationException" },
        { "{\"MaxResults\":51}", 0, "ValidationException" },
    };
    struct fl_fixture *f = *state;
    char request[512];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        if (cases[i].error) {
            fl_fixture_fails(f, "ListDocuments", cases[i].request, cases[i].error);
            continue;
        }
        fl_fixture_ok(f, "ListDocuments", cases[i].request);
        if (fl_fixture_count(f, "DocumentIdentifiers") != cases[i].want)
            fail_msg("%s: %s", cases[i].request, f->reply);
    }
    fl_fixture_ok(f, "ListDocuments", "{\"MaxResults\":15}");
    assert_int_equal(fl_fixture_count(f, "DocumentIdentifiers"), 15);
    assert_string_equal(fl_fixture_text(f, "DocumentIdentifiers.0.Name"),
                        "AWS-ApplyAnsiblePlaybooks");
    snprintf(request, sizeof(request), "{\"NextToken\":\"%s\"}", fl_fixture_text(f, "NextToken"));
    fl_fixture_ok(f, "ListDocuments", request);
    assert_int_equal(fl_fixture_count(f, "DocumentIdentifiers"), BUILTINS - 15);
    assert_string_equal(fl_fixture_text(f, "DocumentIdentifiers.0.Name"), "AWS-StartSSHSession");
    assert_null(fl_fixture_text(f, "NextToken"));
}

/* The rules for users' documents hold for the built-in ones too, and say where they run. */
static void builtin_documents_are_sound(void **state)
{
    static const struct {
        unsigned is;
        const char *name;
    } platforms[] = { { FL_DOC_LINUX, "Linux" },
                      { FL_DOC_MACOS, "MacOS" },
                      { FL_DOC_WINDOWS, "Windows" } };
    const char *before = "";
    struct fl_document doc;
    size_t n = 0;

    (void)state;
    for (; fl_builtin_at(n, &doc); n++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_doc_source src = { FL_DOC_JSON, doc.content, strlen(doc.content) };
        struct fl_doc_facts facts;
        struct fl_err err = { 0 };

        if (fl_doc_check(fl_document_type(doc.type)->rules, &src, &arena, &facts, &err) < 0)
            fail_msg("%s: %s", doc.name, fl_err_text(&err));
        if (strncmp(doc.name, "AWSFleetManager-", 16) == 0)
            facts.platforms &= FL_DOC_LINUX; /* they read /proc */
        for (size_t i = 0; i < FL_ARRAY_LEN(platforms); i++)
            if (fl_document_runs_on(&doc, platforms[i].name) !=
                !!(facts.platforms & platforms[i].is))
                fail_msg("%s: %s", doc.name, platforms[i].name);
        assert_true(strcmp(before, doc.name) < 0);
        before = doc.name;
    }
    assert_int_equal(n, BUILTINS);
}

/* ---- parameters ---- */
static struct fl_listmap given(struct fl_arena *arena, const char *json)
{
    struct {
        struct fl_listmap map;
    } in = { 0 };
    const struct fl_field fields[] = { {
        .key = "P",
        .kind = FL_KIND_LISTMAP,
    } };
    const struct fl_shape shape = { "test", sizeof(in), fields, 1 };
    char text[16384];

    snprintf(text, sizeof(text), "{\"P\":%s}", json);
    assert_int_equal(fl_json_decode(&shape, text, strlen(text), 0, arena, &in, NULL), 0);
    return in.map;
}

static int check_shell(struct fl_call *call, void *arg)
{
    static const struct {
        const char *parameters;
        bool ok;
        const char *in_text;
    } cases[] = {
        { "{\"commands\":[\"echo hi\"]}", true, NULL },
        { "{\"commands\":[\"a\",\"b\"],\"workingDirectory\":[\"\"],\"executionTimeout\":[\"5\"]}",
          true, NULL },
        { "{}", false, "\"commands\"" },
        { "{\"commands\":[]}", false, "\"commands\"" },
        { "{\"commands\":[\"a\"],\"nope\":[\"x\"]}", false, "\"nope\"" },
        { "{\"Commands\":[\"a\"]}", false, "\"Commands\"" },
        { "{\"commands\":[\"a\"],\"FairleadSignature\":[\"" SIGNATURE "\"]}", true, NULL },
        { "{\"commands\":[\"a\"],\"FairleadSignature\":[\"\"]}", false, "FairleadSignature" },
        { "{\"commands\":[\"a\"],\"FairleadSignature\":[]}", false, "one value" },
        { "{\"commands\":[\"a\"],\"FairleadSignature\":[\"" SIGNATURE "\",\"" SIGNATURE "\"]}",
          false, "one value" },
        { "{\"commands\":[\"a\"],\"fairleadSignature\":[\"" SIGNATURE "\"]}", false,
          "\"fairleadSignature\"" },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"172800\"]}", true, NULL },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"172801\"]}", false, "executionTimeout" },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"0\"]}", false, "executionTimeout" },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"60\\n\"]}", false, "executionTimeout" },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"60\",\"70\"]}", false, "exactly one" },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[]}", false, "exactly one" },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"{{ ssm:timeout }}\"]}", true, NULL },
        { "{\"commands\":[\"a\"],\"executionTimeout\":[\"{{ other }}\"]}", false,
          "executionTimeout" },
    };
    struct fl_document doc;

    (void)arg;
    assert_int_equal(fl_document_find(call, SHELL, NULL, &doc, NULL), 0);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_listmap map = given(call->arena, cases[i].parameters);
        struct fl_err err = { 0 };
        int r = fl_document_check_parameters(&doc, &map, &err);

        if ((r == 0) != cases[i].ok)
            fail_msg("%s: %d %s", cases[i].parameters, r, fl_err_text(&err));
        if (!cases[i].ok) {
            assert_string_equal(err.name, "InvalidParameters");
            if (!strstr(err.text, cases[i].in_text))
                fail_msg("%s: %s", cases[i].parameters, err.text);
        }
    }
    return 0;
}

static void shell_parameters_are_checked(void **state)
{
    assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, check_shell, NULL), 0);
}

static int check_every_rule(struct fl_call *call, void *arg)
{
    static char *values[] = { (char *)"one", (char *)"two" };
    static const struct {
        const char *type;
        size_t n_values;
        const char *pattern;
        int min_chars, max_chars, min_items, max_items; /* 0: none */
        const char *given;
        bool ok;
    } cases[] = {
        { "String", 2, NULL, 0, 0, 0, 0, "[\"one\"]", true },
        { "String", 2, NULL, 0, 0, 0, 0, "[\"One\"]", false },
        { "StringList", 2, NULL, 0, 0, 0, 0, "[\"two\",\"x\"]", false },
        { "StringList", 0, "b+", 0, 0, 0, 0, "[\"abc\"]", true },
        { "StringList", 0, "b+", 0, 0, 0, 0, "[\"b\",\"c\"]", false },
        { "String", 0, "(", 0, 0, 0, 0, "[\"b\"]", false },
        { "String", 0, "^(a+)+$", 0, 0, 0, 0,
          "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\"]", false },
        { "String", 0, NULL, 2, 3, 0, 0, "[\"ab\"]", true },
        { "String", 0, NULL, 2, 3, 0, 0, "[\"a\"]", false },
        { "String", 0, NULL, 2, 3, 0, 0, "[\"abcd\"]", false },
        { "StringList", 0, NULL, 0, 0, 1, 2, "[]", false },
        { "StringList", 0, NULL, 0, 0, 1, 2, "[\"a\",\"b\",\"c\"]", false },
        { "Integer", 0, NULL, 0, 0, 0, 0, "[\"-12\"]", true },
        { "Integer", 0, NULL, 0, 0, 0, 0, "[\"1.5\"]", false },
        { "Boolean", 0, NULL, 0, 0, 0, 0, "[\"true\"]", true },
        { "Boolean", 0, NULL, 0, 0, 0, 0, "[\"True\"]", false },
        { "StringMap", 0, NULL, 0, 0, 0, 0, "[\"{\\\"a\\\":1}\"]", true },
    };

    (void)arg;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        enum fl_doc_param_type kind = FL_PARAM_STRING;
        struct fl_doc_param p;
        struct fl_document doc;
        char json[256];
        struct fl_listmap map;

        assert_true(fl_doc_param_kind(cases[i].type, &kind));
        p = (struct fl_doc_param){
            .name = (char *)"p",
            .type = (char *)cases[i].type,
            .kind = kind,
            .allowed_pattern = (char *)cases[i].pattern,
            .allowed_values = { values, cases[i].n_values },
            .min_chars = cases[i].min_chars ? cases[i].min_chars : -1,
            .max_chars = cases[i].max_chars ? cases[i].max_chars : -1,
            .min_items = cases[i].min_items ? cases[i].min_items : -1,
            .max_items = cases[i].max_items ? cases[i].max_items : -1,
        };
        doc = (struct fl_document){ .name = "test", .parameters = &p, .n_parameters = 1 };
        snprintf(json, sizeof(json), "{\"p\":%s}", cases[i].given);
        map = given(call->arena, json);
        if ((fl_document_check_parameters(&doc, &map, NULL) == 0) != cases[i].ok)
            fail_msg("case %zu: %s", i, json);
    }
    return 0;
}

static void every_rule_is_checked(void **state)
{
    assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, check_every_rule, NULL), 0);
}

static int ask_document(struct fl_call *call, void *arg)
{
    struct fl_listmap map =
        given(call->arena, "{\"commands\":[\"a\"],\"executionTimeout\":[\"7\"]}");
    struct fl_resources res = { 0 };
    struct fl_document doc;

    (void)arg;
    assert_int_equal(fl_document_find(call, SHELL, "$LATEST", &doc, NULL), 0);
    assert_string_equal(doc.version, "1");
    assert_string_equal(fl_document_string(&doc, &map, "executionTimeout"), "7");
    assert_string_equal(fl_document_string(&doc, NULL, "executionTimeout"), "3600");
    assert_string_equal(fl_document_string(&doc, NULL, "workingDirectory"), "");
    assert_null(fl_document_string(&doc, NULL, "commands"));
    assert_true(fl_document_runs_on(&doc, "Linux"));
    assert_true(fl_document_runs_on(&doc, NULL));
    assert_false(fl_document_runs_on(&doc, "Windows"));

    assert_int_equal(fl_document_resource(call, SHELL, &res, NULL), 0);
    assert_int_equal(fl_document_resource(call, "Mine", &res, NULL), 0);
    assert_string_equal(res.v[0].arn, "arn:aws:ssm:local::document/" SHELL);
    assert_string_equal(res.v[1].arn, "arn:aws:ssm:local:123456789012:document/Mine");
    return 0;
}

static void documents_answer_what_commands_ask(void **state)
{
    assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, ask_document, NULL), 0);
}

/* What the plane sends is what the node's own parser understands. */
static int load_as_node(struct fl_call *call, void *arg)
{
    static const char *const names[] = { SHELL, "AWS-RunPowerShellScript" };

    (void)arg;
    for (size_t i = 0; i < FL_ARRAY_LEN(names); i++) {
        struct fl_document doc;
        struct fl_doc loaded;
        struct fl_err err = { 0 };

        assert_int_equal(fl_document_find(call, names[i], NULL, &doc, NULL), 0);
        if (fl_doc_load(doc.json, "{\"commands\":[\"echo hi\"]}", "linux", call->arena, &loaded,
                        &err) < 0)
            fail_msg("%s: %s", names[i], fl_err_text(&err));
        assert_int_equal(loaded.n_steps, 1);
        assert_non_null(strstr(loaded.steps[0].inputs, "\"runCommand\":[\"echo hi\"]"));
        assert_non_null(strstr(loaded.steps[0].inputs, "\"timeoutSeconds\":\"3600\""));
    }
    return 0;
}

static void nodes_understand_the_documents(void **state)
{
    assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, load_as_node, NULL), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fl_fixture_setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(documents_are_described),        T(names_and_versions_are_checked),
        T(formats_are_converted),          cmocka_unit_test(yaml_keeps_types),
        T(documents_are_listed),           T(shell_parameters_are_checked),
        T(every_rule_is_checked),          T(documents_answer_what_commands_ask),
        T(nodes_understand_the_documents), cmocka_unit_test(builtin_documents_are_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
