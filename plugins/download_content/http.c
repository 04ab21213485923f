/* http.c - one file by its URL. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "common/base/rand.h"
#include "common/net/url.h"
#include "plugins/download_content/source.h"

#define MAX_REDIRECTS 10

struct info {
    char *url, *auth_method, *username, *password;
    struct fl_raw insecure; /* true or "true" */
};
#define F(member, key, flags) FL_FIELD(struct info, member, key, flags)
static const struct fl_field fields[] = {
    F(url, "url", FL_REQUIRED),
    F(auth_method, "authMethod", 0),
    F(username, "username", 0),
    F(password, "password", FL_SECRET),
    F(insecure, "allowInsecureDownload", 0),
};
#undef F
static const struct fl_shape shape = FL_SHAPE(struct info, "HTTPInfo", fields);
static const size_t secrets[] = { offsetof(struct info, username), offsetof(struct info, password),
                                  SIZE_MAX };

static const struct {
    const char *name;
    enum fl_step_auth auth;
} methods[] = {
    { "", FL_STEP_AUTH_NONE },
    { "None", FL_STEP_AUTH_NONE },
    { "Basic", FL_STEP_AUTH_BASIC },
    { "Digest", FL_STEP_AUTH_DIGEST },
};

static bool is_true(const char *json)
{
    return json && (strcasecmp(json, "true") == 0 || strcasecmp(json, "\"true\"") == 0);
}

static int start(struct fl_download *d, const void *in, struct fl_err *err)
{
    const struct info *info = in;
    bool insecure = is_true(info->insecure.text);
    const char *method = info->auth_method ? info->auth_method : "";
    struct fl_url url;
    char name[32];
    size_t i = 0;
    int r;

    if (strncasecmp(info->url, "http", 4) != 0 || fl_url_parse(info->url, &url) < 0)
        return fl_err_set(err, -EINVAL, NULL, "invalid input: url is not an http or https URL");
    if (!url.tls && !insecure)
        return fl_err_set(err, -EINVAL, NULL,
                          "invalid input: an http URL needs allowInsecureDownload");
    while (i < FL_ARRAY_LEN(methods) && strcmp(method, methods[i].name) != 0)
        i++;
    if (i == FL_ARRAY_LEN(methods))
        return fl_err_set(err, -EINVAL, NULL,
                          "invalid input: authMethod %.40s: not None, Basic or "
                          "Digest",
                          method);
    snprintf(name, sizeof(name), "download%u", fl_random_u32());
    r = fl_download_add(d,
                        &(struct fl_step_request){ .method = "GET",
                                                   .url = info->url,
                                                   .auth = methods[i].auth,
                                                   .user = info->username,
                                                   .password = info->password,
                                                   .max_redirects = MAX_REDIRECTS,
                                                   .insecure_redirects = insecure },
                        name, err);
    if (r == 0)
        fl_download_go(d, true);
    return r;
}

const struct fl_download_source fl_source_http = {
    .name = "HTTP", .info = &shape, .secrets = secrets, .start = start
};
