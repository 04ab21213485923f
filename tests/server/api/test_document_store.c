/* Users' documents: made, changed, listed, shared, reviewed, deleted; who may read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/api/document_builtin.h"
#include "tests/server/fixture.h"

/* A document that says `text`, as the member Content of a request. */
#define CONTENT(text)                                                                          \
    "\"Content\":\"{\\\"schemaVersion\\\":\\\"2.2\\\",\\\"description\\\":\\\"" text           \
    "\\\",\\\"parameters\\\":{\\\"who\\\":{\\\"type\\\":\\\"String\\\",\\\"default\\\":"       \
    "\\\"me\\\"}},\\\"mainSteps\\\":[{\\\"action\\\":\\\"aws:runShellScript\\\",\\\"name\\\":" \
    "\\\"one\\\",\\\"inputs\\\":{\\\"runCommand\\\":[\\\"echo {{ who }}\\\"]}}]}\""
#define YAML_CONTENT                                                                 \
    "\"DocumentFormat\":\"YAML\",\"Content\":\"schemaVersion: '2.2'\\nmainSteps:\\n" \
    "- action: aws:runShellScript\\n  name: one\\n  inputs: {runCommand: [id]}\\n\""
#define CREATE(name, text) "{\"Name\":\"" name "\"," CONTENT(text) "}"
#define UPDATE(name, text) \
    "{\"Name\":\"" name "\",\"DocumentVersion\":\"$LATEST\"," CONTENT(text) "}"

static void expect(struct fl_fixture *f, const char *path, const char *want)
{
    const char *got = fl_fixture_text(f, path);

    if (want ? !got || strcmp(got, want) != 0 : got != NULL)
        fail_msg("%s is %s, not %s: %s", path, got ? got : "absent", want ? want : "absent",
                 f->reply);
}

static void documents_are_created(void **state)
{
    static const struct {
        const char *path, *want;
    } cases[] = {
        { "Name", "Demo" },
        { "Owner", "123456789012" },
        { "HashType", "Sha256" },
        { "DocumentVersion", "1" },
        { "LatestVersion", "1" },
        { "DefaultVersion", "1" },
        { "DocumentType", "Command" },
        { "DocumentFormat", "JSON" },
        { "SchemaVersion", "2.2" },
        { "Description", "first" },
        { "PlatformTypes", "[\"Linux\",\"MacOS\"]" },
        { "Parameters.0.Name", "who" },
        { "Parameters.0.DefaultValue", "me" },
        { "VersionName", "v1" },
        { "DisplayName", "My demo" },
        { "TargetType", "/AWS::EC2::Instance" },
        { "Requires.0.Name", "Other" },
        { "Tags.0.Key", "Env" },
        { "Sha1", NULL },
    };
    struct fl_fixture *f = *state;
    char hash[80];

    fl_fixture_ok(
        f, "CreateDocument",
        "{\"Name\":\"Demo\",\"VersionName\":\"v1\",\"DisplayName\":\"My demo\","
        "\"TargetType\":\"/AWS::EC2::Instance\",\"Requires\":[{\"Name\":\"Other\","
        "\"Version\":\"1\"}],\"Tags\":[{\"Key\":\"Env\",\"Value\":\"Dev\"}]," CONTENT("first") "}");
    expect(f, "DocumentDescription.Status", "Creating");
    snprintf(hash, sizeof(hash), "%s", fl_fixture_text(f, "DocumentDescription.Hash"));
    assert_int_equal(strlen(hash), 64);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char path[64];

        snprintf(path, sizeof(path), "DocumentDescription.%s", cases[i].path);
        expect(f, path, cases[i].want);
    }
    fl_fixture_ok(f, "DescribeDocument", "{\"Name\":\"Demo\"}");
    expect(f, "Document.Status", "Active");
    expect(f, "Document.Hash", hash);
    expect(f, "Document.Tags.0.Value", "Dev");
    fl_fixture_ok(f, "DescribeDocument",
                  "{\"Name\":\"arn:aws:ssm:local:123456789012:document/Demo\"}");
    fl_fixture_fails(f, "CreateDocument", CREATE("Demo", "again"), "DocumentAlreadyExists");
}

