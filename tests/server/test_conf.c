/* server.json: what is read from it, what is refused and in which words. */
#include "server/conf.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define ACCOUNT "\"Account\":\"123456789012\""

static void defaults(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    static const char text[] = "{" ACCOUNT "}";
    struct fl_plane_conf plane;
    struct fl_conf c;

    assert_int_equal(fl_conf_parse(text, strlen(text), &arena, &c, NULL), 0);
    fl_conf_plane(&c, "/data", &plane);
    assert_string_equal(plane.account, "123456789012");
    assert_string_equal(plane.region, "local");
    assert_string_equal(plane.bind, "127.0.0.1");
    assert_int_equal(plane.port, 8443);
    assert_int_equal(plane.node_token_life_ms, 3600000);
    assert_int_equal(plane.metrics_from.n, 2);
    assert_false(plane.output_buckets_elsewhere);
}

static void settings(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
    static const char text[] =
        "{" ACCOUNT ",\"Region\":\"eu-test-1\",\"Bind\":\"0.0.0.0\",\"Port\":0,\"Loops\":2,"
        "\"PublicHost\":\"plane.example.com\",\"Hosts\":[\"a\",\"192.0.2.1\"],\"Readers\":3,"
        "\"NodeTokenSeconds\":900,\"MetricsFrom\":[\"10.0.0.0/8\"],\"LogLevel\":\"debug\","
        "\"LogFormat\":\"json\",\"OutputBucketsElsewhere\":true}";
    struct fl_plane_conf plane;
    struct fl_conf c;

    assert_int_equal(fl_conf_parse(text, strlen(text), &arena, &c, NULL), 0);
    fl_conf_plane(&c, "/data", &plane);
    assert_string_equal(plane.region, "eu-test-1");
    assert_int_equal(plane.port, 0);
    assert_int_equal(plane.loops, 2);
    assert_int_equal(plane.readers, 3);
    assert_int_equal(plane.node_token_life_ms, 900000);
    assert_int_equal(c.hosts.n, 2);
    assert_string_equal(c.log_format, "json");
    assert_true(plane.output_buckets_elsewhere);
}

static const struct {
    const char *text;
    const char *word;
} bad[] = {
    { "", "line" },
    { "[]", "object" },
    { "{}", "Account" },
    { "{" ACCOUNT ",\"Prot\":1}", "Prot" },
    { "{" ACCOUNT ",\"port\":1}", "port" }, /* letter case counts */
    { "{\"Account\":\"12345678901\"}", "account" },
    { "{" ACCOUNT ",\"Port\":65536}", "port" },
    { "{" ACCOUNT ",\"Port\":\"8443\"}", "Port" },
    { "{" ACCOUNT ",\"Region\":\"eu_1\"}", "region" },
    { "{" ACCOUNT ",\"LogLevel\":\"loud\"}", "logLevel" },
    { "{" ACCOUNT ",\"MetricsFrom\":[\"10.0.0.0/99\"]}", "10.0.0.0/99" },
    { "{" ACCOUNT ",\"Bind\":\"300.1.1.1\"}", "Bind: \"300.1.1.1\"" },
    { "{" ACCOUNT ",\"Bind\":\"plane.example.net\"}", "Bind" },
    { "{" ACCOUNT ",\"NodeTokenSeconds\":10}", "nodeTokenSeconds" },
    { "{" ACCOUNT ",\"Port\":1,\"Port\":2}", "duplicate" },
};

static void refused(void **state)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(bad); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(1 << 20);
        struct fl_err err = { 0 };
        struct fl_conf c;

        if (fl_conf_parse(bad[i].text, strlen(bad[i].text), &arena, &c, &err) >= 0)
            fail_msg("accepted: %s", bad[i].text);
        if (!strstr(fl_err_text(&err), bad[i].word) || !strstr(fl_err_text(&err), "server.json"))
            fail_msg("%s: %s", bad[i].text, fl_err_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(settings),
        cmocka_unit_test(refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
