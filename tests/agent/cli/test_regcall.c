#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>
#include "agent/cli/regcall.h"
#include "agent/lib/text.h"

#define ID "01234567-89ab-cdef-0123-456789abcdef"

/* The wire's example, member for member (protocol 1 §1.2). */
static void the_body_is_the_official_agents(void **state)
{
    fl_autobuf struct fl_buf b = FL_BUF(4096);
    const struct fl_reg_body body = {
        .code = fl_text("ABCDEFGHIJKLMNOPQRST"),
        .id = fl_text(ID),
        .fingerprint = fl_text("11111111-2222-4333-8444-555555555555"),
        .public_key = fl_text("MIIB"),
        .public_key_type = fl_text("Rsa"),
    };

    assert_int_equal(fl_json_encode(&fl_shape_reg_body, &body, &b), 0);
    assert_string_equal(b.data,
                        "{\"ActivationCode\":\"ABCDEFGHIJKLMNOPQRST\",\"ActivationId\":\"" ID
                        "\",\"Fingerprint\":\"11111111-2222-4333-8444-555555555555\","
                        "\"PublicKey\":\"MIIB\",\"PublicKeyType\":\"Rsa\"}");
}

static void tags(void **state)
{
    static const char *const bad[] = { "", "x", "{}", "[1]", "[{\"Key\":1}]", "[]}", "\"x\"" };
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_reg_tag *t;
    struct fl_err err;
    size_t n;

    assert_int_equal(fl_reg_tags("[{\"Key\":\"a\",\"Value\":\"1\"},{\"Key\":\"\",\"Value\":\"2\"},"
                                 "{\"Key\":\"c\"},{\"Key\":\"d\",\"Value\":\"4\"}]",
                                 &arena, &t, &n, NULL),
                     0);
    assert_int_equal(n, 2);
    assert_string_equal(t[1].key, "d");
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        assert_int_equal(fl_reg_tags(bad[i], &arena, &t, &n, &err), -EINVAL);
        assert_non_null(strstr(err.text, "-tags"));
    }
}

static void what_answers_mean(void **state)
{
    static const struct {
        int error, status;
        const char *body;
        const char *node; /* NULL: not registered */
        bool retry, retry_quick;
        const char *word; /* in the text for the user */
    } cases[] = {
        { 0, 200, "{\"InstanceId\":\"mi-0123456789abcdef0\"}", "mi-0123456789abcdef0", false, false,
          NULL },
        { 0, 200, "{}", NULL, false, false, "not as a control plane" },
        { 0, 200, "<html>", NULL, false, false, "not as a control plane" },
        { 0, 200, "{\"InstanceId\":\"i-1\"}", NULL, false, false, "not as a control plane" },
        { 0, 200, "{\"InstanceId\":\"mi-../../x\"}", NULL, false, false, "not as a control plane" },
        { 0, 400, "{\"__type\":\"InvalidActivation\"}", NULL, false, false, "wrong" },
        { 0, 400, "{\"__type\":\"ActivationExpired\"}", NULL, false, false, "expired" },
        { 0, 400, "{\"__type\":\"x#RegistrationLimitExceeded\"}", NULL, false, false, "as often" },
        { 0, 400, "{\"__type\":\"TooManyUpdates\"}", NULL, false, true, "TooManyUpdates" },
        { 0, 400, "{\"__type\":\"ThrottlingException\"}", NULL, true, false, "Throttling" },
        { 0, 400, "{\"__type\":\"ProvisionedThroughputExceededException\"}", NULL, true, false,
          "Provisioned" },
        { 0, 429, "", NULL, true, false, "429" },
        { 0, 500, "", NULL, true, false, "500" },
        { 0, 501, "", NULL, false, false, "501" },
        { 0, 503, "<html>", NULL, true, false, "503" },
        { 0, 404, "{\"message\":\"where?\"}", NULL, false, false, "where?" },
        { -ECONNREFUSED, 0, NULL, NULL, true, false, "https://plane" },
        { -ETIMEDOUT, 0, NULL, NULL, true, false, "https://plane" },
        { -EPROTO, 0, NULL, NULL, false, false, "--ca-file" },
        { -EACCES, 0, NULL, NULL, false, false, "password" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        const struct fl_fetch_answer a = { .error = cases[i].error,
                                           .status = cases[i].status,
                                           .body = fl_text(cases[i].body),
                                           .body_len = cases[i].body ? strlen(cases[i].body) : 0 };
        struct fl_reg_verdict v;

        fl_reg_judge(&a, ID, "https://plane", &arena, &v);
        assert_int_equal(v.retry, cases[i].retry);
        assert_int_equal(v.retry_quick, cases[i].retry_quick);
        if (cases[i].node) {
            assert_string_equal(v.node_id, cases[i].node);
        } else {
            assert_null(v.node_id);
            print_message("%s\n", v.why.text);
            assert_non_null(strstr(v.why.text, cases[i].word));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_body_is_the_official_agents),
        cmocka_unit_test(tags),
        cmocka_unit_test(what_answers_mean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