static void bad_requests_are_refused(void **state)
{
    static const struct {
        const char *request, *error, *text;
    } cases[] = {
        { CREATE("AWS-Demo", "x"), "ValidationException", "aws" },
        { CREATE("aMaZonDemo", "x"), "ValidationException", "amazon" },
        { CREATE("amzn.x", "x"), "ValidationException", "amzn" },
        { CREATE("a b", "x"), "ValidationException", NULL },
        { CREATE("ab", "x"), "ValidationException", NULL },
        { "{\"Name\":\"Demo\",\"Content\":\"{}\"}", "InvalidDocumentContent", "schemaVersion" },
        { "{\"Name\":\"Demo\",\"Content\":\"schemaVersion: '2.2'\"}", "InvalidDocumentContent",
          "line 1" },
        { "{\"Name\":\"Demo\",\"Content\":\"{\\\"schemaVersion\\\":\\\"0.3\\\"}\"}",
          "InvalidDocumentSchemaVersion", NULL },
        { "{\"Name\":\"Demo\",\"DocumentType\":\"Song\"," CONTENT("x") "}", "ValidationException",
          NULL },
        { "{\"Name\":\"Demo\",\"DocumentFormat\":\"TEXT\"," CONTENT("x") "}", "ValidationException",
          NULL },
        { "{\"Name\":\"Demo\"}", "ValidationException", NULL },
        { "{\"Name\":\"Demo\",\"DocumentFormat\":\"YAML\",\"Content\":\"schemaVersion: '2.2'\\n"
          "mainSteps:\\n- action: aws:runShellScript\\n  name: a\\n  inputs:\\n"
          "    runCommand: id\\n\"}",
          "InvalidDocumentContent", "line 6, column 5: mainSteps[0].inputs.runCommand: must be" },
    };
    struct fl_fixture *f = *state;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_fixture_fails(f, "CreateDocument", cases[i].request, cases[i].error);
        if (cases[i].text && !strstr(f->err.text, cases[i].text))
            fail_msg("%s: %s", cases[i].request, f->err.text);
    }
    fl_fixture_ok(f, "ListDocuments", "{\"Filters\":[{\"Key\":\"Owner\",\"Values\":[\"Self\"]}]}");
    assert_int_equal(fl_fixture_count(f, "DocumentIdentifiers"), 0);
}

static void sizes_are_limited(void **state)
{
    fl_autobuf struct fl_buf request = FL_BUF(1 << 20);
    struct fl_fixture *f = *state;

    for (int more = 0; more < 2; more++) {
        fl_buf_reset(&request);
        fl_buf_printf(&request,
                      "{\"Name\":\"Big%d\",\"DocumentType\":\"CloudFormation\","
                      "\"DocumentFormat\":\"TEXT\",\"Content\":\"%*s\"}",
                      more, FL_DOCUMENT_MAX_BYTES + more, "x");
        if (more)
            fl_fixture_fails(f, "CreateDocument", request.data, "MaxDocumentSizeExceeded");
        else
            fl_fixture_ok(f, "CreateDocument", request.data);
    }
    fl_fixture_fails(f, "GetDocument", "{\"Name\":\"Big0\",\"DocumentFormat\":\"JSON\"}",
                     "ValidationException");
}

