/* The operations of Parameter Store, without signatures and policies. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/api/parameter_seal.h"
#include "server/api/parameters.h"
#include "server/conf.h"
#include "tests/server/fixture.h"

#define SECRET   "s3cret-4711"
#define REQUEST  16384
#define STRING   "\"Type\":\"String\""
#define SECURE   "\"Type\":\"SecureString\""
#define OVER     "\"Overwrite\":true"
#define ADVANCED "\"Tier\":\"Advanced\""

/* `more`: further members, or "". */
static int try_put(struct fl_fixture *f, const char *name, const char *value, const char *more)
{
    char request[REQUEST];

    snprintf(request, sizeof(request), "{\"Name\":\"%s\",\"Value\":\"%s\"%s%s}", name, value,
             more[0] ? "," : "", more);
    return fl_fixture_call(f, "PutParameter", request);
}

static void put(struct fl_fixture *f, const char *name, const char *value, const char *more)
{
    if (try_put(f, name, value, more) < 0)
        fail_msg("%s: %s: %s", name, f->err.name ? f->err.name : "no name", fl_err_text(&f->err));
}

static void put_fails(struct fl_fixture *f, const char *name, const char *value, const char *more,
                      const char *error)
{
    if (try_put(f, name, value, more) >= 0 || !f->err.name || strcmp(f->err.name, error) != 0)
        fail_msg("%s %s: %s (%s), not %s", name, more, f->err.name ? f->err.name : "no name",
                 fl_err_text(&f->err), error);
}

static void is(struct fl_fixture *f, const char *path, const char *want)
{
    const char *have = fl_fixture_text(f, path);

    if (!have || strcmp(have, want) != 0)
        fail_msg("%s is %s, not %s: %s", path, have ? have : "absent", want, f->reply);
}

static void get(struct fl_fixture *f, const char *name)
{
    char request[REQUEST];

    snprintf(request, sizeof(request), "{\"Name\":\"%s\",\"WithDecryption\":true}", name);
    fl_fixture_ok(f, "GetParameter", request);
}

/* The names in a list of the last reply, with blanks between them. */
static const char *names(struct fl_fixture *f, const char *list, const char *member)
{
    static char text[1024];
    int n = fl_fixture_count(f, list);
    size_t len = 0;

    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        char path[64];

        snprintf(path, sizeof(path), "%s.%d%s%s", list, i, *member ? "." : "", member);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "",
                                fl_fixture_text(f, path));
    }
    return text;
}

static void a_parameter_lives(void **state)
{
    struct fl_fixture *f = *state;

    put(f, "/app/db", "v1", STRING ",\"Description\":\"the database\"");
    is(f, "Version", "1");
    is(f, "Tier", "Standard");
    put_fails(f, "/app/db", "v2", STRING, "ParameterAlreadyExists");
    put(f, "/app/db", "v2", OVER);
    is(f, "Version", "2");

    get(f, "/app/db");
    is(f, "Parameter.Name", "/app/db");
    is(f, "Parameter.Value", "v2");
    is(f, "Parameter.Type", "String");
    is(f, "Parameter.Version", "2");
    is(f, "Parameter.DataType", "text");
    is(f, "Parameter.ARN", "arn:aws:ssm:local:123456789012:parameter/app/db");
    assert_null(fl_fixture_text(f, "Parameter.Selector"));
    get(f, "/app/db:1");
    is(f, "Parameter.Name", "/app/db");
    is(f, "Parameter.Value", "v1");
    is(f, "Parameter.Selector", ":1");
    get(f, "arn:aws:ssm:local:123456789012:parameter/app/db:1");
    is(f, "Parameter.Value", "v1");

    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"/app/db:99\"}", "ParameterVersionNotFound");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"/app/db:none\"}", "ParameterVersionNotFound");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"/app/none\"}", "ParameterNotFound");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"/app/none:1\"}", "ParameterNotFound");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"app/db\"}", "ValidationException");

    fl_fixture_ok(f, "DescribeParameters", "{}");
    is(f, "Parameters.0.Description", "the database"); /* kept by the second put */
    is(f, "Parameters.0.LastModifiedUser", f->who.arn);
    is(f, "Parameters.0.Policies", "[]");
    assert_null(fl_fixture_text(f, "Parameters.0.Value"));

    fl_fixture_ok(f, "DeleteParameter", "{\"Name\":\"/app/db\"}");
    fl_fixture_fails(f, "DeleteParameter", "{\"Name\":\"/app/db\"}", "ParameterNotFound");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"/app/db:1\"}", "ParameterNotFound");
    put(f, "/app/db", "again", STRING);
    is(f, "Version", "1");
}

