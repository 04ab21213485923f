#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/lib/config.h"
#include "common/base/file.h"

static char path[256];

static int load(const char *text, struct fl_arena *arena, struct fl_agent_config *c,
                struct fl_err *err)
{
    assert_int_equal(fl_file_replace(path, 0600, text, strlen(text), NULL), 0);
    return fl_agent_config_load(path, arena, c, err);
}

static void check_defaults(const struct fl_agent_config *c)
{
    assert_true(c->share_creds);
    assert_string_equal(c->share_profile, "");
    assert_int_equal(c->key_rotate_days, 0);
    assert_int_equal(c->command_workers, 5);
    assert_int_equal(c->command_buffer, 5);
    assert_int_equal(c->stop_timeout_ms, 20000);
    assert_int_equal(c->command_retry_limit, 15);
    assert_int_equal(c->health_minutes, 5);
    assert_int_equal(c->log_retention_hours, 336);
    assert_string_equal(c->ssm_endpoint, "");
    assert_string_equal(c->agent_name, "amazon-ssm-agent");
    assert_string_equal(c->os_lang, "en-US");
    assert_string_equal(c->os_version, "1");
    assert_string_equal(c->output_cleanup, "default");
    assert_string_equal(c->net_user, "fairlead");
    assert_string_equal(c->log_level, "info");
    assert_int_equal(c->jobs_max_bytes, 1LL << 30);
    assert_int_equal(c->output_max_bytes, 16 << 20);
    assert_in_range(c->denied_remote_ips.n, 9, 100);
    assert_string_equal(c->denied_remote_ips.v[0], "169.254.169.254");
}

static void absent_and_empty_give_defaults(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_agent_config c;

    assert_int_equal(fl_agent_config_load(NULL, &arena, &c, NULL), 0);
    check_defaults(&c);
    assert_int_equal(fl_agent_config_load("/nonexistent/agent.json", &arena, &c, NULL), 0);
    check_defaults(&c);
    assert_int_equal(load("{}", &arena, &c, NULL), 0);
    check_defaults(&c);
    assert_int_equal(load("{\"Mds\":null,\"Ssm\":{\"Endpoint\":null}}", &arena, &c, NULL), 0);
    check_defaults(&c);
}

static void a_list_replaces_the_default(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_agent_config c;

    assert_int_equal(
        load("{\"Mgs\":{\"DeniedPortForwardingRemoteIPs\":[\"10.0.0.1\"]}}", &arena, &c, NULL), 0);
    assert_int_equal(c.denied_remote_ips.n, 1);
    assert_string_equal(c.denied_remote_ips.v[0], "10.0.0.1");
    assert_int_equal(load("{\"Mgs\":{\"DeniedPortForwardingRemoteIPs\":[]}}", &arena, &c, NULL), 0);
    assert_int_equal(c.denied_remote_ips.n, 0);
}

static void values_are_taken(void **state)
{
    fl_autoarena struct fl_arena arena = FL_ARENA(65536);
    struct fl_agent_config c;

    assert_int_equal(
        load("{\"PROFILE\":{\"sharecreds\":false,\"ShareProfile\":\"x\",\"KeyAutoRotateDays\":30},"
             "\"Mds\":{\"CommandWorkersLimit\":9},\"Ssm\":{\"Endpoint\":\"https://p:8443\"},"
             "\"Unknown\":{\"a\":[1,{}]},\"Mgs\":{\"Strange\":1},"
             "\"Identity\":{\"ConsumptionOrder\":[\"OnPrem\",\"Nonsense\"],\"CustomIdentities\":[{}"
             "]},"
             "\"Fairlead\":{\"CaFile\":\"/ca\",\"proxy\":{\"Https\":\"http://p\"},"
             "\"Jobs\":{\"MaxFiles\":200}}}",
             &arena, &c, NULL),
        0);
    assert_false(c.share_creds);
    assert_string_equal(c.share_profile, "x");
    assert_int_equal(c.key_rotate_days, 30);
    assert_int_equal(c.command_workers, 9);
    assert_string_equal(c.ssm_endpoint, "https://p:8443");
    assert_string_equal(c.ca_file, "/ca");
    assert_string_equal(c.proxy_https, "http://p");
    assert_int_equal(c.jobs_max_files, 200);
}

