/* load.c - endpoint, region and credentials, from options, environment and AWS's files. */
#include <errno.h>
#include <string.h>
#include "cli/cli.h"
#include "common/aws/credfile.h"
#include "common/aws/crypto.h"
#include "common/aws/endpoint.h"
#include "common/base/file.h"

#define MAX_FILE_BYTES (1 << 20)

struct files {
    char *credentials, *config; /* texts; NULL when absent */
};

/* One setting: where it may come from, in falling order. */
struct source {
    const char *env[4];
    const char *key; /* in the profile */
    bool in_credentials;
};

static const struct source endpoint_source = {
    { "FAIRLEAD_ENDPOINT", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL" }, "endpoint_url", false
};
static const struct source region_source = { { "AWS_REGION", "AWS_DEFAULT_REGION" },
                                             "region",
                                             false };
static const struct source ca_source = { { "AWS_CA_BUNDLE" }, "ca_bundle", false };
static const struct source key_source = { { "AWS_ACCESS_KEY_ID" }, "aws_access_key_id", true };
static const struct source secret_source = { { "AWS_SECRET_ACCESS_KEY" },
                                             "aws_secret_access_key",
                                             true };
static const struct source token_source = { { "AWS_SESSION_TOKEN" }, "aws_session_token", true };

static char *read_file(const char *env, const char *below_home)
{
    const char *path = getenv(env), *home = getenv("HOME");
    fl_autofree char *joined = NULL;
    char *text = NULL;

    if (!path && home)
        path = joined = fl_path_join(home, below_home);
    if (path)
        fl_file_read(path, MAX_FILE_BYTES, &text, NULL, NULL);
    return text;
}

static char *find(const struct source *s, const struct files *f, const char *profile, bool use_env)
{
    char *value = NULL;

    for (size_t i = 0; use_env && i < FL_ARRAY_LEN(s->env) && s->env[i]; i++) {
        const char *v = getenv(s->env[i]);

        if (v && *v)
            return strdup(v);
    }
    if (s->in_credentials && f->credentials &&
        fl_credfile_get(f->credentials, profile, s->key, &value) == 0)
        return value;
    if (f->config && fl_credfile_get(f->config, profile, s->key, &value) == 0)
        return value;
    return NULL;
}

/* Keys are taken from one place only: an id of one and a secret of another would never fit. */
static int find_keys(struct fl_cli *cli, const struct files *f, const char *profile, bool use_env,
                     struct fl_err *err)
{
    const char *env_id = getenv("AWS_ACCESS_KEY_ID");

    use_env = use_env && env_id && *env_id;
    cli->access_key_id = find(&key_source, f, profile, use_env);
    cli->secret_access_key = find(&secret_source, f, profile, use_env);
    cli->session_token = find(&token_source, f, profile, use_env);
    if (!cli->access_key_id || !cli->secret_access_key)
        return fl_err_set(err, -ENOKEY, NULL,
                          "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                          "write them under [%s] in ~/.aws/credentials",
                          profile);
    return 0;
}

int fl_cli_load(struct fl_cli *cli, const char *profile, const char *endpoint, const char *region,
                struct fl_err *err)
{
    const char *env_profile = getenv("AWS_PROFILE");
    struct files f = { .credentials = read_file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
                       .config = read_file("AWS_CONFIG_FILE", ".aws/config") };
    fl_autofree char *given = NULL;
    const char *name;
    int r;

    /* A profile named on the command line is meant: the environment's keys do not stand over it. */
    name = profile ? profile : env_profile && *env_profile ? env_profile : "default";
    cli->region = region ? strdup(region) : find(&region_source, &f, name, true);
    if (!cli->region)
        cli->region = strdup("local");
    cli->ca_file = find(&ca_source, &f, name, true);
    given = endpoint ? strdup(endpoint) : find(&endpoint_source, &f, name, true);
    r = find_keys(cli, &f, name, profile == NULL, err);
    if (f.credentials)
        fl_free_secret(f.credentials, strlen(f.credentials));
    free(f.config);
    if (r < 0)
        return r;
    return fl_endpoint_url("ssm", cli->region, NULL, given, &cli->endpoint, err);
}

void fl_cli_done(struct fl_cli *cli)
{
    free(cli->endpoint);
    free(cli->region);
    free(cli->ca_file);
    free(cli->access_key_id);
    if (cli->secret_access_key)
        fl_free_secret(cli->secret_access_key, strlen(cli->secret_access_key));
    if (cli->session_token)
        fl_free_secret(cli->session_token, strlen(cli->session_token));
    *cli = (struct fl_cli){ 0 };
}