static void a_leading_slash_makes_no_difference(void **state)
{
    struct fl_fixture *f = *state;

    put(f, "a", "v", STRING ",\"Tags\":[{\"Key\":\"Env\",\"Value\":\"Dev\"}]");
    put_fails(f, "/a", "v", STRING, "ParameterAlreadyExists");
    get(f, "/a");
    is(f, "Parameter.Name", "a");
    fl_fixture_ok(f, "ListTagsForResource",
                  "{\"ResourceType\":\"Parameter\",\"ResourceId\":\"/a\"}");
    is(f, "TagList.0.Value", "Dev");
    fl_fixture_ok(f, "GetParametersByPath", "{\"Path\":\"/\"}");
    assert_string_equal(names(f, "Parameters", "Name"), "a");
    fl_fixture_ok(f, "DeleteParameter", "{\"Name\":\"/a\"}");
    fl_fixture_fails(f, "ListTagsForResource",
                     "{\"ResourceType\":\"Parameter\",\"ResourceId\":\"a\"}", "InvalidResourceId");
    put(f, "a", "v", STRING);
    fl_fixture_ok(f, "ListTagsForResource",
                  "{\"ResourceType\":\"Parameter\",\"ResourceId\":\"a\"}");
    assert_int_equal(fl_fixture_count(f, "TagList"), 0); /* those of the old one went with it */
}

static void bad_puts(void **state)
{
    static const struct {
        const char *name, *value, *more, *error;
    } cases[] = {
        { "awsthing", "x", STRING, "ValidationException" },
        { "/aws/x", "x", STRING, "AccessDeniedException" },
        { "new", "x", "", "ValidationException" }, /* no type */
        { "new", "", STRING, "ValidationException" },
        { "new", "a {{ssm:b}} c", STRING, "ValidationException" },
        { "new", "x", "\"Type\":\"Int\"", "ValidationException" },
        { "new", "x", STRING ",\"KeyId\":\"alias/aws/ssm\"", "ValidationException" },
        { "new", "x", SECURE ",\"KeyId\":\"alias/mine\"", "InvalidKeyId" },
        { "new", "x", STRING ",\"DataType\":\"image\"", "ValidationException" },
        { "new", "x", STRING ",\"AllowedPattern\":\"[\"", "InvalidAllowedPatternException" },
        { "new", "x", STRING ",\"AllowedPattern\":\"^\\\\d+$\"",
          "ParameterPatternMismatchException" },
        { "new", "x", STRING "," OVER ",\"Tags\":[{\"Key\":\"a\",\"Value\":\"b\"}]",
          "ValidationException" },
        { "new", "x", STRING ",\"Policies\":\"[{\\\"Type\\\":\\\"Expiration\\\"}]\"",
          "InvalidPolicyAttributeException" },
        { "new", "x", STRING "," ADVANCED ",\"Policies\":\"[{\\\"Type\\\":\\\"Other\\\"}]\"",
          "InvalidPolicyTypeException" },
        { "new", "x", STRING "," ADVANCED ",\"Policies\":\"{}\"", "ValidationException" },
        { "new", "x",
          STRING ",\"Policies\":\"[{\\\"Type\\\":\\\"Expiration\\\",\\\"Attributes\\\":{}}]\"",
          "ValidationException" }, /* not in Standard */
        { "old", "x", SECURE "," OVER, "HierarchyTypeMismatchException" },
        { "old", "x", "\"Tier\":\"Standard\"," OVER, "ValidationException" }, /* is Advanced */
        { "old", "nine", OVER, "ParameterPatternMismatchException" }, /* keeps its pattern */
    };
    struct fl_fixture *f = *state;

    put(f, "old", "1", STRING "," ADVANCED ",\"AllowedPattern\":\"^\\\\d+$\"");
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        put_fails(f, cases[i].name, cases[i].value, cases[i].more, cases[i].error);
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"new\"}", "ParameterNotFound");
    get(f, "old");
    is(f, "Parameter.Version", "1");
}