static void versions_are_made(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "first"));
    fl_fixture_ok(f, "UpdateDocument",
                  "{\"Name\":\"Demo\",\"DocumentVersion\":\"1\",\"VersionName\":\"two\"," CONTENT(
                      "second") "}");
    expect(f, "DocumentDescription.Status", "Updating");
    expect(f, "DocumentDescription.DocumentVersion", "2");
    expect(f, "DocumentDescription.LatestVersion", "2");
    expect(f, "DocumentDescription.DefaultVersion", "1");
    fl_fixture_fails(f, "UpdateDocument", UPDATE("Demo", "second"), "DuplicateDocumentContent");
    fl_fixture_fails(f, "UpdateDocument", UPDATE("Demo", "first"), "DuplicateDocumentContent");
    fl_fixture_fails(f, "UpdateDocument",
                     "{\"Name\":\"Demo\",\"DocumentVersion\":\"1\"," CONTENT("third") "}",
                     "InvalidDocumentVersion");
    fl_fixture_fails(
        f, "UpdateDocument",
        "{\"Name\":\"Demo\",\"DocumentVersion\":\"$LATEST\",\"VersionName\":\"two\"," CONTENT(
            "third") "}",
        "DuplicateDocumentVersionName");
    fl_fixture_fails(f, "UpdateDocument", UPDATE("Nope", "x"), "InvalidDocument");
    fl_fixture_fails(f, "UpdateDocument", UPDATE("AWS-RunShellScript", "x"), "InvalidDocument");
    fl_fixture_fails(f, "UpdateDocument",
                     "{\"Name\":\"Demo\",\"DocumentVersion\":\"2\",\"Content\":\"{}\"}",
                     "InvalidDocumentContent");

    /* a failed update leaves no hole in the numbers */
    fl_fixture_ok(f, "UpdateDocument", UPDATE("Demo", "third"));
    expect(f, "DocumentDescription.DocumentVersion", "3");
    expect(f, "DocumentDescription.VersionName", NULL);

    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Demo\"}");
    expect(f, "DocumentVersion", "1");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Demo\",\"DocumentVersion\":\"$LATEST\"}");
    expect(f, "DocumentVersion", "3");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Demo\",\"VersionName\":\"two\"}");
    expect(f, "DocumentVersion", "2");
    expect(f, "VersionName", "two");
    fl_fixture_fails(f, "GetDocument",
                     "{\"Name\":\"Demo\",\"VersionName\":\"two\",\"DocumentVersion\":\"1\"}",
                     "InvalidDocumentVersion");
    fl_fixture_fails(f, "GetDocument", "{\"Name\":\"Demo\",\"VersionName\":\"three\"}",
                     "InvalidDocumentVersion");
    fl_fixture_fails(f, "GetDocument",
                     "{\"Name\":\"Demo\",\"DocumentVersion\":\"99999999999999999999\"}",
                     "InvalidDocumentVersion");

    fl_fixture_ok(f, "UpdateDocumentDefaultVersion",
                  "{\"Name\":\"Demo\",\"DocumentVersion\":\"2\"}");
    expect(f, "Description.Name", "Demo");
    expect(f, "Description.DefaultVersion", "2");
    expect(f, "Description.DefaultVersionName", "two");
    fl_fixture_fails(f, "UpdateDocumentDefaultVersion",
                     "{\"Name\":\"Demo\",\"DocumentVersion\":\"9\"}", "InvalidDocumentVersion");
    fl_fixture_fails(f, "UpdateDocumentDefaultVersion",
                     "{\"Name\":\"Demo\",\"DocumentVersion\":\"$LATEST\"}", "ValidationException");
    fl_fixture_ok(f, "DescribeDocument", "{\"Name\":\"Demo\"}");
    expect(f, "Document.DocumentVersion", "2");
    expect(f, "Document.LatestVersion", "3");

    fl_fixture_ok(f, "ListDocumentVersions", "{\"Name\":\"Demo\",\"MaxResults\":2}");
    assert_int_equal(fl_fixture_count(f, "DocumentVersions"), 2);
    expect(f, "DocumentVersions.0.DocumentVersion", "3");
    expect(f, "DocumentVersions.0.IsDefaultVersion", "false");
    expect(f, "DocumentVersions.1.IsDefaultVersion", "true");
    {
        char request[512];

        snprintf(request, sizeof(request), "{\"Name\":\"Demo\",\"NextToken\":\"%s\"}",
                 fl_fixture_text(f, "NextToken"));
        fl_fixture_ok(f, "ListDocumentVersions", request);
        assert_int_equal(fl_fixture_count(f, "DocumentVersions"), 1);
        expect(f, "DocumentVersions.0.DocumentVersion", "1");
        expect(f, "NextToken", NULL);
    }
    fl_fixture_ok(f, "ListDocumentVersions", "{\"Name\":\"AWS-Noop\"}");
    assert_int_equal(fl_fixture_count(f, "DocumentVersions"), 1);
}

static void old_documents_cannot_be_updated(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(
        f, "CreateDocument",
        "{\"Name\":\"Old\",\"DocumentFormat\":\"YAML\",\"Content\":\"schemaVersion: '1.2'\\n"
        "runtimeConfig:\\n  aws:runShellScript:\\n    properties:\\n"
        "    - {id: a, runCommand: [id]}\\n\"}");
    fl_fixture_fails(f, "UpdateDocument", UPDATE("Old", "new"), "InvalidDocumentSchemaVersion");
}

