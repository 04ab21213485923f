/* Nodes and their tags: filters, pages, status, deregistration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "server/api/nodes.h"
#include "tests/server/fixture.h"

#define MINUTE_MS 60000
#define DESCRIBE  "DescribeInstanceInformation"

static char first[24], second[24]; /* tagged Env=Dev, Env=Prod */

static int setup(void **state)
{
    static struct fl_fixture f;

    fl_fixture_open(&f);
    snprintf(first, sizeof(first), "%s", fl_fixture_node(&f, "Dev"));
    snprintf(second, sizeof(second), "%s", fl_fixture_node(&f, "Prod"));
    *state = &f;
    return 0;
}

static void item_has_every_member(void **state)
{
    static const struct {
        const char *member, *want;
    } cases[] = {
        { "PingStatus", "Online" },
        { "LastPingDateTime", "1767225600.0" },
        { "AgentVersion", "3.3.0.0" },
        { "PlatformType", "Linux" },
        { "PlatformName", "Debian GNU/Linux" },
        { "PlatformVersion", "12" },
        { "IamRole", "fleet" },
        { "ResourceType", "ManagedInstance" },
        { "IPAddress", "192.0.2.10" },
        { "ComputerName", "host.example" },
        { "SourceType", "AWS::SSM::ManagedInstance" },
        { "AssociationStatus", NULL },
    };
    struct fl_fixture *f = *state;
    char request[128], path[64];

    snprintf(request, sizeof(request),
             "{\"Filters\":[{\"Key\":\"InstanceIds\",\"Values\":[\"%s\"]}]}", first);
    fl_fixture_ok(f, DESCRIBE, request);
    assert_int_equal(fl_fixture_count(f, "InstanceInformationList"), 1);
    assert_string_equal(fl_fixture_text(f, "InstanceInformationList.0.InstanceId"), first);
    assert_string_equal(fl_fixture_text(f, "InstanceInformationList.0.SourceId"), first);
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        const char *got;

        snprintf(path, sizeof(path), "InstanceInformationList.0.%s", cases[i].member);
        got = fl_fixture_text(f, path);
        if (cases[i].want && !got)
            fail_msg("%s is missing", path);
        if (!cases[i].want)
            assert_null(got);
        else if (strcmp(cases[i].member, "LastPingDateTime") == 0)
            assert_int_equal(atoll(got), 1767225600);
        else
            assert_string_equal(got, cases[i].want);
    }
}

/* `%` in a request stands for the first node's id. */
static void expand(const char *text, char *out, size_t size)
{
    size_t len = 0;

    for (; *text && len + 24 < size; text++)
        len += (size_t)(*text == '%' ? snprintf(out + len, size - len, "%s", first)
                                     : snprintf(out + len, size - len, "%c", *text));
    out[len] = '\0';
}

#define NEW(key, values) "{\"Filters\":[{\"Key\":\"" key "\",\"Values\":[" values "]}]}"
#define OLD(key, values) \
    "{\"InstanceInformationFilterList\":[{\"key\":\"" key "\",\"valueSet\":[" values "]}]}"