static void tiers(void **state)
{
    struct fl_fixture *f = *state;
    char value[FL_PARAMETER_ADVANCED_CHARS + 2];

    memset(value, 'x', sizeof(value));
    value[FL_PARAMETER_STANDARD_CHARS] = '\0';
    put(f, "a", value, STRING);
    value[FL_PARAMETER_STANDARD_CHARS] = 'x';
    value[FL_PARAMETER_ADVANCED_CHARS] = '\0';
    put_fails(f, "a", value, OVER, "ValidationException");
    put(f, "a", value, OVER ",\"Tier\":\"Intelligent-Tiering\"");
    is(f, "Tier", "Advanced");
    put(f, "a", value, OVER); /* stays */
    is(f, "Tier", "Advanced");
    value[FL_PARAMETER_ADVANCED_CHARS] = 'x';
    value[FL_PARAMETER_ADVANCED_CHARS + 1] = '\0';
    put_fails(f, "a", value, OVER, "ValidationException");
    put(f, "b", "x", STRING ",\"Tier\":\"Intelligent-Tiering\"");
    is(f, "Tier", "Standard");
}

static void policies_are_shown(void **state)
{
    struct fl_fixture *f = *state;

    put(f, "a", "x",
        STRING
        "," ADVANCED ",\"Policies\":\"[{\\\"Type\\\":\\\"Expiration\\\",\\\"Version\\\":"
        "\\\"1.0\\\",\\\"Attributes\\\":{\\\"Timestamp\\\":\\\"2030-01-01T00:00:00Z\\\"}}]\"");
    fl_fixture_ok(f, "DescribeParameters", "{}");
    is(f, "Parameters.0.Policies.0.PolicyType", "Expiration");
    is(f, "Parameters.0.Policies.0.PolicyStatus", "Pending");
    is(f, "Parameters.0.Policies.0.PolicyText",
       "{\"Type\":\"Expiration\",\"Version\":\"1.0\",\"Attributes\":{\"Timestamp\":"
       "\"2030-01-01T00:00:00Z\"}}");
    put(f, "a", "y", OVER ",\"Policies\":\"[{}]\"");
    fl_fixture_ok(f, "DescribeParameters", "{}");
    is(f, "Parameters.0.Policies", "[]");
}

static void secure_strings(void **state)
{
    struct fl_fixture *f = *state;
    char sealed[256];

    put(f, "/app/pw", SECRET, SECURE);
    get(f, "/app/pw");
    is(f, "Parameter.Value", SECRET);
    fl_fixture_ok(f, "GetParameter", "{\"Name\":\"/app/pw\"}");
    snprintf(sealed, sizeof(sealed), "%s", fl_fixture_text(f, "Parameter.Value"));
    assert_null(strstr(sealed, SECRET));
    assert_true(strlen(sealed) >= strlen(SECRET) + 28);
    fl_fixture_ok(f, "DescribeParameters", "{}");
    is(f, "Parameters.0.KeyId", "alias/aws/ssm");

    put(f, "/app/pw", SECRET, OVER ",\"KeyId\":\"alias/aws/ssm\"");
    fl_fixture_ok(f, "GetParameterHistory", "{\"Name\":\"/app/pw\"}");
    assert_int_equal(fl_fixture_count(f, "Parameters"), 2);
    assert_string_equal(fl_fixture_text(f, "Parameters.0.Value"), sealed);
    assert_null(strstr(f->reply, SECRET));
    fl_fixture_ok(f, "GetParameterHistory", "{\"Name\":\"/app/pw\",\"WithDecryption\":true}");
    is(f, "Parameters.0.Value", SECRET);
    is(f, "Parameters.1.Value", SECRET);

    f->plane.parameter_key[0] ^= 1;
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"/app/pw\",\"WithDecryption\":true}",
                     "InvalidKeyId");
    f->plane.parameter_key[0] ^= 1;
}

