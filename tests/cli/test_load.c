#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "cli/cli.h"
#include "common/base/file.h"

/* Where a setting comes from: each case has an environment, the three files and a command line. */

static const char own[] = "[default]\n"
                          "endpoint_url = https://own:1\n"
                          "region = own-region\n"
                          "ca_bundle = /own/ca\n"
                          "aws_access_key_id = AKOWN\n"
                          "aws_secret_access_key = own-secret\n"
                          "[both]\n"
                          "region = own-both\n"
                          "[bare]\n"
                          "endpoint_url = plane:8443\n"
                          "aws_access_key_id = AKBARE\n"
                          "aws_secret_access_key = bare-secret\n"
                          "[hollow]\n"
                          "region =\n";

static const char credentials[] = "[both]\n"
                                  "aws_access_key_id = AKBOTH\n"
                                  "aws_secret_access_key = both-secret\n"
                                  "aws_session_token = both-token\n"
                                  "[half]\n"
                                  "aws_access_key_id = AKHALF\n";

static const char config[] =
    "[profile both]\n"
    "region = config-both\n"
    "endpoint_url = https://both:2\n"
    "[profile hollow]\n"
    "region = config-hollow\n"
    "endpoint_url = https://hollow:8\n"
    "aws_access_key_id = AKHO\n"
    "aws_secret_access_key = ho-secret\n"
    "[profile services]\n"
    "services = mine\n"
    "region = eu-central-1\n"
    "endpoint_url = https://all:3\n"
    "aws_access_key_id = AKSV\n"
    "aws_secret_access_key = sv-secret\n"
    "max_attempts = 7\n"
    "[services mine]\n"
    "s3 =\n"
    "  endpoint_url = https://s3:4\n"
    "ssm =\n"
    "  endpoint_url = https://ssm:5\n"
    "kms =\n"
    "  endpoint_url = https://kms:6\n"
    "[profile aws]\n"
    "region = eu-central-1\n"
    "aws_access_key_id = AKAWS\n"
    "aws_secret_access_key = aws-secret\n"
    "[profile program]\n"
    "endpoint_url = https://p:6\n"
    "credential_process = printf "
    "'{\"Version\":1,\"AccessKeyId\":\"AKP\",\"SecretAccessKey\":\"ps\"}'\n"
    "[profile failing]\n"
    "endpoint_url = https://p:6\n"
    "credential_process = exit 7\n"
    "[profile expired]\n"
    "endpoint_url = https://p:6\n"
    "credential_process = printf '{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
    "\"Expiration\":\"2001-01-01T00:00:00Z\"}'\n"
    "[profile babble]\n"
    "endpoint_url = https://p:6\n"
    "credential_process = head -c 100000 /dev/zero | tr '\\0' x\n"
    "[profile round]\n"
    "endpoint_url = https://p:6\n"
    "role_arn = arn:aws:iam::1:role/x\n"
    "source_profile = round2\n"
    "[profile round2]\n"
    "role_arn = arn:aws:iam::1:role/x\n"
    "source_profile = round\n"
    "[profile lost]\n"
    "endpoint_url = https://p:6\n"
    "role_arn = arn:aws:iam::1:role/x\n"
    "source_profile = nowhere\n"
    "[profile sso]\n"
    "endpoint_url = https://p:6\n"
    "sso_session = x\n";

static const char *const variables[] = {
    "FAIRLEAD_PROFILE",     "AWS_PROFILE",       "AWS_DEFAULT_PROFILE",   "FAIRLEAD_ENDPOINT",
    "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL",  "AWS_ENDPOINT_URL_STS",  "AWS_REGION",
    "AWS_DEFAULT_REGION",   "FAIRLEAD_CA_FILE",  "AWS_CA_BUNDLE",         "AWS_MAX_ATTEMPTS",
    "AWS_ACCESS_KEY_ID",    "AWS_SESSION_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_KMS",
};