static void filters_select(void **state)
{
    static const struct {
        const char *request;
        int want;
        const char *error;
    } cases[] = {
        { "{}", 2, NULL },
        { NEW("InstanceIds", "\"%\""), 1, NULL },
        { NEW("InstanceIds", "\"%\",\"%\""), 1, NULL },
        { NEW("InstanceIds", "\"mi-00000000000000000\""), 0, NULL },
        { NEW("InstanceIds", "\"i-0123456789abcdef0\""), 0, NULL },
        { NEW("InstanceIds", "\"x\""), 0, "InvalidInstanceId" },
        { NEW("InstanceIds", "\"mi-0000000000000000G\",\"i-0123_567\""), 0, NULL },
        { NEW("InstanceIds", "\"mi-0000000000000000-\""), 0, "InvalidInstanceId" },
        { NEW("InstanceIds", "\"mi-01234567\""), 0, "InvalidInstanceId" },
        { NEW("PingStatus", "\"Online\""), 2, NULL },
        { NEW("PingStatus", "\"ConnectionLost\",\"Inactive\""), 0, NULL },
        { NEW("PingStatus", "\"Nope\""), 0, "InvalidInstanceInformationFilterValue" },
        { NEW("PlatformTypes", "\"Linux\""), 2, NULL },
        { NEW("PlatformType", "\"Windows\""), 0, NULL },
        { NEW("PlatformType", "\"Plan9\""), 0, "InvalidInstanceInformationFilterValue" },
        { NEW("AgentVersion", "\"3.3.0.0\",\"1.0.0\""), 2, NULL },
        { NEW("IamRole", "\"other\""), 0, NULL },
        { NEW("ResourceType", "\"ManagedInstance\""), 2, NULL },
        { NEW("ResourceType", "\"EC2Instance\""), 0, NULL },
        { NEW("ActivationIds", "\"01234567-89ab-cdef-0123-456789abcdef\""), 0, NULL },
        { NEW("ActivationIds", "\"x\""), 0, "InvalidInstanceInformationFilterValue" },
        { NEW("AssociationStatus", "\"Success\""), 0, NULL },
        { NEW("SourceIds", "\"%\""), 1, NULL },
        { NEW("SourceTypes", "\"AWS::SSM::ManagedInstance\""), 2, NULL },
        { NEW("tag:Env", "\"Dev\""), 1, NULL },
        { NEW("tag:Env", "\"Dev\",\"Prod\""), 2, NULL },
        { NEW("tag:env", "\"Dev\""), 0, NULL }, /* keys are case-sensitive */
        { NEW("tag-key", "\"Env\""), 2, NULL },
        { NEW("tag-key", "\"Env\",\"Other\""), 2, NULL },
        { NEW("tag-key", "\"Other\""), 0, NULL },
        { NEW("tag:", "\"x\""), 0, "InvalidFilterKey" },
        { NEW("Nope", "\"x\""), 0, "InvalidFilterKey" },
        { NEW("IamRole", ""), 0, "ValidationException" },
        { OLD("InstanceIds", "\"%\""), 1, NULL },
        { OLD("PlatformTypes", "\"Linux\""), 2, NULL },
        { OLD("Nope", "\"x\""), 0, "ValidationException" },
        { "{\"Filters\":[{\"Key\":\"PingStatus\",\"Values\":[\"Online\"]},"
          "{\"Key\":\"InstanceIds\",\"Values\":[\"%\"]}]}",
          1, NULL },
        { "{\"Filters\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]},"
          "{\"Key\":\"tag-key\",\"Values\":[\"Env\"]}]}",
          1, NULL },
        { "{\"Filters\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]},"
          "{\"Key\":\"PingStatus\",\"Values\":[\"Online\"]}]}",
          0, "ValidationException" },
        { "{\"Filters\":[{\"Key\":\"PingStatus\",\"Values\":[\"Online\"]}],"
          "\"InstanceInformationFilterList\":[{\"key\":\"IamRole\",\"valueSet\":[\"fleet\"]}]}",
          0, "ValidationException" },
        { "{\"MaxResults\":4}", 0, "ValidationException" },
        { "{\"MaxResults\":51}", 0, "ValidationException" },
    };
    struct fl_fixture *f = *state;
    char request[512];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        expand(cases[i].request, request, sizeof(request));
        if (cases[i].error) {
            fl_fixture_fails(f, DESCRIBE, request, cases[i].error);
            continue;
        }
        fl_fixture_ok(f, DESCRIBE, request);
        if (fl_fixture_count(f, "InstanceInformationList") != cases[i].want)
            fail_msg("%s: %s, not %d nodes", request, f->reply, cases[i].want);
    }
}