/* What is sealed for one place opens in no other. */
static int open_elsewhere(struct fl_call *call, void *arg)
{
    fl_autofree uint8_t *sealed = NULL;
    struct fl_err err = { 0 };
    char *value;
    size_t len;

    assert_int_equal(fl_parameter_seal(call, "a", 2, SECRET, &sealed, &len, &err), 0);
    assert_int_equal(fl_parameter_unseal(call, "a", 2, sealed, len, &value, &err), 0);
    assert_string_equal(value, SECRET);
    assert_int_equal(fl_parameter_unseal(call, "a", 3, sealed, len, &value, &err), -EBADMSG);
    assert_int_equal(fl_parameter_unseal(call, "b", 2, sealed, len, &value, &err), -EBADMSG);
    call->region = "elsewhere";
    assert_int_equal(fl_parameter_unseal(call, "a", 2, sealed, len, &value, &err), -EBADMSG);
    return 0;
}

static void a_seal_is_bound_to_its_place(void **state)
{
    assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, open_elsewhere, NULL), 0);
}

static void the_key_file(void **state)
{
    struct fl_fixture *f = *state;
    uint8_t key[FL_SEAL_KEY_BYTES];
    struct fl_err err = { 0 };
    char path[128];

    assert_int_equal(fl_parameter_key_open(&f->plane, &err), 0); /* makes one */
    memcpy(key, f->plane.parameter_key, sizeof(key));
    put(f, "pw", SECRET, SECURE);
    memset(f->plane.parameter_key, 0, sizeof(key));
    assert_int_equal(fl_parameter_key_open(&f->plane, &err), 0);
    assert_memory_equal(f->plane.parameter_key, key, sizeof(key));

    /* lost, or of another plane: nothing may be made in its place */
    snprintf(path, sizeof(path), "%s/" FL_DATA_PARAMETER_KEY, f->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fl_parameter_key_open(&f->plane, &err), -EINVAL);
    assert_non_null(strstr(err.text, "restore it from the backup"));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(fl_data_key_make(f->dir, FL_DATA_PARAMETER_KEY, key, &err), 0);
    assert_int_equal(fl_parameter_key_open(&f->plane, &err), -EINVAL);
}

static void several_at_once(void **state)
{
    struct fl_fixture *f = *state;

    put(f, "/b", "2", STRING);
    put(f, "/a", "1", STRING);
    put(f, "/a", "1b", OVER);
    fl_fixture_ok(f, "GetParameters",
                  "{\"Names\":[\"/b\",\"/none\",\"/a\",\"/b\",\"x/y\",\"/a:1\",\"/a:7\"]}");
    assert_string_equal(names(f, "Parameters", "Name"), "/a /a /b");
    is(f, "Parameters.0.Selector", ":1");
    assert_string_equal(names(f, "InvalidParameters", ""), "/none x/y /a:7");
    fl_fixture_fails(f, "GetParameters",
                     "{\"Names\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
                     "\"11\"]}",
                     "ValidationException");
    fl_fixture_ok(f, "DeleteParameters", "{\"Names\":[\"/b\",\"/none\",\"/a\",\"x/y\"]}");
    assert_string_equal(names(f, "DeletedParameters", ""), "/b /a");
    assert_string_equal(names(f, "InvalidParameters", ""), "/none x/y");
}