#define ENV_MAX 4
static const struct {
    const char *name;
    struct fl_cli_given given;
    const char *env[ENV_MAX][2];
    const char *endpoint, *sts, *region, *ca, *key, *token; /* key NULL: must fail */
    unsigned attempts;
    const char *says; /* in the error */
} cases[] = {
    { "the client's own file",
      { 0 },
      { { 0 } },
      "https://own:1",
      "https://own:1",
      "own-region",
      "/own/ca",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "the environment over a file",
      { 0 },
      { { "FAIRLEAD_ENDPOINT", "https://env:9" },
        { "AWS_REGION", "env-r" },
        { "AWS_CA_BUNDLE", "/env/ca" },
        { "AWS_MAX_ATTEMPTS", "5" } },
      "https://env:9",
      "https://env:9",
      "env-r",
      "/env/ca",
      "AKOWN",
      NULL,
      5,
      NULL },
    { "fairlead's variables over AWS's",
      { 0 },
      { { "FAIRLEAD_ENDPOINT", "https://f" },
        { "AWS_ENDPOINT_URL", "https://a" },
        { "FAIRLEAD_CA_FILE", "/f" },
        { "AWS_CA_BUNDLE", "/a" } },
      "https://f",
      "https://f",
      "own-region",
      "/f",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "a service's variable over the common one",
      { 0 },
      { { "AWS_ENDPOINT_URL_SSM", "https://s" }, { "AWS_ENDPOINT_URL", "https://a" } },
      "https://s",
      "https://a",
      "own-region",
      "/own/ca",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "fairlead's variable over a service's, a region over a default",
      { 0 },
      { { "AWS_ENDPOINT_URL_SSM", "https://s" },
        { "FAIRLEAD_ENDPOINT", "https://f" },
        { "AWS_DEFAULT_REGION", "default-r" },
        { "AWS_REGION", "env-r" } },
      "https://f",
      "https://f",
      "env-r",
      "/own/ca",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "a setting without a value in the first file",
      { .profile = "hollow" },
      { { 0 } },
      "https://hollow:8",
      "https://hollow:8",
      "config-hollow",
      NULL,
      "AKHO",
      NULL,
      3,
      NULL },
    { "options over the environment",
      { .endpoint = "opt:7", .region = "opt-r", .ca_file = "/opt/ca" },
      { { "FAIRLEAD_ENDPOINT", "https://env:9" },
        { "AWS_REGION", "env-r" },
        { "AWS_CA_BUNDLE", "/env/ca" } },
      "https://opt:7",
      "https://opt:7",
      "opt-r",
      "/opt/ca",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "keys of the environment over the profile's",
      { 0 },
      { { "AWS_ACCESS_KEY_ID", "AKENV" },
        { "AWS_SECRET_ACCESS_KEY", "e" },
        { "AWS_SESSION_TOKEN", "tok" } },
      "https://own:1",
      "https://own:1",
      "own-region",
      "/own/ca",
      "AKENV",
      "tok",
      3,
      NULL },
    { "an id alone is no key",
      { 0 },
      { { "AWS_ACCESS_KEY_ID", "AKENV" } },
      "https://own:1",
      "https://own:1",
      "own-region",
      "/own/ca",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "keys of a named profile over the environment's",
      { .profile = "default" },
      { { "AWS_ACCESS_KEY_ID", "AKENV" }, { "AWS_SECRET_ACCESS_KEY", "e" } },
      "https://own:1",
      "https://own:1",
      "own-region",
      "/own/ca",
      "AKOWN",
      NULL,
      3,
      NULL },
    { "a profile in all three files",
      { .profile = "both" },
      { { 0 } },
      "https://both:2",
      "https://both:2",
      "own-both",
      NULL,
      "AKBOTH",
      "both-token",
      3,
      NULL },
    { "the profile of the environment",
      { 0 },
      { { "AWS_PROFILE", "both" } },
      "https://both:2",
      "https://both:2",
      "own-both",
      NULL,
      "AKBOTH",
      "both-token",
      3,
      NULL },
    { "fairlead's profile over AWS's",
      { 0 },
      { { "AWS_PROFILE", "both" }, { "FAIRLEAD_PROFILE", "bare" } },
      "https://plane:8443",
      "https://plane:8443",
      "local",
      NULL,
      "AKBARE",
      NULL,
      3,
      NULL },
    { "a services section",
      { .profile = "services" },
      { { 0 } },
      "https://ssm:5",
      "https://all:3",
      "eu-central-1",
      NULL,
      "AKSV",
      NULL,
      7,
      NULL },
    { "AWS itself",
      { .profile = "aws" },
      { { 0 } },
      "https://ssm.eu-central-1.amazonaws.com",
      "https://sts.eu-central-1.amazonaws.com",
      "eu-central-1",
      NULL,
      "AKAWS",
      NULL,
      3,
      NULL },
    { "a program that gives keys",
      { .profile = "program" },
      { { 0 } },
      "https://p:6",
      "https://p:6",
      "local",
      NULL,
      "AKP",
      NULL,
      3,
      NULL },
    { "a program that fails", { .profile = "failing" }, { { 0 } }, .says = "ended with status 7" },
    { "a program with old keys", { .profile = "expired" }, { { 0 } }, .says = "expired" },
    { "a program that never stops",
      { .profile = "babble" },
      { { 0 } },
      .says = "credential_process" },
    { "a profile that is not there",
      { .profile = "none" },
      { { 0 } },
      .says = "there is no profile \"none\"" },
    { "half of a key",
      { .profile = "half", .endpoint = "https://h" },
      { { 0 } },
      .says = "no credentials" },
    { "no plane", { .profile = "half" }, { { 0 } }, .says = "no control plane is known" },
    { "roles that go round", { .profile = "round" }, { { 0 } }, .says = "goes round" },
    { "a role without source",
      { .profile = "lost" },
      { { 0 } },
      .says = "no source_profile \"nowhere\"" },
    { "single sign-on", { .profile = "sso" }, { { 0 } }, .says = "sso_session" },
};