static void pages_of_ten_by_default(void **state)
{
    struct fl_fixture *f = *state;
    char request[512], token[400];
    int total = 0;

    for (int i = 0; i < 21; i++)
        fl_fixture_node(f, i % 2 ? "Dev" : NULL);
    snprintf(request, sizeof(request), "{}");
    for (int page = 0; page < 3; page++) {
        int n;

        fl_fixture_ok(f, DESCRIBE, request);
        n = fl_fixture_count(f, "InstanceInformationList");
        assert_int_equal(n, page < 2 ? 10 : 3);
        total += n;
        if (page == 2)
            break;
        snprintf(token, sizeof(token), "%s", fl_fixture_text(f, "NextToken"));
        snprintf(request, sizeof(request), "{\"NextToken\":\"%s\"}", token);
    }
    assert_null(fl_fixture_text(f, "NextToken"));
    assert_int_equal(total, 23);

    /* a token is bound to its operation, and may be used again */
    fl_fixture_ok(f, DESCRIBE, request);
    fl_fixture_fails(f, "ListNodes", request, "InvalidNextToken");

    fl_fixture_ok(f, DESCRIBE,
                  "{\"MaxResults\":5,\"Filters\":[{\"Key\":\"tag:Env\",\"Values\":[\"Dev\"]}]}");
    assert_int_equal(fl_fixture_count(f, "InstanceInformationList"), 5);
    assert_non_null(fl_fixture_text(f, "NextToken"));
}

static int online(struct fl_fixture *f, const char *id)
{
    char request[128];

    snprintf(request, sizeof(request),
             "{\"Filters\":[{\"Key\":\"InstanceIds\",\"Values\":[\"%s\"]}]}", id);
    fl_fixture_ok(f, DESCRIBE, request);
    return strcmp(fl_fixture_text(f, "InstanceInformationList.0.PingStatus"), "Online") == 0;
}

static void ping(struct fl_fixture *f, const char *id)
{
    char request[128];

    snprintf(request, sizeof(request), "{\"InstanceId\":\"%s\"}", id);
    fl_fixture_as_node(f, id);
    fl_fixture_ok(f, "UpdateInstanceInformation", request);
    fl_fixture_as_admin(f);
}

static void silence_is_connection_lost(void **state)
{
    struct fl_fixture *f = *state;

    f->now_ms += 15 * MINUTE_MS;
    assert_true(online(f, first));
    f->now_ms += 1;
    assert_false(online(f, first));
    assert_int_equal(fl_presence_add(f->plane.presence, first), 0);
    assert_true(online(f, first)); /* its control channel is up */
    assert_false(online(f, second));
    fl_presence_drop(f->plane.presence, first);
    assert_false(online(f, first));

    /* a node that reports every 30 minutes has three of them */
    ping(f, first);
    for (int i = 0; i < 3; i++) {
        f->now_ms += 30 * MINUTE_MS;
        ping(f, first);
    }
    f->now_ms += 90 * MINUTE_MS;
    assert_true(online(f, first));
    f->now_ms += 1;
    assert_false(online(f, first));

    /* one long outage does not make it look slow */
    f->now_ms += 600 * MINUTE_MS;
    for (int i = 0; i < 2; i++) {
        ping(f, second);
        f->now_ms += 5 * MINUTE_MS;
    }
    f->now_ms += 10 * MINUTE_MS + 1;
    assert_false(online(f, second));
}

static void connection_status_is_lower_case(void **state)
{
    struct fl_fixture *f = *state;
    char request[64];

    snprintf(request, sizeof(request), "{\"Target\":\"%s\"}", first);
    fl_fixture_ok(f, "GetConnectionStatus", request);
    assert_string_equal(fl_fixture_text(f, "Status"), "notconnected");
    assert_string_equal(fl_fixture_text(f, "Target"), first);
    fl_presence_add(f->plane.presence, first);
    fl_fixture_ok(f, "GetConnectionStatus", request);
    assert_string_equal(fl_fixture_text(f, "Status"), "connected");
}

