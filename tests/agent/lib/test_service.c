#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/lib/service.h"

static void errors_are_read(void **state)
{
    static const struct {
        const char *body, *name, *text;
    } cases[] = {
        { "{\"__type\":\"InvalidActivation\",\"message\":\"no\"}", "InvalidActivation", "no" },
        { "{\"__type\":\"InvalidActivation\",\"Message\":\"No\"}", "InvalidActivation", "No" },
        { "{\"__type\":\"com.amazonaws.ssm#ActivationExpired\"}", "ActivationExpired", "" },
        { "{\"__type\":\"Throttled:http://x\",\"message\":null}", "Throttled", "" },
        { "{\"message\":\"m\"}", "", "m" },
        { "{}", "", "" },
        { "", "", "" },
        { NULL, "", "" },
        { "Bad Gateway", "", "" },
        { "<BadRequest xmlns=\"\"><message>bad</message></BadRequest>", "BadRequest", "bad" },
        { "<?xml version=\"1.0\"?>\n<E><Code>Denied</Code><Message>no</Message></E>", "Denied",
          "no" },
        { "<AccessDeniedException/>", "AccessDeniedException", "" },
        { "<", "", "" },
        { "<Code>", "", "" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        char *name, *text;

        fl_service_error(cases[i].body, &arena, &name, &text);
        assert_string_equal(name, cases[i].name);
        assert_string_equal(text, cases[i].text);
    }
}

static void dates_are_read(void **state)
{
    assert_int_equal(fl_http_date_ms("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777000);
    assert_int_equal(fl_http_date_ms("Sun, 06 Nov 1994 08:49:37 CET"), 0);
    assert_int_equal(fl_http_date_ms("yesterday"), 0);
    assert_int_equal(fl_http_date_ms(""), 0);
    assert_int_equal(fl_http_date_ms(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_read),
        cmocka_unit_test(dates_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