static char *put(const char *name, const char *text, const char *variable)
{
    char *path = fl_path_join(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", name);

    assert_non_null(path);
    assert_int_equal(fl_file_replace(path, 0600, text, strlen(text), NULL), 0);
    setenv(variable, path, 1);
    return path;
}

static int setup(void **state)
{
    static char *paths[3];

    paths[0] = put("own", own, "FAIRLEAD_CONFIG");
    paths[1] = put("credentials", credentials, "AWS_SHARED_CREDENTIALS_FILE");
    paths[2] = put("config", config, "AWS_CONFIG_FILE");
    *state = paths;
    return 0;
}

static int teardown(void **state)
{
    char **paths = *state;

    for (size_t i = 0; i < 3; i++)
        free(paths[i]);
    return 0;
}

static void check_text(const char *name, const char *what, const char *got, const char *want)
{
    if (!got != !want || (got && strcmp(got, want) != 0))
        fail_msg("%s: %s is \"%s\", not \"%s\"", name, what, got ? got : "(none)",
                 want ? want : "(none)");
}

static void settings_have_an_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(cases); i++) {
        struct fl_cli cli = { .given = cases[i].given };
        struct fl_err err = { 0 };
        int r;

        for (size_t v = 0; v < FL_ARRAY_LEN(variables); v++)
            unsetenv(variables[v]);
        for (size_t v = 0; v < ENV_MAX && cases[i].env[v][0]; v++)
            setenv(cases[i].env[v][0], cases[i].env[v][1], 1);
        r = fl_cli_load(&cli, &err);
        if (cases[i].says) {
            if (r >= 0 || !strstr(err.text, cases[i].says))
                fail_msg("%s: %d, \"%s\"", cases[i].name, r, err.text);
        } else {
            if (r < 0)
                fail_msg("%s: %s", cases[i].name, err.text);
            check_text(cases[i].name, "endpoint", cli.endpoint, cases[i].endpoint);
            check_text(cases[i].name, "sts", cli.sts_endpoint, cases[i].sts);
            check_text(cases[i].name, "region", cli.region, cases[i].region);
            check_text(cases[i].name, "CA", cli.ca_file, cases[i].ca);
            check_text(cases[i].name, "key", cli.keys.access_key_id, cases[i].key);
            check_text(cases[i].name, "token", cli.keys.session_token, cases[i].token);
            assert_int_equal(cli.max_attempts, cases[i].attempts);
        }
        fl_cli_done(&cli);
    }
}

/* Where a session was started, but for AWS, whose endpoints serve one service each. */
static void where_kms_is(void **state)
{
    static const struct {
        struct fl_cli_given given;
        const char *env[2];
        const char *kms;
    } places[] = {
        { { .endpoint = "https://plane:8443" }, { 0 }, "https://plane:8443" },
        { { .endpoint = "https://ssm.eu-west-1.amazonaws.com", .region = "eu-west-1" },
          { 0 },
          "https://kms.eu-west-1.amazonaws.com" },
        { { .endpoint = "https://SSM.cn-north-1.amazonaws.com.cn:443", .region = "cn-north-1" },
          { 0 },
          "https://kms.cn-north-1.amazonaws.com.cn" },
        { { .endpoint = "https://amazonaws.com.evil:1" }, { 0 }, "https://amazonaws.com.evil:1" },
        { { .profile = "aws" }, { 0 }, "https://kms.eu-central-1.amazonaws.com" },
        { { .profile = "services" }, { 0 }, "https://kms:6" },
        { { .endpoint = "https://plane:8443" },
          { "AWS_ENDPOINT_URL_KMS", "https://k:2" },
          "https://k:2" },
        { { 0 }, { "FAIRLEAD_ENDPOINT", "https://f" }, "https://f" },
    };

    (void)state;
    for (size_t i = 0; i < FL_ARRAY_LEN(places); i++) {
        struct fl_cli cli = { .given = places[i].given };

        for (size_t v = 0; v < FL_ARRAY_LEN(variables); v++)
            unsetenv(variables[v]);
        if (places[i].env[0])
            setenv(places[i].env[0], places[i].env[1], 1);
        assert_int_equal(fl_cli_load(&cli, NULL), 0);
        assert_string_equal(cli.kms_endpoint, places[i].kms);
        fl_cli_done(&cli);
    }
}

static void add_name(void *arg, const char *profile, const char *file)
{
    (void)file;
    strcat(strcat(arg, profile), " ");
}

static void profiles_are_told_once(void **state)
{
    struct fl_profiles *p = NULL;
    char names[512] = "";

    (void)state;
    assert_int_equal(fl_profiles_read(&p, NULL), 0);
    fl_profiles_each(p, add_name, names);
    assert_string_equal(names,
                        "default both bare hollow half services aws program failing expired babble "
                        "round round2 lost sso ");
    assert_true(fl_profiles_has(p, "half"));
    assert_false(fl_profiles_has(p, "mine"));
    fl_profiles_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_have_an_order),
        cmocka_unit_test(where_kms_is),
        cmocka_unit_test(profiles_are_told_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