static void documents_are_deleted(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "first"));
    fl_fixture_ok(f, "UpdateDocument", UPDATE("Demo", "second"));
    fl_fixture_ok(f, "UpdateDocument", UPDATE("Demo", "third"));
    fl_fixture_fails(f, "DeleteDocument", "{\"Name\":\"Demo\",\"DocumentVersion\":\"1\"}",
                     "InvalidDocumentOperation");
    fl_fixture_fails(f, "DeleteDocument", "{\"Name\":\"Demo\",\"DocumentVersion\":\"4\"}",
                     "InvalidDocumentVersion");
    fl_fixture_ok(f, "DeleteDocument", "{\"Name\":\"Demo\",\"DocumentVersion\":\"3\"}");
    fl_fixture_ok(f, "DescribeDocument", "{\"Name\":\"Demo\"}");
    expect(f, "Document.LatestVersion", "2");
    /* a number is not given again */
    fl_fixture_ok(f, "UpdateDocument", UPDATE("Demo", "third"));
    expect(f, "DocumentDescription.DocumentVersion", "4");

    fl_fixture_ok(f, "ModifyDocumentPermission",
                  "{\"Name\":\"Demo\",\"PermissionType\":\"Share\",\"AccountIdsToAdd\":[\"All\"]}");
    fl_fixture_fails(f, "DeleteDocument", "{\"Name\":\"Demo\"}", "InvalidDocumentOperation");
    fl_fixture_ok(
        f, "ModifyDocumentPermission",
        "{\"Name\":\"Demo\",\"PermissionType\":\"Share\",\"AccountIdsToRemove\":[\"all\"]}");
    fl_fixture_ok(f, "AddTagsToResource",
                  "{\"ResourceType\":\"Document\",\"ResourceId\":\"Demo\",\"Tags\":"
                  "[{\"Key\":\"a\",\"Value\":\"b\"}]}");
    fl_fixture_ok(f, "DeleteDocument", "{\"Name\":\"Demo\"}");
    fl_fixture_fails(f, "DescribeDocument", "{\"Name\":\"Demo\"}", "InvalidDocument");
    fl_fixture_fails(f, "DeleteDocument", "{\"Name\":\"Demo\"}", "InvalidDocument");
    fl_fixture_fails(f, "DeleteDocument", "{\"Name\":\"AWS-RunShellScript\"}", "InvalidDocument");

    /* nothing of it is left to the next one of the name */
    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "new"));
    expect(f, "DocumentDescription.DocumentVersion", "1");
    expect(f, "DocumentDescription.Tags", NULL);

    fl_fixture_ok(f, "CreateDocument",
                  "{\"Name\":\"Schema\",\"DocumentType\":\"ApplicationConfigurationSchema\","
                  "\"Content\":\"{}\"}");
    fl_fixture_fails(f, "DeleteDocument", "{\"Name\":\"Schema\"}", "InvalidDocumentOperation");
    fl_fixture_ok(f, "DeleteDocument", "{\"Name\":\"Schema\",\"Force\":true}");
}

static void content_is_converted(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(f, "CreateDocument", "{\"Name\":\"Demo\"," YAML_CONTENT "}");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Demo\"}");
    expect(f, "DocumentFormat", "YAML");
    assert_memory_equal(fl_fixture_text(f, "Content"), "schemaVersion: '2.2'\n", 21);
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Demo\",\"DocumentFormat\":\"JSON\"}");
    expect(f, "DocumentFormat", "JSON");
    expect(f, "Content",
           "{\n  \"schemaVersion\": \"2.2\",\n  \"mainSteps\": [\n    {\n      \"action\": "
           "\"aws:runShellScript\",\n      \"name\": \"one\",\n      \"inputs\": {\n        "
           "\"runCommand\": [\n          \"id\"\n        ]\n      }\n    }\n  ]\n}");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"AWS-Noop\",\"DocumentFormat\":\"YAML\"}");
    assert_non_null(strstr(fl_fixture_text(f, "Content"), "documentPath: AWS-Noop\n"));
}

static int n_builtin(void)
{
    struct fl_document doc;
    int n = 0;

    while (fl_builtin_at((size_t)n, &doc))
        n++;
    return n;
}