static void below_a_path(void **state)
{
    struct fl_fixture *f = *state;
    char request[REQUEST], name[32];

    put(f, "/app/pw", SECRET, SECURE);
    put(f, "/app/x/deep", "d", STRING);
    put(f, "/app-other", "o", STRING);
    put(f, "/app", "self", STRING);
    for (int i = 0; i < 11; i++) {
        snprintf(name, sizeof(name), "/app/n%02d", i);
        put(f, name, "n", STRING);
    }
    fl_fixture_ok(f, "GetParametersByPath", "{\"Path\":\"/app/\"}");
    assert_int_equal(fl_fixture_count(f, "Parameters"), 10);
    snprintf(request, sizeof(request), "{\"Path\":\"/app\",\"NextToken\":\"%s\"}",
             fl_fixture_text(f, "NextToken"));
    fl_fixture_ok(f, "GetParametersByPath", request);
    assert_string_equal(names(f, "Parameters", "Name"), "/app/n10 /app/pw");
    assert_null(fl_fixture_text(f, "NextToken"));
    assert_null(strstr(f->reply, SECRET));
    fl_fixture_ok(f, "GetParametersByPath", request); /* a token may be used again */
    assert_int_equal(fl_fixture_count(f, "Parameters"), 2);

    fl_fixture_ok(f, "GetParametersByPath",
                  "{\"Path\":\"/app\",\"Recursive\":true,\"WithDecryption\":true,"
                  "\"ParameterFilters\":[{\"Key\":\"Type\",\"Values\":[\"SecureString\"]}]}");
    assert_string_equal(names(f, "Parameters", "Value"), SECRET);
    fl_fixture_ok(f, "GetParametersByPath", "{\"Path\":\"/app/x\"}");
    assert_string_equal(names(f, "Parameters", "Name"), "/app/x/deep");
    fl_fixture_ok(f, "GetParametersByPath", "{\"Path\":\"/none\"}");
    assert_int_equal(fl_fixture_count(f, "Parameters"), 0);

    fl_fixture_ok(f, "LabelParameterVersion", "{\"Name\":\"/app/n03\",\"Labels\":[\"live\"]}");
    put(f, "/app/n03", "newer", OVER);
    fl_fixture_ok(f, "GetParametersByPath",
                  "{\"Path\":\"/app\",\"ParameterFilters\":[{\"Key\":\"Label\",\"Values\":"
                  "[\"none\",\"live\"]}]}");
    assert_string_equal(names(f, "Parameters", "Name"), "/app/n03");
    is(f, "Parameters.0.Value", "n");
    is(f, "Parameters.0.Selector", ":live");

    fl_fixture_fails(f, "GetParametersByPath", "{\"Path\":\"app\"}", "ValidationException");
    fl_fixture_fails(f, "GetParametersByPath", "{\"Path\":\"/app\",\"MaxResults\":11}",
                     "ValidationException");
    fl_fixture_fails(f, "GetParametersByPath", "{\"Path\":\"/app\",\"NextToken\":\"x\"}",
                     "InvalidNextToken");
    fl_fixture_fails(f, "GetParametersByPath",
                     "{\"Path\":\"/app\",\"ParameterFilters\":[{\"Key\":\"Name\",\"Values\":"
                     "[\"a\"]}]}",
                     "InvalidFilterKey");
}