static void deregistered_is_gone(void **state)
{
    struct fl_fixture *f = *state;
    char request[64], tags[128];

    snprintf(request, sizeof(request), "{\"InstanceId\":\"%s\"}", first);
    snprintf(tags, sizeof(tags), "{\"ResourceType\":\"ManagedInstance\",\"ResourceId\":\"%s\"}",
             first);
    fl_fixture_ok(f, "DeregisterManagedInstance", request);
    fl_fixture_fails(f, "DeregisterManagedInstance", request, "InvalidInstanceId");
    fl_fixture_fails(f, "DeregisterManagedInstance", "{\"InstanceId\":\"mi-x\"}",
                     "ValidationException");
    fl_fixture_ok(f, DESCRIBE, "{}");
    assert_int_equal(fl_fixture_count(f, "InstanceInformationList"), 1);
    fl_fixture_ok(f, DESCRIBE, NEW("tag:Env", "\"Dev\""));
    assert_int_equal(fl_fixture_count(f, "InstanceInformationList"), 0);
    fl_fixture_fails(f, "ListTagsForResource", tags, "InvalidResourceId");
    fl_fixture_as_node(f, first);
    fl_fixture_fails(f, "UpdateInstanceInformation", request, "InvalidInstanceId");
    fl_fixture_fails(f, "RequestManagedInstanceRoleToken", "{\"Fingerprint\":\"x\"}",
                     "AccessDeniedException");
}

static void the_role_changes(void **state)
{
    struct fl_fixture *f = *state;
    char request[96];

    snprintf(request, sizeof(request), "{\"InstanceId\":\"%s\",\"IamRole\":\"other\"}", first);
    fl_fixture_ok(f, "UpdateManagedInstanceRole", request);
    fl_fixture_ok(f, DESCRIBE, NEW("IamRole", "\"other\""));
    assert_string_equal(fl_fixture_text(f, "InstanceInformationList.0.InstanceId"), first);
    fl_fixture_fails(f, "UpdateManagedInstanceRole",
                     "{\"InstanceId\":\"mi-00000000000000000\",\"IamRole\":\"other\"}",
                     "InvalidInstanceId");
}

static void nodes_are_listed(void **state)
{
    static const struct {
        const char *filter;
        int want;
    } cases[] = {
        { "{\"Key\":\"PlatformName\",\"Values\":[\"Debian\"],\"Type\":\"BeginWith\"}", 2 },
        { "{\"Key\":\"PlatformName\",\"Values\":[\"Debian\"]}", 0 },
        { "{\"Key\":\"PlatformType\",\"Values\":[\"Windows\"],\"Type\":\"NotEqual\"}", 2 },
        { "{\"Key\":\"InstanceStatus\",\"Values\":[\"Active\"]}", 2 },
        { "{\"Key\":\"InstanceId\",\"Values\":[\"mi-\"],\"Type\":\"BeginWith\"}", 2 },
        { "{\"Key\":\"Region\",\"Values\":[\"local\"],\"Type\":\"Equal\"}", 2 },
        { "{\"Key\":\"Region\",\"Values\":[\"local\"],\"Type\":\"NotEqual\"}", 0 },
        { "{\"Key\":\"AccountId\",\"Values\":[\"123456789012\"]}", 2 },
        { "{\"Key\":\"ManagedStatus\",\"Values\":[\"All\"]}", 2 },
        { "{\"Key\":\"ManagedStatus\",\"Values\":[\"Unmanaged\"]}", 0 },
        { "{\"Key\":\"OrganizationalUnitId\",\"Values\":[\"ou-1\"]}", 0 },
    };
    struct fl_fixture *f = *state;
    char request[256];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        snprintf(request, sizeof(request), "{\"Filters\":[%s]}", cases[i].filter);
        fl_fixture_ok(f, "ListNodes", request);
        if (fl_fixture_count(f, "Nodes") != cases[i].want)
            fail_msg("%s: %s", request, f->reply);
    }
    fl_fixture_ok(f, "ListNodes", "{\"MaxResults\":1}");
    assert_int_equal(fl_fixture_count(f, "Nodes"), 1);
    assert_string_equal(fl_fixture_text(f, "Nodes.0.Owner.AccountId"), "123456789012");
    assert_string_equal(fl_fixture_text(f, "Nodes.0.Region"), "local");
    assert_string_equal(fl_fixture_text(f, "Nodes.0.NodeType.Instance.AgentType"),
                        "amazon-ssm-agent");
    assert_string_equal(fl_fixture_text(f, "Nodes.0.NodeType.Instance.IpAddress"), "192.0.2.10");
    assert_string_equal(fl_fixture_text(f, "Nodes.0.NodeType.Instance.ManagedStatus"), "Managed");
    assert_null(fl_fixture_text(f, "Nodes.0.NodeType.Instance.InstanceId"));
    assert_non_null(fl_fixture_text(f, "NextToken"));
    fl_fixture_fails(f, "ListNodes", "{\"SyncName\":\"s\"}", "ResourceDataSyncNotFoundException");
    fl_fixture_fails(f, "ListNodes", "{\"Filters\":[{\"Key\":\"Nope\",\"Values\":[\"x\"]}]}",
                     "ValidationException");
}