static void own_documents_are_listed(void **state)
{
    const struct {
        const char *filters;
        int want;
    } cases[] = {
        { "{\"Key\":\"Owner\",\"Values\":[\"Self\"]}", 3 },
        { "{\"Key\":\"Owner\",\"Values\":[\"Private\"]}", 2 },
        { "{\"Key\":\"Owner\",\"Values\":[\"Public\"]}", n_builtin() + 1 },
        { "{\"Key\":\"Owner\",\"Values\":[\"ThirdParty\"]}", 0 },
        { "{\"Key\":\"Name\",\"Values\":[\"A\"]}", n_builtin() }, /* but Fairlead-Exec */
        { "{\"Key\":\"Owner\",\"Values\":[\"Self\"]},{\"Key\":\"DocumentType\",\"Values\":"
          "[\"Command\"]}",
          2 },
        { "{\"Key\":\"tag:Env\",\"Values\":[\"Dev\",\"Test\"]}", 1 },
        { "{\"Key\":\"tag:Env\",\"Values\":[\"Prod\"]}", 0 },
        { "{\"Key\":\"TargetType\",\"Values\":[\"/x\"]}", 1 },
        { "{\"Key\":\"SearchKeyword\",\"Values\":[\"SECOND\"]}", 1 },
    };
    struct fl_fixture *f = *state;
    char request[512];

    fl_fixture_ok(
        f, "CreateDocument",
        "{\"Name\":\"ASecond\",\"TargetType\":\"/x\",\"Tags\":[{\"Key\":\"Env\",\"Value\":"
        "\"Dev\"}]," CONTENT("x") "}");
    fl_fixture_ok(f, "CreateDocument", CREATE("Zed", "y"));
    fl_fixture_ok(f, "CreateDocument",
                  "{\"Name\":\"Book\",\"DocumentType\":\"Automation\",\"DocumentFormat\":\"YAML\","
                  "\"Content\":\"schemaVersion: '0.3'\\nmainSteps:\\n"
                  "- {name: a, action: 'aws:pause', inputs: {}}\\n\"}");
    fl_fixture_ok(f, "ModifyDocumentPermission",
                  "{\"Name\":\"Zed\",\"PermissionType\":\"Share\",\"AccountIdsToAdd\":[\"All\"]}");
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        snprintf(request, sizeof(request), "{\"Filters\":[%s]}", cases[i].filters);
        fl_fixture_ok(f, "ListDocuments", request);
        if (fl_fixture_count(f, "DocumentIdentifiers") != cases[i].want)
            fail_msg("%s: %s", request, f->reply);
    }
    /* one by one: every document once, in the order of names */
    snprintf(request, sizeof(request), "{\"MaxResults\":1}");
    {
        char before[140] = "";
        int n = 0;

        do {
            fl_fixture_ok(f, "ListDocuments", request);
            assert_true(strcmp(before, fl_fixture_text(f, "DocumentIdentifiers.0.Name")) < 0);
            snprintf(before, sizeof(before), "%s",
                     fl_fixture_text(f, "DocumentIdentifiers.0.Name"));
            if (fl_fixture_text(f, "NextToken"))
                snprintf(request, sizeof(request), "{\"MaxResults\":1,\"NextToken\":\"%s\"}",
                         fl_fixture_text(f, "NextToken"));
            n++;
        } while (fl_fixture_text(f, "NextToken"));
        assert_int_equal(n, n_builtin() + 3);
    }
    fl_fixture_ok(f, "ListDocuments", "{\"Filters\":[{\"Key\":\"Name\",\"Values\":[\"ASec\"]}]}");
    expect(f, "DocumentIdentifiers.0.Owner", "123456789012");
    expect(f, "DocumentIdentifiers.0.Tags.0.Key", "Env");
    expect(f, "DocumentIdentifiers.0.SchemaVersion", "2.2");
}

