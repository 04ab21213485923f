#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cli/plugin.h"

#define RESPONSE \
    "{\"SessionId\":\"a-1\",\"TokenValue\":\"t\",\"StreamUrl\":\"wss://h/x\",\"More\":1}"
#define REQUEST  "{\"Target\":\"mi-1\",\"DocumentName\":\"D\",\"Parameters\":{\"x\":[\"y\"]}}"
#define VARIABLE "AWS_SSM_START_SESSION_RESPONSE"

static void it_is_known_by_its_name(void **state)
{
    (void)state;
    assert_true(fl_plugin_called("session-manager-plugin"));
    assert_true(fl_plugin_called("/usr/bin/session-manager-plugin"));
    assert_false(fl_plugin_called("fairlead"));
    assert_false(fl_plugin_called("session-manager-plugin/fairlead"));
}

/* protocol 3 §2 */
static void command_lines_of_the_aws_cli(void **state)
{
    static const struct {
        const char *argv[8];
        const char *want; /* "id token url region profile endpoint document", - for none */
    } cases[] = {
        { { "p", RESPONSE, "local", "StartSession", "prof", REQUEST, "https://e" },
          "a-1 t wss://h/x local prof https://e D" },
        { { "p", VARIABLE, "local", "StartSession", "", REQUEST, "https://e" },
          "a-1 t wss://h/x local - https://e D" },
        { { "p", VARIABLE "_2", "local", "StartSession", "", REQUEST, "https://e" },
          "b-2 t wss://h/x local - https://e D" }, /* a prefix names the variable */
        { { "p", RESPONSE, "local", "StartSession" },
          "a-1 t wss://h/x local - - -" }, /* the oldest CLIs */
        { { "p", RESPONSE, "local", "Other", "", REQUEST, "https://e" }, NULL },
        { { "p", RESPONSE, "local" }, NULL },
        { { "p", "{}", "local", "StartSession", "", REQUEST, "" }, NULL },
        { { "p", "{\"SessionId\":\"../x\",\"TokenValue\":\"t\",\"StreamUrl\":\"wss://h\"}", "local",
            "StartSession", "", REQUEST, "" },
          NULL },
        { { "p", "nonsense", "local", "StartSession", "", REQUEST, "" }, NULL },
        { { "p", RESPONSE, "local", "StartSession", "", "{}", "" }, NULL },
        { { "p", RESPONSE, "local", "StartSession", "", "[", "" }, NULL },
        { { "p", VARIABLE "_unset", "local", "StartSession", "", REQUEST, "" }, NULL },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_plugin_call c = { 0 };
        struct fl_err err = { 0 };
        char got[256] = "";
        int argc = 0, r;

        setenv(VARIABLE, RESPONSE, 1);
        setenv(VARIABLE "_2",
               "{\"SessionId\":\"b-2\",\"TokenValue\":\"t\",\"StreamUrl\":\"wss://h/x\"}", 1);
        while (cases[i].argv[argc])
            argc++;
        r = fl_plugin_parse(argc, (char **)cases[i].argv, &arena, &c, &err);
        assert_int_equal(r, cases[i].want ? 0 : -EINVAL);
        if (r < 0)
            continue;
#define TEXT(s) ((s) ? (s) : "-")
        snprintf(got, sizeof(got), "%s %s %s %s %s %s %s", c.grant.id, c.grant.token, c.grant.url,
                 TEXT(c.region), TEXT(c.profile), TEXT(c.endpoint), TEXT(c.document));
        assert_string_equal(got, cases[i].want);
        if (strncmp(cases[i].argv[1], VARIABLE, strlen(VARIABLE)) == 0)
            assert_null(getenv(cases[i].argv[1])); /* its token is for nobody else */
    }
}

static void it_answers_who_it_is(void **state)
{
    const char *bare[] = { "p", NULL }, *version[] = { "p", "--version", NULL };
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_plugin_call c;
    struct fl_err err = { 0 };

    (void)state;
    assert_int_equal(fl_plugin_parse(1, (char **)bare, &arena, &c, &err), 1);
    assert_int_equal(fl_plugin_parse(2, (char **)version, &arena, &c, &err), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_known_by_its_name),
        cmocka_unit_test(command_lines_of_the_aws_cli),
        cmocka_unit_test(it_answers_who_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
