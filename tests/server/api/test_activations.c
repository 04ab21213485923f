/* Activations: what is created is what is described; the code is shown once and stored as a hash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/rand.h"
#include "server/api/activations.h"
#include "server/api/registry.h"
#include "tests/server/fixture.h"

#define DAY_S 86400

static void created_is_described(void **state)
{
    struct fl_fixture *f = *state;
    char id[64], code[256], request[256], dflt[64];

    fl_fixture_ok(f, "CreateActivation",
                  "{\"IamRole\":\"fleet\",\"RegistrationLimit\":2,\"DefaultInstanceName\":\"web\","
                  "\"Description\":\"\",\"Tags\":[{\"Key\":\"Env\",\"Value\":\"Dev\"},"
                  "{\"Key\":\"Empty\",\"Value\":\"\"}],"
                  "\"RegistrationMetadata\":[{\"Key\":\"k\",\"Value\":\"v\"}]}");
    snprintf(id, sizeof(id), "%s", fl_fixture_text(f, "ActivationId"));
    snprintf(code, sizeof(code), "%s", fl_fixture_text(f, "ActivationCode"));
    assert_true(fl_uuid_valid(id));
    assert_int_equal(strlen(code), 20);
    assert_int_equal(strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789+/"),
                     20);

    snprintf(request, sizeof(request),
             "{\"Filters\":[{\"FilterKey\":\"ActivationIds\",\"FilterValues\":[\"%s\"]}]}", id);
    fl_fixture_ok(f, "DescribeActivations", request);
    assert_int_equal(fl_fixture_count(f, "ActivationList"), 1);
    assert_null(strstr(f->reply, code));
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.ActivationId"), id);
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.IamRole"), "fleet");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.DefaultInstanceName"), "web");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.RegistrationLimit"), "2");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.RegistrationsCount"), "0");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.Expired"), "false");
    assert_null(fl_fixture_text(f, "ActivationList.0.Description"));
    assert_int_equal(fl_fixture_count(f, "ActivationList.0.Tags"), 2);
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.Tags.0.Key"), "Empty");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.Tags.0.Value"), "");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.Tags.1.Value"), "Dev");
    snprintf(dflt, sizeof(dflt), "%lld", (long long)(f->now_ms / 1000 + DAY_S));
    assert_memory_equal(fl_fixture_text(f, "ActivationList.0.ExpirationDate"), dflt, strlen(dflt));

    f->now_ms += DAY_S * 1000LL;
    fl_fixture_ok(f, "DescribeActivations", "{}");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.Expired"), "true");
}

static void the_limit_is_one_by_default(void **state)
{
    struct fl_fixture *f = *state;

    fl_fixture_ok(f, "CreateActivation", "{\"IamRole\":\"fleet\"}");
    fl_fixture_ok(f, "DescribeActivations", "{}");
    assert_string_equal(fl_fixture_text(f, "ActivationList.0.RegistrationLimit"), "1");
    assert_null(fl_fixture_text(f, "ActivationList.0.Tags"));
}

static void bad_requests_are_refused(void **state)
{
    static const struct {
        const char *op, *request, *error;
    } cases[] = {
        { "CreateActivation", "{}", "ValidationException" },
        { "CreateActivation", "{\"IamRole\":\"\"}", "InvalidParameters" },
        { "CreateActivation", "{\"IamRole\":7}", "SerializationException" },
        { "CreateActivation", "{\"IamRole\":\"r\",\"RegistrationLimit\":0}",
          "ValidationException" },
        { "CreateActivation", "{\"IamRole\":\"r\",\"RegistrationLimit\":1001}",
          "ValidationException" },
        { "CreateActivation", "{\"IamRole\":\"r\",\"DefaultInstanceName\":\"a*b\"}",
          "ValidationException" },
        { "CreateActivation", "{\"IamRole\":\"r\",\"Tags\":[{\"Key\":\"\",\"Value\":\"v\"}]}",
          "ValidationException" },
        { "CreateActivation", "{\"IamRole\":\"r\",\"ExpirationDate\":1767225599}",
          "InvalidParameters" },
        { "CreateActivation", "{\"IamRole\":\"r\",\"ExpirationDate\":1769817601}",
          "InvalidParameters" }, /* 30 days and one second */
        { "DescribeActivations", "{\"MaxResults\":51}", "ValidationException" },
        { "DescribeActivations",
          "{\"Filters\":[{\"FilterKey\":\"Nope\",\"FilterValues\":[\"x\"]}]}",
          "ValidationException" },
        { "DescribeActivations", "{\"Filters\":[{\"FilterKey\":\"IamRole\"}]}", "InvalidFilter" },
        { "DescribeActivations", "{\"NextToken\":\"bm9uc2Vuc2U=\"}", "InvalidNextToken" },
        { "DeleteActivation", "{\"ActivationId\":\"nope\"}", "InvalidActivationId" },
        { "DeleteActivation", "{\"ActivationId\":\"01234567-89ab-cdef-0123-456789abcdef\"}",
          "InvalidActivationId" },
    };
    struct fl_fixture *f = *state;

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++)
        fl_fixture_fails(f, cases[i].op, cases[i].request, cases[i].error);
    fl_fixture_ok(f, "CreateActivation",
                  "{\"IamRole\":\"r\",\"ExpirationDate\":1769817600.0}"); /* 30 days are allowed */
    fl_fixture_ok(f, "DescribeActivations", "{}");
    assert_int_equal(fl_fixture_count(f, "ActivationList"), 1);
}