static void documents_are_shared(void **state)
{
    struct fl_fixture *f = *state;
    char request[600];

    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "first"));
    fl_fixture_ok(f, "ModifyDocumentPermission",
                  "{\"Name\":\"Demo\",\"PermissionType\":\"Share\",\"AccountIdsToAdd\":"
                  "[\"111111111111\",\"222222222222\",\"333333333333\"],\"AccountIdsToRemove\":"
                  "[\"222222222222\"],\"SharedDocumentVersion\":\"$LATEST\"}");
    fl_fixture_ok(f, "DescribeDocumentPermission",
                  "{\"Name\":\"Demo\",\"PermissionType\":\"Share\",\"MaxResults\":1}");
    expect(f, "AccountIds", "[\"111111111111\"]");
    expect(f, "AccountSharingInfoList.0.SharedDocumentVersion", "$LATEST");
    snprintf(request, sizeof(request),
             "{\"Name\":\"Demo\",\"PermissionType\":\"Share\",\"NextToken\":\"%s\"}",
             fl_fixture_text(f, "NextToken"));
    fl_fixture_ok(f, "DescribeDocumentPermission", request);
    expect(f, "AccountIds", "[\"333333333333\"]");
    expect(f, "NextToken", NULL);
    fl_fixture_fails(
        f, "ModifyDocumentPermission",
        "{\"Name\":\"Demo\",\"PermissionType\":\"Share\",\"AccountIdsToAdd\":[\"All\"]}",
        "DocumentPermissionLimit");
    /* refused as a whole */
    fl_fixture_ok(f, "DescribeDocumentPermission",
                  "{\"Name\":\"Demo\",\"PermissionType\":\"Share\"}");
    expect(f, "AccountIds", "[\"111111111111\",\"333333333333\"]");
    fl_fixture_fails(f, "ModifyDocumentPermission",
                     "{\"Name\":\"Demo\",\"PermissionType\":\"Lend\"}", "ValidationException");
    fl_fixture_fails(f, "ModifyDocumentPermission",
                     "{\"Name\":\"Nope\",\"PermissionType\":\"Share\"}", "InvalidDocument");
    fl_fixture_fails(f, "DescribeDocumentPermission",
                     "{\"Name\":\"AWS-RunShellScript\",\"PermissionType\":\"Share\"}",
                     "InvalidDocument");
}

static void versions_are_reviewed(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "first"));
    fl_fixture_fails(f, "UpdateDocumentMetadata",
                     "{\"Name\":\"Demo\",\"DocumentReviews\":{\"Action\":\"Approve\"}}",
                     "InvalidDocumentOperation");
    fl_fixture_ok(
        f, "UpdateDocumentMetadata",
        "{\"Name\":\"Demo\",\"DocumentReviews\":{\"Action\":\"SendForReview\",\"Comment\":"
        "[{\"Type\":\"Comment\",\"Content\":\"please\"}]}}");
    fl_fixture_ok(f, "UpdateDocumentMetadata",
                  "{\"Name\":\"Demo\",\"DocumentVersion\":\"1\",\"DocumentReviews\":{\"Action\":"
                  "\"Approve\"}}");
    fl_fixture_ok(f, "DescribeDocument", "{\"Name\":\"Demo\"}");
    expect(f, "Document.ReviewStatus", "APPROVED");
    fl_fixture_ok(f, "ListDocumentMetadataHistory",
                  "{\"Name\":\"Demo\",\"Metadata\":\"DocumentReviews\"}");
    assert_int_equal(fl_fixture_count(f, "Metadata.ReviewerResponse"), 2);
    expect(f, "Metadata.ReviewerResponse.0.ReviewStatus", "PENDING");
    expect(f, "Metadata.ReviewerResponse.0.Comment.0.Content", "please");
    expect(f, "Metadata.ReviewerResponse.1.ReviewStatus", "APPROVED");
    expect(f, "Metadata.ReviewerResponse.1.Comment", NULL);
}

static void documents_have_tags(void **state)
{
    static const char of_demo[] = "{\"ResourceType\":\"Document\",\"ResourceId\":\"Demo\"}";
    struct fl_fixture *f = *state;

    fl_fixture_fails(f, "ListTagsForResource", of_demo, "InvalidResourceId");
    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "first"));
    fl_fixture_ok(f, "AddTagsToResource",
                  "{\"ResourceType\":\"Document\",\"ResourceId\":\"Demo\",\"Tags\":"
                  "[{\"Key\":\"Env\",\"Value\":\"Dev\"},{\"Key\":\"x\",\"Value\":\"\"}]}");
    fl_fixture_ok(f, "RemoveTagsFromResource",
                  "{\"ResourceType\":\"Document\",\"ResourceId\":\"Demo\",\"TagKeys\":[\"x\"]}");
    fl_fixture_ok(f, "ListTagsForResource", of_demo);
    expect(f, "TagList", "[{\"Key\":\"Env\",\"Value\":\"Dev\"}]");
    fl_fixture_fails(f, "ListTagsForResource",
                     "{\"ResourceType\":\"Document\",\"ResourceId\":\"AWS-RunShellScript\"}",
                     "InvalidResourceId");
}

