/* load.c - where to: profile, endpoints, region and CA, from the command line, the environment and
 * three files. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "cli/cli.h"
#include "common/aws/credfile.h"
#include "common/aws/crypto.h"
#include "common/aws/endpoint.h"
#include "common/base/file.h"

#define MAX_FILE_BYTES   (1 << 20)
#define REGION_OF_PLANES "local"

enum file { OWN, CREDENTIALS, CONFIG, FILES__N };

struct fl_profiles {
    struct {
        char *path;
        char *text; /* NULL when absent */
    } files[FILES__N];
};

/* In falling order of rank. `own` names the file below the home folder. */
static const struct {
    const char *env, *below_home;
} places[FILES__N] = {
    [OWN] = { "FAIRLEAD_CONFIG", ".config/fairlead/config" },
    [CREDENTIALS] = { "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials" },
    [CONFIG] = { "AWS_CONFIG_FILE", ".aws/config" },
};

/* One setting: where it may come from, in falling order. */
struct source {
    const char *env[4];
    const char *service; /* a [services …] section may say endpoint_url for it */
    const char *key;     /* in the profile */
};

static const struct source profile_source = {
    { "FAIRLEAD_PROFILE", "AWS_PROFILE", "AWS_DEFAULT_PROFILE" }, NULL, NULL
};
static const struct source endpoint_source = {
    { "FAIRLEAD_ENDPOINT", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL" }, "ssm", "endpoint_url"
};
static const struct source sts_source = {
    { "FAIRLEAD_ENDPOINT", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL" }, "sts", "endpoint_url"
};
static const struct source kms_source = { { "AWS_ENDPOINT_URL_KMS" }, "kms", "endpoint_url" };
static const struct source region_source = { { "AWS_REGION", "AWS_DEFAULT_REGION" },
                                             NULL,
                                             "region" };
static const struct source ca_source = { { "FAIRLEAD_CA_FILE", "AWS_CA_BUNDLE" },
                                         NULL,
                                         "ca_bundle" };
static const struct source attempts_source = { { "AWS_MAX_ATTEMPTS" }, NULL, "max_attempts" };

/* ---- the files ---- */

static char *place_path(enum file f)
{
    const char *path = getenv(places[f].env), *home = getenv("HOME"), *xdg;

    if (path && *path)
        return strdup(path);
    xdg = f == OWN ? getenv("XDG_CONFIG_HOME") : NULL;
    if (xdg && *xdg)
        return fl_path_join(xdg, "fairlead/config");
    return home && *home ? fl_path_join(home, places[f].below_home) : NULL;
}

char *fl_cli_config_path(void)
{
    return place_path(OWN);
}

int fl_profiles_read(struct fl_profiles **ret_profiles, struct fl_err *err)
{
    struct fl_profiles *p = calloc(1, sizeof(*p));
    struct fl_err why = { 0 };
    int r = p ? 0 : -ENOMEM;

    for (size_t i = 0; i < FILES__N && r == 0; i++) {
        p->files[i].path = place_path((enum file)i);
        if (p->files[i].path)
            r = fl_file_read(p->files[i].path, MAX_FILE_BYTES, &p->files[i].text, NULL, &why);
        if (r == -ENOENT || r == -ENOTDIR)
            r = 0;
    }
    if (r < 0) {
        if (err)
            *err = why;
        fl_profiles_free(p);
        return r;
    }
    *ret_profiles = p;
    return 0;
}

struct fl_profiles *fl_profiles_free(struct fl_profiles *p)
{
    for (size_t i = 0; p && i < FILES__N; i++) {
        free(p->files[i].path);
        if (p->files[i].text)
            fl_free_secret(p->files[i].text, strlen(p->files[i].text));
    }
    free(p);
    return NULL;
}

char *fl_profiles_get(const struct fl_profiles *p, const char *profile, const char *key)
{
    char *value = NULL;

    for (size_t i = 0; i < FILES__N; i++)
        if (p->files[i].text && fl_credfile_get(p->files[i].text, profile, key, &value) == 0) {
            if (*value)
                return value;
            free(value);
        }
    return NULL;
}

struct section {
    fl_profile_fn fn;
    void *arg;
    const struct fl_profiles *p;
    size_t file;
    const char *seek; /* NULL: tell all */
    size_t seek_len;
    size_t until; /* files in front of this one are looked at for the same name */
    bool found;
};

/* The profile that a section's name means; NULL for other sections. */
static const char *profile_of(enum file f, const char *name, size_t *len)
{
    static const char prefix[] = "profile ";
    const size_t skip = sizeof(prefix) - 1;

    if (f != CONFIG || (*len == 7 && memcmp(name, "default", 7) == 0))
        return name;
    if (*len <= skip || memcmp(name, prefix, skip) != 0)
        return NULL;
    name += skip;
    *len -= skip;
    while (*len && *name == ' ') {
        name++;
        (*len)--;
    }
    return name;
}

static void seek_section(void *arg, const char *name, size_t len)
{
    struct section *s = arg;

    name = profile_of((enum file)s->file, name, &len);
    if (name && len == s->seek_len && memcmp(name, s->seek, len) == 0)
        s->found = true;
}

static bool in_files(const struct fl_profiles *p, size_t n_files, const char *profile, size_t len)
{
    struct section s = { .p = p, .seek = profile, .seek_len = len };

    for (s.file = 0; s.file < n_files; s.file++)
        if (p->files[s.file].text)
            fl_credfile_each(p->files[s.file].text, seek_section, &s);
    return s.found;
}

bool fl_profiles_has(const struct fl_profiles *p, const char *profile)
{
    return in_files(p, FILES__N, profile, strlen(profile));
}

static void tell_section(void *arg, const char *name, size_t len)
{
    struct section *s = arg;
    fl_autofree char *copy = NULL;

    name = profile_of((enum file)s->file, name, &len);
    if (!name || in_files(s->p, s->file, name, len))
        return;
    copy = strndup(name, len);
    if (copy)
        s->fn(s->arg, copy, s->p->files[s->file].path);
}

void fl_profiles_each(const struct fl_profiles *p, fl_profile_fn fn, void *arg)
{
    struct section s = { .fn = fn, .arg = arg, .p = p };

    for (s.file = 0; s.file < FILES__N; s.file++)
        if (p->files[s.file].text)
            fl_credfile_each(p->files[s.file].text, tell_section, &s);
}

/* ---- one setting ---- */

static char *from_env(const struct source *s)
{
    for (size_t i = 0; i < FL_ARRAY_LEN(s->env) && s->env[i]; i++) {
        const char *v = getenv(s->env[i]);

        if (v && *v)
            return strdup(v);
    }
    return NULL;
}

/* endpoint_url of one service: in the section that the profile's `services` names. */
static char *from_services(const struct source *s, const struct fl_profiles *p, const char *profile)
{
    const char *config = p->files[CONFIG].text;
    fl_autofree char *name = NULL;
    fl_autofree char *section = NULL;
    char *value = NULL;

    if (!s->service || !config)
        return NULL;
    name = fl_profiles_get(p, profile, "services");
    if (!name || asprintf(&section, "services %s", name) < 0)
        return NULL;
    if (fl_credfile_get_nested(config, section, s->service, s->key, &value) < 0)
        return NULL;
    return value;
}

static char *find(const struct source *s, const char *given, const struct fl_profiles *p,
                  const char *profile)
{
    char *value = given ? strdup(given) : from_env(s);

    if (!value)
        value = from_services(s, p, profile);
    if (!value)
        value = fl_profiles_get(p, profile, s->key);
    return value;
}

char *fl_cli_profile_name(const struct fl_cli *cli)
{
    char *name = cli->given.profile ? strdup(cli->given.profile) : from_env(&profile_source);

    return name ? name : strdup("default");
}

static int find_profile(struct fl_cli *cli, const struct fl_profiles *p, struct fl_err *err)
{
    cli->profile = fl_cli_profile_name(cli);
    if (!cli->profile)
        return -ENOMEM;
    if (strcmp(cli->profile, "default") != 0 && !fl_profiles_has(p, cli->profile))
        return fl_err_set(err, -ENOENT, NULL,
                          "there is no profile \"%s\"; \"fairlead profiles\" lists those there are",
                          cli->profile);
    return 0;
}

/* AWS's own endpoints answer for one service each; any other answers for all (protocol 6 §1.6). */
static bool of_aws(const char *endpoint)
{
    static const char *const domains[] = { ".amazonaws.com", ".amazonaws.com.cn", ".api.aws" };
    char host[300];
    size_t len;

    if (fl_url_authority(endpoint, false, host, sizeof(host)) < 0)
        return false;
    len = strcspn(host, ":");
    for (size_t i = 0; i < FL_ARRAY_LEN(domains); i++) {
        size_t n = strlen(domains[i]);

        if (len > n && strncasecmp(host + len - n, domains[i], n) == 0)
            return true;
    }
    return false;
}

/* The key of a session is asked for where the session was started, unless somebody says otherwise
 * for kms itself. */
static int find_kms(struct fl_cli *cli, const struct fl_profiles *p, struct fl_err *err)
{
    fl_autofree char *kms = from_env(&kms_source);

    if (!kms)
        kms = from_services(&kms_source, p, cli->profile);
    if (!kms && !of_aws(cli->endpoint)) {
        kms = strdup(cli->endpoint);
        if (!kms)
            return -ENOMEM;
    }
    return fl_endpoint_url("kms", cli->region, NULL, kms, &cli->kms_endpoint, err);
}

static int find_endpoints(struct fl_cli *cli, const struct fl_cli_given *given,
                          const struct fl_profiles *p, struct fl_err *err)
{
    fl_autofree char *ssm = find(&endpoint_source, given->endpoint, p, cli->profile);
    fl_autofree char *sts = find(&sts_source, given->endpoint, p, cli->profile);
    int r;

    cli->region = find(&region_source, given->region, p, cli->profile);
    if (!cli->region && !ssm)
        return fl_err_set(err, -EDESTADDRREQ, NULL,
                          "no control plane is known: \"fairlead login\", or --endpoint URL, or "
                          "--region NAME for AWS itself");
    if (!cli->region)
        cli->region = strdup(REGION_OF_PLANES);
    if (!cli->region)
        return -ENOMEM;
    r = fl_endpoint_url("ssm", cli->region, NULL, ssm, &cli->endpoint, err);
    if (r == 0)
        r = fl_endpoint_url("sts", cli->region, NULL, sts, &cli->sts_endpoint, err);
    if (r == 0)
        r = find_kms(cli, p, err);
    return r;
}

static unsigned find_attempts(const struct fl_profiles *p, const char *profile)
{
    fl_autofree char *text = find(&attempts_source, NULL, p, profile);
    long n = text ? strtol(text, NULL, 10) : 0;

    return n >= 1 && n <= 100 ? (unsigned)n : FL_CLI_MAX_ATTEMPTS;
}

int fl_cli_load(struct fl_cli *cli, struct fl_err *err)
{
    const struct fl_cli_given *given = &cli->given;
    struct fl_profiles *p = NULL;
    int r = fl_profiles_read(&p, err);

    if (r == 0)
        r = find_profile(cli, p, err);
    if (r == 0)
        r = find_endpoints(cli, given, p, err);
    if (r == 0) {
        cli->ca_file = find(&ca_source, given->ca_file, p, cli->profile);
        cli->max_attempts = find_attempts(p, cli->profile);
        cli->timeout_ms = FL_CLI_TIMEOUT_MS;
        /* A profile named on the command line is meant: the environment's keys do not stand over
         * it. */
        r = fl_creds_find(cli, p, given->profile == NULL, err);
    }
    fl_profiles_free(p);
    if (r == -ENOMEM)
        fl_err_nomem(err);
    return r;
}