static void filters(void **state)
{
    static const struct {
        const char *filters; /* elements of ParameterFilters */
        const char *want;    /* names, or the error */
    } cases[] = {
        { "", "/app/db /app/pw /app/x/deep plain" },
        { "{\"Key\":\"Name\",\"Values\":[\"/app/db\",\"/plain\"]}", "/app/db plain" },
        { "{\"Key\":\"Name\",\"Option\":\"BeginsWith\",\"Values\":[\"/app/d\"]}", "/app/db" },
        { "{\"Key\":\"Name\",\"Option\":\"Contains\",\"Values\":[\"p/x\",\"lai\"]}",
          "/app/x/deep plain" },
        { "{\"Key\":\"Type\",\"Values\":[\"SecureString\"]}", "/app/pw" },
        { "{\"Key\":\"Type\",\"Option\":\"BeginsWith\",\"Values\":[\"String\"]}",
          "/app/db /app/x/deep plain" },
        { "{\"Key\":\"KeyId\",\"Values\":[\"alias/aws/ssm\"]}", "/app/pw" },
        { "{\"Key\":\"Path\",\"Values\":[\"/app\"]}", "/app/db /app/pw" },
        { "{\"Key\":\"Path\",\"Option\":\"Recursive\",\"Values\":[\"/app/\"]}",
          "/app/db /app/pw /app/x/deep" },
        { "{\"Key\":\"Path\",\"Values\":[\"/app/x\",\"/\"]}", "/app/x/deep plain" },
        { "{\"Key\":\"Tier\",\"Values\":[\"Advanced\"]}", "plain" },
        { "{\"Key\":\"DataType\",\"Values\":[\"text\"]}", "/app/db /app/pw /app/x/deep plain" },
        { "{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}", "plain" },
        { "{\"Key\":\"tag:Env\"}", "plain" },
        { "{\"Key\":\"tag:Env\",\"Values\":[\"Prod\"]}", "" },
        { "{\"Key\":\"Type\",\"Values\":[\"String\"]},{\"Key\":\"Path\",\"Values\":[\"/app\"]}",
          "/app/db" },
        { "{\"Key\":\"Type\",\"Values\":[\"String\"]},{\"Key\":\"Type\",\"Values\":[\"String\"]}",
          "InvalidFilterKey" },
        { "{\"Key\":\"Label\",\"Values\":[\"x\"]}", "InvalidFilterKey" },
        { "{\"Key\":\"Nonsense\",\"Values\":[\"x\"]}", "ValidationException" },
        { "{\"Key\":\"Type\",\"Option\":\"Contains\",\"Values\":[\"x\"]}", "InvalidFilterOption" },
        { "{\"Key\":\"Path\",\"Option\":\"Equals\",\"Values\":[\"/x\"]}", "InvalidFilterOption" },
        { "{\"Key\":\"Path\",\"Values\":[\"x\"]}", "InvalidFilterValue" },
        { "{\"Key\":\"Type\"}", "InvalidFilterValue" },
    };
    struct fl_fixture *f = *state;

    put(f, "/app/db", "1", STRING);
    put(f, "/app/pw", SECRET, SECURE);
    put(f, "/app/x/deep", "2", "\"Type\":\"StringList\"");
    put(f, "plain", "3", STRING "," ADVANCED ",\"Tags\":[{\"Key\":\"Env\",\"Value\":\"Dev\"}]");
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        char request[REQUEST];

        snprintf(request, sizeof(request), "{\"ParameterFilters\":[%s]}", cases[i].filters);
        if (strstr(cases[i].want, "alid")) {
            fl_fixture_fails(f, "DescribeParameters", request, cases[i].want);
            continue;
        }
        fl_fixture_ok(f, "DescribeParameters", request);
        if (strcmp(names(f, "Parameters", "Name"), cases[i].want) != 0)
            fail_msg("%s: %s", request, f->reply);
    }
    fl_fixture_ok(f, "DescribeParameters",
                  "{\"Filters\":[{\"Key\":\"Type\",\"Values\":[\"StringList\"]}]}");
    assert_string_equal(names(f, "Parameters", "Name"), "/app/x/deep");
    fl_fixture_fails(f, "DescribeParameters",
                     "{\"Filters\":[{\"Key\":\"Type\",\"Values\":[\"String\"]}],"
                     "\"ParameterFilters\":[{\"Key\":\"Type\",\"Values\":[\"String\"]}]}",
                     "ValidationException");
    fl_fixture_ok(f, "DescribeParameters", "{\"Shared\":true}");
    assert_int_equal(fl_fixture_count(f, "Parameters"), 0);
}