#define PACKAGE                                                                            \
    "\"DocumentType\":\"Package\",\"Content\":\"{\\\"schemaVersion\\\":\\\"2.0\\\","       \
    "\\\"version\\\":"                                                                     \
    "\\\"1.0\\\",\\\"packages\\\":{},\\\"files\\\":{\\\"linux.zip\\\":{\\\"checksums\\\":" \
    "{\\\"sha256\\\":\\\"00ff\\\"},\\\"size\\\":7},\\\"other.zip\\\":{}}}\""

static void files_are_attached(void **state)
{
    static const struct {
        const char *attachments, *error;
    } bad[] = {
        { "{\"Key\":\"SourceUrl\",\"Values\":[\"http://x/y\"]}", "ValidationException" },
        { "{\"Key\":\"SourceUrl\",\"Values\":[\"file:///etc\"]}", "ValidationException" },
        { "{\"Key\":\"S3FileUrl\",\"Values\":[\"https://x/ab\"]}", "ValidationException" },
        { "{\"Key\":\"S3FileUrl\",\"Values\":[\"https://x/abc\"]},"
          "{\"Key\":\"S3FileUrl\",\"Values\":[\"https://y/abc\"]}",
          "ValidationException" },
        { "{\"Key\":\"AttachmentReference\",\"Values\":[\"Pack\"]}", "ValidationException" },
        { "{\"Key\":\"AttachmentReference\",\"Values\":[\"Nope/1/x\"]}", "InvalidDocument" },
        { "{\"Key\":\"AttachmentReference\",\"Values\":[\"Pack/1/none.zip\"]}",
          "ValidationException" },
        { "{\"Key\":\"S3FileUrl\"}", "ValidationException" },
        { "{\"Values\":[\"https://x/abc\"]}", "ValidationException" },
    };
    struct fl_fixture *f = *state;
    char request[900];

    fl_fixture_ok(f, "CreateDocument",
                  "{\"Name\":\"Pack\",\"Attachments\":[{\"Key\":\"SourceUrl\",\"Values\":"
                  "[\"https://files.example/pack/\"]}]," PACKAGE "}");
    expect(f, "DocumentDescription.AttachmentsInformation",
           "[{\"Name\":\"linux.zip\"},{\"Name\":\"other.zip\"}]");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Pack\"}");
    expect(f, "AttachmentsContent",
           "[{\"Name\":\"linux.zip\",\"Size\":7,\"Hash\":\"00ff\",\"HashType\":\"Sha256\","
           "\"Url\":\"https://files.example/pack/linux.zip\"},{\"Name\":\"other.zip\",\"Url\":"
           "\"https://files.example/pack/other.zip\"}]");
    fl_fixture_ok(f, "CreateDocument",
                  "{\"Name\":\"Copy\",\"Attachments\":[{\"Key\":\"AttachmentReference\",\"Values\":"
                  "[\"Pack/1/linux.zip\"],\"Name\":\"mine.zip\"},{\"Key\":\"S3FileUrl\","
                  "\"Values\":[\"https://files.example/z/other.zip\"]}]," PACKAGE "}");
    fl_fixture_ok(f, "GetDocument", "{\"Name\":\"Copy\"}");
    expect(f, "AttachmentsContent.0.Name", "mine.zip");
    expect(f, "AttachmentsContent.0.Url", "https://files.example/pack/linux.zip");
    expect(f, "AttachmentsContent.1.Url", "https://files.example/z/other.zip");
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        snprintf(request, sizeof(request), "{\"Name\":\"Bad\",\"Attachments\":[%s]," PACKAGE "}",
                 bad[i].attachments);
        fl_fixture_fails(f, "CreateDocument", request, bad[i].error);
    }
}