/* Out of range: the default, no clamping (protocol 1 §7). */
static void out_of_range_is_the_default(void **state)
{
    static const struct {
        const char *text;
        size_t offset;
        int64_t want;
    } cases[] = {
        { "{\"Mds\":{\"CommandWorkersLimit\":0}}",
          offsetof(struct fl_agent_config, command_workers), 5 },
        { "{\"Mds\":{\"StopTimeoutMillis\":9999}}",
          offsetof(struct fl_agent_config, stop_timeout_ms), 20000 },
        { "{\"Mds\":{\"StopTimeoutMillis\":1000001}}",
          offsetof(struct fl_agent_config, stop_timeout_ms), 20000 },
        { "{\"Mds\":{\"StopTimeoutMillis\":10000}}",
          offsetof(struct fl_agent_config, stop_timeout_ms), 10000 },
        { "{\"Ssm\":{\"HealthFrequencyMinutes\":61}}",
          offsetof(struct fl_agent_config, health_minutes), 5 },
        { "{\"Profile\":{\"KeyAutoRotateDays\":366}}",
          offsetof(struct fl_agent_config, key_rotate_days), 0 },
        { "{\"Profile\":{\"KeyAutoRotateDays\":-1}}",
          offsetof(struct fl_agent_config, key_rotate_days), 0 },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_agent_config c;
        int64_t got;

        assert_int_equal(load(cases[i].text, &arena, &c, NULL), 0);
        memcpy(&got, (const char *)&c + cases[i].offset, sizeof(got));
        assert_int_equal(got, cases[i].want);
    }
}

static void errors_name_the_key(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        { "", "line" },
        { "[]", "object" },
        { "{\"Mds\":", "line" },
        { "{\"Mds\":5}", "Mds" },
        { "{\"Mds\":{\"CommandWorkersLimit\":\"5\"}}", "Mds.CommandWorkersLimit" },
        { "{\"Mds\":{\"CommandWorkersLimit\":5.5}}", "Mds.CommandWorkersLimit" },
        { "{\"Profile\":{\"ShareCreds\":\"true\"}}", "Profile.ShareCreds" },
        { "{\"S3\":{\"Endpoint\":1}}", "S3.Endpoint" }, /* typed though unused */
        { "{\"Identity\":{\"ConsumptionOrder\":[1]}}", "Identity.ConsumptionOrder" },
        { "{\"Fairlead\":{\"CaFiel\":\"/x\"}}", "CaFiel" },
        { "{\"Fairlead\":{\"Proxy\":{\"Htps\":\"\"}}}", "Htps" },
        { "{\"Fairlead\":{\"Proxy.Https\":\"\"}}", "Proxy.Https" },
        { "{\"Fairlead\":{\"Proxy\":[]}}", "Fairlead.Proxy" },
        { "{\"Fairlead\":\"x\"}", "Fairlead" },
    };

    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        fl_autoarena struct fl_arena arena = FL_ARENA(65536);
        struct fl_err err = { 0 };
        struct fl_agent_config c;

        assert_true(load(cases[i].text, &arena, &c, &err) < 0);
        assert_non_null(strstr(err.text, cases[i].word));
        assert_non_null(strstr(err.text, path));
    }
}

int main(void)
{
    const char *dir = getenv("TMPDIR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_and_empty_give_defaults),
        cmocka_unit_test(a_list_replaces_the_default),
        cmocka_unit_test(values_are_taken),
        cmocka_unit_test(out_of_range_is_the_default),
        cmocka_unit_test(errors_name_the_key),
    };

    snprintf(path, sizeof(path), "%s/agent.%d.json", dir ? dir : "/tmp", (int)getpid());
    return cmocka_run_group_tests(tests, NULL, NULL) + (unlink(path) != 0);
}