static void labels_move(void **state)
{
    struct fl_fixture *f = *state;

    put(f, "a", "1", STRING);
    put(f, "a", "2", OVER);
    fl_fixture_ok(f, "LabelParameterVersion",
                  "{\"Name\":\"a\",\"ParameterVersion\":1,\"Labels\":[\"live\",\"1st\",\"ssmx\"]}");
    assert_string_equal(names(f, "InvalidLabels", ""), "1st ssmx");
    is(f, "ParameterVersion", "1");
    get(f, "a:live");
    is(f, "Parameter.Value", "1");
    fl_fixture_ok(f, "LabelParameterVersion", "{\"Name\":\"a\",\"Labels\":[\"live\",\"new\"]}");
    is(f, "ParameterVersion", "2");
    get(f, "a:live");
    is(f, "Parameter.Value", "2");
    fl_fixture_ok(f, "GetParameterHistory", "{\"Name\":\"a\"}");
    is(f, "Parameters.0.Labels", "[]");
    is(f, "Parameters.1.Labels", "[\"live\",\"new\"]");
    is(f, "Parameters.0.Tier", "Standard");

    fl_fixture_fails(f, "LabelParameterVersion",
                     "{\"Name\":\"a\",\"ParameterVersion\":9,\"Labels\":[\"x\"]}",
                     "ParameterVersionNotFound");
    fl_fixture_fails(f, "LabelParameterVersion", "{\"Name\":\"b\",\"Labels\":[\"x\"]}",
                     "ParameterNotFound");
    fl_fixture_fails(f, "LabelParameterVersion",
                     "{\"Name\":\"a\",\"Labels\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\","
                     "\"i\"]}",
                     "ParameterVersionLabelLimitExceeded");
    fl_fixture_ok(f, "UnlabelParameterVersion",
                  "{\"Name\":\"a\",\"ParameterVersion\":2,\"Labels\":[\"live\",\"a\"]}");
    assert_string_equal(names(f, "RemovedLabels", ""), "live");
    assert_string_equal(names(f, "InvalidLabels", ""), "a");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"a:live\"}", "ParameterVersionNotFound");
}

static void a_hundred_versions_are_kept(void **state)
{
    struct fl_fixture *f = *state;
    char request[REQUEST];

    put(f, "a", "v", STRING);
    for (int i = 2; i <= 101; i++)
        put(f, "a", "v", OVER);
    is(f, "Version", "101");
    fl_fixture_fails(f, "GetParameter", "{\"Name\":\"a:1\"}", "ParameterVersionNotFound");
    fl_fixture_ok(f, "GetParameterHistory", "{\"Name\":\"a\"}");
    assert_int_equal(fl_fixture_count(f, "Parameters"), 50);
    is(f, "Parameters.0.Version", "2");
    snprintf(request, sizeof(request), "{\"Name\":\"a\",\"NextToken\":\"%s\"}",
             fl_fixture_text(f, "NextToken"));
    fl_fixture_ok(f, "GetParameterHistory", request);
    assert_int_equal(fl_fixture_count(f, "Parameters"), 50);
    is(f, "Parameters.49.Version", "101");
    assert_null(fl_fixture_text(f, "NextToken"));

    fl_fixture_ok(f, "LabelParameterVersion",
                  "{\"Name\":\"a\",\"ParameterVersion\":2,\"Labels\":[\"keep\"]}");
    put_fails(f, "a", "v", OVER, "ParameterMaxVersionLimitExceeded");
    get(f, "a");
    is(f, "Parameter.Version", "101");
    fl_fixture_ok(f, "UnlabelParameterVersion",
                  "{\"Name\":\"a\",\"ParameterVersion\":2,\"Labels\":[\"keep\"]}");
    put(f, "a", "v", OVER);
    is(f, "Version", "102");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_parameter_lives, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_leading_slash_makes_no_difference, fl_fixture_setup,
                                        fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(bad_puts, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(tiers, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(policies_are_shown, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(secure_strings, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_seal_is_bound_to_its_place, fl_fixture_setup,
                                        fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(the_key_file, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(several_at_once, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(below_a_path, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(filters, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(labels_move, fl_fixture_setup, fl_fixture_teardown),
        cmocka_unit_test_setup_teardown(a_hundred_versions_are_kept, fl_fixture_setup,
                                        fl_fixture_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