#define AGG(attribute, more)                                                                 \
    "{\"AggregatorType\":\"Count\",\"TypeName\":\"Instance\",\"AttributeName\":\"" attribute \
    "\"" more "}"

static void nodes_are_counted(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(f, "ListNodesSummary", "{\"Aggregators\":[" AGG("PlatformType", "") "]}");
    assert_string_equal(f->reply, "{\"Summary\":[{\"PlatformType\":\"Linux\",\"Count\":\"2\"}]}");
    fl_fixture_ok(
        f, "ListNodesSummary",
        "{\"Aggregators\":[" AGG("Region", ",\"Aggregators\":[" AGG("AgentVersion", "") "]") "]}");
    assert_string_equal(f->reply,
                        "{\"Summary\":[{\"AgentVersion\":\"3.3.0.0\",\"Region\":\"local\","
                        "\"Count\":\"2\"}]}");
    fl_fixture_ok(f, "ListNodesSummary",
                  "{\"MaxResults\":1,\"Aggregators\":[" AGG("PlatformType",
                                                            "") "," AGG("ResourceType", "") "]}");
    assert_int_equal(fl_fixture_count(f, "Summary"), 1);
    {
        char request[1024];

        snprintf(request, sizeof(request),
                 "{\"NextToken\":\"%s\",\"Aggregators\":[" AGG("PlatformType",
                                                               "") "," AGG("ResourceType", "") "]}",
                 fl_fixture_text(f, "NextToken"));
        fl_fixture_ok(f, "ListNodesSummary", request);
        assert_string_equal(
            f->reply, "{\"Summary\":[{\"ResourceType\":\"ManagedInstance\",\"Count\":\"2\"}]}");
    }
    fl_fixture_fails(
        f, "ListNodesSummary",
        "{\"Aggregators\":[" AGG("Region", ",\"Aggregators\":[" AGG("Region", "") "]") "]}",
        "InvalidAggregatorException");
    fl_fixture_fails(f, "ListNodesSummary", "{\"Aggregators\":[]}", "ValidationException");
}

static void tags_are_added_and_removed(void **state)
{
    struct fl_fixture *f = *state;
    char request[8192], list[128];
    size_t len;

#define RES "\"ResourceType\":\"ManagedInstance\",\"ResourceId\":\"%s\""
    snprintf(list, sizeof(list), "{" RES "}", first);
    snprintf(request, sizeof(request),
             "{" RES ",\"Tags\":[{\"Key\":\"Role\",\"Value\":\"db\"},"
             "{\"Key\":\"Env\",\"Value\":\"Test\"},{\"Key\":\"Empty\",\"Value\":\"\"}]}",
             first);
    fl_fixture_ok(f, "AddTagsToResource", request);
    fl_fixture_ok(f, "ListTagsForResource", list);
    assert_string_equal(f->reply, "{\"TagList\":[{\"Key\":\"Empty\",\"Value\":\"\"},"
                                  "{\"Key\":\"Env\",\"Value\":\"Test\"},"
                                  "{\"Key\":\"Role\",\"Value\":\"db\"}]}");

    snprintf(request, sizeof(request), "{" RES ",\"TagKeys\":[\"Role\",\"Absent\",\"Empty\"]}",
             first);
    fl_fixture_ok(f, "RemoveTagsFromResource", request);
    fl_fixture_ok(f, "ListTagsForResource", list);
    assert_int_equal(fl_fixture_count(f, "TagList"), 1);

    /* 49 more fit, 50 do not and leave nothing behind */
    for (int more = 50; more >= 49; more--) {
        len = (size_t)snprintf(request, sizeof(request), "{" RES ",\"Tags\":[", first);
        for (int i = 0; i < more; i++)
            len += (size_t)snprintf(request + len, sizeof(request) - len,
                                    "%s{\"Key\":\"k%d\",\"Value\":\"v\"}", i ? "," : "", i);
        snprintf(request + len, sizeof(request) - len, "]}");
        if (more == 50)
            fl_fixture_fails(f, "AddTagsToResource", request, "TooManyTagsError");
        else
            fl_fixture_ok(f, "AddTagsToResource", request);
        fl_fixture_ok(f, "ListTagsForResource", list);
        assert_int_equal(fl_fixture_count(f, "TagList"), more == 50 ? 1 : 50);
    }
#undef RES
}