static void commands_run_them(void **state)
{
    struct fl_fixture *f = *state;
    const char *node = fl_fixture_node(f, NULL);
    char request[512], hash[80];

    fl_fixture_ok(f, "CreateDocument", "{\"Name\":\"Yaml\"," YAML_CONTENT "}");
    snprintf(hash, sizeof(hash), "%s", fl_fixture_text(f, "DocumentDescription.Hash"));
    fl_fixture_ok(f, "CreateDocument", CREATE("Demo", "first"));
    fl_fixture_ok(f, "CreateDocument",
                  "{\"Name\":\"Book\",\"DocumentType\":\"Automation\",\"DocumentFormat\":\"YAML\","
                  "\"Content\":\"schemaVersion: '0.3'\\nmainSteps:\\n"
                  "- {name: a, action: 'aws:pause', inputs: {}}\\n\"}");
#define SEND(what) \
    (snprintf(request, sizeof(request), "{\"InstanceIds\":[\"%s\"]," what "}", node), request)
    fl_fixture_ok(f, "SendCommand", SEND("\"DocumentName\":\"Yaml\""));
    expect(f, "Command.DocumentName", "Yaml");
    fl_fixture_ok(f, "SendCommand",
                  SEND("\"DocumentName\":\"Demo\",\"Parameters\":{\"who\":[\"you\"]}"));
    fl_fixture_fails(f, "SendCommand",
                     SEND("\"DocumentName\":\"Demo\",\"Parameters\":{\"whom\":[\"you\"]}"),
                     "InvalidParameters");
    fl_fixture_fails(f, "SendCommand", SEND("\"DocumentName\":\"Demo\",\"DocumentVersion\":\"2\""),
                     "InvalidDocumentVersion");
    fl_fixture_fails(f, "SendCommand", SEND("\"DocumentName\":\"Book\""), "InvalidDocument");
    snprintf(request, sizeof(request),
             "{\"InstanceIds\":[\"%s\"],\"DocumentName\":\"Yaml\",\"DocumentHash\":\"%s\"}", node,
             hash);
    fl_fixture_ok(f, "SendCommand", request);
    hash[0] = hash[0] == '0' ? '1' : '0';
    snprintf(request, sizeof(request),
             "{\"InstanceIds\":[\"%s\"],\"DocumentName\":\"Yaml\",\"DocumentHash\":\"%s\"}", node,
             hash);
    fl_fixture_fails(f, "SendCommand", request, "InvalidDocument");
}

/* Rows enough to leave room for one more document and one more version of Doc0. */
static int fill(struct fl_call *call, void *arg)
{
    const struct fl_sql_arg account = FL_T(call->account), region = FL_T(call->region);

    (void)arg;
    for (int i = 0; i < 499; i++) {
        char name[16];

        snprintf(name, sizeof(name), "Doc%d", i);
        assert_int_equal(fl_sql_exec(call->tx, FL_SQL_document_insert, NULL, account, region,
                                     FL_T(name), FL_T("CloudFormation")),
                         1);
    }
    for (int i = 1; i < 1000; i++) {
        char hash[16];

        snprintf(hash, sizeof(hash), "%d", i);
        assert_int_equal(fl_sql_scalar(call->tx, FL_SQL_document_next_version, 0, NULL, account,
                                       region, FL_T("Doc0")),
                         i);
        assert_int_equal(fl_sql_exec(call->tx, FL_SQL_document_version_insert, NULL, account,
                                     region, FL_T("Doc0"), FL_N(i), FL_NULL, FL_NULL, FL_NULL,
                                     FL_T("JSON"), FL_T("{}"), FL_T(hash), FL_NULL, FL_NULL,
                                     FL_T("[]"), FL_T("[]"), FL_T("[]"), FL_T("me"), FL_N(i)),
                         1);
    }
    return 0;
}

static void numbers_are_limited(void **state)
{
    struct fl_fixture *f = *state;

    assert_int_equal(fl_fixture_run(f, FL_LANE_WRITE, fill, NULL), 0);
    fl_fixture_ok(f, "CreateDocument", CREATE("Last", "x"));
    fl_fixture_fails(f, "CreateDocument", CREATE("TooMany", "x"), "DocumentLimitExceeded");
    fl_fixture_ok(f, "UpdateDocument", "{\"Name\":\"Doc0\",\"Content\":\"[1]\"}");
    expect(f, "DocumentDescription.DocumentVersion", "1000");
    fl_fixture_fails(f, "UpdateDocument", "{\"Name\":\"Doc0\",\"Content\":\"[2]\"}",
                     "DocumentVersionLimitExceeded");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fl_fixture_setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(documents_are_created),
        T(bad_requests_are_refused),
        T(sizes_are_limited),
        T(versions_are_made),
        T(old_documents_cannot_be_updated),
        T(documents_are_deleted),
        T(content_is_converted),
        T(own_documents_are_listed),
        T(documents_are_shared),
        T(versions_are_reviewed),
        T(documents_have_tags),
        T(files_are_attached),
        T(commands_run_them),
        T(numbers_are_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
