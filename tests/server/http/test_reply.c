/* Errors in the three dialects: names, statuses, bodies. */
#include "server/http/reply.h"

#include <errno.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    enum fl_dialect dialect;
    int r;
    const char *name; /* as the handler named it */
    const char *want_name;
    int want_status;
} cases[] = {
    { FL_DIALECT_JSON, -EINVAL, "InvalidInstanceId", "InvalidInstanceId", 400 },
    { FL_DIALECT_JSON, -EACCES, "AccessDeniedException", "AccessDeniedException", 400 },
    { FL_DIALECT_JSON, -EIO, NULL, "ServiceUnavailable", 503 },
    { FL_DIALECT_JSON, -ENOSPC, NULL, "ServiceUnavailable", 503 },
    { FL_DIALECT_JSON, -ECANCELED, NULL, "ServiceUnavailable", 503 },
    { FL_DIALECT_JSON, -EINVAL, NULL, "InternalServerError", 500 },
    { FL_DIALECT_JSON, -EAGAIN, "ThrottlingException", "ThrottlingException", 400 },
    { FL_DIALECT_QUERY, -EACCES, "InvalidSignatureException", "SignatureDoesNotMatch", 403 },
    { FL_DIALECT_QUERY, -EACCES, "UnrecognizedClientException", "InvalidClientTokenId", 403 },
    { FL_DIALECT_QUERY, -EACCES, "ExpiredTokenException", "ExpiredToken", 403 },
    { FL_DIALECT_QUERY, -EACCES, "AccessDeniedException", "AccessDenied", 403 },
    { FL_DIALECT_QUERY, -EINVAL, "ValidationException", "ValidationError", 400 },
    { FL_DIALECT_QUERY, -EINVAL, NULL, "InternalFailure", 500 },
    { FL_DIALECT_REST, -EACCES, "AccessDeniedException", "AccessDeniedException", 403 },
};

static void names_and_statuses(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_err err = { .name = cases[i].name, .code = cases[i].r, .text = "secret detail" };
        struct fl_error e;

        fl_error_of(cases[i].dialect, cases[i].r, &err, &e);
        assert_string_equal(e.name, cases[i].want_name);
        assert_int_equal(e.status, cases[i].want_status);
        /* what has no name of the API is nobody's business outside */
        assert_int_equal(strstr(e.message, "secret") != NULL, cases[i].name != NULL);
    }
}

static const struct {
    enum fl_dialect dialect;
    const char *want;
} bodies[] = {
    { FL_DIALECT_JSON, "{\"__type\":\"N\",\"message\":\"a \\\"<b>\",\"Message\":\"a \\\"<b>\"}" },
    { FL_DIALECT_QUERY,
      "<ErrorResponse "
      "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>"
      "<Code>N</Code><Message>a &quot;&lt;b&gt;</Message></Error><RequestId>id</RequestId>"
      "</ErrorResponse>" },
    { FL_DIALECT_REST, "<BadRequest xmlns=\"\"><message>a &quot;&lt;b&gt;</message></BadRequest>" },
};

static void error_bodies(void **state)
{
    const struct fl_error e = { "N", "a \"<b>", 400 };

    for (size_t i = 0; i < FL_ARRAY_LEN(bodies); i++) {
        fl_autobuf struct fl_buf out = FL_BUF(4096);

        assert_int_equal(fl_error_body(bodies[i].dialect, &e, "id", &out), 0);
        assert_string_equal(out.data, bodies[i].want);
    }
}

/* That string would make an agent give up the channel (protocol 2 §1.6). */
static void rest_never_says_access_denied_exception(void **state)
{
    struct fl_err err = { .name = "AccessDeniedException", .code = -EACCES, .text = "no" };
    fl_autobuf struct fl_buf out = FL_BUF(4096);
    struct fl_error e;

    fl_error_of(FL_DIALECT_REST, -EACCES, &err, &e);
    assert_int_equal(fl_error_body(FL_DIALECT_REST, &e, "id", &out), 0);
    assert_null(strstr(out.data, "AccessDeniedException"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_statuses),
        cmocka_unit_test(error_bodies),
        cmocka_unit_test(rest_never_says_access_denied_exception),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
