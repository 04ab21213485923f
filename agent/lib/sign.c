/* sign.c - see sign.h. */
#include "agent/lib/sign.h"
#include <errno.h>
#include <string.h>
#include "agent/lib/service.h"
#include "agent/lib/text.h"
#include "common/aws/endpoint.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define OWN_HEADERS   5     /* that fl_sign_call adds at most */
#define SKEW_KNOWN_MS 60000 /* smaller differences are the Date header's own */

static const char *const time_refusals[] = {
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "RequestExpired",
    "RequestTimeTooSkewed",
};

/* Path and query of a URL, in the arena. */
static int split(const char *url, struct fl_arena *arena, const char **ret_path,
                 const char **ret_query)
{
    const char *at = strstr(url, "://");
    size_t path_len;

    if (!at)
        return -EINVAL;
    at += 3 + strcspn(at + 3, "/?#");
    path_len = strcspn(at, "?#");
    *ret_path = path_len ? fl_arena_memdup(arena, at, path_len) : fl_arena_strdup(arena, "/");
    at += path_len;
    at += *at == '?';
    *ret_query = fl_arena_memdup(arena, at, strcspn(at, "#"));
    return *ret_path && *ret_query ? 0 : -ENOMEM;
}

int fl_sign_call(const struct fl_sign_in *in, struct fl_arena *arena,
                 struct fl_fetch_header **ret_headers, size_t *ret_n)
{
    struct fl_http_header signed_headers[FL_SIGN_MAX_HEADERS];
    struct fl_sigv4_request req = {
        .method = in->method,
        .headers = signed_headers,
        .body_sha256 = in->body_sha256,
        .service = in->service,
    };
    fl_autofree char *authorization = NULL;
    struct fl_fetch_header *out;
    char host[512], date[FL_COMPACT_BYTES];
    size_t n = in->n_headers;
    int r;

    if (n + OWN_HEADERS > FL_SIGN_MAX_HEADERS ||
        fl_url_authority(in->url, false, host, sizeof(host)) < 0)
        return -EINVAL;
    r = split(in->url, arena, &req.path, &req.query);
    if (r < 0)
        return r;
    out = fl_arena_calloc(arena, n + OWN_HEADERS, sizeof(*out));
    if (!out)
        return -ENOMEM;
    memcpy(out, in->headers, n * sizeof(*out));
    fl_time_compact(in->now_ms, date);
    out[n++] = (struct fl_fetch_header){ fl_text("Host"), fl_arena_strdup(arena, host) };
    out[n++] = (struct fl_fetch_header){ fl_text("X-Amz-Date"), fl_arena_strdup(arena, date) };
    if (in->creds->session_token && *in->creds->session_token)
        out[n++] = (struct fl_fetch_header){ fl_text("X-Amz-Security-Token"),
                                             fl_arena_strdup(arena, in->creds->session_token) };
    if (strcmp(in->service, "s3") == 0)
        out[n++] = (struct fl_fetch_header){ fl_text("X-Amz-Content-Sha256"),
                                             fl_arena_strdup(arena, in->body_sha256) };
    for (size_t i = 0; i < n; i++) {
        if (!out[i].value)
            return -ENOMEM;
        signed_headers[i] = (struct fl_http_header){ out[i].name, out[i].value };
    }
    req.n_headers = n;
    r = fl_sigv4_sign(&req, in->creds, in->region, date, &authorization, NULL);
    if (r < 0)
        return r;
    out[n++] =
        (struct fl_fetch_header){ fl_text("Authorization"), fl_arena_strdup(arena, authorization) };
    if (!out[n - 1].value)
        return -ENOMEM;
    *ret_headers = out;
    *ret_n = n;
    return 0;
}

bool fl_sign_learn_time(int status, const char *name, const char *date, int64_t *offset_ms)
{
    int64_t server = fl_http_date_ms(date);
    int64_t change = server - (fl_boot_ms() + *offset_ms);
    bool refused = status == 403;

    for (size_t i = 0; i < FL_ARRAY_LEN(time_refusals); i++)
        refused |= strcmp(name, time_refusals[i]) == 0;
    if (!refused || !server || (change < SKEW_KNOWN_MS && change > -SKEW_KNOWN_MS))
        return false;
    *offset_ms += change;
    fl_log_warn("this machine's clock differs from the service's: calls are signed with the "
                "service's time",
                FL_I("behind_s", (server - fl_now_ms()) / 1000));
    return true;
}