static void deleting_twice_fails(void **state)
{
    struct fl_fixture *f = *state;
    char request[128];

    fl_fixture_ok(f, "CreateActivation", "{\"IamRole\":\"fleet\"}");
    snprintf(request, sizeof(request), "{\"ActivationId\":\"%s\"}",
             fl_fixture_text(f, "ActivationId"));
    fl_fixture_ok(f, "DeleteActivation", request);
    fl_fixture_fails(f, "DeleteActivation", request, "InvalidActivationId");
    fl_fixture_ok(f, "DescribeActivations", "{}");
    assert_int_equal(fl_fixture_count(f, "ActivationList"), 0);
}

static void pages_cover_everything_once(void **state)
{
    struct fl_fixture *f = *state;
    char request[512] = "{\"MaxResults\":2,\"Filters\":[{\"FilterKey\":\"IamRole\","
                        "\"FilterValues\":[\"even\"]}]}";
    char last[64] = "";
    int total = 0, pages = 0;

    for (int i = 0; i < 10; i++)
        fl_fixture_ok(f, "CreateActivation",
                      i % 2 ? "{\"IamRole\":\"odd\"}" : "{\"IamRole\":\"even\"}");
    for (;;) {
        int n;

        fl_fixture_ok(f, "DescribeActivations", request);
        n = fl_fixture_count(f, "ActivationList");
        for (int i = 0; i < n; i++) {
            char path[64];

            snprintf(path, sizeof(path), "ActivationList.%d.ActivationId", i);
            assert_true(strcmp(fl_fixture_text(f, path), last) > 0);
            snprintf(last, sizeof(last), "%s", fl_fixture_text(f, path));
        }
        total += n;
        pages++;
        if (!fl_fixture_text(f, "NextToken"))
            break;
        snprintf(request, sizeof(request),
                 "{\"MaxResults\":2,\"Filters\":[{\"FilterKey\":\"IamRole\",\"FilterValues\":"
                 "[\"even\"]}],\"NextToken\":\"%s\"}",
                 fl_fixture_text(f, "NextToken"));
    }
    assert_int_equal(total, 5);
    assert_int_equal(pages, 3);
}

static void the_stored_hash_depends_on_all(void **state)
{
    struct fl_fixture *f = *state;
    char a[FL_SHA256_HEX_BYTES], b[FL_SHA256_HEX_BYTES];

    fl_activation_code_mac(&f->plane, "id", "code", a);
    fl_activation_code_mac(&f->plane, "id", "code", b);
    assert_string_equal(a, b);
    fl_activation_code_mac(&f->plane, "idc", "ode", b);
    assert_string_not_equal(a, b);
    f->plane.seal_key[0] ^= 1;
    fl_activation_code_mac(&f->plane, "id", "code", b);
    assert_string_not_equal(a, b);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fl_fixture_setup, fl_fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(created_is_described), T(the_limit_is_one_by_default), T(bad_requests_are_refused),
        T(deleting_twice_fails), T(pages_cover_everything_once), T(the_stored_hash_depends_on_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