static void tags_need_a_resource(void **state)
{
    static const struct {
        const char *type, *id, *error;
    } cases[] = {
        { "ManagedInstance", "mi-00000000000000000", "InvalidResourceId" },
        { "ManagedInstance", "", "InvalidResourceId" },
        { "Document", "AWS-RunShellScript", "InvalidResourceId" },
        { "Parameter", "/app/db", "InvalidResourceId" },
        { "Activation", "01234567-89ab-cdef-0123-456789abcdef", "ValidationException" },
        { "Nope", "x", "ValidationException" },
    };
    static const char *const ops[] = { "AddTagsToResource", "RemoveTagsFromResource",
                                       "ListTagsForResource" };
    struct fl_fixture *f = *state;
    char request[256];

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        for (size_t o = 0; o < FL_ARRAY_LEN(ops); o++) {
            snprintf(request, sizeof(request),
                     "{\"ResourceType\":\"%s\",\"ResourceId\":\"%s\",\"TagKeys\":[\"a\"],"
                     "\"Tags\":[{\"Key\":\"a\",\"Value\":\"b\"}]}",
                     cases[i].type, cases[i].id);
            fl_fixture_fails(f, ops[o], request, cases[i].error);
        }
}

static int ask_resource(struct fl_call *call, void *arg)
{
    struct fl_resources res = { 0 };
    char want[128];

    assert_int_equal(fl_node_resource(call, first, &res, NULL), 0);
    assert_int_equal(fl_node_resource(call, "mi-00000000000000000", &res, NULL), 0);
    assert_int_equal(res.n, 2);
    snprintf(want, sizeof(want), "arn:aws:ssm:local:123456789012:managed-instance/%s", first);
    assert_string_equal(res.v[0].arn, want);
    assert_int_equal(res.v[0].tags.n, 1);
    assert_string_equal(res.v[0].tags.v[0].key, "Env");
    assert_string_equal(res.v[0].tags.v[0].value, "Dev");
    assert_int_equal(res.v[1].tags.n, 0);
    for (int i = 2; i < 100; i++)
        assert_int_equal(fl_node_resource(call, i % 2 ? first : second, &res, NULL), 0);
    assert_int_equal(res.n, 100);
    assert_string_equal(res.v[0].arn, want);
    assert_string_equal(res.v[99].arn, want);
    assert_string_equal(res.v[98].tags.v[0].value, "Prod");
    return 0;
}

static void policies_see_arn_and_tags(void **state)
{
    assert_int_equal(fl_fixture_run(*state, FL_LANE_READ, ask_resource, NULL), 0);
}

static void node_ids_have_one_form(void **state)
{
    (void)state;
    assert_true(fl_node_id_valid("mi-0123456789abcdef0"));
    assert_false(fl_node_id_valid("mi-0123456789abcdef"));
    assert_false(fl_node_id_valid("mi-0123456789abcdef01"));
    assert_false(fl_node_id_valid("mi-0123456789ABCDEF0"));
    assert_false(fl_node_id_valid("i-0123456789abcdef0"));
    assert_false(fl_node_id_valid(""));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(item_has_every_member),
        T(filters_select),
        T(pages_of_ten_by_default),
        T(silence_is_connection_lost),
        T(connection_status_is_lower_case),
        T(deregistered_is_gone),
        T(the_role_changes),
        T(nodes_are_listed),
        T(nodes_are_counted),
        T(tags_are_added_and_removed),
        T(tags_need_a_resource),
        T(policies_see_arn_and_tags),
        cmocka_unit_test(node_ids_have_one_form),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
